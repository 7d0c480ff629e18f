//! Campaigns whose mail waits: held by the rules or by an operator until somebody resumes them.
//!
//! Holding raises the version of the directory, by which every node notices. A delivery that comes up
//! meanwhile is parked: it is postponed by [`HOLD_MS`], so that nothing claims it, and resuming moves
//! it back. Every change and its entry in the log are one transaction.

use uuid::Uuid;

use crate::model::campaign::{Action, AmsState, Hold, LogEntry, Outcomes};
use crate::model::event::{Counter, EventType};

use super::db::{Database, Part, Statement, Where};
use super::value::{Row, Value};
use super::{Error, directory};

/// By how much the due time of a parked delivery moves: about a thousand years.
pub const HOLD_MS: i64 = 1 << 45;
/// Deliveries that a node parked while a campaign was being resumed are looked for this long.
const SWEEP_MS: i64 = 3_600_000;

const HOLD: &str =
    "SELECT campaign_id, held, automatic, note, change_ms, ams_state FROM campaign_holds";

/// Moves parked deliveries back whose message is one that follows. The first conditions are those of
/// the index over free deliveries, so that only parked ones are looked at.
const BACK: &str = "UPDATE deliveries SET due_ms = due_ms - $1 WHERE lease IS NULL AND state < 5 \
    AND due_ms >= $1 AND EXISTS (SELECT 1 FROM messages m";

/// The campaigns that are held.
pub async fn held(db: &dyn Database) -> Result<Vec<String>, Error> {
    let sql = "SELECT campaign_id FROM campaign_holds WHERE held = $1";
    let rows = db.read(Statement::new(sql, vec![true.into()])).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

/// What is known of holding a campaign; none when it was never held.
pub async fn hold_of(db: &dyn Database, campaign_id: &str) -> Result<Option<Hold>, Error> {
    let mut conditions = Where::default();
    conditions.and("campaign_id = ?", campaign_id);
    db.read(conditions.statement(HOLD, "")).await?.first().map(hold).transpose()
}

/// Held campaigns by name, behind `after`.
pub async fn holds(db: &dyn Database, after: &str, limit: usize) -> Result<Vec<Hold>, Error> {
    let mut conditions = Where::default();
    conditions.and("held = ?", true);
    conditions.and("campaign_id > ?", after);
    let rest = format!("ORDER BY campaign_id LIMIT {limit}");
    db.read(conditions.statement(HOLD, &rest)).await?.iter().map(hold).collect()
}

/// What was done to a campaign, newest first.
pub async fn log(
    db: &dyn Database,
    campaign_id: &str,
    limit: usize,
) -> Result<Vec<LogEntry>, Error> {
    let mut conditions = Where::default();
    conditions.and("campaign_id = ?", campaign_id);
    let select = "SELECT action, actor, note, create_ms FROM campaign_log";
    let rest = format!("ORDER BY id DESC LIMIT {limit}");
    let rows = db.read(conditions.statement(select, &rest)).await?;
    let entry = |row: &Row| {
        let action = Action::from_name(&row.text(0)?);
        Ok(LogEntry {
            campaign_id: campaign_id.to_owned(),
            action: action.ok_or_else(|| Error::Corrupt("unknown action".to_owned()))?,
            actor: row.text(1)?,
            note: row.text(2)?,
            create_ms: row.int(3)?,
        })
    };
    rows.iter().map(entry).collect()
}

/// Holds a campaign. By the rules it happens once in its life; an operator may always. Tells whether
/// anything changed; the log has an entry only then.
pub async fn start(
    db: &dyn Database,
    entry: &LogEntry,
    automatic: bool,
    ams: AmsState,
) -> Result<bool, Error> {
    let unless = if automatic { "AND campaign_holds.automatic <> $2" } else { "" };
    let sql = format!(
        "INSERT INTO campaign_holds (campaign_id, held, automatic, note, change_ms, ams_state) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (campaign_id) DO UPDATE SET held = $2, \
         automatic = (campaign_holds.automatic OR excluded.automatic), note = excluded.note, \
         change_ms = excluded.change_ms, ams_state = excluded.ams_state \
         WHERE campaign_holds.held <> $2 {unless}"
    );
    let hold = Statement::new(
        sql,
        vec![
            entry.campaign_id.as_str().into(),
            true.into(),
            automatic.into(),
            entry.note.as_str().into(),
            entry.create_ms.into(),
            (ams as i64).into(),
        ],
    );
    let done = db.write(vec![hold, logged(entry), directory::raise_version()]).await?;
    Ok(done[0].changed > 0)
}

/// Resumes a campaign: its mail is due as it was before. Tells whether it was held.
pub async fn resume(db: &dyn Database, entry: &LogEntry) -> Result<bool, Error> {
    let sql = "UPDATE campaign_holds SET held = $1, change_ms = $2, ams_state = 0 \
               WHERE campaign_id = $3 AND held <> $1";
    let campaign: Value = entry.campaign_id.as_str().into();
    let over = Statement::new(sql, vec![false.into(), entry.create_ms.into(), campaign.clone()]);
    let sql = format!("{BACK} WHERE m.id = deliveries.message_id AND m.campaign_id = $2)");
    let back = Statement::new(sql, vec![HOLD_MS.into(), campaign]);
    let done = db.write(vec![over, logged(entry), back, directory::raise_version()]).await?;
    Ok(done[0].changed > 0)
}

/// The entry of a change.
fn logged(entry: &LogEntry) -> Statement {
    written(entry).as_part(Part::Consequence)
}

fn written(entry: &LogEntry) -> Statement {
    let sql = "INSERT INTO campaign_log (id, campaign_id, action, actor, note, create_ms) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    Statement::new(
        sql,
        vec![
            Uuid::now_v7().into(),
            entry.campaign_id.as_str().into(),
            entry.action.name().into(),
            entry.actor.as_str().into(),
            entry.note.as_str().into(),
            entry.create_ms.into(),
        ],
    )
}

/// Frees what nodes parked that had not yet noticed that the campaign goes on. Returns how many.
pub async fn sweep(db: &dyn Database, now_ms: i64) -> Result<u64, Error> {
    let sql = format!(
        "{BACK} JOIN campaign_holds h ON h.campaign_id = m.campaign_id \
         WHERE m.id = deliveries.message_id AND h.held = $2 AND h.change_ms > $3)"
    );
    let params = vec![HOLD_MS.into(), false.into(), (now_ms - SWEEP_MS).into()];
    let done = db.write(vec![Statement::new(sql, params)]).await?;
    Ok(done[0].changed)
}

/// By what campaigns are judged.
const JUDGED: [EventType; 4] =
    [EventType::Delivered, EventType::Bounced, EventType::Failed, EventType::Deferred];

/// Campaigns with at least `minimum` results, not all of them good, since the start of the hour of
/// `since_ms`, which the rules never held: those that are worth a closer look. At most `limit`, busiest
/// first.
pub async fn busy(
    db: &dyn Database,
    since_ms: i64,
    minimum: i64,
    limit: usize,
) -> Result<Vec<String>, Error> {
    let mut conditions = Where::default();
    conditions.and("s.hour_ms >= ?", since_ms - since_ms.rem_euclid(3_600_000));
    conditions.and("s.campaign_id <> ?", "");
    conditions.and_in("s.type", JUDGED.iter().map(|kind| (*kind as i64).into()).collect());
    conditions.and_sql(
        "NOT EXISTS (SELECT 1 FROM campaign_holds h WHERE h.campaign_id = s.campaign_id AND \
         (h.held OR h.automatic))",
    );
    // Delivered, bounced, failed; and those of them, with the deferred, that are no good news.
    let rest = format!(
        "GROUP BY s.campaign_id \
         HAVING SUM(CASE WHEN s.type <> 4 THEN s.count ELSE 0 END) >= {minimum} \
         AND SUM(CASE WHEN s.type <> 5 THEN s.count ELSE 0 END) > 0 \
         ORDER BY SUM(s.count) DESC LIMIT {limit}"
    );
    let rows = db.read(conditions.statement("SELECT s.campaign_id FROM stats s", &rest)).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

/// Counts of campaigns by name, behind `after`, in the hours from `since_ms` to before `until_ms`: of
/// the first `limit` campaigns of which something was counted.
pub async fn counts(
    db: &dyn Database,
    since_ms: i64,
    until_ms: i64,
    after: &str,
    limit: usize,
) -> Result<Vec<(String, Counter, i64)>, Error> {
    let since_ms = since_ms - since_ms.rem_euclid(3_600_000);
    let sql = format!(
        "SELECT campaign_id, type, CAST(SUM(count) AS bigint) FROM stats \
         WHERE hour_ms >= $1 AND hour_ms < $2 AND campaign_id IN (\
         SELECT DISTINCT campaign_id FROM stats WHERE hour_ms >= $1 AND hour_ms < $2 \
         AND campaign_id > $3 ORDER BY campaign_id LIMIT {limit}) \
         GROUP BY campaign_id, type ORDER BY campaign_id, type"
    );
    let params = vec![since_ms.into(), until_ms.into(), after.into()];
    let rows = db.read(Statement::new(sql, params)).await?;
    let count = |row: &Row| {
        let counter = Counter::from_number(row.int(1)?);
        let counter = counter.ok_or_else(|| Error::Corrupt("unknown counter".to_owned()))?;
        Ok((row.text(0)?, counter, row.int(2)?))
    };
    rows.iter().map(count).collect()
}

/// How the mail of a campaign went since a time, by event type and reason.
pub async fn outcomes(
    db: &dyn Database,
    campaign_id: &str,
    since_ms: i64,
) -> Result<Outcomes, Error> {
    let mut conditions = Where::default();
    // The first half lets the partial index serve.
    conditions.and_sql("m.campaign_id <> ''");
    conditions.and("m.campaign_id = ?", campaign_id);
    conditions.and("e.create_ms >= ?", since_ms);
    conditions.and_in("e.type", JUDGED.iter().map(|kind| (*kind as i64).into()).collect());
    let select = "SELECT e.type, e.reason, COUNT(*) FROM messages m \
                  JOIN events e ON e.message_id = m.id";
    let rows = db.read(conditions.statement(select, "GROUP BY e.type, e.reason")).await?;
    let mut outcomes = Outcomes::default();
    for row in &rows {
        let kind = EventType::from_number(row.int(0)?);
        let kind = kind.ok_or_else(|| Error::Corrupt("unknown event type".to_owned()))?;
        outcomes.add(kind, &row.text(1)?, row.int(2)?);
    }
    Ok(outcomes)
}

/// Campaigns that AMS is still to be told about.
pub async fn to_tell(db: &dyn Database, limit: usize) -> Result<Vec<Hold>, Error> {
    let mut conditions = Where::default();
    conditions.and("ams_state = ?", AmsState::ToBeTold as i64);
    conditions.and("held = ?", true);
    let rest = format!("ORDER BY change_ms LIMIT {limit}");
    db.read(conditions.statement(HOLD, &rest)).await?.iter().map(hold).collect()
}

/// AMS was told about a campaign; the log says what came of it.
pub async fn told(db: &dyn Database, entry: &LogEntry) -> Result<(), Error> {
    let sql = "UPDATE campaign_holds SET ams_state = $1 WHERE campaign_id = $2 AND ams_state = $3";
    let campaign: Value = entry.campaign_id.as_str().into();
    let (told, to_be) = (AmsState::Told as i64, AmsState::ToBeTold as i64);
    let told = Statement::new(sql, vec![told.into(), campaign, to_be.into()]);
    db.write(vec![told, written(entry)]).await.map(|_| ())
}

fn hold(row: &Row) -> Result<Hold, Error> {
    Ok(Hold {
        campaign_id: row.text(0)?,
        is_held: row.bool(1)?,
        automatic: row.bool(2)?,
        note: row.text(3)?,
        change_ms: row.int(4)?,
        ams: AmsState::from_number(row.int(5)?),
    })
}
