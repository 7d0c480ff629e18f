//! RECORD, read side: the event feed and the counters.
//!
//! A reader of the feed stops at the horizon below which nothing can appear any more, so it never
//! skips an event, however transactions interleave.

use postern_proto::ids::{EventId, MessageId, RecipientId};

use crate::model::delivery::Reply;
use crate::model::event::{Counter, EventFilter, EventRow, EventType, NewEvent};

use super::Error;
use super::db::{Database, Statement, Where};
use super::value::{Row, Value};

const COLUMNS: &str = "SELECT e.sequence, e.id, e.type, e.create_ms, e.message_id, e.delivery_id, \
    e.attempt, e.reason, e.reply, e.possible_duplicate, e.next_ms, \
    COALESCE(m.campaign_id, ''), COALESCE(m.external_id, ''), COALESCE(m.test, false), \
    COALESCE(d.email, ''), e.detail FROM events e LEFT JOIN messages m ON m.id = e.message_id \
    LEFT JOIN deliveries d ON d.id = e.delivery_id";

/// Events behind `after` that fit, oldest first.
pub async fn events(
    db: &dyn Database,
    filter: &EventFilter,
    after: i64,
    limit: usize,
) -> Result<Vec<EventRow>, Error> {
    let mut conditions = Where::default();
    conditions.and("e.sequence > ?", after);
    conditions.and_sql(&format!("e.sequence < {}", db.horizon_sql()));
    if let Some(id) = filter.message_id {
        conditions.and("e.message_id = ?", id.uuid());
    }
    if !filter.kinds.is_empty() {
        let kinds = filter.kinds.iter().map(|kind| Value::Int(*kind as i64)).collect();
        conditions.and_in("e.type", kinds);
    }
    if !filter.campaign_id.is_empty() {
        conditions.and("m.campaign_id = ?", filter.campaign_id.as_str());
    }
    if let Some(since) = filter.since_ms {
        conditions.and("e.create_ms >= ?", since);
    }
    if let Some(until) = filter.until_ms {
        conditions.and("e.create_ms < ?", until);
    }
    let rest = format!("ORDER BY e.sequence LIMIT {limit}");
    db.read(conditions.statement(COLUMNS, &rest)).await?.iter().map(event).collect()
}

/// Events chosen by what follows `FROM`, which other parts of the store write.
pub(super) async fn selected(
    db: &dyn Database,
    rest: &str,
    params: Vec<Value>,
) -> Result<Vec<EventRow>, Error> {
    let statement = Statement::new(format!("{COLUMNS} {rest}"), params);
    db.read(statement).await?.iter().map(event).collect()
}

/// The sequence behind which the feed goes on: of the newest event that a reader may see.
pub async fn tail(db: &dyn Database) -> Result<i64, Error> {
    let sql = format!(
        "SELECT COALESCE(MAX(sequence), 0) FROM events WHERE sequence < {}",
        db.horizon_sql()
    );
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// An hour's count of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The start of the hour.
    pub hour_ms: i64,
    /// What was counted.
    pub counter: Counter,
    /// How many.
    pub count: i64,
}

/// Counts of the hours from `since_ms` to before `until_ms`, oldest first.
pub async fn stats(
    db: &dyn Database,
    since_ms: i64,
    until_ms: i64,
    campaign_id: &str,
) -> Result<Vec<Counted>, Error> {
    let mut conditions = Where::default();
    conditions.and("hour_ms >= ?", since_ms - since_ms.rem_euclid(3_600_000));
    conditions.and("hour_ms < ?", until_ms);
    if !campaign_id.is_empty() {
        conditions.and("campaign_id = ?", campaign_id);
    }
    let select = "SELECT hour_ms, type, CAST(SUM(count) AS bigint) FROM stats";
    let rest = "GROUP BY hour_ms, type ORDER BY hour_ms, type";
    let rows = db.read(conditions.statement(select, rest)).await?;
    let counted = rows.iter().map(|row| {
        let counter = Counter::from_number(row.int(1)?);
        let counter = counter.ok_or_else(|| Error::Corrupt("unknown counter".to_owned()))?;
        Ok(Counted { hour_ms: row.int(0)?, counter, count: row.int(2)? })
    });
    counted.collect()
}

fn event(row: &Row) -> Result<EventRow, Error> {
    let kind = EventType::from_number(row.int(2)?);
    let kind = kind.ok_or_else(|| Error::Corrupt("unknown event type".to_owned()))?;
    let (engagement, subject) = match kind.is_about_mail() {
        true => (detail(row, 15)?, None),
        false => (None, detail(row, 15)?),
    };
    Ok(EventRow {
        sequence: row.int(0)?,
        event: NewEvent {
            id: EventId::from_uuid(row.uuid(1)?),
            kind,
            create_ms: row.int(3)?,
            message_id: MessageId::from_uuid(row.uuid(4)?),
            delivery_id: RecipientId::from_uuid(row.uuid(5)?),
            campaign_id: row.text(11)?,
            attempt: row.int(6)? as u32,
            reason: row.text(7)?,
            reply: reply(row, 8)?,
            possible_duplicate: row.bool(9)?,
            next_ms: row.int_or_null(10)?,
        },
        engagement,
        subject,
        recipient: row.text(14)?,
        external_id: row.text(12)?,
        test: row.bool(13)?,
    })
}

/// What the type of an event adds to it; none when there is nothing.
fn detail<T: prost::Message + Default>(row: &Row, column: usize) -> Result<Option<T>, Error> {
    let bytes = row.blob(column)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    T::decode(&*bytes).map(Some).map_err(|error| Error::Corrupt(error.to_string()))
}

/// A stored reply; none when there is none.
pub(super) fn reply(row: &Row, column: usize) -> Result<Option<Reply>, Error> {
    detail(row, column)
}
