//! Removing messages that have had their time, with everything that is known about them.
//!
//! What is removed was over, so two nodes at once remove it once. A batch is one transaction; a crash
//! leaves whole messages.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::db::{Database, Statement, Where, first_id};
use super::value::{Row, Value};
use super::webhook_deliveries::REMOVE_OF_EVENTS;
use super::{Error, affairs};

/// Messages that are looked at for one batch.
const MESSAGES_MAX: usize = 100;
/// A batch has no more messages once it has so many recipients.
const RECIPIENTS_MAX: i64 = 1000;

/// A message whose deliveries have all ended long enough ago.
struct Old {
    id: Uuid,
    tags: Vec<String>,
    recipients: i64,
}

/// Removes some messages of which every delivery ended before `before_ms`, with their recipients and
/// events. Tells whether there may be more. The newest event stays, from which the feed counts on.
pub async fn remove_messages(db: &dyn Database, before_ms: i64) -> Result<bool, Error> {
    // Ids are in the order of time, so the oldest are found without a look at the others.
    let sql = format!(
        "SELECT m.id, m.tags, (SELECT COUNT(*) FROM deliveries d WHERE d.message_id = m.id) \
         FROM messages m WHERE m.id < $1 AND m.create_ms < $2 AND NOT EXISTS (SELECT 1 FROM deliveries d \
         WHERE d.message_id = m.id AND (d.state < 5 OR d.update_ms >= $2)) AND m.id <> (SELECT \
         message_id FROM events ORDER BY sequence DESC LIMIT 1) AND NOT EXISTS (SELECT 1 FROM events e, \
         webhook_endpoints p, webhook_deliveries w WHERE e.message_id = m.id AND NOT p.disabled \
         AND w.endpoint_id = p.id AND w.sequence = e.sequence AND w.state = 1) \
         ORDER BY m.id LIMIT {MESSAGES_MAX}"
    );
    let found = Statement::new(sql, vec![first_id(before_ms).into(), before_ms.into()]);
    let found = db.read(found).await?.iter().map(old).collect::<Result<Vec<_>, _>>()?;
    let full = found.len() == MESSAGES_MAX;
    let mut recipients = 0;
    let batch: Vec<_> = found
        .iter()
        .take_while(|one| {
            let before = recipients;
            recipients += one.recipients;
            before == 0 || recipients <= RECIPIENTS_MAX
        })
        .collect();
    if batch.is_empty() {
        return Ok(false);
    }
    db.write(removals(&batch)).await?;
    Ok(full || batch.len() < found.len())
}

/// Removes what happened before `before_ms` and is about no message.
pub async fn remove_affairs(db: &dyn Database, before_ms: i64) -> Result<(), Error> {
    db.write(affairs::removals(before_ms)).await.map(|_| ())
}

fn removals(batch: &[&Old]) -> Vec<Statement> {
    let ids: Vec<Value> = batch.iter().map(|one| one.id.into()).collect();
    let of = |select: &str, column: &str, rest: &str| {
        let mut conditions = Where::default();
        conditions.and_in(column, ids.clone());
        conditions.statement(select, rest)
    };
    let tags: BTreeSet<&String> = batch.iter().flat_map(|one| &one.tags).collect();
    let mut tagged = Where::default();
    tagged.and_in("tag", tags.into_iter().map(|tag| tag.as_str().into()).collect());
    tagged.and_in("message_id", ids.clone());
    let hits = "DELETE FROM first_hits WHERE delivery_id IN (SELECT id FROM deliveries";
    let [tries, told] = REMOVE_OF_EVENTS;
    vec![
        of(tries, "message_id", ")"),
        of(told, "message_id", ")"),
        of(hits, "message_id", ")"),
        tagged.statement("DELETE FROM message_tags", ""),
        of("DELETE FROM events", "message_id", ""),
        of("DELETE FROM deliveries", "message_id", ""),
        of("DELETE FROM messages", "id", ""),
    ]
}

fn old(row: &Row) -> Result<Old, Error> {
    Ok(Old { id: row.uuid(0)?, tags: row.json(1)?, recipients: row.int(2)? })
}
