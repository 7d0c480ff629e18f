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
    let since = async |since_ms, campaign| {
        let rows = errors::since(&*stores.db, since_ms, campaign).await.unwrap();
        let seen: Vec<_> =
            rows.iter().map(|row| (row.event.kind, row.event.create_ms - NOW)).collect();
        assert!(rows.iter().all(|row| row.recipient == "ann@example.net"));
        assert!(rows.iter().all(|row| row.event.reason == "because"));
        seen
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
}
