//! What went wrong lately, read from the events.
//!
//! One look takes in a window of the newest, narrow enough to be counted while somebody waits; what is
//! to be shown of it is read afterwards.

use crate::model::event::{EventRow, EventType};

use super::db::{Database, Statement, Where, pieces};
use super::value::{Row, Value};
use super::{Error, ledger};

/// Events that one look takes in.
pub const SEEN_MAX: usize = 5_000;

/// Where to look.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// Since this time.
    pub since_ms: i64,
    /// Before this place in the feed; none for the newest.
    pub before: Option<i64>,
    /// Of one campaign; empty for all mail.
    pub campaign_id: &'a str,
}

/// What counting needs of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its place in the feed.
    pub sequence: i64,
    /// What happened.
    pub kind: EventType,
    /// Why, in one word.
    pub reason: String,
    /// The domain of the recipient, in lower case.
    pub domain: String,
}

/// What went wrong, newest first. At most [`SEEN_MAX`] and one more, by which a caller sees that there
/// are more.
pub async fn seen(db: &dyn Database, window: Window<'_>) -> Result<Vec<Seen>, Error> {
    let mut conditions = Where::default();
    // Deferred, bounced, failed, expired: the kinds as in the index, so that it serves.
    conditions.and_sql("e.type IN (4, 6, 7, 8)");
    conditions.and("e.create_ms >= ?", window.since_ms);
    if let Some(before) = window.before {
        conditions.and("e.sequence < ?", before);
    }
    let mut from = "events e";
    if !window.campaign_id.is_empty() {
        from = "events e JOIN messages m ON m.id = e.message_id";
        conditions.and("m.campaign_id = ?", window.campaign_id);
    }
    let select = format!(
        "SELECT x.sequence, x.type, x.reason, {} FROM (SELECT e.sequence, e.type, e.reason, \
         e.delivery_id FROM {from}",
        db.domain_sql("d.email")
    );
    let rest = format!(
        "ORDER BY e.sequence DESC LIMIT {}) x JOIN deliveries d ON d.id = x.delivery_id \
         ORDER BY x.sequence DESC",
        SEEN_MAX + 1
    );
    let rows = db.read(conditions.statement(&select, &rest)).await?;
    let seen = |row: &Row| {
        let kind = EventType::from_number(row.int(1)?);
        Ok(Seen {
            sequence: row.int(0)?,
            kind: kind.ok_or_else(|| Error::Corrupt("unknown event type".to_owned()))?,
            reason: row.text(2)?,
            domain: row.text(3)?,
        })
    };
    rows.iter().map(seen).collect()
}

/// The events at these places, newest first.
pub async fn events(db: &dyn Database, sequences: &[i64]) -> Result<Vec<EventRow>, Error> {
    let mut events = Vec::with_capacity(sequences.len());
    for piece in pieces(sequences) {
        let mut conditions = Where::default();
        conditions.and_in("e.sequence", piece.iter().map(|one| Value::Int(*one)).collect());
        let Statement { sql, params, .. } = conditions.statement("", "ORDER BY e.sequence DESC");
        events.extend(ledger::selected(db, &sql, params).await?);
    }
    Ok(events)
}
