//! Small makers of what the tests store.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use postern_kit::trace::Trace;
use postern_proto::ids::{EventId, KeyId, MessageId, RecipientId, SuppressionId};
use uuid::Uuid;

use crate::model::content::Mailbox;
use crate::model::delivery::{Kind, Reply, State};
use crate::model::directory::{Suppression, SuppressionReason};
use crate::model::event::{EventFilter, EventRow, EventType, NewEvent};
use crate::model::message::{
    Accepted, Idempotency, MessageRow, NewMessage, NewRecipient, Priority, Receipt, Submission,
};
use crate::store::queue::{Begun, Finish};
use crate::store::{Stores, directory, ledger};

/// The time at which the tests happen.
pub(crate) const NOW: i64 = 1_800_000_000_000;

/// How long a reader looks again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A message to these addresses.
pub(crate) fn message(to: &[&str]) -> NewMessage {
    let id = MessageId::generate();
    let recipient = |email: &&str| NewRecipient {
        id: RecipientId::generate(),
        kind: Kind::To,
        mailbox: Mailbox { email: (*email).to_owned(), name: "Ann".to_owned() },
        variables: String::new(),
    };
    NewMessage {
        row: MessageRow {
            id,
            content_id: id.uuid(),
            batch_id: None,
            key_id: KeyId::generate(),
            from: Mailbox { email: "shop@example.com".to_owned(), name: "Shop".to_owned() },
            subject: "Hello".to_owned(),
            external_id: "order-1".to_owned(),
            campaign_id: "spring".to_owned(),
            tags: vec!["welcome".to_owned(), "новый".to_owned()],
            metadata: BTreeMap::from([("uid".to_owned(), "7".to_owned())]),
            priority: Priority::Normal,
            create_ms: NOW,
            send_ms: None,
            expire_ms: NOW + 1_000_000,
            test: false,
            rfc_message_id: format!("{id}@example.com"),
            trace: Some(Trace::begin(true)),
        },
        recipients: to.iter().map(recipient).collect(),
        idempotency: None,
    }
}

/// A message with an idempotency key.
pub(crate) fn keyed(key: &str, fingerprint: u8) -> NewMessage {
    let mut message = message(&["ann@example.net"]);
    message.idempotency = Some(Idempotency {
        key: key.to_owned(),
        fingerprint: [fingerprint; 32],
        expire_ms: NOW + 60_000,
    });
    message
}

/// A submission of one message.
pub(crate) fn submission(message: NewMessage, lease: Option<Uuid>) -> Submission {
    let content = Bytes::from_static(b"content");
    Submission { content_id: message.row.content_id, content, messages: vec![message], lease }
}

/// Accepts one message and returns its answer.
pub(crate) async fn accept(stores: &Stores, message: NewMessage, lease: Option<Uuid>) -> Accepted {
    let answers = stores.intake.accept(vec![submission(message, lease)].into(), NOW).await.unwrap();
    answers.into_iter().next().unwrap().into_iter().next().unwrap()
}

/// The receipt of a message that must have been stored now.
pub(crate) fn new(accepted: Accepted) -> Receipt {
    match accepted {
        Accepted::New(receipt) => receipt,
        other => panic!("expected a new message, got {other:?}"),
    }
}

/// Suppresses an address for a campaign; empty for all mail.
pub(crate) async fn suppress(stores: &Stores, email: &str, campaign: &str) {
    let entry = Suppression {
        id: SuppressionId::generate(),
        email: email.to_owned(),
        reason: SuppressionReason::Unsubscribe,
        campaign_id: campaign.to_owned(),
        note: String::new(),
        create_ms: NOW,
    };
    directory::create_suppression(&*stores.db, &entry).await.unwrap();
}

/// A node that lives.
pub(crate) async fn node(stores: &Stores) -> Uuid {
    let node = Uuid::now_v7();
    stores.queue.heartbeat(node, NOW).await.unwrap();
    node
}

/// Accepts a message to one recipient under a lease and begins its first attempt.
pub(crate) async fn begun(stores: &Stores, node: Uuid) -> (MessageId, Begun) {
    let message = message(&["ann@example.net"]);
    let (id, recipient) = (message.row.id, message.recipients[0].id);
    accept(stores, message, Some(node)).await;
    let begun = stores.queue.begin(node, &[recipient], NOW).await.unwrap();
    assert_eq!(begun.len(), 1);
    (id, begun[0])
}

/// The result of an attempt.
pub(crate) fn finish(message: MessageId, begun: Begun, state: State, kind: EventType) -> Finish {
    Finish {
        id: begun.id,
        attempt: begun.attempt,
        state,
        due_ms: NOW + 60_000,
        event: NewEvent {
            id: EventId::generate(),
            kind,
            create_ms: NOW + 1,
            message_id: message,
            delivery_id: begun.id,
            campaign_id: "spring".to_owned(),
            attempt: begun.attempt,
            reason: "because".to_owned(),
            reply: Some(Reply { code: 250, text: "fine".to_owned(), ..Reply::default() }),
            possible_duplicate: false,
            next_ms: None,
        },
        hand_over: None,
        suppress: None,
    }
}

/// The state of a message's only recipient.
pub(crate) async fn state(stores: &Stores, id: MessageId) -> State {
    let (_, recipients) = crate::store::messages::message(&*stores.db, id).await.unwrap().unwrap();
    recipients[0].state
}

/// The events that fit, once there are `count` of them. A test's neighbours on the same PostgreSQL
/// may hold the horizon back for a moment, so a reader looks again, as followers of the feed do.
pub(crate) async fn events(stores: &Stores, filter: &EventFilter, count: usize) -> Vec<EventRow> {
    let read = async {
        loop {
            let rows = ledger::events(&*stores.db, filter, 0, 100).await.unwrap();
            if rows.len() >= count {
                return rows;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the events become visible")
}
