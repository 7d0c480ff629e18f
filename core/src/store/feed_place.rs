//! Where in the feed a time is. Events are ordered as their transactions began, so the times of
//! acceptances, which happen in their transactions, rise with their sequences, give or take what a
//! transaction lasts. Other events may be reported long after they happened.

use super::Error;
use super::db::{Database, Statement};

/// Transactions do not last longer, and clocks of nodes do not differ more.
const SLACK_MS: i64 = 60_000;

/// A sequence that no event at or after `since_ms` is at or below. A few before that time may be
/// above it.
pub async fn before(db: &dyn Database, since_ms: i64) -> Result<i64, Error> {
    let wanted_ms = since_ms - SLACK_MS;
    let (mut low, mut high) = (0, super::ledger::tail(db).await?);
    // Each step halves what is left of 63 bits.
    while low < high {
        let middle = low + (high - low) / 2;
        match at(db, middle + 1).await? {
            Some((sequence, create_ms)) if sequence <= high && create_ms < wanted_ms => {
                low = sequence;
            }
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first acceptance from a sequence on: its own sequence, and when it was.
async fn at(db: &dyn Database, from: i64) -> Result<Option<(i64, i64)>, Error> {
    let sql = "SELECT sequence, create_ms FROM events WHERE sequence >= $1 AND type IN (1, 2) \
               ORDER BY sequence LIMIT 1";
    let rows = db.read(Statement::new(sql, vec![from.into()])).await?;
    rows.first().map(|row| Ok((row.int(0)?, row.int(1)?))).transpose()
}
