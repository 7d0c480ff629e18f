//! Messages and their recipients, as they are read back.

use std::collections::HashMap;

use postern_kit::trace::Trace;
use postern_proto::ids::{BatchId, KeyId, MessageId, RecipientId};
use uuid::Uuid;

use crate::model::content::Mailbox;
use crate::model::delivery::{Kind, State};
use crate::model::message::{DeliveryRow, MessageRow, Priority};

use super::any_id::AnyId;
use super::db::{Database, Where};
use super::value::{Row, Value};
use super::{Error, ledger};

/// Which messages are wanted. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// To this address, in any case.
    pub recipient: String,
    /// With a recipient in this state.
    pub state: Option<State>,
    /// With this label.
    pub tag: String,
    /// Of this campaign.
    pub campaign_id: String,
    /// With this client id.
    pub external_id: String,
    /// Of this batch.
    pub batch_id: Option<BatchId>,
    /// With which this id has to do.
    pub any_id: Option<AnyId>,
    /// Accepted at or after this time.
    pub since_ms: Option<i64>,
    /// Accepted before this time.
    pub until_ms: Option<i64>,
}

const MESSAGE: &str = "SELECT m.id, m.content_id, m.batch_id, m.key_id, m.from_email, m.from_name, \
    m.subject, m.external_id, m.campaign_id, m.tags, m.metadata, m.priority, m.create_ms, \
    m.send_ms, m.expire_ms, m.test, m.rfc_message_id, m.trace FROM messages m";

const COUNTED: &str = ", (SELECT count(*) FROM deliveries d WHERE d.message_id = m.id) \
    FROM messages m";
const COUNT_COLUMN: usize = 18;

const DELIVERY: &str = "SELECT d.message_id, d.id, d.kind, d.email, d.name, d.state, d.reason, \
    d.attempts, d.due_ms, d.reply, d.update_ms FROM deliveries d";

/// A message with its recipients in order.
pub type WithRecipients = (MessageRow, Vec<DeliveryRow>);

/// One message.
pub async fn message(db: &dyn Database, id: MessageId) -> Result<Option<WithRecipients>, Error> {
    let mut conditions = Where::default();
    conditions.and("m.id = ?", id.uuid());
    let rows = db.read(conditions.statement(MESSAGE, "")).await?;
    Ok(with_recipients(db, &rows).await?.pop())
}

/// What the recipients of a message have of their own, as JSON objects; those without are left out.
pub async fn variables(
    db: &dyn Database,
    id: MessageId,
) -> Result<HashMap<RecipientId, String>, Error> {
    let mut conditions = Where::default();
    conditions.and("message_id = ?", id.uuid());
    conditions.and("variables <> ?", "");
    let rows = db.read(conditions.statement("SELECT id, variables FROM deliveries", "")).await?;
    rows.iter().map(|row| Ok((RecipientId::from_uuid(row.uuid(0)?), row.text(1)?))).collect()
}

/// Recipients that a page may hold together; one message is always read.
const PAGE_RECIPIENTS_MAX: i64 = 10_000;

/// Messages that fit, newest first, from below `before`. They come with their recipients up to
/// [`PAGE_RECIPIENTS_MAX`]; what is behind that comes without, and the number of those before it is
/// returned.
pub async fn list(
    db: &dyn Database,
    filter: &MessageFilter,
    before: Option<MessageId>,
    limit: usize,
) -> Result<(Vec<WithRecipients>, usize), Error> {
    let mut conditions = Where::default();
    if let Some(id) = before {
        conditions.and("m.id < ?", id.uuid());
    }
    let deliveries = "m.id IN (SELECT d.message_id FROM deliveries d WHERE d.";
    if !filter.recipient.is_empty() {
        conditions.and(&format!("{deliveries}email = ?)"), filter.recipient.as_str());
    }
    if let Some(state) = filter.state {
        let condition =
            "EXISTS (SELECT 1 FROM deliveries d WHERE d.message_id = m.id AND d.state = ?)";
        conditions.and(condition, state as i64);
    }
    if !filter.tag.is_empty() {
        let condition = "m.id IN (SELECT t.message_id FROM message_tags t WHERE t.tag = ?)";
        conditions.and(condition, filter.tag.as_str());
    }
    for (column, wanted) in
        [("campaign_id", &filter.campaign_id), ("external_id", &filter.external_id)]
    {
        if !wanted.is_empty() {
            // The second half lets the partial index serve.
            conditions.and_sql(&format!("m.{column} <> ''"));
            conditions.and(&format!("m.{column} = ?"), wanted.as_str());
        }
    }
    if let Some(batch) = filter.batch_id {
        conditions.and("m.batch_id = ?", batch.uuid());
    }
    if let Some(id) = &filter.any_id {
        id.narrow(db, &mut conditions).await?;
    }
    if let Some(since) = filter.since_ms {
        conditions.and("m.create_ms >= ?", since);
    }
    if let Some(until) = filter.until_ms {
        conditions.and("m.create_ms < ?", until);
    }
    let rest = format!("ORDER BY m.id DESC LIMIT {limit}");
    let counted = MESSAGE.replace(" FROM messages m", COUNTED);
    let rows = db.read(conditions.statement(&counted, &rest)).await?;
    let mut recipients = 0;
    let mut complete = 0;
    for row in &rows {
        recipients += row.int(COUNT_COLUMN)?;
        if complete > 0 && recipients > PAGE_RECIPIENTS_MAX {
            break;
        }
        complete += 1;
    }
    let mut list = with_recipients(db, &rows[..complete]).await?;
    for row in &rows[complete..] {
        list.push((message_row(row)?, Vec::new()));
    }
    Ok((list, complete))
}

async fn with_recipients(db: &dyn Database, rows: &[Row]) -> Result<Vec<WithRecipients>, Error> {
    let messages = rows.iter().map(message_row).collect::<Result<Vec<_>, _>>()?;
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut conditions = Where::default();
    let ids = messages.iter().map(|message| Value::Uuid(message.id.uuid())).collect();
    conditions.and_in("d.message_id", ids);
    let rest = "ORDER BY d.message_id, d.ordinal";
    let mut recipients: HashMap<Uuid, Vec<DeliveryRow>> = HashMap::new();
    for row in db.read(conditions.statement(DELIVERY, rest)).await? {
        recipients.entry(row.uuid(0)?).or_default().push(delivery_row(&row)?);
    }
    let with = |message: MessageRow| {
        let own = recipients.remove(&message.id.uuid()).unwrap_or_default();
        (message, own)
    };
    Ok(messages.into_iter().map(with).collect())
}

fn message_row(row: &Row) -> Result<MessageRow, Error> {
    Ok(MessageRow {
        id: MessageId::from_uuid(row.uuid(0)?),
        content_id: row.uuid(1)?,
        batch_id: row.uuid_or_null(2)?.map(BatchId::from_uuid),
        key_id: KeyId::from_uuid(row.uuid(3)?),
        from: Mailbox { email: row.text(4)?, name: row.text(5)? },
        subject: row.text(6)?,
        external_id: row.text(7)?,
        campaign_id: row.text(8)?,
        tags: row.json(9)?,
        metadata: row.json(10)?,
        priority: Priority::from_number(row.int(11)?),
        create_ms: row.int(12)?,
        send_ms: row.int_or_null(13)?,
        expire_ms: row.int(14)?,
        test: row.bool(15)?,
        rfc_message_id: row.text(16)?,
        trace: Trace::from_bytes(&row.blob(17)?),
    })
}

fn delivery_row(row: &Row) -> Result<DeliveryRow, Error> {
    let state = State::from_number(row.int(5)?);
    Ok(DeliveryRow {
        id: RecipientId::from_uuid(row.uuid(1)?),
        kind: Kind::from_number(row.int(2)?),
        mailbox: Mailbox { email: row.text(3)?, name: row.text(4)? },
        state: state.ok_or_else(|| Error::Corrupt("unknown state".to_owned()))?,
        reason: row.text(6)?,
        attempts: row.int(7)? as u32,
        due_ms: row.int(8)?,
        reply: ledger::reply(row, 9)?,
        update_ms: row.int(10)?,
    })
}
