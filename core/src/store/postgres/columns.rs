//! The rows of a plan as one array per column, in the order the acceptance statement numbers them.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::plan::{DeliveryInsert, Plan};
use super::super::value::json;
use crate::model::message::MessageRow;

/// The types of the arrays, table by table.
#[rustfmt::skip]
pub(super) const TYPES: [&str; Columns::PARAMS] = [
    // messages
    "uuid", "uuid", "uuid", "uuid", "text", "text", "text", "text", "text", "text", "text",
    "bigint", "bigint", "bigint", "bigint", "boolean", "text", "bytea",
    // bodies
    "uuid", "bigint", "bytea",
    // deliveries
    "uuid", "uuid", "bigint", "bigint", "text", "text", "text", "bigint", "text", "bigint",
    "bigint", "uuid", "bigint",
    // idempotency
    "text", "bytea", "bigint", "bytea",
    // message_tags
    "text", "uuid",
];

/// All columns of a plan.
#[derive(Default)]
pub(super) struct Columns<'p> {
    messages: Messages<'p>,
    bodies: (Vec<Uuid>, Vec<i64>, Vec<&'p [u8]>),
    deliveries: Deliveries<'p>,
    keys: Keys<'p>,
    tags: (Vec<&'p str>, Vec<Uuid>),
}

#[derive(Default)]
struct Keys<'p> {
    key: Vec<&'p str>,
    fingerprint: Vec<&'p [u8]>,
    expire_ms: Vec<i64>,
    receipt: Vec<&'p [u8]>,
}

#[derive(Default)]
struct Messages<'p> {
    id: Vec<Uuid>,
    content_id: Vec<Uuid>,
    batch_id: Vec<Option<Uuid>>,
    key_id: Vec<Uuid>,
    from_email: Vec<&'p str>,
    from_name: Vec<&'p str>,
    subject: Vec<&'p str>,
    external_id: Vec<&'p str>,
    campaign_id: Vec<&'p str>,
    tags: Vec<String>,
    metadata: Vec<String>,
    priority: Vec<i64>,
    create_ms: Vec<i64>,
    send_ms: Vec<Option<i64>>,
    expire_ms: Vec<i64>,
    test: Vec<bool>,
    rfc_message_id: Vec<&'p str>,
    trace: Vec<Option<Vec<u8>>>,
}

#[derive(Default)]
struct Deliveries<'p> {
    id: Vec<Uuid>,
    message_id: Vec<Uuid>,
    ordinal: Vec<i64>,
    kind: Vec<i64>,
    email: Vec<&'p str>,
    name: Vec<&'p str>,
    variables: Vec<&'p str>,
    state: Vec<i64>,
    reason: Vec<&'p str>,
    due_ms: Vec<i64>,
    priority: Vec<i64>,
    lease: Vec<Option<Uuid>>,
    update_ms: Vec<i64>,
}

impl<'p> Columns<'p> {
    /// How many arrays there are.
    pub(super) const PARAMS: usize = 40;

    pub(super) fn new(plan: &'p Plan<'_>) -> Self {
        let mut columns = Self::default();
        for row in &plan.messages {
            columns.messages.push(row);
            for tag in &row.tags {
                columns.tags.0.push(tag);
                columns.tags.1.push(row.id.uuid());
            }
        }
        for (id, create_ms, content) in &plan.bodies {
            columns.bodies.0.push(*id);
            columns.bodies.1.push(*create_ms);
            columns.bodies.2.push(content);
        }
        for delivery in &plan.deliveries {
            columns.deliveries.push(delivery);
        }
        for key in &plan.keys {
            columns.keys.key.push(key.key);
            columns.keys.fingerprint.push(key.fingerprint);
            columns.keys.expire_ms.push(key.expire_ms);
            columns.keys.receipt.push(&key.receipt);
        }
        columns
    }

    #[rustfmt::skip]
    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let (m, d) = (&self.messages, &self.deliveries);
        vec![
            &m.id, &m.content_id, &m.batch_id, &m.key_id, &m.from_email, &m.from_name, &m.subject,
            &m.external_id, &m.campaign_id, &m.tags, &m.metadata, &m.priority, &m.create_ms,
            &m.send_ms, &m.expire_ms, &m.test, &m.rfc_message_id, &m.trace,
            &self.bodies.0, &self.bodies.1, &self.bodies.2,
            &d.id, &d.message_id, &d.ordinal, &d.kind, &d.email, &d.name, &d.variables, &d.state,
            &d.reason, &d.due_ms, &d.priority, &d.lease, &d.update_ms,
            &self.keys.key, &self.keys.fingerprint, &self.keys.expire_ms, &self.keys.receipt,
            &self.tags.0, &self.tags.1,
        ]
    }
}

impl<'p> Messages<'p> {
    fn push(&mut self, row: &'p MessageRow) {
        self.id.push(row.id.uuid());
        self.content_id.push(row.content_id);
        self.batch_id.push(row.batch_id.map(|id| id.uuid()));
        self.key_id.push(row.key_id.uuid());
        self.from_email.push(&row.from.email);
        self.from_name.push(&row.from.name);
        self.subject.push(&row.subject);
        self.external_id.push(&row.external_id);
        self.campaign_id.push(&row.campaign_id);
        self.tags.push(json(&row.tags));
        self.metadata.push(json(&row.metadata));
        self.priority.push(row.priority as i64);
        self.create_ms.push(row.create_ms);
        self.send_ms.push(row.send_ms);
        self.expire_ms.push(row.expire_ms);
        self.test.push(row.test);
        self.rfc_message_id.push(&row.rfc_message_id);
        self.trace.push(row.trace.map(|trace| trace.to_bytes().to_vec()));
    }
}

impl<'p> Deliveries<'p> {
    fn push(&mut self, delivery: &'p DeliveryInsert<'_>) {
        let recipient = delivery.recipient;
        self.id.push(recipient.id.uuid());
        self.message_id.push(delivery.message.id.uuid());
        self.ordinal.push(delivery.ordinal);
        self.kind.push(recipient.kind as i64);
        self.email.push(&recipient.mailbox.email);
        self.name.push(&recipient.mailbox.name);
        self.variables.push(&recipient.variables);
        self.state.push(delivery.state as i64);
        self.reason.push(delivery.reason);
        self.due_ms.push(delivery.due_ms);
        self.priority.push(delivery.message.priority as i64);
        self.lease.push(delivery.lease);
        self.update_ms.push(delivery.message.create_ms);
    }
}
