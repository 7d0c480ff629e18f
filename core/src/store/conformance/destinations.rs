//! Destinations whose mail waits, and the queue as it is listed by them.

use postern_proto::ids::RecipientId;
use uuid::Uuid;

use super::build::{NOW, accept, begun, finish, message, node};
use super::promises;
use crate::model::delivery::State;
use crate::model::event::EventType;
use crate::store::campaigns::HOLD_MS;
use crate::store::destinations::{self, Pause, Waiting};
use crate::store::{Stores, directory};

promises![
    a_paused_destination_waits_and_goes_on,
    what_is_parked_for_a_destination_too_late_is_found,
    only_what_waits_for_another_attempt_is_retried,
    what_waits_is_counted_by_domain_and_state,
];

async fn pause(stores: &Stores, domain: &str, at_ms: i64) {
    let (domain, note) = (domain.to_owned(), format!("because of {at_ms}"));
    let pause = Pause { domain, note, change_ms: at_ms };
    destinations::pause(&*stores.db, &pause).await.unwrap();
}

async fn paused(stores: &Stores) -> Vec<(String, i64)> {
    let paused = destinations::paused(&*stores.db).await.unwrap();
    paused.into_iter().map(|pause| (pause.domain, pause.change_ms - NOW)).collect()
}

/// Accepts a message to one recipient, and parks it as a node does that finds it paused.
async fn parked(stores: &Stores, node: Uuid, to: &str) -> RecipientId {
    let asked = message(&[to]);
    let id = asked.recipients[0].id;
    accept(stores, asked, Some(node)).await;
    stores.queue.postpone(node, &[(id, NOW + HOLD_MS)]).await.unwrap();
    id
}

async fn claimed(stores: &Stores, node: Uuid, at_ms: i64) -> Vec<RecipientId> {
    let claimed = stores.queue.claim(node, at_ms, 10).await.unwrap();
    claimed.into_iter().map(|claimed| claimed.id).collect()
}

async fn a_paused_destination_waits_and_goes_on(stores: Stores) {
    let (db, node) = (&*stores.db, node(&stores).await);
    let before = directory::version(db).await.unwrap();
    pause(&stores, "example.net", NOW).await;
    assert_ne!(directory::version(db).await.unwrap(), before, "other nodes must notice");
    pause(&stores, "example.org", NOW + 1).await;
    pause(&stores, "example.net", NOW + 2).await;
    let both = [("example.net".to_owned(), 2), ("example.org".to_owned(), 1)];
    assert_eq!(paused(&stores).await, both);
    let (net, org) = (
        parked(&stores, node, "Ann@Example.NET").await,
        parked(&stores, node, "ann@example.org").await,
    );
    // Not even in a hundred years; and asking for another attempt does not free it.
    assert_eq!(destinations::retry(db, "example.net", NOW).await.unwrap(), 0);
    assert!(claimed(&stores, node, NOW + 100 * 365 * 24 * 3_600_000).await.is_empty());
    destinations::resume(db, "example.net", NOW + 3).await.unwrap();
    assert_eq!(paused(&stores).await, both[1..]);
    assert_eq!(claimed(&stores, node, NOW).await, [net], "due as it was before");
    destinations::resume(db, "example.org", NOW + 4).await.unwrap();
    assert_eq!(claimed(&stores, node, NOW).await, [org]);
}

async fn what_is_parked_for_a_destination_too_late_is_found(stores: Stores) {
    let (db, node) = (&*stores.db, node(&stores).await);
    pause(&stores, "example.net", NOW).await;
    assert_eq!(destinations::sweep(db, NOW).await.unwrap(), 0);
    destinations::resume(db, "example.net", NOW + 1).await.unwrap();
    let late = parked(&stores, node, "ann@example.net").await;
    let other = parked(&stores, node, "ann@example.org").await;
    assert!(claimed(&stores, node, NOW + 3).await.is_empty());
    assert_eq!(destinations::sweep(db, NOW + 4).await.unwrap(), 1);
    assert_eq!(claimed(&stores, node, NOW + 5).await, [late]);
    assert_eq!(destinations::sweep(db, NOW + 4_000_000).await.unwrap(), 0, "{other} is not freed");
}

async fn only_what_waits_for_another_attempt_is_retried(stores: Stores) {
    let (db, node) = (&*stores.db, node(&stores).await);
    let (id, begun) = begun(&stores, node).await;
    let deferred = finish(id, begun, State::Deferred, EventType::Deferred);
    stores.queue.finish(node, &[deferred], NOW).await.unwrap();
    let mut later = message(&["bob@example.net"]);
    later.row.send_ms = Some(NOW + 50_000);
    accept(&stores, later, None).await;
    assert_eq!(destinations::to_retry(db, "example.net", NOW).await.unwrap(), 1);
    assert_eq!(destinations::retry(db, "example.org", NOW).await.unwrap(), 0);
    assert!(claimed(&stores, node, NOW).await.is_empty());
    assert_eq!(destinations::retry(db, "example.net", NOW).await.unwrap(), 1);
    assert_eq!(claimed(&stores, node, NOW).await, [begun.id], "its send time is left alone");
    assert_eq!(destinations::retry(db, "example.net", NOW).await.unwrap(), 0);
}

async fn what_waits_is_counted_by_domain_and_state(stores: Stores) {
    let (db, node) = (&*stores.db, node(&stores).await);
    let (id, first) = begun(&stores, node).await;
    let deferred = finish(id, first, State::Deferred, EventType::Deferred);
    stores.queue.finish(node, &[deferred], NOW).await.unwrap();
    begun(&stores, node).await;
    let (id, again) = begun(&stores, node).await;
    let mut deferred = finish(id, again, State::Deferred, EventType::Deferred);
    deferred.due_ms = NOW + 30_000;
    stores.queue.finish(node, &[deferred], NOW).await.unwrap();
    accept(&stores, message(&["ann@EXAMPLE.org", "\"bob@home\"@example.org"]), None).await;
    let mut later = message(&["ann@example.org"]);
    later.row.send_ms = Some(NOW + 5000);
    accept(&stores, later, None).await;
    let (id, over) = begun(&stores, node).await;
    let delivered = finish(id, over, State::Delivered, EventType::Delivered);
    stores.queue.finish(node, &[delivered], NOW).await.unwrap();
    let mut waiting = destinations::waiting(db).await.unwrap();
    waiting.sort_by_key(|one| (one.domain.clone(), one.state));
    let due = |domain: &str, state: State, count, due_ms| Waiting {
        domain: domain.to_owned(),
        state: state as i64,
        count,
        due_ms,
    };
    let expected = [
        due("example.net", State::Sending, 1, NOW),
        due("example.net", State::Deferred, 2, NOW + 30_000),
        due("example.org", State::Scheduled, 1, NOW + 5000),
        due("example.org", State::Queued, 2, NOW),
    ];
    assert_eq!(waiting, expected);
}
