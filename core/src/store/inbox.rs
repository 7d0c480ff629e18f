//! The local inbox: mails that were caught instead of sent.

use postern_proto::ids::{MessageId, RecipientId, SinkId};

use crate::model::directory::SinkMail;

use super::Error;
use super::db::{Database, Statement, Where};
use super::value::{Row, Value};

const MAIL: &str = "SELECT id, create_ms, envelope_from, envelope_to, subject, header_from, size, \
    message_id FROM sink_messages";

/// Which mails are wanted. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct InboxFilter {
    /// To this address.
    pub recipient: String,
    /// Of this message.
    pub message_id: Option<MessageId>,
    /// Whose subject contains this text.
    pub subject_contains: String,
    /// From below this id.
    pub before: Option<SinkId>,
}

/// Catches mails, in one transaction. A delivery that was caught before is not caught again.
pub async fn put(db: &dyn Database, mails: &[(RecipientId, SinkMail)]) -> Result<(), Error> {
    let sql = "INSERT INTO sink_messages (id, delivery_id, message_id, create_ms, envelope_from, \
               envelope_to, subject, header_from, size, raw) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (delivery_id) DO NOTHING";
    let insert = |(delivery, mail): &(RecipientId, SinkMail)| {
        let params = vec![
            mail.id.uuid().into(),
            delivery.uuid().into(),
            mail.message_id.uuid().into(),
            mail.create_ms.into(),
            mail.envelope_from.as_str().into(),
            mail.envelope_to.as_str().into(),
            mail.subject.as_str().into(),
            mail.from.as_str().into(),
            mail.size.into(),
            mail.raw.clone().into(),
        ];
        Statement::new(sql, params)
    };
    db.write(mails.iter().map(insert).collect()).await.map(|_| ())
}

/// Mails that fit, newest first, without their source.
pub async fn list(
    db: &dyn Database,
    filter: &InboxFilter,
    limit: usize,
) -> Result<Vec<SinkMail>, Error> {
    let mut conditions = Where::default();
    if let Some(id) = filter.before {
        conditions.and("id < ?", id.uuid());
    }
    if !filter.recipient.is_empty() {
        conditions.and("envelope_to = ?", filter.recipient.as_str());
    }
    if let Some(id) = filter.message_id {
        conditions.and("message_id = ?", id.uuid());
    }
    if !filter.subject_contains.is_empty() {
        let escaped = filter.subject_contains.replace(['\\', '%', '_'], "_");
        conditions.and("subject LIKE ?", format!("%{escaped}%"));
    }
    let rest = format!("ORDER BY id DESC LIMIT {limit}");
    db.read(conditions.statement(MAIL, &rest)).await?.iter().map(mail).collect()
}

/// One mail with its source.
pub async fn find(db: &dyn Database, id: SinkId) -> Result<Option<SinkMail>, Error> {
    let mut conditions = Where::default();
    conditions.and("id = ?", id.uuid());
    let with_raw = MAIL.replace("message_id FROM", "message_id, raw FROM");
    let rows = db.read(conditions.statement(&with_raw, "")).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut found = mail(row)?;
    found.raw = row.blob(8)?;
    Ok(Some(found))
}

/// Deletes these mails, or all of them when `ids` is none. Returns how many went.
pub async fn delete(db: &dyn Database, ids: Option<Vec<SinkId>>) -> Result<u64, Error> {
    let mut conditions = Where::default();
    if let Some(ids) = ids {
        conditions.and_in("id", ids.iter().map(|id| Value::Uuid(id.uuid())).collect());
    }
    let done = db.write(vec![conditions.statement("DELETE FROM sink_messages", "")]).await?;
    Ok(done[0].changed)
}

/// Keeps the newest `keep` mails and deletes the others.
pub async fn trim(db: &dyn Database, keep: usize) -> Result<(), Error> {
    let sql = format!(
        "DELETE FROM sink_messages WHERE id <= \
         (SELECT id FROM sink_messages ORDER BY id DESC LIMIT 1 OFFSET {keep})"
    );
    db.write(vec![Statement::new(sql, Vec::new())]).await.map(|_| ())
}

fn mail(row: &Row) -> Result<SinkMail, Error> {
    Ok(SinkMail {
        id: SinkId::from_uuid(row.uuid(0)?),
        create_ms: row.int(1)?,
        envelope_from: row.text(2)?,
        envelope_to: row.text(3)?,
        subject: row.text(4)?,
        from: row.text(5)?,
        size: row.int(6)?,
        message_id: MessageId::from_uuid(row.uuid(7)?),
        raw: Vec::new(),
    })
}
