//! Gateways say that they live.

use uuid::Uuid;

use super::build::NOW;
use super::promises;
use crate::store::Stores;
use crate::store::gateways::{self, Gateway};

promises![a_gateway_is_known_until_it_leaves_or_was_silent_for_long];

async fn a_gateway_is_known_until_it_leaves_or_was_silent_for_long(stores: Stores) {
    let db = &*stores.db;
    let gateway = |kind: &str, heartbeat_ms| Gateway {
        id: Uuid::now_v7(),
        kind: kind.to_owned(),
        host: "edge-1".to_owned(),
        version: "1.2.3".to_owned(),
        condition: 1,
        detail: "3 connections".to_owned(),
        heartbeat_ms,
        certificate_ms: None,
    };
    let (rest, mut smtp) = (gateway("rest", NOW), gateway("smtp", NOW + 1));
    gateways::report(db, &rest, 0).await.unwrap();
    gateways::report(db, &smtp, 0).await.unwrap();
    (smtp.heartbeat_ms, smtp.condition) = (NOW + 9, 2);
    (smtp.detail, smtp.certificate_ms) = ("full".to_owned(), Some(NOW + 5));
    gateways::report(db, &smtp, NOW).await.unwrap();
    assert_eq!(gateways::list(db).await.unwrap(), [rest, smtp.clone()]);
    gateways::report(db, &smtp, NOW + 1).await.unwrap();
    assert_eq!(gateways::list(db).await.unwrap(), [smtp.clone()], "the other was silent");
    gateways::leave(db, smtp.id).await.unwrap();
    assert!(gateways::list(db).await.unwrap().is_empty());
}
