//! Events on their way to endpoints: collected from the feed, taken for a try, tried again.
//!
//! Collecting writes deliveries and cursors in one transaction, and a delivery that is there already
//! stays as it is, so whoever collects again after a crash, or at the same time, does no harm. A node
//! takes a delivery for a try by moving its due time ahead; what dead nodes took is due again at once.

use std::collections::{BTreeMap, HashMap};

use postern_kit::trace::Trace;
use postern_proto::ids::{BatchId, EventId, MessageId, WebhookId};
use uuid::Uuid;

use crate::model::event::EventRow;
use crate::model::webhook::{DeliveryRow, DeliveryState};

use super::db::{Database, Statement, Where, pieces};
use super::value::{Row, Value};
use super::{Error, ledger};

const DELIVERY: &str = "SELECT endpoint_id, sequence, event_id, state, attempts, due_ms, create_ms \
    FROM webhook_deliveries";
/// The beginnings of statements that remove the tries and deliveries of events, which must go before
/// those do: a delivery without its event would be first in its order for ever. Behind each comes which
/// events, and a bracket.
pub(super) const REMOVE_OF_EVENTS: [&str; 2] = [
    "DELETE FROM webhook_attempts WHERE endpoint_id IN (SELECT id FROM webhook_endpoints) \
     AND sequence IN (SELECT sequence FROM events",
    "DELETE FROM webhook_deliveries WHERE endpoint_id IN (SELECT id FROM webhook_endpoints) \
     AND sequence IN (SELECT sequence FROM events",
];
/// Rows that one round of tidying deletes.
const PURGE_MAX: usize = 1000;

/// Events that an endpoint wants, and up to where it has then collected the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The endpoint.
    pub endpoint: WebhookId,
    /// The events.
    pub events: Vec<(i64, EventId)>,
    /// Its cursor from then on; it never goes back.
    pub cursor: i64,
}

/// Stores what endpoints have collected.
pub async fn collect(db: &dyn Database, collected: &[Collected], now_ms: i64) -> Result<(), Error> {
    let mut statements = Vec::new();
    for one in collected {
        statements.extend(inserts(one, now_ms, "DO NOTHING"));
        let sql = "UPDATE webhook_endpoints SET cursor = $1 WHERE id = $2 AND cursor < $1";
        let params = vec![one.cursor.into(), one.endpoint.uuid().into()];
        statements.push(Statement::new(sql, params));
    }
    db.write(statements).await.map(|_| ())
}

/// What endpoints have not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// How many deliveries.
    pub count: i64,
    /// When the oldest was collected.
    pub oldest_ms: Option<i64>,
}

/// Measures the backlog of all endpoints.
pub async fn backlog(db: &dyn Database) -> Result<Backlog, Error> {
    let sql = "SELECT COUNT(*), MIN(create_ms) FROM webhook_deliveries WHERE state = 1";
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    let Some(row) = rows.first() else { return Ok(Backlog { count: 0, oldest_ms: None }) };
    Ok(Backlog { count: row.int(0)?, oldest_ms: row.int_or_null(1)? })
}

/// Makes events due for an endpoint, whatever became of them before.
pub async fn replay(db: &dyn Database, wanted: &Collected, now_ms: i64) -> Result<(), Error> {
    let again = "DO UPDATE SET state = 1, tries = 0, due_ms = excluded.due_ms, \
                 update_ms = excluded.update_ms";
    let statements = inserts(wanted, now_ms, again);
    if statements.is_empty() {
        return Ok(());
    }
    db.write(statements).await.map(|_| ())
}

fn inserts(wanted: &Collected, now_ms: i64, conflict: &str) -> Vec<Statement> {
    let insert = |piece: &[(i64, EventId)]| {
        let row = |n: usize| format!("($1, $2, $2, $2, ${}, ${}, 1, 0, 0)", 2 * n + 3, 2 * n + 4);
        let rows: Vec<_> = (0..piece.len()).map(row).collect();
        let sql = format!(
            "INSERT INTO webhook_deliveries (endpoint_id, due_ms, create_ms, update_ms, sequence, \
             event_id, state, attempts, tries) VALUES {} \
             ON CONFLICT (endpoint_id, sequence) {conflict}",
            rows.join(", ")
        );
        let mut params = vec![wanted.endpoint.uuid().into(), now_ms.into()];
        params.extend(
            piece.iter().flat_map(|(sequence, id)| [Value::Int(*sequence), Value::Uuid(id.uuid())]),
        );
        Statement::new(sql, params)
    };
    pieces(&wanted.events).into_iter().map(insert).collect()
}

/// What else a body says, besides the event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The address of the sender.
    pub from: String,
    /// The subject.
    pub subject: String,
    /// The Message-ID, without brackets.
    pub rfc_message_id: String,
    /// The span in which the message was accepted.
    pub trace: Option<Trace>,
    /// The batch.
    pub batch_id: Option<BatchId>,
    /// Labels.
    pub tags: Vec<String>,
    /// The client's own data.
    pub metadata: BTreeMap<String, String>,
    /// The id that Postal gave to the delivery; only where it is asked for, see
    /// [`super::handovers::postal_ids`].
    pub postal_id: Option<i64>,
}

/// A delivery that was taken for a try.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The event.
    pub event: EventRow,
    /// Which try it is over all, from 1.
    pub attempt: i64,
    /// Which try it is in the schedule, from 1.
    pub tries: i64,
}

/// How deliveries are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    /// Whose.
    pub endpoint: WebhookId,
    /// For which node.
    pub node: Uuid,
    /// When it is.
    pub now_ms: i64,
    /// When those are due again that the node forgets.
    pub until_ms: i64,
    /// How many.
    pub limit: usize,
    /// Only the first one there is, once it is due.
    pub ordered: bool,
}

/// Takes deliveries that are due, and begins their tries.
pub async fn take(db: &dyn Database, take: &Take) -> Result<Vec<Taken>, Error> {
    let chosen = match take.ordered {
        true => "state = 1 ORDER BY sequence LIMIT 1".to_owned(),
        false => {
            format!("state = 1 AND due_ms <= $4 ORDER BY due_ms, sequence LIMIT {}", take.limit)
        }
    };
    // Asked again for those another node was quicker with; written so that no index over all that is
    // due is gone through for it.
    let sql = format!(
        "UPDATE webhook_deliveries SET lease = $1, due_ms = $2, attempts = attempts + 1, \
         tries = tries + 1 WHERE endpoint_id = $3 AND state + 0 = 1 AND due_ms + 0 <= $4 \
         AND sequence IN (SELECT sequence FROM webhook_deliveries WHERE endpoint_id = $3 AND {chosen}) \
         RETURNING sequence, attempts, tries"
    );
    let endpoint = take.endpoint.uuid();
    let params: Vec<Value> =
        vec![take.node.into(), take.until_ms.into(), endpoint.into(), take.now_ms.into()];
    let taken = Statement::new(sql, params);
    // Those of this node and call. One that was begun before has its row.
    let sql = "INSERT INTO webhook_attempts (endpoint_id, sequence, number, create_ms, status, \
               error, response) SELECT endpoint_id, sequence, attempts, CAST($1 AS bigint), 0, '', \
               '' FROM webhook_deliveries WHERE endpoint_id = $2 AND lease = $3 AND due_ms = $4 \
               ON CONFLICT (endpoint_id, sequence, number) DO NOTHING";
    let params = vec![take.now_ms.into(), endpoint.into(), take.node.into(), take.until_ms.into()];
    let begun = Statement::new(sql, params);
    let done = db.write(vec![taken, begun]).await?;
    let mut numbers = HashMap::new();
    for row in &done[0].rows {
        numbers.insert(row.int(0)?, (row.int(1)?, row.int(2)?));
    }
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let rest = "JOIN webhook_deliveries w ON w.sequence = e.sequence \
                WHERE w.endpoint_id = $1 AND w.lease = $2 AND w.due_ms = $3 ORDER BY e.sequence";
    let params = vec![endpoint.into(), take.node.into(), take.until_ms.into()];
    let events = ledger::selected(db, rest, params).await?;
    let with_numbers = |event: EventRow| {
        let (attempt, tries) = numbers.get(&event.sequence).copied()?;
        Some(Taken { event, attempt, tries })
    };
    Ok(events.into_iter().filter_map(with_numbers).collect())
}

/// What else is to be said about messages.
pub async fn facts(
    db: &dyn Database,
    messages: &[MessageId],
) -> Result<HashMap<MessageId, Facts>, Error> {
    let mut facts = HashMap::new();
    for piece in pieces(messages) {
        let mut conditions = Where::default();
        conditions.and_in("id", piece.iter().map(|id| Value::Uuid(id.uuid())).collect());
        let select = "SELECT id, from_email, subject, rfc_message_id, batch_id, tags, metadata, \
                      trace FROM messages";
        for row in db.read(conditions.statement(select, "")).await? {
            let fact = Facts {
                from: row.text(1)?,
                subject: row.text(2)?,
                rfc_message_id: row.text(3)?,
                batch_id: row.uuid_or_null(4)?.map(BatchId::from_uuid),
                tags: row.json(5)?,
                metadata: row.json(6)?,
                trace: Trace::from_bytes(&row.blob(7)?),
                postal_id: None,
            };
            facts.insert(MessageId::from_uuid(row.uuid(0)?), fact);
        }
    }
    Ok(facts)
}

/// Makes what dead nodes had taken due at once.
pub async fn free_dead(db: &dyn Database, now_ms: i64) -> Result<u64, Error> {
    let sql = "UPDATE webhook_deliveries SET due_ms = $1, lease = NULL WHERE lease IS NOT NULL \
               AND state = 1 AND lease NOT IN (SELECT id FROM nodes)";
    let done = db.write(vec![Statement::new(sql, vec![now_ms.into()])]).await?;
    Ok(done[0].changed)
}

/// Makes due at once what a node had taken for an endpoint, and does not know of: the answer to its
/// question was lost.
pub async fn free_own(
    db: &dyn Database,
    endpoint: WebhookId,
    node: Uuid,
    now_ms: i64,
) -> Result<(), Error> {
    let sql = "UPDATE webhook_deliveries SET due_ms = $1, lease = NULL \
               WHERE endpoint_id = $2 AND lease = $3 AND state = 1";
    let params = vec![now_ms.into(), endpoint.uuid().into(), node.into()];
    db.write(vec![Statement::new(sql, params)]).await.map(drop)
}

/// The next time something is due for an endpoint.
pub async fn next_due(
    db: &dyn Database,
    endpoint: WebhookId,
    ordered: bool,
) -> Result<Option<i64>, Error> {
    let sql = match ordered {
        true => {
            "SELECT due_ms FROM webhook_deliveries WHERE endpoint_id = $1 AND sequence = \
             (SELECT MIN(sequence) FROM webhook_deliveries WHERE endpoint_id = $1 AND state = 1)"
        }
        false => {
            "SELECT due_ms FROM webhook_deliveries WHERE endpoint_id = $1 AND state = 1 \
             ORDER BY due_ms LIMIT 1"
        }
    };
    let rows = db.read(Statement::new(sql, vec![endpoint.uuid().into()])).await?;
    rows.first().map(|row| row.int(0)).transpose()
}

/// Deliveries of an endpoint, newest event first, from below `before`.
pub async fn list(
    db: &dyn Database,
    endpoint: WebhookId,
    state: Option<DeliveryState>,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<DeliveryRow>, Error> {
    let mut conditions = Where::default();
    conditions.and("endpoint_id = ?", endpoint.uuid());
    if let Some(state) = state {
        conditions.and("state = ?", state as i64);
    }
    if let Some(before) = before {
        conditions.and("sequence < ?", before);
    }
    let rest = format!("ORDER BY sequence DESC LIMIT {limit}");
    db.read(conditions.statement(DELIVERY, &rest)).await?.iter().map(delivery).collect()
}

/// The delivery of an event to an endpoint, with the event.
pub async fn find(
    db: &dyn Database,
    endpoint: WebhookId,
    event: EventId,
) -> Result<Option<(DeliveryRow, EventRow)>, Error> {
    let mut conditions = Where::default();
    conditions.and("event_id = ?", event.uuid());
    conditions.and("endpoint_id = ?", endpoint.uuid());
    let found = db.read(conditions.statement(DELIVERY, "")).await?;
    let Some(found) = found.first().map(delivery).transpose()? else { return Ok(None) };
    let events = ledger::selected(db, "WHERE e.sequence = $1", vec![found.sequence.into()]).await?;
    Ok(events.into_iter().next().map(|event| (found, event)))
}

/// Makes what failed since a time due again. Returns how many.
pub async fn recover(
    db: &dyn Database,
    endpoint: WebhookId,
    since_ms: i64,
    now_ms: i64,
    only_count: bool,
) -> Result<i64, Error> {
    let endpoint = endpoint.uuid();
    if only_count {
        let sql = "SELECT COUNT(*) FROM webhook_deliveries WHERE endpoint_id = $1 \
                   AND state = 3 AND create_ms >= $2";
        let rows = db.read(Statement::new(sql, vec![endpoint.into(), since_ms.into()])).await?;
        return rows.first().map_or(Ok(0), |row| row.int(0));
    }
    let sql = "UPDATE webhook_deliveries SET state = 1, tries = 0, due_ms = $1, update_ms = $1 \
               WHERE endpoint_id = $2 AND state = 3 AND create_ms >= $3";
    let params = vec![now_ms.into(), endpoint.into(), since_ms.into()];
    let done = db.write(vec![Statement::new(sql, params)]).await?;
    Ok(i64::try_from(done[0].changed).unwrap_or(i64::MAX))
}

/// Drops deliveries that were over before a time, with their tries. Returns how many; as many as
/// [`PURGE_MAX`] means that there are more.
pub async fn purge(db: &dyn Database, before_ms: i64) -> Result<bool, Error> {
    let sql = format!(
        "SELECT endpoint_id, sequence FROM webhook_deliveries \
         WHERE state > 1 AND update_ms < $1 LIMIT {PURGE_MAX}"
    );
    let rows = db.read(Statement::new(sql, vec![before_ms.into()])).await?;
    let mut statements = Vec::with_capacity(2 * rows.len());
    for row in &rows {
        let key: Vec<Value> = vec![row.uuid(0)?.into(), row.int(1)?.into()];
        let delete = |table: &str, more: &str| {
            let sql = format!("DELETE FROM {table} WHERE endpoint_id = $1 AND sequence = $2{more}");
            Statement::new(sql, key.clone())
        };
        // One that was made due again meanwhile stays, and loses its old tries.
        statements.push(delete("webhook_attempts", ""));
        statements.push(delete("webhook_deliveries", " AND state > 1"));
    }
    if !statements.is_empty() {
        db.write(statements).await?;
    }
    Ok(rows.len() == PURGE_MAX)
}

fn delivery(row: &Row) -> Result<DeliveryRow, Error> {
    let state = DeliveryState::from_number(row.int(3)?);
    Ok(DeliveryRow {
        endpoint: WebhookId::from_uuid(row.uuid(0)?),
        sequence: row.int(1)?,
        event: EventId::from_uuid(row.uuid(2)?),
        state: state.ok_or_else(|| Error::Corrupt("unknown delivery state".to_owned()))?,
        attempts: row.int(4)?,
        due_ms: row.int(5)?,
        create_ms: row.int(6)?,
    })
}
