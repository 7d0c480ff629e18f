//! Mail that was handed to another system: finding it, asking about it in time, and keeping reports
//! that came before our own record did.
//!
//! Everything here may be done by several nodes at once and repeated after a crash.

use std::collections::HashMap;

use postern_proto::ids::RecipientId;

use crate::model::delivery::Ticket;

use super::Error;
use super::db::{Database, Statement, Where, pieces};
use super::reports::Subject;
use super::value::Value;

/// Reports of unknown mail that are kept at once; further ones are dropped.
pub const ORPHANS_MAX: i64 = 10_000;

/// A report that fits no mail we know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Tells it from all others.
    pub key: String,
    /// Which mail it is about.
    pub subject: Subject,
    /// The report as it came.
    pub body: String,
}

/// A mail about which the other system is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// Which mail.
    pub subject: Subject,
    /// When it was handed over.
    pub create_ms: i64,
}

/// The delivery that was handed over under this ticket.
pub async fn delivery(db: &dyn Database, ticket: &Ticket) -> Result<Option<RecipientId>, Error> {
    let mut conditions = Where::default();
    conditions.and("postal_id = ?", ticket.id);
    conditions.and("token = ?", ticket.token.as_str());
    let rows =
        db.read(conditions.statement("SELECT delivery_id FROM postal_handovers", "")).await?;
    rows.first().map(|row| row.uuid(0).map(RecipientId::from_uuid)).transpose()
}

/// The ids that Postal gave to these deliveries, as long as they are kept.
pub async fn postal_ids(
    db: &dyn Database,
    deliveries: &[RecipientId],
) -> Result<HashMap<RecipientId, i64>, Error> {
    let mut ids = HashMap::new();
    for piece in pieces(deliveries) {
        let mut conditions = Where::default();
        let wanted = piece.iter().map(|id| Value::Uuid(id.uuid())).collect();
        conditions.and_in("delivery_id", wanted);
        conditions.and_sql("postal_id IS NOT NULL");
        let select = "SELECT delivery_id, postal_id FROM postal_handovers";
        for row in db.read(conditions.statement(select, "")).await? {
            ids.insert(RecipientId::from_uuid(row.uuid(0)?), row.int(1)?);
        }
    }
    Ok(ids)
}

/// Keeps a report for the case that its mail becomes known. Tells whether there was room.
pub async fn keep_orphan(
    db: &dyn Database,
    orphan: &Orphan,
    create_ms: i64,
) -> Result<bool, Error> {
    // The types have to be said, since a parameter in a list of columns has none.
    let sql = "INSERT INTO postal_orphans (key, postal_id, token, rfc_message_id, email, body, \
               create_ms) SELECT CAST($1 AS text), CAST($2 AS bigint), CAST($3 AS text), \
               CAST($4 AS text), CAST($5 AS text), CAST($6 AS text), CAST($7 AS bigint) \
               WHERE (SELECT COUNT(*) FROM postal_orphans) < $8 ON CONFLICT (key) \
               DO UPDATE SET create_ms = excluded.create_ms";
    let subject = &orphan.subject;
    let params = vec![
        orphan.key.as_str().into(),
        subject.ticket.id.into(),
        subject.ticket.token.as_str().into(),
        subject.rfc_message_id.as_str().into(),
        subject.email.as_str().into(),
        orphan.body.as_str().into(),
        create_ms.into(),
        ORPHANS_MAX.into(),
    ];
    Ok(db.write(vec![Statement::new(sql, params)]).await?[0].changed > 0)
}

/// Kept reports whose mail has become known, oldest first: key and body.
pub async fn found_orphans(
    db: &dyn Database,
    limit: usize,
) -> Result<Vec<(String, String)>, Error> {
    let sql = format!(
        "SELECT o.key, o.body FROM postal_orphans o WHERE EXISTS (SELECT 1 FROM postal_handovers h \
         WHERE h.postal_id = o.postal_id AND h.token = o.token) \
         OR EXISTS (SELECT 1 FROM postal_handovers h WHERE h.rfc_message_id = o.rfc_message_id \
         AND h.email = o.email AND h.token IS NULL) ORDER BY o.create_ms, o.key LIMIT {limit}"
    );
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
}

/// Drops a kept report.
pub async fn drop_orphan(db: &dyn Database, key: &str) -> Result<(), Error> {
    let sql = "DELETE FROM postal_orphans WHERE key = $1";
    db.write(vec![Statement::new(sql, vec![key.into()])]).await.map(|_| ())
}

/// Mails that are to be asked about now, which are then not named again before `next_ms`.
pub async fn silent(
    db: &dyn Database,
    now_ms: i64,
    next_ms: i64,
    limit: usize,
) -> Result<Vec<Silent>, Error> {
    let sql = format!(
        "UPDATE postal_handovers SET ask_ms = $1 WHERE delivery_id IN (SELECT delivery_id \
         FROM postal_handovers WHERE ask_ms <= $2 AND token IS NOT NULL ORDER BY ask_ms \
         LIMIT {limit}) RETURNING postal_id, token, rfc_message_id, email, create_ms"
    );
    let done = db.write(vec![Statement::new(sql, vec![next_ms.into(), now_ms.into()])]).await?;
    let silent = done[0].rows.iter().map(|row| {
        Ok(Silent {
            subject: Subject {
                ticket: Ticket { id: row.int(0)?, token: row.text(1)? },
                rfc_message_id: row.text(2)?,
                email: row.text(3)?,
            },
            create_ms: row.int(4)?,
        })
    });
    silent.collect()
}

/// From when on what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptFrom {
    /// Keys of reports, and mails handed over that have ended.
    pub reports_ms: i64,
    /// Reports of unknown mail.
    pub orphans_ms: i64,
}

/// Forgets what is older. Returns how many reports of unknown mail were dropped.
pub async fn forget(db: &dyn Database, kept: KeptFrom) -> Result<u64, Error> {
    let delete = |sql: &str, before_ms: i64| Statement::new(sql, vec![Value::Int(before_ms)]);
    let done = db.write(vec![
        delete("DELETE FROM postal_orphans WHERE create_ms < $1", kept.orphans_ms),
        delete("DELETE FROM postal_reports WHERE create_ms < $1", kept.reports_ms),
        delete(
            "DELETE FROM postal_handovers WHERE create_ms < $1 AND ask_ms IS NULL",
            kept.reports_ms,
        ),
    ]);
    Ok(done.await?[0].changed)
}
