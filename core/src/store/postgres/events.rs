//! Events as arrays, and the part of a statement that appends and counts them.

use prost::Message as _;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::model::event::NewEvent;

/// The columns of many events.
#[derive(Default)]
pub(super) struct EventArrays {
    id: Vec<Uuid>,
    kind: Vec<i64>,
    create_ms: Vec<i64>,
    message_id: Vec<Uuid>,
    delivery_id: Vec<Uuid>,
    attempt: Vec<i64>,
    reason: Vec<String>,
    reply: Vec<Option<Vec<u8>>>,
    possible_duplicate: Vec<bool>,
    next_ms: Vec<Option<i64>>,
    campaign_id: Vec<String>,
}

impl EventArrays {
    /// How many parameters [`Self::params`] are.
    pub(super) const PARAMS: usize = 11;

    pub(super) fn new<'e>(events: impl IntoIterator<Item = &'e NewEvent>) -> Self {
        let mut arrays = Self::default();
        for event in events {
            arrays.id.push(event.id.uuid());
            arrays.kind.push(event.kind as i64);
            arrays.create_ms.push(event.create_ms);
            arrays.message_id.push(event.message_id.uuid());
            arrays.delivery_id.push(event.delivery_id.uuid());
            arrays.attempt.push(i64::from(event.attempt));
            arrays.reason.push(event.reason.clone());
            arrays.reply.push(event.reply.as_ref().map(|reply| reply.encode_to_vec()));
            arrays.possible_duplicate.push(event.possible_duplicate);
            arrays.next_ms.push(event.next_ms);
            arrays.campaign_id.push(event.campaign_id.clone());
        }
        arrays
    }

    /// The parameters, in the order [`append_sql`] numbers them.
    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); Self::PARAMS] {
        [
            &self.id,
            &self.kind,
            &self.create_ms,
            &self.message_id,
            &self.delivery_id,
            &self.attempt,
            &self.reason,
            &self.reply,
            &self.possible_duplicate,
            &self.next_ms,
            &self.campaign_id,
        ]
    }
}

/// The common table expressions that append the events given as parameters from `first` on, as far
/// as `join` lets them through, and count them in the shard of parameter `shard`.
pub(super) fn append_sql(first: usize, shard: usize, join: &str) -> String {
    let types = [
        "uuid", "bigint", "bigint", "uuid", "uuid", "bigint", "text", "bytea", "boolean", "bigint",
        "text",
    ];
    let arrays: Vec<_> =
        types.iter().enumerate().map(|(n, ty)| format!("${}::{ty}[]", first + n)).collect();
    format!(
        "x AS (SELECT x.* FROM UNNEST({}) WITH ORDINALITY AS x (id, type, create_ms, message_id, \
         delivery_id, attempt, reason, reply, possible_duplicate, next_ms, campaign_id, n) {join}), \
         e AS (INSERT INTO events (sequence, id, type, create_ms, message_id, delivery_id, attempt, \
         reason, reply, possible_duplicate, next_ms) \
         SELECT (pg_current_xact_id()::text::bigint + c.base) * 4096 + x.n - 1, x.id, x.type, \
         x.create_ms, x.message_id, x.delivery_id, x.attempt, x.reason, x.reply, \
         x.possible_duplicate, x.next_ms FROM x CROSS JOIN event_clock c), \
         s AS (INSERT INTO stats (hour_ms, campaign_id, type, shard, count) \
         SELECT create_ms - create_ms % 3600000, campaign_id, type, ${shard}::bigint, COUNT(*) \
         FROM x GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 \
         ON CONFLICT (hour_ms, campaign_id, type, shard) \
         DO UPDATE SET count = stats.count + excluded.count)",
        arrays.join(", ")
    )
}
