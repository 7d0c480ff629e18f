//! The audit log, and a database that writes an entry of it with the first change made through it.
//!
//! Entry and change are one transaction: what was done stands in the log, and what stands there was
//! done. A change that had no effect leaves no entry, nor does one that failed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use postern_proto::ids::AuditId;
use tokio::sync::watch;

use crate::model::operator::AuditEntry;

use super::Error;
use super::db::{Database, Done, Part, Statement, Where, first_id};
use super::value::Row;

const ENTRY: &str = "SELECT id, create_ms, actor, actor_name, action, target, detail, client_ip, \
    request_id FROM audit_log";

/// A database on behalf of somebody.
pub struct Audited<'a> {
    db: &'a dyn Database,
    entry: Mutex<Option<AuditEntry>>,
}

impl<'a> Audited<'a> {
    /// Writes `entry` with the first change that has an effect.
    pub fn new(db: &'a dyn Database, entry: AuditEntry) -> Self {
        Self { db, entry: Mutex::new(Some(entry)) }
    }

    /// Where the entry is until it is written.
    fn place(&self) -> MutexGuard<'_, Option<AuditEntry>> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Database for Audited<'_> {
    async fn read(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        self.db.read(statement).await
    }

    async fn write(&self, mut statements: Vec<Statement>) -> Result<Vec<Done>, Error> {
        let entry = self.place().take();
        let own = statements.len();
        statements.extend(entry.clone().map(|entry| insert(entry).as_part(Part::Consequence)));
        let written = self.db.write(statements).await;
        if !written.as_ref().is_ok_and(|done| done.last().is_some_and(|last| last.changed > 0)) {
            *self.place() = entry;
        }
        let mut done = written?;
        done.truncate(own);
        Ok(done)
    }

    fn horizon_sql(&self) -> &'static str {
        self.db.horizon_sql()
    }

    fn sequence_sql(&self) -> &'static str {
        self.db.sequence_sql()
    }

    fn domain_sql(&self, column: &str) -> String {
        self.db.domain_sql(column)
    }

    fn events_signal(&self) -> watch::Receiver<u64> {
        self.db.events_signal()
    }
}

/// Writes an entry about something that changes nothing else here.
pub async fn write(db: &dyn Database, entry: AuditEntry) -> Result<(), Error> {
    db.write(vec![insert(entry)]).await.map(|_| ())
}

fn insert(entry: AuditEntry) -> Statement {
    let sql = "INSERT INTO audit_log (id, create_ms, actor, actor_name, action, target, detail, \
               client_ip, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    Statement::new(
        sql,
        vec![
            entry.id.uuid().into(),
            entry.create_ms.into(),
            entry.actor.into(),
            entry.actor_name.into(),
            entry.action.into(),
            entry.target.into(),
            entry.detail.into(),
            entry.client_ip.into(),
            entry.request_id.into(),
        ],
    )
}

/// Which entries are wanted. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this actor.
    pub actor: String,
    /// An action that begins with this.
    pub action: String,
    /// About this.
    pub target: String,
    /// This one.
    pub id: Option<AuditId>,
    /// Made by this request.
    pub request_id: String,
    /// At or after this time.
    pub since_ms: Option<i64>,
    /// Before this time.
    pub until_ms: Option<i64>,
    /// Below this id.
    pub before: Option<AuditId>,
}

/// Entries that fit, newest first.
pub async fn list(
    db: &dyn Database,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<AuditEntry>, Error> {
    let mut conditions = Where::default();
    if let Some(id) = filter.before {
        conditions.and("id < ?", id.uuid());
    }
    for (condition, value) in [("actor = ?", &filter.actor), ("target = ?", &filter.target)] {
        if !value.is_empty() {
            conditions.and(condition, value.as_str());
        }
    }
    if !filter.action.is_empty() {
        conditions.and("action LIKE ? ESCAPE '\\'", format!("{}%", literal(&filter.action)));
    }
    if let Some(id) = filter.id {
        conditions.and("id = ?", id.uuid());
    }
    if !filter.request_id.is_empty() {
        // What lets the partial index serve.
        conditions.and_sql("request_id <> '' AND length(request_id) <= 600");
        conditions.and("request_id = ?", filter.request_id.as_str());
    }
    if let Some(since_ms) = filter.since_ms {
        conditions.and("create_ms >= ?", since_ms);
    }
    if let Some(until_ms) = filter.until_ms {
        conditions.and("create_ms < ?", until_ms);
    }
    let rest = format!("ORDER BY id DESC LIMIT {limit}");
    db.read(conditions.statement(ENTRY, &rest)).await?.iter().map(entry).collect()
}

/// A text in a pattern of LIKE that stands for itself.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// Removes some entries older than `before_ms`. Tells how many.
pub async fn purge(db: &dyn Database, before_ms: i64, limit: usize) -> Result<u64, Error> {
    let sql = format!(
        "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE id < $1 \
         ORDER BY id LIMIT {limit})"
    );
    let done = db.write(vec![Statement::new(sql, vec![first_id(before_ms).into()])]).await?;
    Ok(done[0].changed)
}

fn entry(row: &Row) -> Result<AuditEntry, Error> {
    Ok(AuditEntry {
        id: AuditId::from_uuid(row.uuid(0)?),
        create_ms: row.int(1)?,
        actor: row.text(2)?,
        actor_name: row.text(3)?,
        action: row.text(4)?,
        target: row.text(5)?,
        detail: row.text(6)?,
        client_ip: row.text(7)?,
        request_id: row.text(8)?,
    })
}
