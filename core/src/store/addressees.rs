//! Whose mail a tracking link was in, and the links of the old system.

use postern_proto::ids::{MessageId, RecipientId};
use postern_proto::link::legacy::GO_CHARS;
use uuid::Uuid;

use crate::model::directory::SuppressionReason;

use super::Error;
use super::db::{Database, Statement, Where, first_id};
use super::value::{Row, Value};

/// A recipient of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressee {
    /// The delivery.
    pub delivery: RecipientId,
    /// The message.
    pub message: MessageId,
    /// The address.
    pub email: String,
    /// The campaign; empty for none.
    pub campaign_id: String,
    /// Where the content is.
    pub content_id: Uuid,
    /// The recipient's own variables as a JSON object; empty for none.
    pub variables: String,
}

const ADDRESSEE: &str = "SELECT d.id, m.id, d.email, m.campaign_id, m.content_id, d.variables \
    FROM deliveries d JOIN messages m ON m.id = d.message_id";

/// The recipient with this id.
pub async fn by_id(db: &dyn Database, id: RecipientId) -> Result<Option<Addressee>, Error> {
    let mut conditions = Where::default();
    conditions.and("d.id = ?", id.uuid());
    db.read(conditions.statement(ADDRESSEE, "")).await?.first().map(addressee).transpose()
}

/// How an old link names a recipient. Empty values are not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// The address, exactly.
    pub email: String,
    /// The campaign.
    pub campaign_id: String,
    /// The client's id of the message, or our own as text, or its Message-ID.
    pub message_id: String,
}

/// The newest recipient that fits a claim.
pub async fn newest(db: &dyn Database, claim: &Claim) -> Result<Option<Addressee>, Error> {
    if claim.message_id.is_empty() {
        return fitting(db, claim, None).await;
    }
    if let Ok(id) = claim.message_id.parse::<MessageId>() {
        return fitting(db, claim, Some(("m.id = ?", id.uuid().into()))).await;
    }
    let external = Value::from(claim.message_id.as_str());
    // The second half lets the partial index serve.
    let condition = "m.external_id <> '' AND m.external_id = ?";
    if let Some(found) = fitting(db, claim, Some((condition, external))).await? {
        return Ok(Some(found));
    }
    let own = Value::from(claim.message_id.trim_matches(['<', '>']));
    fitting(db, claim, Some(("m.rfc_message_id = ?", own))).await
}

async fn fitting(
    db: &dyn Database,
    claim: &Claim,
    message: Option<(&str, Value)>,
) -> Result<Option<Addressee>, Error> {
    let mut conditions = Where::default();
    conditions.and("d.email = ?", claim.email.as_str());
    if !claim.campaign_id.is_empty() {
        conditions.and("m.campaign_id = ?", claim.campaign_id.as_str());
    }
    if let Some((condition, value)) = message {
        conditions.and(condition, value);
    }
    let rest = "ORDER BY d.id DESC LIMIT 1";
    db.read(conditions.statement(ADDRESSEE, rest)).await?.first().map(addressee).transpose()
}

/// How far an address is unsubscribed: of all mail, and of the campaign.
pub async fn unsubscribed(
    db: &dyn Database,
    email: &str,
    campaign_id: &str,
) -> Result<(bool, bool), Error> {
    let mut conditions = Where::default();
    conditions.and("email = ?", email);
    conditions.and("reason = ?", SuppressionReason::Unsubscribe as i64);
    conditions.and_in("campaign_id", vec!["".into(), campaign_id.into()]);
    let rows = db.read(conditions.statement("SELECT campaign_id FROM suppressions", "")).await?;
    let campaigns = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
    let has = |wanted: &str| campaigns.iter().any(|campaign| campaign == wanted);
    Ok((has(""), !campaign_id.is_empty() && has(campaign_id)))
}

/// A link that the old system wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyLink {
    /// The whole token.
    pub token: String,
    /// Where it leads; empty for the pixel.
    pub url: String,
    /// Whose mail it was in.
    pub claim: Claim,
}

const LINK: &str = "SELECT token, url, address, campaign_id, message_id FROM legacy_links";
/// Links of one recipient that are looked through.
const LINKS_MAX: usize = 1000;

/// Stores links; tokens that are there stay as they are. Returns how many were new.
pub async fn import(db: &dyn Database, links: &[LegacyLink]) -> Result<u64, Error> {
    let insert = |link: &LegacyLink| {
        let sql = "INSERT INTO legacy_links (token, prefix, url, address, campaign_id, message_id) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (token) DO NOTHING";
        let prefix = link.token.get(..GO_CHARS).unwrap_or(&link.token);
        let claim = &link.claim;
        let texts =
            [&link.token, prefix, &link.url, &claim.email, &claim.campaign_id, &claim.message_id];
        Statement::new(sql, texts.map(Value::from).to_vec())
    };
    let done = db.write(links.iter().map(insert).collect()).await?;
    Ok(done.iter().map(|one| one.changed).sum())
}

/// The links with this token, or whose token begins with it when it is as long as `/go/` links
/// carry; two at most, of which the whole token comes first.
pub async fn links_by_token(db: &dyn Database, token: &str) -> Result<Vec<LegacyLink>, Error> {
    for (column, fits) in [("token", true), ("prefix", token.len() == GO_CHARS)] {
        let mut conditions = Where::default();
        conditions.and(&format!("{column} = ?"), token);
        let statement = conditions.statement(LINK, "ORDER BY token LIMIT 2");
        let rows = if fits { db.read(statement).await? } else { Vec::new() };
        if !rows.is_empty() {
            return rows.iter().map(link).collect();
        }
    }
    Ok(Vec::new())
}

/// The links that the old system wrote for a recipient.
pub async fn links_of(db: &dyn Database, claim: &Claim) -> Result<Vec<LegacyLink>, Error> {
    let mut conditions = Where::default();
    conditions.and("address = ?", claim.email.as_str());
    for (column, wanted) in [("campaign_id", &claim.campaign_id), ("message_id", &claim.message_id)]
    {
        if !wanted.is_empty() {
            conditions.and(&format!("{column} = ?"), wanted.as_str());
        }
    }
    let rest = format!("ORDER BY token LIMIT {LINKS_MAX}");
    db.read(conditions.statement(LINK, &rest)).await?.iter().map(link).collect()
}

/// Forgets recorded hits that were made before `before_ms`.
pub async fn forget_hits(db: &dyn Database, before_ms: i64) -> Result<(), Error> {
    let sql = "DELETE FROM hits WHERE id < $1";
    db.write(vec![Statement::new(sql, vec![first_id(before_ms).into()])]).await.map(|_| ())
}

fn link(row: &Row) -> Result<LegacyLink, Error> {
    Ok(LegacyLink {
        token: row.text(0)?,
        url: row.text(1)?,
        claim: Claim { email: row.text(2)?, campaign_id: row.text(3)?, message_id: row.text(4)? },
    })
}

fn addressee(row: &Row) -> Result<Addressee, Error> {
    Ok(Addressee {
        delivery: RecipientId::from_uuid(row.uuid(0)?),
        message: MessageId::from_uuid(row.uuid(1)?),
        email: row.text(2)?,
        campaign_id: row.text(3)?,
        content_id: row.uuid(4)?,
        variables: row.text(5)?,
    })
}
