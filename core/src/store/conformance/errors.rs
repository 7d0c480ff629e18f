//! What went wrong, as it is read from the events.

use super::build::{NOW, begun, events, finish, node};
use super::promises;
use crate::model::delivery::State;
use crate::model::event::{EventFilter, EventType};
use crate::store::{Stores, errors};

promises![what_went_wrong_is_listed_and_nothing_else];

async fn what_went_wrong_is_listed_and_nothing_else(stores: Stores) {
    let node = node(&stores).await;
    for (kind, state, at_ms) in [
        (EventType::Deferred, State::Deferred, NOW + 1),
        (EventType::Bounced, State::Bounced, NOW + 2),
        (EventType::Delivered, State::Delivered, NOW + 3),
        (EventType::Failed, State::Failed, NOW + 4),
        (EventType::Expired, State::Expired, NOW + 5),
    ] {
        let (id, begun) = begun(&stores, node).await;
        let mut over = finish(id, begun, state, kind);
        over.event.create_ms = at_ms;
        stores.queue.finish(node, &[over], NOW).await.unwrap();
    }
    events(&stores, &EventFilter::default(), 10).await;
    let since = async |since_ms, campaign_id: &str| {
        let window = errors::Window { since_ms, before: None, campaign_id };
        let seen = errors::seen(&*stores.db, window).await.unwrap();
        assert!(seen.iter().all(|one| one.reason == "because" && one.domain == "example.net"));
        let places: Vec<_> = seen.iter().map(|one| one.sequence).collect();
        let rows = errors::events(&*stores.db, &places).await.unwrap();
        assert!(rows.iter().all(|row| row.recipient == "ann@example.net"));
        let read: Vec<_> = rows.iter().map(|row| (row.sequence, row.event.kind)).collect();
        assert_eq!(read, seen.iter().map(|one| (one.sequence, one.kind)).collect::<Vec<_>>());
        rows.iter().map(|row| (row.event.kind, row.event.create_ms - NOW)).collect::<Vec<_>>()
    };
    let all = [
        (EventType::Expired, 5),
        (EventType::Failed, 4),
        (EventType::Bounced, 2),
        (EventType::Deferred, 1),
    ];
    assert_eq!(since(NOW, "").await, all, "the newest first");
    assert_eq!(since(NOW + 2, "spring").await, all[..3]);
    assert!(since(NOW, "autumn").await.is_empty());
    assert!(since(NOW + 6, "").await.is_empty());
    let newest = errors::Window { since_ms: NOW, before: None, campaign_id: "" };
    let seen = errors::seen(&*stores.db, newest).await.unwrap();
    let rest = errors::Window { before: Some(seen[1].sequence), ..newest };
    assert_eq!(errors::seen(&*stores.db, rest).await.unwrap(), seen[2..], "where a page went on");
}
