//! What API keys and SMTP credentials have in common: changes of single fields, when they were last
//! used, and which notices were sent before they expire.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use prost::Message as _;
use uuid::Uuid;

use crate::model::directory::{ApiKey, CredentialField, CredentialKind, LastUse, SmtpCredential};
use crate::model::event::{EventType, Subject};

use super::db::{Database, Statement};
use super::value::{Row, Value, json};
use super::{Error, affairs, directory};

fn table(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::ApiKey => "api_keys",
        CredentialKind::Smtp => "smtp_credentials",
    }
}

/// Gives these fields of a stored key the values they have in `key`; those that only SMTP credentials
/// have are passed over. Tells whether it did: a revoked key is left alone.
pub async fn update_key(
    db: &dyn Database,
    key: &ApiKey,
    fields: &[CredentialField],
) -> Result<bool, Error> {
    let values = fields.iter().filter_map(|field| match field {
        CredentialField::Scopes => Some(("scopes", json(&key.scopes).into())),
        other => of_both(*other, key),
    });
    update(db, CredentialKind::ApiKey, key.id.uuid(), values.collect()).await
}

/// Gives these fields of a stored credential the values they have in `credential`; those that only
/// keys have are passed over. Tells whether it did: a revoked one is left alone.
pub async fn update_smtp(
    db: &dyn Database,
    credential: &SmtpCredential,
    fields: &[CredentialField],
) -> Result<bool, Error> {
    let key = credential.as_key();
    let values = fields.iter().filter_map(|field| match field {
        CredentialField::RateLimit => Some(("rate_limit", credential.rate_limit.into())),
        CredentialField::HeaderAliases => {
            Some(("header_aliases", json(&credential.header_aliases).into()))
        }
        other => of_both(*other, &key),
    });
    update(db, CredentialKind::Smtp, credential.id.uuid(), values.collect()).await
}

/// The column of a field that both kinds have, with its value.
fn of_both(field: CredentialField, key: &ApiKey) -> Option<(&'static str, Value)> {
    Some(match field {
        CredentialField::DisplayName => ("display_name", key.display_name.as_str().into()),
        CredentialField::SenderDomains => ("sender_domains", json(&key.sender_domains).into()),
        CredentialField::DailyLimit => ("daily_limit", key.daily_limit.into()),
        CredentialField::IpAllow => ("ip_allow", networks_json(&key.ip_allow).into()),
        CredentialField::ExpireTime => ("expire_ms", key.expire_ms.into()),
        CredentialField::Wishes => ("tracking", key.wishes.encode_to_vec().into()),
        CredentialField::Scopes | CredentialField::RateLimit | CredentialField::HeaderAliases => {
            return None;
        }
    })
}

async fn update(
    db: &dyn Database,
    kind: CredentialKind,
    id: Uuid,
    // Two fields may share a column, which is set once.
    values: BTreeMap<&'static str, Value>,
) -> Result<bool, Error> {
    let (columns, mut params): (Vec<_>, Vec<_>) = values.into_iter().unzip();
    let set: Vec<_> =
        columns.iter().zip(1..).map(|(column, n)| format!("{column} = ${n}")).collect();
    params.push(id.into());
    let sql = format!(
        "UPDATE {} SET {} WHERE id = ${} AND revoke_ms IS NULL",
        table(kind),
        set.join(", "),
        params.len()
    );
    let done = db.write(vec![Statement::new(sql, params), directory::raise_version()]).await?;
    Ok(done[0].changed > 0)
}

/// That a credential was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// What kind of credential.
    pub kind: CredentialKind,
    /// Which one.
    pub id: Uuid,
    /// When.
    pub at_ms: i64,
    /// From where, when that is known.
    pub address: Option<IpAddr>,
}

/// Notes uses in one transaction; of several nodes' notes the latest stays. The version of the
/// directory stays too: nobody decides by this.
pub async fn note_uses(db: &dyn Database, uses: &[Use]) -> Result<(), Error> {
    let mut uses = uses.to_vec();
    // All nodes in the same order, so that none waits for another that waits for it.
    uses.sort_by_key(|one| (one.kind, one.id));
    let note = |one: &Use| {
        let sql = format!(
            "UPDATE {} SET last_use_ms = $1, last_use_address = $2 \
             WHERE id = $3 AND COALESCE(last_use_ms, 0) < $1",
            table(one.kind)
        );
        let address = one.address.map(|address| address.to_string()).unwrap_or_default();
        Statement::new(sql, vec![one.at_ms.into(), address.into(), one.id.into()])
    };
    db.write(uses.iter().map(note).collect()).await.map(|_| ())
}

/// When a credential was used last, as far as that is stored.
pub async fn last_used(
    db: &dyn Database,
    kind: CredentialKind,
    id: Uuid,
) -> Result<Option<i64>, Error> {
    let sql = format!("SELECT last_use_ms FROM {} WHERE id = $1", table(kind));
    let rows = db.read(Statement::new(sql, vec![id.into()])).await?;
    rows.first().map_or(Ok(None), |row| row.int_or_null(0))
}

/// A notice that a credential is about to expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExpiryNotice {
    /// The credential.
    pub credential_id: Uuid,
    /// When it expires.
    pub expire_ms: i64,
    /// So many days before that.
    pub days: i64,
}

/// Notes that a notice was sent, and tells it in the feed as an event about `subject`. Tells whether
/// nobody had noted it before.
pub async fn note_notice(
    db: &dyn Database,
    notice: &ExpiryNotice,
    subject: &Subject,
    now_ms: i64,
) -> Result<bool, Error> {
    let sql = "INSERT INTO expiry_notices (credential_id, expire_ms, days) VALUES ($1, $2, $3) \
               ON CONFLICT (credential_id, expire_ms, days) DO NOTHING";
    let params = vec![notice.credential_id.into(), notice.expire_ms.into(), notice.days.into()];
    let reason = format!("{}d", notice.days);
    let event = affairs::event(db, EventType::KeyExpiring, subject, &reason, now_ms);
    Ok(db.write(vec![Statement::new(sql, params), event]).await?[0].changed > 0)
}

/// Whether a notice was sent.
pub async fn has_notice(db: &dyn Database, notice: &ExpiryNotice) -> Result<bool, Error> {
    let sql =
        "SELECT days FROM expiry_notices WHERE credential_id = $1 AND expire_ms = $2 AND days = $3";
    let params = vec![notice.credential_id.into(), notice.expire_ms.into(), notice.days.into()];
    Ok(!db.read(Statement::new(sql, params)).await?.is_empty())
}

/// Forgets notices about credentials that expired before a time.
pub async fn forget_notices(db: &dyn Database, before_ms: i64) -> Result<(), Error> {
    let sql = "DELETE FROM expiry_notices WHERE expire_ms < $1";
    db.write(vec![Statement::new(sql, vec![before_ms.into()])]).await.map(|_| ())
}

/// The JSON text of a list of networks.
pub(super) fn networks_json(networks: &[IpNet]) -> String {
    json(&networks.iter().map(IpNet::to_string).collect::<Vec<_>>())
}

/// A list of networks.
pub(super) fn networks(row: &Row, column: usize) -> Result<Vec<IpNet>, Error> {
    let texts: Vec<String> = row.json(column)?;
    let network =
        |text: &String| text.parse().map_err(|_| Error::Corrupt(format!("no network: {text}")));
    texts.iter().map(network).collect()
}

/// When and from where, in this column and the next.
pub(super) fn last_use(row: &Row, column: usize) -> Result<Option<LastUse>, Error> {
    let Some(at_ms) = row.int_or_null(column)? else { return Ok(None) };
    Ok(Some(LastUse { at_ms, address: row.text(column + 1)? }))
}
