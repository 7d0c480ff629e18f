//! Leases and attempts: one holder at a time, and what is over is over.

use super::build::{NOW, accept, begun, events, finish, message, node, state, suppress};
use super::promises;
use crate::model::delivery::State;
use crate::model::event::{Counter, EventFilter, EventType};
use crate::model::message::Priority;
use crate::store::messages::MessageFilter;
use crate::store::queue::Begun;
use crate::store::{Stores, ledger, messages, retention};

promises![
    a_delivery_is_claimed_once,
    urgent_deliveries_are_claimed_first,
    a_leased_delivery_is_nobody_elses,
    a_result_counts_once,
    a_result_of_an_older_attempt_changes_nothing,
    a_deferred_delivery_comes_back_when_due,
    crash_between_claim_and_finish,
    a_live_node_keeps_its_leases,
    a_canceled_delivery_is_not_begun,
    cancel_leaves_what_is_being_sent,
    released_deliveries_are_free_at_once,
    a_claim_sees_who_was_suppressed_meanwhile,
    a_suppressed_delivery_ends_without_an_attempt,
    contents_are_purged_after_the_last_delivery,
    messages_are_removed_when_their_last_delivery_ended_long_ago,
    removing_messages_goes_on_in_batches,
    depth_counts_open_deliveries,
    folding_counts_nothing_differently,
];

async fn a_delivery_is_claimed_once(stores: Stores) {
    let (one, other) = (node(&stores).await, node(&stores).await);
    let emails: Vec<String> = (0..50).map(|n| format!("user{n}@example.net")).collect();
    accept(&stores, message(&emails.iter().map(String::as_str).collect::<Vec<_>>()), None).await;
    let (first, second) =
        tokio::join!(stores.queue.claim(one, NOW, 30), stores.queue.claim(other, NOW, 30));
    let mut ids: Vec<_> = first.unwrap().into_iter().chain(second.unwrap()).map(|c| c.id).collect();
    let rest = stores.queue.claim(one, NOW, 30).await.unwrap();
    ids.extend(rest.into_iter().map(|claimed| claimed.id));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
    assert!(stores.queue.claim(one, NOW, 30).await.unwrap().is_empty());
}

async fn urgent_deliveries_are_claimed_first(stores: Stores) {
    let node = node(&stores).await;
    for priority in [Priority::Low, Priority::High, Priority::Normal] {
        let mut asked = message(&["ann@example.net"]);
        asked.row.priority = priority;
        accept(&stores, asked, None).await;
    }
    let claimed = stores.queue.claim(node, NOW, 2).await.unwrap();
    let order: Vec<_> = claimed.iter().map(|claimed| claimed.priority).collect();
    assert_eq!(order, [Priority::High, Priority::Normal]);
}

async fn a_leased_delivery_is_nobody_elses(stores: Stores) {
    let (owner, other) = (node(&stores).await, node(&stores).await);
    let asked = message(&["ann@example.net"]);
    let id = asked.recipients[0].id;
    accept(&stores, asked, Some(owner)).await;
    assert!(stores.queue.claim(other, NOW, 10).await.unwrap().is_empty());
    assert!(stores.queue.begin(other, &[id], NOW).await.unwrap().is_empty());
    assert_eq!(stores.queue.begin(owner, &[id], NOW).await.unwrap()[0].attempt, 1);
    assert!(stores.queue.begin(owner, &[id], NOW).await.unwrap().is_empty(), "it has begun");
}

async fn a_result_counts_once(stores: Stores) {
    let node = node(&stores).await;
    let (id, begun) = begun(&stores, node).await;
    let delivered = finish(id, begun, State::Delivered, EventType::Delivered);
    let bounced = finish(id, begun, State::Bounced, EventType::Bounced);
    assert_eq!(
        stores.queue.finish(node, std::slice::from_ref(&delivered), NOW).await.unwrap(),
        [true]
    );
    let late = stores.queue.finish(node, &[bounced, delivered], NOW).await.unwrap();
    assert_eq!(late, [false, false]);
    assert_eq!(state(&stores, id).await, State::Delivered);
    let events = events(&stores, &EventFilter::default(), 2).await;
    let kinds: Vec<_> = events.iter().map(|row| row.event.kind).collect();
    assert_eq!(kinds, [EventType::Accepted, EventType::Delivered]);
    assert_eq!(events[1].event.reply.as_ref().unwrap().text, "fine");
    assert_eq!(events[1].recipient, "ann@example.net");
    let stats = ledger::stats(&*stores.db, NOW, NOW + 1, "spring").await.unwrap();
    let counts: Vec<_> = stats.iter().map(|count| (count.counter, count.count)).collect();
    let of = |kind| (Counter::Events(kind), 1);
    assert_eq!(counts, [of(EventType::Accepted), of(EventType::Delivered)]);
}

async fn a_result_of_an_older_attempt_changes_nothing(stores: Stores) {
    let node = node(&stores).await;
    let (id, first) = begun(&stores, node).await;
    let deferred = finish(id, first, State::Deferred, EventType::Deferred);
    assert_eq!(stores.queue.finish(node, &[deferred], NOW).await.unwrap(), [true]);
    let again = stores.queue.claim(node, NOW + 60_000, 10).await.unwrap();
    assert_eq!(again[0].attempts, 1);
    let second = stores.queue.begin(node, &[again[0].id], NOW).await.unwrap()[0];
    assert_eq!(second.attempt, 2);
    let stale = finish(id, first, State::Delivered, EventType::Delivered);
    assert_eq!(stores.queue.finish(node, &[stale], NOW).await.unwrap(), [false]);
    assert_eq!(state(&stores, id).await, State::Sending);
}

async fn a_deferred_delivery_comes_back_when_due(stores: Stores) {
    let node = node(&stores).await;
    let (id, begun) = begun(&stores, node).await;
    let deferred = finish(id, begun, State::Deferred, EventType::Deferred);
    stores.queue.finish(node, &[deferred], NOW).await.unwrap();
    assert!(stores.queue.claim(node, NOW + 59_999, 10).await.unwrap().is_empty());
    let claimed = stores.queue.claim(node, NOW + 60_000, 10).await.unwrap();
    assert_eq!(claimed[0].message_id, id);
    assert_eq!(claimed[0].campaign_id, "spring");
    assert_eq!(claimed[0].sender, "shop@example.com");
}

async fn crash_between_claim_and_finish(stores: Stores) {
    let dead = node(&stores).await;
    let (sending, begun) = begun(&stores, dead).await;
    let waiting = message(&["bob@example.net"]);
    let waiting_id = waiting.row.id;
    accept(&stores, waiting, Some(dead)).await;
    assert_eq!(stores.queue.reap(NOW + 1, NOW + 1).await.unwrap(), 2);
    assert_eq!(state(&stores, sending).await, State::Deferred);
    assert_eq!(state(&stores, waiting_id).await, State::Queued);
    let late = finish(sending, begun, State::Delivered, EventType::Delivered);
    assert_eq!(
        stores.queue.finish(dead, &[late], NOW).await.unwrap(),
        [false],
        "the lease is gone"
    );
    let successor = node(&stores).await;
    assert_eq!(stores.queue.claim(successor, NOW + 1, 10).await.unwrap().len(), 2);
    let recovered = EventFilter { kinds: vec![EventType::Recovered], ..Default::default() };
    let events = events(&stores, &recovered, 1).await;
    assert_eq!(events.len(), 1, "only what was being sent may come twice");
    assert!(events[0].event.possible_duplicate);
    assert_eq!(events[0].event.message_id, sending);
}

async fn a_live_node_keeps_its_leases(stores: Stores) {
    let node = node(&stores).await;
    let (id, _) = begun(&stores, node).await;
    assert_eq!(stores.queue.reap(NOW - 1, NOW).await.unwrap(), 0);
    assert_eq!(state(&stores, id).await, State::Sending);
}

async fn a_canceled_delivery_is_not_begun(stores: Stores) {
    let node = node(&stores).await;
    let asked = message(&["ann@example.net", "bob@example.net"]);
    let (id, recipients) = (asked.row.id, asked.recipients.clone());
    accept(&stores, asked, Some(node)).await;
    assert_eq!(stores.queue.cancel(id, NOW).await.unwrap(), 2);
    let ids: Vec<_> = recipients.iter().map(|recipient| recipient.id).collect();
    assert!(stores.queue.begin(node, &ids, NOW).await.unwrap().is_empty());
    assert_eq!(stores.queue.cancel(id, NOW).await.unwrap(), 0);
    assert_eq!(state(&stores, id).await, State::Canceled);
}

async fn cancel_leaves_what_is_being_sent(stores: Stores) {
    let node = node(&stores).await;
    let (id, _) = begun(&stores, node).await;
    assert_eq!(stores.queue.cancel(id, NOW).await.unwrap(), 0);
    assert_eq!(state(&stores, id).await, State::Sending);
}

async fn released_deliveries_are_free_at_once(stores: Stores) {
    let (node, other) = (node(&stores).await, node(&stores).await);
    let asked = message(&["ann@example.net"]);
    let id = asked.recipients[0].id;
    accept(&stores, asked, Some(node)).await;
    stores.queue.release(node, &[id]).await.unwrap();
    assert_eq!(stores.queue.claim(other, NOW, 10).await.unwrap()[0].id, id);
}

async fn a_claim_sees_who_was_suppressed_meanwhile(stores: Stores) {
    let node = node(&stores).await;
    let mut scheduled = message(&["Ann@example.net", "bob@example.net", "eve@example.net"]);
    scheduled.row.send_ms = Some(NOW + 5000);
    accept(&stores, scheduled, None).await;
    let (deferred, begun) = begun(&stores, node).await;
    let deferral = finish(deferred, begun, State::Deferred, EventType::Deferred);
    stores.queue.finish(node, &[deferral], NOW).await.unwrap();
    // The messages belong to the campaign "spring".
    suppress(&stores, "ann@example.net", "").await;
    suppress(&stores, "bob@example.net", "spring").await;
    suppress(&stores, "eve@example.net", "autumn").await;
    let mut claimed = stores.queue.claim(node, NOW + 60_000, 10).await.unwrap();
    claimed.sort_by_key(|claimed| claimed.mailbox.email.clone());
    let found: Vec<_> =
        claimed.iter().map(|c| (c.mailbox.email.as_str(), c.suppressed.is_some())).collect();
    let expected = [
        ("Ann@example.net", true),
        ("ann@example.net", true),
        ("bob@example.net", true),
        ("eve@example.net", false),
    ];
    assert_eq!(found, expected);
    assert_eq!(claimed[1].attempts, 1, "this one was deferred");
}

async fn a_suppressed_delivery_ends_without_an_attempt(stores: Stores) {
    let node = node(&stores).await;
    let mut asked = message(&["ann@example.net"]);
    asked.row.send_ms = Some(NOW + 5000);
    let id = asked.row.id;
    accept(&stores, asked, None).await;
    let claimed = stores.queue.claim(node, NOW + 5000, 10).await.unwrap();
    let unbegun = Begun { id: claimed[0].id, attempt: 0 };
    let over = finish(id, unbegun, State::Suppressed, EventType::Suppressed);
    assert_eq!(stores.queue.finish(node, &[over], NOW).await.unwrap(), [true]);
    assert_eq!(state(&stores, id).await, State::Suppressed);
    assert!(stores.queue.claim(node, NOW + 90_000, 10).await.unwrap().is_empty());
    let events = events(&stores, &EventFilter::default(), 2).await;
    let kinds: Vec<_> = events.iter().map(|row| (row.event.kind, row.event.attempt)).collect();
    assert_eq!(kinds, [(EventType::Scheduled, 0), (EventType::Suppressed, 0)]);
}

async fn contents_are_purged_after_the_last_delivery(stores: Stores) {
    let node = node(&stores).await;
    let (id, begun) = begun(&stores, node).await;
    assert_eq!(stores.queue.purge(NOW + 10, NOW).await.unwrap(), 0, "one delivery is open");
    let delivered = finish(id, begun, State::Delivered, EventType::Delivered);
    stores.queue.finish(node, &[delivered], NOW).await.unwrap();
    assert_eq!(stores.queue.purge(NOW, NOW).await.unwrap(), 0, "it is not old enough");
    assert_eq!(stores.queue.purge(NOW + 10, NOW).await.unwrap(), 1);
    assert!(stores.queue.content(id.uuid()).await.unwrap().is_none());
    assert!(messages::message(&*stores.db, id).await.unwrap().is_some(), "the message stays");
}

async fn messages_are_removed_when_their_last_delivery_ended_long_ago(stores: Stores) {
    let (node, db) = (node(&stores).await, &*stores.db);
    let (old, begun_old) = begun(&stores, node).await;
    let delivered = finish(old, begun_old, State::Delivered, EventType::Delivered);
    stores.queue.finish(node, &[delivered], NOW).await.unwrap();
    assert!(!retention::remove_messages(db, NOW + 10).await.unwrap());
    assert!(messages::message(db, old).await.unwrap().is_some(), "it has the newest event");
    let (open, _) = begun(&stores, node).await;
    assert!(!retention::remove_messages(db, NOW + 1).await.unwrap());
    assert!(messages::message(db, old).await.unwrap().is_some(), "it ended at that time");
    assert!(!retention::remove_messages(db, NOW + 2).await.unwrap());
    assert!(messages::message(db, old).await.unwrap().is_none());
    assert!(messages::message(db, open).await.unwrap().is_some(), "it is being sent");
    let tagged = MessageFilter { tag: "welcome".to_owned(), ..MessageFilter::default() };
    let (listed, _) = messages::list(db, &tagged, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|(row, _)| row.id).collect::<Vec<_>>(), [open]);
    let left = events(&stores, &EventFilter::default(), 1).await;
    assert!(left.iter().all(|row| row.event.message_id == open), "{left:?}");
}

async fn removing_messages_goes_on_in_batches(stores: Stores) {
    let (node, db) = (node(&stores).await, &*stores.db);
    let mut made = Vec::new();
    for _ in 0..101 {
        let (id, begun) = begun(&stores, node).await;
        let delivered = finish(id, begun, State::Delivered, EventType::Delivered);
        stores.queue.finish(node, &[delivered], NOW).await.unwrap();
        made.push(id);
    }
    begun(&stores, node).await;
    assert!(retention::remove_messages(db, NOW + 10).await.unwrap());
    assert!(messages::message(db, made[0]).await.unwrap().is_none(), "the oldest go first");
    assert!(messages::message(db, made[100]).await.unwrap().is_some());
    assert!(!retention::remove_messages(db, NOW + 10).await.unwrap());
    assert!(messages::message(db, made[100]).await.unwrap().is_none());
}

async fn depth_counts_open_deliveries(stores: Stores) {
    let node = node(&stores).await;
    begun(&stores, node).await;
    accept(&stores, message(&["ann@example.net"]), None).await;
    let mut later = message(&["ann@example.net"]);
    later.row.send_ms = Some(NOW + 1000);
    accept(&stores, later, None).await;
    let depth = stores.queue.depth().await.unwrap();
    assert_eq!((depth.scheduled, depth.queued, depth.sending, depth.deferred), (1, 1, 1, 0));
    assert_eq!(depth.oldest_due_ms, Some(NOW));
}

async fn folding_counts_nothing_differently(stores: Stores) {
    const HOUR_MS: i64 = 3_600_000;
    let counted = || ledger::stats(&*stores.db, NOW - HOUR_MS, NOW + HOUR_MS, "");
    for _ in 0..20 {
        accept(&stores, message(&["ann@example.net"]), None).await;
    }
    let before = counted().await.unwrap();
    let hour_ms = NOW - NOW.rem_euclid(HOUR_MS);
    assert_eq!(stores.queue.fold_counts(hour_ms).await.unwrap(), 0, "the hour is not over");
    // Two nodes at once, and somebody who still counts.
    let fold = || stores.queue.fold_counts(hour_ms + 1);
    let late = accept(&stores, message(&["ann@example.net"]), None);
    let (one, other, _) = tokio::join!(fold(), fold(), late);
    one.unwrap();
    other.unwrap();
    let [before, after] = [before, counted().await.unwrap()].map(|counts| counts[0]);
    assert_eq!((before.count, after.count), (20, 21));
    fold().await.unwrap();
    assert_eq!(fold().await.unwrap(), 0, "all is folded");
    assert_eq!(counted().await.unwrap()[0], after);
}
