//! What is wrong with the installation, and what was told of it: a row for each trouble, whichever
//! node saw it.
//!
//! Telling is a change with a condition, and its event a consequence of that, so of several nodes
//! one tells. Rows outlive the nodes: what was told before a crash is not told again after it.

use crate::model::event::{EventType, Subject};

use super::Error;
use super::affairs;
use super::db::{Database, Statement};
use super::value::Row;

/// Rows that are looked at; more at once is no number that anybody could act on.
const ROWS_MAX: usize = 1000;

/// A trouble that a node sees now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// What kind of trouble, in one word.
    pub kind: &'static str,
    /// Where or with what; empty where there is only one such thing.
    pub subject: String,
    /// Since when, as far as the node knows.
    pub since_ms: i64,
    /// What is wrong, for people.
    pub detail: String,
}

/// A trouble that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of trouble, in one word.
    pub kind: String,
    /// Where or with what; empty where there is only one such thing.
    pub subject: String,
    /// Since when.
    pub since_ms: i64,
    /// When it was seen last.
    pub seen_ms: i64,
    /// What is wrong, for people, as it was seen last.
    pub detail: String,
    /// How often it was told.
    pub told: i64,
    /// When it was told last.
    pub told_ms: Option<i64>,
}

impl Trouble {
    /// What an event about it is about.
    fn subject(&self) -> Subject {
        let id = match self.subject.is_empty() {
            true => self.kind.clone(),
            false => format!("{}:{}", self.kind, self.subject),
        };
        Subject { id, display_name: self.detail.clone(), expire_time: None }
    }
}

/// Notes what a node sees. What nobody had seen since `gone_before_ms`, and nobody was told, begins
/// anew.
pub async fn see(
    db: &dyn Database,
    sights: &[Sight],
    now_ms: i64,
    gone_before_ms: i64,
) -> Result<(), Error> {
    if sights.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO troubles (kind, subject, since_ms, seen_ms, detail) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, subject) DO UPDATE SET \
               since_ms = CASE WHEN troubles.told = 0 AND troubles.seen_ms <= $6 \
               THEN excluded.since_ms ELSE troubles.since_ms END, \
               seen_ms = CASE WHEN troubles.seen_ms < excluded.seen_ms \
               THEN excluded.seen_ms ELSE troubles.seen_ms END, detail = excluded.detail";
    let note = |sight: &Sight| {
        let params = vec![
            sight.kind.into(),
            sight.subject.as_str().into(),
            sight.since_ms.into(),
            now_ms.into(),
            sight.detail.as_str().into(),
            gone_before_ms.into(),
        ];
        Statement::new(sql, params)
    };
    db.write(sights.iter().map(note).collect()).await.map(|_| ())
}

/// The troubles that are known.
pub async fn list(db: &dyn Database) -> Result<Vec<Trouble>, Error> {
    let sql = format!(
        "SELECT kind, subject, since_ms, seen_ms, detail, told, told_ms FROM troubles \
         ORDER BY kind, subject LIMIT {ROWS_MAX}"
    );
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    let trouble = |row: &Row| {
        Ok(Trouble {
            kind: row.text(0)?,
            subject: row.text(1)?,
            since_ms: row.int(2)?,
            seen_ms: row.int(3)?,
            detail: row.text(4)?,
            told: row.int(5)?,
            told_ms: row.int_or_null(6)?,
        })
    };
    rows.iter().map(trouble).collect()
}

/// Notes that it was told once more than `trouble` says, and tells the feed. Tells whether nobody
/// else had.
pub async fn tell(db: &dyn Database, trouble: &Trouble, now_ms: i64) -> Result<bool, Error> {
    let sql = "UPDATE troubles SET told = told + 1, told_ms = $1 \
               WHERE kind = $2 AND subject = $3 AND since_ms = $4 AND told = $5";
    let params = vec![
        now_ms.into(),
        trouble.kind.as_str().into(),
        trouble.subject.as_str().into(),
        trouble.since_ms.into(),
        trouble.told.into(),
    ];
    let (kind, subject) = (EventType::SystemTrouble, trouble.subject());
    let event = affairs::event(db, kind, &subject, &trouble.kind, now_ms);
    Ok(db.write(vec![Statement::new(sql, params), event]).await?[0].changed > 0)
}

/// Forgets one that is over, unless somebody has seen or told it since; what was told is told to be
/// over. Tells whether nobody else had forgotten it.
pub async fn end(db: &dyn Database, trouble: &Trouble, now_ms: i64) -> Result<bool, Error> {
    let sql =
        "DELETE FROM troubles WHERE kind = $1 AND subject = $2 AND seen_ms = $3 AND told = $4";
    let params = vec![
        trouble.kind.as_str().into(),
        trouble.subject.as_str().into(),
        trouble.seen_ms.into(),
        trouble.told.into(),
    ];
    let mut statements = vec![Statement::new(sql, params)];
    if trouble.told > 0 {
        let (kind, subject) = (EventType::SystemResolved, trouble.subject());
        statements.push(affairs::event(db, kind, &subject, &trouble.kind, now_ms));
    }
    Ok(db.write(statements).await?[0].changed > 0)
}
