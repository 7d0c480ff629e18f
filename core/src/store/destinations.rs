//! The queue by destination, and destinations whose mail waits until an operator resumes it.
//!
//! Pausing raises the version of the directory, by which every node notices. A delivery that comes up
//! meanwhile is parked as that of a held campaign is; see [`super::campaigns`].

use super::Error;
use super::campaigns::HOLD_MS;
use super::db::{Database, Statement, Where};
use super::directory::raise_version;
use super::value::Row;

/// Deliveries that a node parked while a destination was being resumed are looked for this long.
const SWEEP_MS: i64 = 3_600_000;
/// Waiting deliveries that are counted.
pub const COUNTED_MAX: i64 = 50_000;

/// A destination that is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// The domain, in lower case.
    pub domain: String,
    /// Why.
    pub note: String,
    /// Since when.
    pub change_ms: i64,
}

/// Deliveries to one domain in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The domain.
    pub domain: String,
    /// The state, as a number.
    pub state: i64,
    /// How many.
    pub count: i64,
    /// When the first of them is due.
    pub due_ms: i64,
}

/// The destinations that are paused, by name.
pub async fn paused(db: &dyn Database) -> Result<Vec<Pause>, Error> {
    let mut conditions = Where::default();
    conditions.and("held = ?", true);
    let select = "SELECT domain, note, change_ms FROM destination_holds";
    let rows = db.read(conditions.statement(select, "ORDER BY domain")).await?;
    let pause =
        |row: &Row| Ok(Pause { domain: row.text(0)?, note: row.text(1)?, change_ms: row.int(2)? });
    rows.iter().map(pause).collect()
}

/// Lets mail to a domain wait.
pub async fn pause(db: &dyn Database, pause: &Pause) -> Result<(), Error> {
    let sql = "INSERT INTO destination_holds (domain, held, note, change_ms) \
               VALUES ($1, $2, $3, $4) ON CONFLICT (domain) DO UPDATE SET held = excluded.held, \
               note = excluded.note, change_ms = excluded.change_ms";
    let params = vec![
        pause.domain.as_str().into(),
        true.into(),
        pause.note.as_str().into(),
        pause.change_ms.into(),
    ];
    db.write(vec![Statement::new(sql, params), raise_version()]).await.map(|_| ())
}

/// Lets mail to a domain go on: it is due as it was before.
pub async fn resume(db: &dyn Database, domain: &str, now_ms: i64) -> Result<(), Error> {
    let sql =
        "UPDATE destination_holds SET held = $1, change_ms = $2 WHERE domain = $3 AND held <> $1";
    let over = Statement::new(sql, vec![false.into(), now_ms.into(), domain.into()]);
    let back = back(db, "= $2", vec![domain.into()]);
    db.write(vec![over, back, raise_version()]).await.map(|_| ())
}

/// Frees what nodes parked that had not yet noticed that a destination goes on. Returns how many.
pub async fn sweep(db: &dyn Database, now_ms: i64) -> Result<u64, Error> {
    let sql = "SELECT change_ms FROM destination_holds WHERE held = $1 AND change_ms > $2 LIMIT 1";
    let since_ms = now_ms - SWEEP_MS;
    let recent = Statement::new(sql, vec![false.into(), since_ms.into()]);
    if db.read(recent).await?.is_empty() {
        return Ok(0);
    }
    let those = "IN (SELECT domain FROM destination_holds WHERE held = $2 AND change_ms > $3)";
    let done = db.write(vec![back(db, those, vec![false.into(), since_ms.into()])]).await?;
    Ok(done[0].changed)
}

/// Moves parked deliveries back. The first conditions are those of the index over free deliveries.
fn back(db: &dyn Database, those: &str, mut params: Vec<super::value::Value>) -> Statement {
    let domain = db.domain_sql("email");
    let sql = format!(
        "UPDATE deliveries SET due_ms = due_ms - $1 WHERE lease IS NULL AND state < 5 \
         AND due_ms >= $1 AND {domain} {those}"
    );
    params.insert(0, HOLD_MS.into());
    Statement::new(sql, params)
}

/// Which deliveries to a domain wait for another attempt and are not parked.
fn retryable(db: &dyn Database) -> String {
    let domain = db.domain_sql("email");
    format!(
        "lease IS NULL AND state < 5 AND state = 4 AND due_ms > $1 AND due_ms < $2 AND {domain} = $3"
    )
}

/// Makes deliveries to a domain due that wait for another attempt. Returns how many.
pub async fn retry(db: &dyn Database, domain: &str, now_ms: i64) -> Result<u64, Error> {
    let sql = format!("UPDATE deliveries SET due_ms = $1 WHERE {}", retryable(db));
    let params = vec![now_ms.into(), HOLD_MS.into(), domain.into()];
    Ok(db.write(vec![Statement::new(sql, params)]).await?[0].changed)
}

/// How many deliveries [`retry`] would make due.
pub async fn to_retry(db: &dyn Database, domain: &str, now_ms: i64) -> Result<i64, Error> {
    let sql = format!("SELECT COUNT(*) FROM deliveries WHERE {}", retryable(db));
    let params = vec![now_ms.into(), HOLD_MS.into(), domain.into()];
    let rows = db.read(Statement::new(sql, params)).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// What waits or is under way, by domain and state. Of what waits, at most [`COUNTED_MAX`]
/// deliveries are counted, those due first.
pub async fn waiting(db: &dyn Database) -> Result<Vec<Waiting>, Error> {
    let domain = db.domain_sql("email");
    // Both halves are answered by the partial indexes over open deliveries.
    let sql = format!(
        "SELECT domain, state, COUNT(*), MIN(due_ms) FROM ( \
         SELECT {domain} AS domain, state, due_ms FROM deliveries WHERE lease IS NOT NULL \
         UNION ALL SELECT * FROM (SELECT {domain} AS domain, state, due_ms FROM deliveries \
         WHERE lease IS NULL AND state < 5 ORDER BY due_ms LIMIT {COUNTED_MAX}) AS free) AS open \
         GROUP BY domain, state"
    );
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    let waiting = |row: &Row| {
        let (domain, state) = (row.text(0)?, row.int(1)?);
        Ok(Waiting { domain, state, count: row.int(2)?, due_ms: row.int(3)? })
    };
    rows.iter().map(waiting).collect()
}
