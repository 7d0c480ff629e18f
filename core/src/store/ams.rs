//! How far AMS knows what recipients did. The events themselves are the buffer: a cursor in the feed
//! says what was told, and events that AMS refused for the time being are parked by campaign.
//!
//! One node tells at a time, under a lease. Whatever a crash cuts off is told again, which AMS knows.

use uuid::Uuid;

use crate::model::event::{EventFilter, EventRow};

use super::db::{Database, Statement, pieces};
use super::value::Value;
use super::{Error, ledger};

/// Takes the lease, or keeps it; that of a dead node is over. Returns up to where AMS knows the feed;
/// none when another node tells. What happened before the very first time is not told.
pub async fn take_turn(
    db: &dyn Database,
    node: Uuid,
    now_ms: i64,
    until_ms: i64,
) -> Result<Option<i64>, Error> {
    let tail = ledger::tail(db).await?;
    let sql = "INSERT INTO ams_feed (id, sequence, lease_until_ms) VALUES (1, $1, 0) \
               ON CONFLICT (id) DO NOTHING";
    let first = Statement::new(sql, vec![tail.into()]);
    let sql = "UPDATE ams_feed SET lease = $1, lease_until_ms = $2 \
               WHERE lease = $1 OR lease_until_ms < $3 OR lease NOT IN (SELECT id FROM nodes) \
               RETURNING sequence";
    let take = Statement::new(sql, vec![node.into(), until_ms.into(), now_ms.into()]);
    let done = db.write(vec![first, take]).await?;
    done[1].rows.first().map(|row| row.int(0)).transpose()
}

/// Events of a campaign that AMS is to be told later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The campaign.
    pub campaign_id: String,
    /// The events.
    pub sequences: Vec<i64>,
    /// When to try again.
    pub due_ms: i64,
    /// Why, for people.
    pub problem: String,
}

/// AMS knows the feed up to `sequence`, but for the events that are parked here. Without the lease the
/// cursor stays.
pub async fn advance(
    db: &dyn Database,
    node: Uuid,
    sequence: i64,
    parked: &[Parked],
    now_ms: i64,
) -> Result<(), Error> {
    let mut statements = Vec::new();
    for one in parked {
        let campaign: Value = one.campaign_id.as_str().into();
        for chunk in pieces(&one.sequences) {
            let places: Vec<_> = (2..chunk.len() + 2).map(|n| format!("($1, ${n})")).collect();
            let sql = format!(
                "INSERT INTO ams_parked (campaign_id, sequence) VALUES {} \
                 ON CONFLICT (campaign_id, sequence) DO NOTHING",
                places.join(", ")
            );
            let sequences = chunk.iter().map(|sequence| Value::Int(*sequence));
            let params = std::iter::once(campaign.clone()).chain(sequences).collect();
            statements.push(Statement::new(sql, params));
        }
        // One that waits already keeps its time.
        let sql = "INSERT INTO ams_campaigns (campaign_id, tries, due_ms, since_ms, problem) \
                   VALUES ($1, 1, $2, $3, $4) ON CONFLICT (campaign_id) DO NOTHING";
        let problem = one.problem.as_str().into();
        let params = vec![campaign, one.due_ms.into(), now_ms.into(), problem];
        statements.push(Statement::new(sql, params));
    }
    let sql = "UPDATE ams_feed SET sequence = $1 WHERE lease = $2 AND sequence < $1";
    statements.push(Statement::new(sql, vec![sequence.into(), node.into()]));
    db.write(statements).await.map(|_| ())
}

/// A campaign with parked events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The campaign.
    pub campaign_id: String,
    /// How often AMS refused.
    pub tries: i64,
    /// When it is tried again.
    pub due_ms: i64,
    /// Since when AMS refuses.
    pub since_ms: i64,
    /// What AMS said last.
    pub problem: String,
}

/// All campaigns with parked events.
pub async fn waiting(db: &dyn Database) -> Result<Vec<Waiting>, Error> {
    let sql = "SELECT campaign_id, tries, due_ms, since_ms, problem FROM ams_campaigns \
               ORDER BY due_ms";
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    let waiting = rows.iter().map(|row| {
        Ok(Waiting {
            campaign_id: row.text(0)?,
            tries: row.int(1)?,
            due_ms: row.int(2)?,
            since_ms: row.int(3)?,
            problem: row.text(4)?,
        })
    });
    waiting.collect()
}

/// The oldest parked events of a campaign.
pub async fn parked(
    db: &dyn Database,
    campaign_id: &str,
    limit: usize,
) -> Result<Vec<EventRow>, Error> {
    let join = "JOIN ams_parked p ON p.sequence = e.sequence WHERE p.campaign_id = $1";
    let rest = format!("{join} ORDER BY e.sequence LIMIT {limit}");
    ledger::selected(db, &rest, vec![campaign_id.into()]).await
}

/// The parked events of a campaign up to `sequence` are no longer needed. A campaign that has more is
/// due at once.
pub async fn unpark(
    db: &dyn Database,
    campaign_id: &str,
    sequence: i64,
    now_ms: i64,
) -> Result<(), Error> {
    let campaign = || Value::from(campaign_id);
    let sql = "DELETE FROM ams_parked WHERE campaign_id = $1 AND sequence <= $2";
    let told = Statement::new(sql, vec![campaign(), sequence.into()]);
    let sql = "UPDATE ams_campaigns SET tries = 0, due_ms = $1 WHERE campaign_id = $2";
    let next = Statement::new(sql, vec![now_ms.into(), campaign()]);
    let sql = "DELETE FROM ams_campaigns WHERE campaign_id = $1 \
               AND NOT EXISTS (SELECT 1 FROM ams_parked WHERE campaign_id = $1)";
    let over = Statement::new(sql, vec![campaign()]);
    db.write(vec![told, next, over]).await.map(|_| ())
}

/// AMS refused again.
pub async fn postpone(
    db: &dyn Database,
    campaign_id: &str,
    due_ms: i64,
    problem: &str,
) -> Result<(), Error> {
    let sql = "UPDATE ams_campaigns SET tries = tries + 1, due_ms = $1, problem = $2 \
               WHERE campaign_id = $3";
    let params = vec![due_ms.into(), problem.into(), campaign_id.into()];
    db.write(vec![Statement::new(sql, params)]).await.map(|_| ())
}

/// Events of these types behind `after` that fit, and up to where that is all there is.
pub async fn page(
    db: &dyn Database,
    filter: &EventFilter,
    after: i64,
    limit: usize,
) -> Result<(Vec<EventRow>, i64), Error> {
    // Asked first: what comes meanwhile is in the next page.
    let tail = ledger::tail(db).await?.max(after);
    let events = ledger::events(db, filter, after, limit).await?;
    let last = events.last().map_or(after, |event| event.sequence);
    let known = if events.len() < limit { tail.max(last) } else { last };
    Ok((events, known))
}
