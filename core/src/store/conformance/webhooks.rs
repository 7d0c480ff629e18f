//! Webhook deliveries: collected once, taken by one node, tried until they are over.

use std::collections::BTreeMap;

use postern_proto::ids::{EventId, WebhookId};
use uuid::Uuid;

use super::build::{NOW, accept, begun, events, finish, message, new, node};
use super::promises;
use crate::model::delivery::State;
use crate::model::event::{EventFilter, EventRow, EventType, Subject};
use crate::model::webhook::{DeliveryState, Endpoint, Format, Wanted};
use crate::store::credentials::{self, ExpiryNotice};
use crate::store::webhook_attempts::{self, Ended};
use crate::store::webhook_deliveries::{self as deliveries, Collected, Take, Taken};
use crate::store::{Stores, feed_place, messages, retention, webhooks};

promises![
    an_endpoint_is_kept_changed_and_removed,
    what_is_collected_twice_is_there_once,
    a_delivery_is_taken_by_one_node_and_its_tries_are_kept,
    what_a_dead_node_took_is_due_at_once,
    what_a_node_took_and_does_not_know_of_is_due_at_once,
    a_late_result_changes_nothing,
    a_message_stays_until_endpoints_are_told_and_goes_with_what_they_were_told,
    what_is_about_no_message_goes_with_what_endpoints_were_told,
    an_ordered_endpoint_waits_for_its_first,
    what_failed_comes_back_and_what_is_over_goes,
    a_time_is_found_in_the_feed,
];

fn wanted() -> Wanted {
    Wanted {
        url: "https://shop.example/hook".to_owned(),
        description: "Shop".to_owned(),
        event_types: vec!["message.*".to_owned()],
        campaign_ids: vec!["spring".to_owned()],
        format: Format::Postern,
        ordered: false,
        max_concurrency: 8,
        rate_limit: 0,
        headers: BTreeMap::from([("x-tenant".to_owned(), "7".to_owned())]),
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        id: WebhookId::generate(),
        wanted: wanted(),
        secret: "whsec_new".to_owned(),
        old_secret: String::new(),
        old_secret_expire_ms: 0,
        disabled: false,
        disable_reason: String::new(),
        failing_ms: None,
        cursor: 0,
        create_ms: NOW,
    }
}

async fn an_endpoint_is_kept_changed_and_removed(stores: Stores) {
    let db = &*stores.db;
    let mut kept = endpoint();
    webhooks::create(db, &kept).await.unwrap();
    let find = || webhooks::find(db, kept.id);
    assert_eq!(find().await.unwrap(), Some(kept.clone()));
    let changed = Wanted { ordered: true, event_types: Vec::new(), ..wanted() };
    assert!(webhooks::update(db, kept.id, &changed, &wanted()).await.unwrap());
    let stale = webhooks::update(db, kept.id, &wanted(), &wanted()).await.unwrap();
    assert!(!stale, "somebody else was faster");
    assert!(webhooks::rotate(db, kept.id, "whsec_newer", NOW + 5).await.unwrap());
    let found = find().await.unwrap().unwrap();
    assert_eq!((found.secret.as_str(), found.old_secret.as_str()), ("whsec_newer", "whsec_new"));
    assert_eq!((found.old_secret_expire_ms, &found.wanted), (NOW + 5, &changed));
    db.write(vec![webhooks::failing(kept.id, Some(NOW))]).await.unwrap();
    db.write(vec![webhooks::failing(kept.id, Some(NOW + 9))]).await.unwrap();
    assert_eq!(find().await.unwrap().unwrap().failing_ms, Some(NOW), "since the first failure");
    assert!(webhooks::disable(db, &kept, "gone", NOW).await.unwrap());
    assert!(!webhooks::disable(db, &kept, "again", NOW).await.unwrap());
    let told = events(&stores, &EventFilter::default(), 1).await;
    let [event] = &told[..] else { panic!("told once: {told:?}") };
    assert_eq!(
        (event.event.kind, event.event.reason.as_str()),
        (EventType::WebhookDisabled, "gone")
    );
    let subject = event.subject.clone().unwrap();
    assert_eq!((subject.id, subject.display_name.as_str()), (kept.id.to_string(), "shop.example"));
    assert!(webhooks::active(db).await.unwrap().is_empty());
    assert!(webhooks::enable(db, kept.id, 7).await.unwrap());
    let found = webhooks::active(db).await.unwrap().remove(0);
    assert_eq!((found.cursor, found.failing_ms, found.disable_reason.as_str()), (7, None, ""));
    let other = endpoint();
    webhooks::create(db, &other).await.unwrap();
    let list = webhooks::list(db, None, 10).await.unwrap();
    assert_eq!(list.iter().map(|one| one.id).collect::<Vec<_>>(), [other.id, kept.id]);
    assert_eq!(webhooks::list(db, Some(other.id), 10).await.unwrap().len(), 1);
    assert!(webhooks::delete(db, kept.id).await.unwrap());
    assert!(!webhooks::delete(db, kept.id).await.unwrap());
    kept.id = other.id;
}

/// An endpoint that has collected the acceptance of so many messages.
async fn collected(stores: &Stores, count: usize) -> (WebhookId, Vec<EventRow>) {
    for _ in 0..count {
        new(accept(stores, message(&["ann@example.net"]), None).await);
    }
    let rows = events(stores, &EventFilter::default(), count).await;
    let endpoint = endpoint();
    webhooks::create(&*stores.db, &endpoint).await.unwrap();
    let all = collect_of(endpoint.id, &rows);
    deliveries::collect(&*stores.db, &[all], NOW).await.unwrap();
    (endpoint.id, rows)
}

fn collect_of(endpoint: WebhookId, rows: &[EventRow]) -> Collected {
    let events: Vec<(i64, EventId)> = rows.iter().map(|row| (row.sequence, row.event.id)).collect();
    let cursor = events.last().map_or(0, |(sequence, _)| *sequence);
    Collected { endpoint, events, cursor }
}

async fn take(stores: &Stores, endpoint: WebhookId, node: Uuid, now_ms: i64) -> Vec<Taken> {
    let take = Take { endpoint, node, now_ms, until_ms: now_ms + 1000, limit: 50, ordered: false };
    deliveries::take(&*stores.db, &take).await.unwrap()
}

fn ended(endpoint: WebhookId, node: Uuid, taken: &Taken, state: DeliveryState) -> Ended {
    Ended {
        endpoint,
        sequence: taken.event.sequence,
        attempt: taken.attempt,
        node,
        skipped: false,
        end_ms: NOW + 50,
        status: 500,
        error: "status",
        response: "oops".to_owned(),
        state,
        due_ms: NOW + 60,
        failing: Some(Some(NOW + 50)),
    }
}

async fn what_is_collected_twice_is_there_once(stores: Stores) {
    let db = &*stores.db;
    // More than one piece of each size.
    let (id, rows) = collected(&stores, 75).await;
    let node = node(&stores).await;
    assert_eq!(take(&stores, id, node, NOW).await.len(), 50);
    let again = Collected { cursor: 1, ..collect_of(id, &rows) };
    deliveries::collect(db, &[again], NOW + 5).await.unwrap();
    assert_eq!(deliveries::list(db, id, None, None, 1000).await.unwrap().len(), 75);
    let backlog = deliveries::backlog(db).await.unwrap();
    assert_eq!((backlog.count, backlog.oldest_ms), (75, Some(NOW)));
    let cursor = webhooks::find(db, id).await.unwrap().unwrap().cursor;
    assert_eq!(cursor, rows.last().unwrap().sequence, "it never goes back");
    assert_eq!(take(&stores, id, node, NOW + 6).await.len(), 25, "what is taken stays so");
}

async fn a_delivery_is_taken_by_one_node_and_its_tries_are_kept(stores: Stores) {
    let db = &*stores.db;
    let (id, rows) = collected(&stores, 1).await;
    let (one, other) = (node(&stores).await, node(&stores).await);
    let (first, second) = tokio::join!(take(&stores, id, one, NOW), take(&stores, id, other, NOW));
    assert_eq!(first.len() + second.len(), 1);
    let (node, taken) = if second.is_empty() { (one, &first[0]) } else { (other, &second[0]) };
    assert_eq!((taken.attempt, taken.tries), (1, 1));
    assert_eq!(taken.event.recipient, "ann@example.net");
    let facts = deliveries::facts(db, &[taken.event.event.message_id]).await.unwrap();
    let facts = &facts[&taken.event.event.message_id];
    assert_eq!((facts.subject.as_str(), facts.metadata["uid"].as_str()), ("Hello", "7"));
    webhook_attempts::end(db, &[ended(id, node, taken, DeliveryState::Pending)]).await.unwrap();
    assert_eq!(webhooks::find(db, id).await.unwrap().unwrap().failing_ms, Some(NOW + 50));
    assert_eq!(deliveries::next_due(db, id, false).await.unwrap(), Some(NOW + 60));
    assert!(take(&stores, id, node, NOW + 59).await.is_empty());
    let taken = take(&stores, id, node, NOW + 60).await.remove(0);
    assert_eq!((taken.attempt, taken.tries), (2, 2));
    let over = Ended { failing: Some(None), ..ended(id, node, &taken, DeliveryState::Delivered) };
    webhook_attempts::end(db, &[over]).await.unwrap();
    let (row, event) = deliveries::find(db, id, rows[0].event.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempts, event), (DeliveryState::Delivered, 2, rows[0].clone()));
    let tries = webhook_attempts::list(db, id, row.sequence, 10).await.unwrap();
    let numbers: Vec<_> = tries.iter().map(|one| (one.number, one.create_ms - NOW)).collect();
    assert_eq!(numbers, [(1, 0), (2, 60)]);
    assert_eq!((tries[0].status, tries[0].response.as_str()), (500, "oops"));
    assert_eq!(webhooks::find(db, id).await.unwrap().unwrap().failing_ms, None);
    assert_eq!(deliveries::next_due(db, id, false).await.unwrap(), None);
}

async fn what_a_dead_node_took_is_due_at_once(stores: Stores) {
    let db = &*stores.db;
    let (id, _) = collected(&stores, 2).await;
    let (dead, alive) = (node(&stores).await, node(&stores).await);
    assert_eq!(take(&stores, id, dead, NOW).await.len(), 2);
    assert_eq!(deliveries::free_dead(db, NOW + 1).await.unwrap(), 0);
    stores.queue.heartbeat(alive, NOW + 100).await.unwrap();
    stores.queue.reap(NOW + 50, NOW + 100).await.unwrap();
    assert_eq!(deliveries::free_dead(db, NOW + 100).await.unwrap(), 2);
    let taken = take(&stores, id, alive, NOW + 100).await;
    assert_eq!((taken.len(), taken[0].attempt), (2, 2));
    let tries = webhook_attempts::list(db, id, taken[0].event.sequence, 10).await.unwrap();
    assert_eq!((tries.len(), tries[0].end_ms), (2, None), "the first was interrupted");
}

async fn what_a_node_took_and_does_not_know_of_is_due_at_once(stores: Stores) {
    let db = &*stores.db;
    let (id, _) = collected(&stores, 2).await;
    let (unsure, sure) = (node(&stores).await, node(&stores).await);
    assert_eq!(take(&stores, id, unsure, NOW).await.len(), 2);
    deliveries::free_own(db, id, sure, NOW + 1).await.unwrap();
    deliveries::free_own(db, WebhookId::generate(), unsure, NOW + 1).await.unwrap();
    assert_eq!(take(&stores, id, unsure, NOW + 1).await.len(), 0, "neither was asked for");
    deliveries::free_own(db, id, unsure, NOW + 1).await.unwrap();
    let taken = take(&stores, id, unsure, NOW + 1).await;
    assert_eq!((taken.len(), taken[0].attempt), (2, 2));
}

async fn a_late_result_changes_nothing(stores: Stores) {
    let db = &*stores.db;
    let (id, rows) = collected(&stores, 1).await;
    let node = node(&stores).await;
    let late = take(&stores, id, node, NOW).await.remove(0);
    let taken = take(&stores, id, node, NOW + 1000).await.remove(0);
    webhook_attempts::end(db, &[ended(id, node, &late, DeliveryState::Failed)]).await.unwrap();
    let (row, _) = deliveries::find(db, id, rows[0].event.id).await.unwrap().unwrap();
    assert_eq!(row.state, DeliveryState::Pending);
    let skipped = Ended { skipped: true, ..ended(id, node, &taken, DeliveryState::Pending) };
    webhook_attempts::end(db, &[skipped]).await.unwrap();
    let again = take(&stores, id, node, NOW + 2000).await.remove(0);
    assert_eq!((again.attempt, again.tries), (3, 2), "what was not posted does not count");
}

async fn a_message_stays_until_endpoints_are_told_and_goes_with_what_they_were_told(
    stores: Stores,
) {
    let (db, node) = (&*stores.db, node(&stores).await);
    let (old, begun_old) = begun(&stores, node).await;
    let delivered = finish(old, begun_old, State::Delivered, EventType::Delivered);
    stores.queue.finish(node, &[delivered], NOW).await.unwrap();
    let rows = events(&stores, &EventFilter::default(), 2).await;
    let [told, disabled] = [endpoint(), endpoint()];
    for endpoint in [&told, &disabled] {
        webhooks::create(db, endpoint).await.unwrap();
        deliveries::collect(db, &[collect_of(endpoint.id, &rows)], NOW).await.unwrap();
    }
    // Somebody else has the newest event.
    begun(&stores, node).await;
    retention::remove_messages(db, NOW + 10).await.unwrap();
    assert!(messages::message(db, old).await.unwrap().is_some(), "two are still to be told");
    assert!(webhooks::disable(db, &disabled, "gone", NOW).await.unwrap());
    retention::remove_messages(db, NOW + 10).await.unwrap();
    assert!(messages::message(db, old).await.unwrap().is_some(), "one is still to be told");
    for taken in take(&stores, told.id, node, NOW).await {
        let over = ended(told.id, node, &taken, DeliveryState::Delivered);
        webhook_attempts::end(db, &[over]).await.unwrap();
    }
    retention::remove_messages(db, NOW + 10).await.unwrap();
    assert!(messages::message(db, old).await.unwrap().is_none());
    for endpoint in [told.id, disabled.id] {
        assert!(deliveries::list(db, endpoint, None, None, 10).await.unwrap().is_empty());
    }
}

async fn what_is_about_no_message_goes_with_what_endpoints_were_told(stores: Stores) {
    let (db, node) = (&*stores.db, node(&stores).await);
    let noted = |days| {
        let notice = ExpiryNotice { credential_id: Uuid::now_v7(), expire_ms: NOW, days };
        async move { credentials::note_notice(db, &notice, &Subject::default(), NOW).await.unwrap() }
    };
    assert!(noted(3).await && noted(1).await);
    let rows = events(&stores, &EventFilter::default(), 2).await;
    let endpoint = endpoint();
    webhooks::create(db, &endpoint).await.unwrap();
    deliveries::collect(db, &[collect_of(endpoint.id, &rows)], NOW).await.unwrap();
    let tried = take(&stores, endpoint.id, node, NOW).await;
    assert_eq!(tried.len(), 2);
    retention::remove_affairs(db, NOW + 1).await.unwrap();
    let left = deliveries::list(db, endpoint.id, None, None, 10).await.unwrap();
    let left: Vec<_> = left.iter().map(|row| row.event).collect();
    assert_eq!(left, [rows[1].event.id], "the newest event stays, and its delivery");
    let tries = webhook_attempts::list(db, endpoint.id, rows[0].sequence, 10).await.unwrap();
    assert!(tries.is_empty(), "{tries:?}");
}

async fn an_ordered_endpoint_waits_for_its_first(stores: Stores) {
    let db = &*stores.db;
    let (id, rows) = collected(&stores, 3).await;
    let node = node(&stores).await;
    let ordered = async |now_ms: i64| {
        let until_ms = now_ms + 1000;
        let take = Take { endpoint: id, node, now_ms, until_ms, limit: 100, ordered: true };
        deliveries::take(db, &take).await.unwrap()
    };
    let first = ordered(NOW).await;
    assert_eq!((first.len(), first[0].event.sequence), (1, rows[0].sequence));
    assert!(ordered(NOW).await.is_empty(), "it is under way");
    webhook_attempts::end(db, &[ended(id, node, &first[0], DeliveryState::Pending)]).await.unwrap();
    assert!(ordered(NOW + 59).await.is_empty(), "those behind it wait with it");
    assert_eq!(deliveries::next_due(db, id, true).await.unwrap(), Some(NOW + 60));
    let first = ordered(NOW + 60).await.remove(0);
    assert_eq!(first.event.sequence, rows[0].sequence);
    webhook_attempts::end(db, &[ended(id, node, &first, DeliveryState::Delivered)]).await.unwrap();
    assert_eq!(ordered(NOW + 61).await[0].event.sequence, rows[1].sequence);
}

async fn what_failed_comes_back_and_what_is_over_goes(stores: Stores) {
    let db = &*stores.db;
    let (id, rows) = collected(&stores, 3).await;
    let node = node(&stores).await;
    for (taken, state) in take(&stores, id, node, NOW).await.iter().zip([
        DeliveryState::Failed,
        DeliveryState::Delivered,
        DeliveryState::Failed,
    ]) {
        webhook_attempts::end(db, &[ended(id, node, taken, state)]).await.unwrap();
    }
    assert_eq!(deliveries::recover(db, id, NOW + 1, NOW + 100, false).await.unwrap(), 0);
    assert_eq!(deliveries::recover(db, id, NOW, NOW + 100, true).await.unwrap(), 2);
    assert_eq!(deliveries::recover(db, id, NOW, NOW + 100, false).await.unwrap(), 2);
    let taken = take(&stores, id, node, NOW + 100).await;
    let tries: Vec<_> = taken.iter().map(|one| (one.attempt, one.tries)).collect();
    assert_eq!(tries, [(2, 1), (2, 1)], "the schedule begins anew");
    deliveries::replay(db, &collect_of(id, &rows[1..2]), NOW + 200).await.unwrap();
    let taken = take(&stores, id, node, NOW + 200).await;
    assert_eq!((taken.len(), taken[0].event.sequence), (1, rows[1].sequence));
    webhook_attempts::end(db, &[ended(id, node, &taken[0], DeliveryState::Delivered)])
        .await
        .unwrap();
    assert!(!deliveries::purge(db, NOW + 40).await.unwrap());
    assert_eq!(deliveries::list(db, id, None, None, 10).await.unwrap().len(), 3);
    assert!(!deliveries::purge(db, NOW + 51).await.unwrap());
    let left = deliveries::list(db, id, None, None, 10).await.unwrap();
    assert!(left.iter().all(|row| row.state == DeliveryState::Pending) && left.len() == 2);
    let tries = webhook_attempts::list(db, id, rows[1].sequence, 10).await.unwrap();
    assert!(tries.is_empty(), "tries go with their delivery");
    let page = deliveries::list(db, id, None, Some(left[0].sequence), 10).await.unwrap();
    assert_eq!(page, left[1..]);
}

async fn a_time_is_found_in_the_feed(stores: Stores) {
    let hour = 3_600_000;
    for n in 0..9 {
        let mut asked = message(&["ann@example.net"]);
        asked.row.create_ms = NOW + n * hour;
        let submission = super::build::submission(asked, None);
        stores.intake.accept(vec![submission].into(), NOW + n * hour).await.unwrap();
    }
    let rows = events(&stores, &EventFilter::default(), 9).await;
    let first = rows.iter().position(|row| row.event.create_ms >= NOW + 4 * hour).unwrap();
    let place = feed_place::before(&*stores.db, NOW + 4 * hour).await.unwrap();
    assert!(place < rows[first].sequence && place >= rows[first - 1].sequence, "{place}");
    assert!(feed_place::before(&*stores.db, NOW - hour).await.unwrap() < rows[0].sequence);
    let end = feed_place::before(&*stores.db, NOW + 99 * hour).await.unwrap();
    assert!(end >= rows[8].sequence);
}
