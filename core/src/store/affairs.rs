//! Events that are about no message: something an operator should know of.
//!
//! Such an event is a consequence of the change it reports, in the same transaction, so it is told
//! once, by whichever node makes the change. It stands in the feed like any other.

use postern_proto::ids::EventId;
use prost::Message as _;
use uuid::Uuid;

use crate::model::event::{EventType, Subject};

use super::db::{Database, Part, Statement};
use super::webhook_deliveries::REMOVE_OF_EVENTS;

/// Appends an event, if a change before it in its transaction had an effect. A transaction has one
/// at most: its place in the feed is the first of the transaction.
pub(super) fn event(
    db: &dyn Database,
    kind: EventType,
    subject: &Subject,
    reason: &str,
    now_ms: i64,
) -> Statement {
    let sql = format!(
        "INSERT INTO events (sequence, id, type, create_ms, message_id, delivery_id, attempt, reason, \
         possible_duplicate, detail) VALUES ({}, $1, $2, $3, $4, $4, 0, $5, $6, $7)",
        db.sequence_sql()
    );
    let params = vec![
        EventId::generate().uuid().into(),
        (kind as i64).into(),
        now_ms.into(),
        Uuid::nil().into(),
        reason.into(),
        false.into(),
        subject.encode_to_vec().into(),
    ];
    Statement::new(sql, params).as_part(Part::Consequence)
}

/// Removes those from before a time; those of messages go with their messages. The newest event stays,
/// from which the feed counts on.
pub(super) fn removals(before_ms: i64) -> Vec<Statement> {
    const OLD: &str = "WHERE message_id = $1 AND create_ms < $2 \
                       AND sequence < (SELECT MAX(sequence) FROM events)";
    let [tries, told] = REMOVE_OF_EVENTS.map(|start| format!("{start} {OLD})"));
    [tries, told, format!("DELETE FROM events {OLD}")]
        .map(|sql| Statement::new(sql, vec![Uuid::nil().into(), before_ms.into()]))
        .into()
}
