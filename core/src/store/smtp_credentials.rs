//! SMTP credentials. Every change raises the version of the directory, as in [`super::directory`].

use postern_proto::ids::SmtpCredentialId;
use prost::Message as _;

use crate::model::directory::{OldPassword, SmtpCredential};

use super::credentials::{last_use, networks, networks_json};
use super::db::{Database, Statement, Where};
use super::value::{Row, json};
use super::{Error, directory};

const CREDENTIAL: &str = "SELECT id, username, password_hash, display_name, sender_domains, \
    rate_limit, daily_limit, header_aliases, expire_ms, test, create_ms, revoke_ms, tracking, \
    ip_allow, old_password_hash, old_password_until_ms, last_use_ms, last_use_address \
    FROM smtp_credentials";

/// Stores a credential. [`Error::Conflict`] when the user name is taken.
pub async fn create(db: &dyn Database, credential: &SmtpCredential) -> Result<(), Error> {
    let sql = "INSERT INTO smtp_credentials (id, username, password_hash, display_name, \
               sender_domains, rate_limit, daily_limit, header_aliases, expire_ms, test, create_ms, \
               revoke_ms, tracking, ip_allow) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let insert = Statement::new(
        sql,
        vec![
            credential.id.uuid().into(),
            credential.username.as_str().into(),
            credential.password_hash.as_str().into(),
            credential.display_name.as_str().into(),
            json(&credential.sender_domains).into(),
            credential.rate_limit.into(),
            credential.daily_limit.into(),
            json(&credential.header_aliases).into(),
            credential.expire_ms.into(),
            credential.test.into(),
            credential.create_ms.into(),
            credential.revoke_ms.into(),
            credential.wishes.encode_to_vec().into(),
            networks_json(&credential.ip_allow).into(),
        ],
    );
    db.write(vec![insert, directory::raise_version()]).await.map(|_| ())
}

/// Credentials, newest first, from below `before`.
pub async fn list(
    db: &dyn Database,
    before: Option<SmtpCredentialId>,
    limit: usize,
) -> Result<Vec<SmtpCredential>, Error> {
    let mut conditions = Where::default();
    if let Some(id) = before {
        conditions.and("id < ?", id.uuid());
    }
    let rest = format!("ORDER BY id DESC LIMIT {limit}");
    db.read(conditions.statement(CREDENTIAL, &rest)).await?.iter().map(credential).collect()
}

/// Which credential is meant.
#[derive(Debug, Clone, Copy)]
pub enum Named<'a> {
    /// By its id.
    Id(SmtpCredentialId),
    /// By its user name.
    Username(&'a str),
}

/// The credential of this name.
pub async fn find(db: &dyn Database, named: Named<'_>) -> Result<Option<SmtpCredential>, Error> {
    let mut conditions = Where::default();
    match named {
        Named::Id(id) => conditions.and("id = ?", id.uuid()),
        Named::Username(username) => conditions.and("username = ?", username),
    }
    db.read(conditions.statement(CREDENTIAL, "")).await?.first().map(credential).transpose()
}

/// Revokes a credential, once.
pub async fn revoke(db: &dyn Database, id: SmtpCredentialId, now_ms: i64) -> Result<(), Error> {
    let sql = "UPDATE smtp_credentials SET revoke_ms = $1 WHERE id = $2 AND revoke_ms IS NULL";
    let revoke = Statement::new(sql, vec![now_ms.into(), id.uuid().into()]);
    db.write(vec![revoke, directory::raise_version()]).await.map(|_| ())
}

/// Gives a credential a new password; the present one works on until `until_ms`. Tells whether it did:
/// a credential that is revoked, or whose password is no longer the one that was read, is left alone.
pub async fn rotate(
    db: &dyn Database,
    before: &SmtpCredential,
    password_hash: &str,
    until_ms: i64,
) -> Result<bool, Error> {
    let sql = "UPDATE smtp_credentials SET old_password_hash = password_hash, \
               old_password_until_ms = $1, password_hash = $2 \
               WHERE id = $3 AND password_hash = $4 AND revoke_ms IS NULL";
    let params = vec![
        until_ms.into(),
        password_hash.into(),
        before.id.uuid().into(),
        before.password_hash.as_str().into(),
    ];
    let done = db.write(vec![Statement::new(sql, params), directory::raise_version()]).await?;
    Ok(done[0].changed > 0)
}

fn old_password(row: &Row) -> Result<Option<OldPassword>, Error> {
    let Some(until_ms) = row.int_or_null(15)? else { return Ok(None) };
    Ok(Some(OldPassword { hash: row.text(14)?, until_ms }))
}

fn credential(row: &Row) -> Result<SmtpCredential, Error> {
    Ok(SmtpCredential {
        id: SmtpCredentialId::from_uuid(row.uuid(0)?),
        username: row.text(1)?,
        password_hash: row.text(2)?,
        display_name: row.text(3)?,
        sender_domains: row.json(4)?,
        rate_limit: row.int(5)?,
        daily_limit: row.int(6)?,
        header_aliases: row.json(7)?,
        expire_ms: row.int_or_null(8)?,
        test: row.bool(9)?,
        create_ms: row.int(10)?,
        revoke_ms: row.int_or_null(11)?,
        wishes: directory::wishes(row, 12)?,
        ip_allow: networks(row, 13)?,
        old_password: old_password(row)?,
        last_use: last_use(row, 16)?,
    })
}
