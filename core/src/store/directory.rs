//! Keys, suppressions and daily use.
//!
//! Every change also raises `directory_version`, by which other nodes notice that what they keep in
//! memory is old.

use postern_proto::ids::{KeyId, SuppressionId};
use prost::Message as _;

use crate::model::content::Wishes;
use crate::model::directory::{ApiKey, Suppression, SuppressionReason};

use super::Error;
use super::credentials::{last_use, networks, networks_json};
use super::db::{Database, Part, Statement, Where};
use super::value::Value;
use super::value::{Row, json};

/// The statement every change to the directory is committed with.
pub(super) fn raise_version() -> Statement {
    let sql = "UPDATE settings SET value = CAST(CAST(value AS bigint) + 1 AS text) \
               WHERE name = 'directory_version'";
    Statement::new(sql, Vec::new()).as_part(Part::Aside)
}

/// The version of the directory.
pub async fn version(db: &dyn Database) -> Result<String, Error> {
    let sql = "SELECT value FROM settings WHERE name = 'directory_version'";
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    rows.first().map_or(Ok(String::new()), |row| row.text(0))
}

const KEY: &str = "SELECT id, hash, display_name, scopes, sender_domains, daily_limit, expire_ms, \
    test, hint, create_ms, revoke_ms, tracking, ip_allow, replaces, replaced_by, last_use_ms, \
    last_use_address FROM api_keys";

const KEY_COLUMNS: &str = "id, hash, display_name, scopes, sender_domains, daily_limit, expire_ms, \
    test, hint, create_ms, revoke_ms, tracking, ip_allow, replaces";

/// Stores a key.
pub async fn create_key(db: &dyn Database, key: &ApiKey) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO api_keys ({KEY_COLUMNS}) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
    );
    let insert = Statement::new(sql, key_values(key));
    db.write(vec![insert, raise_version()]).await.map(|_| ())
}

fn key_values(key: &ApiKey) -> Vec<Value> {
    vec![
        key.id.uuid().into(),
        key.hash.to_vec().into(),
        key.display_name.as_str().into(),
        json(&key.scopes).into(),
        json(&key.sender_domains).into(),
        key.daily_limit.into(),
        key.expire_ms.into(),
        key.test.into(),
        key.hint.as_str().into(),
        key.create_ms.into(),
        key.revoke_ms.into(),
        key.wishes.encode_to_vec().into(),
        networks_json(&key.ip_allow).into(),
        key.replaces.as_ref().map(KeyId::uuid).into(),
    ]
}

/// Stores a key that takes the place of the one it names; that one expires at `until_ms` at the
/// latest. Tells whether it did: a key that is revoked or was replaced before cannot be replaced.
pub async fn rotate_key(db: &dyn Database, new: &ApiKey, until_ms: i64) -> Result<bool, Error> {
    let old = new.replaces.as_ref().map(KeyId::uuid);
    let sql = "UPDATE api_keys SET replaced_by = $1, \
               expire_ms = CASE WHEN expire_ms < $2 THEN expire_ms ELSE $2 END \
               WHERE id = $3 AND replaced_by IS NULL AND revoke_ms IS NULL";
    let replace = Statement::new(sql, vec![new.id.uuid().into(), until_ms.into(), old.into()]);
    let sql = format!(
        "INSERT INTO api_keys ({KEY_COLUMNS}) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 \
         WHERE EXISTS (SELECT 1 FROM api_keys WHERE id = $14 AND replaced_by = $1)"
    );
    let insert = Statement::new(sql, key_values(new));
    let done = db.write(vec![replace, insert, raise_version()]).await?;
    Ok(done[0].changed > 0)
}

/// Keys, newest first, from below `before`.
pub async fn keys(
    db: &dyn Database,
    before: Option<KeyId>,
    limit: usize,
) -> Result<Vec<ApiKey>, Error> {
    let mut conditions = Where::default();
    if let Some(id) = before {
        conditions.and("id < ?", id.uuid());
    }
    let rest = format!("ORDER BY id DESC LIMIT {limit}");
    db.read(conditions.statement(KEY, &rest)).await?.iter().map(key).collect()
}

/// The key with this hash.
pub async fn key_by_hash(db: &dyn Database, hash: &[u8; 32]) -> Result<Option<ApiKey>, Error> {
    let mut conditions = Where::default();
    conditions.and("hash = ?", hash.to_vec());
    db.read(conditions.statement(KEY, "")).await?.first().map(key).transpose()
}

/// The key with this id.
pub async fn find_key(db: &dyn Database, id: KeyId) -> Result<Option<ApiKey>, Error> {
    let mut conditions = Where::default();
    conditions.and("id = ?", id.uuid());
    db.read(conditions.statement(KEY, "")).await?.first().map(key).transpose()
}

/// Revokes a key, once. Returns it, or none when there is none; later times change nothing.
pub async fn revoke_key(
    db: &dyn Database,
    id: KeyId,
    now_ms: i64,
) -> Result<Option<ApiKey>, Error> {
    let sql = "UPDATE api_keys SET revoke_ms = $1 WHERE id = $2 AND revoke_ms IS NULL";
    let revoke = Statement::new(sql, vec![now_ms.into(), id.uuid().into()]);
    db.write(vec![revoke, raise_version()]).await?;
    find_key(db, id).await
}

fn key(row: &Row) -> Result<ApiKey, Error> {
    let hash = row.blob(1)?.try_into();
    Ok(ApiKey {
        id: KeyId::from_uuid(row.uuid(0)?),
        hash: hash.map_err(|_| Error::Corrupt("a key's hash has the wrong size".to_owned()))?,
        display_name: row.text(2)?,
        scopes: row.json(3)?,
        sender_domains: row.json(4)?,
        daily_limit: row.int(5)?,
        expire_ms: row.int_or_null(6)?,
        test: row.bool(7)?,
        hint: row.text(8)?,
        create_ms: row.int(9)?,
        revoke_ms: row.int_or_null(10)?,
        wishes: wishes(row, 11)?,
        operator: None,
        ip_allow: networks(row, 12)?,
        replaces: row.uuid_or_null(13)?.map(KeyId::from_uuid),
        replaced_by: row.uuid_or_null(14)?.map(KeyId::from_uuid),
        last_use: last_use(row, 15)?,
    })
}

/// What a credential asks for; nothing when it was stored before that could be said.
pub(super) fn wishes(row: &Row, column: usize) -> Result<Wishes, Error> {
    Wishes::decode(&*row.blob(column)?).map_err(|error| Error::Corrupt(error.to_string()))
}

const SUPPRESSION: &str =
    "SELECT id, email, reason, campaign_id, note, create_ms FROM suppressions";

/// Adds an entry unless there is one for the address and campaign. Returns the one that is there.
pub async fn create_suppression(
    db: &dyn Database,
    entry: &Suppression,
) -> Result<Suppression, Error> {
    db.write(vec![insert_suppression(entry)]).await?;
    let mut conditions = Where::default();
    conditions.and("email = ?", entry.email.as_str());
    conditions.and("campaign_id = ?", entry.campaign_id.as_str());
    let rows = db.read(conditions.statement(SUPPRESSION, "")).await?;
    rows.first().map_or_else(|| Ok(entry.clone()), suppression)
}

/// Adds entries in one transaction, but for those that are there. Returns how many were added.
pub async fn create_suppressions(
    db: &dyn Database,
    entries: &[Suppression],
) -> Result<usize, Error> {
    let done = db.write(entries.iter().map(insert_suppression).collect()).await?;
    Ok(done.iter().map(|one| one.changed as usize).sum())
}

fn insert_suppression(entry: &Suppression) -> Statement {
    let sql = "INSERT INTO suppressions (id, email, reason, campaign_id, note, create_ms) \
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (email, campaign_id) DO NOTHING";
    Statement::new(
        sql,
        vec![
            entry.id.uuid().into(),
            entry.email.as_str().into(),
            (entry.reason as i64).into(),
            entry.campaign_id.as_str().into(),
            entry.note.as_str().into(),
            entry.create_ms.into(),
        ],
    )
}

/// Which suppressions are wanted. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct SuppressionFilter {
    /// This entry.
    pub id: Option<SuppressionId>,
    /// This address.
    pub email: String,
    /// This reason.
    pub reason: Option<SuppressionReason>,
    /// From below this id.
    pub before: Option<SuppressionId>,
}

/// Entries that fit, newest first.
pub async fn suppressions(
    db: &dyn Database,
    filter: &SuppressionFilter,
    limit: usize,
) -> Result<Vec<Suppression>, Error> {
    let mut conditions = Where::default();
    if let Some(id) = filter.id {
        conditions.and("id = ?", id.uuid());
    }
    if let Some(id) = filter.before {
        conditions.and("id < ?", id.uuid());
    }
    if !filter.email.is_empty() {
        conditions.and("email = ?", filter.email.as_str());
    }
    if let Some(reason) = filter.reason {
        conditions.and("reason = ?", reason as i64);
    }
    let rest = format!("ORDER BY id DESC LIMIT {limit}");
    db.read(conditions.statement(SUPPRESSION, &rest)).await?.iter().map(suppression).collect()
}

/// Removes an entry. Tells whether there was one.
pub async fn delete_suppression(db: &dyn Database, id: SuppressionId) -> Result<bool, Error> {
    let sql = "DELETE FROM suppressions WHERE id = $1";
    let done = db.write(vec![Statement::new(sql, vec![id.uuid().into()])]).await?;
    Ok(done[0].changed > 0)
}

fn suppression(row: &Row) -> Result<Suppression, Error> {
    Ok(Suppression {
        id: SuppressionId::from_uuid(row.uuid(0)?),
        email: row.text(1)?,
        reason: SuppressionReason::from_number(row.int(2)?),
        campaign_id: row.text(3)?,
        note: row.text(4)?,
        create_ms: row.int(5)?,
    })
}

/// Reserves `count` recipients of a day's limit for one node. Tells whether they fit.
pub async fn reserve(
    db: &dyn Database,
    day: i64,
    scope: &str,
    count: i64,
    limit: i64,
) -> Result<bool, Error> {
    let first = "INSERT INTO daily_usage (day, scope, used) VALUES ($1, $2, 0) \
                 ON CONFLICT (day, scope) DO NOTHING";
    let more = "UPDATE daily_usage SET used = used + $1 \
                WHERE day = $2 AND scope = $3 AND used <= $4";
    let statements = vec![
        Statement::new(first, vec![day.into(), scope.into()]),
        Statement::new(more, vec![count.into(), day.into(), scope.into(), (limit - count).into()]),
    ];
    Ok(db.write(statements).await?[1].changed > 0)
}

/// How many recipients of a day's limit are reserved.
pub async fn reserved(db: &dyn Database, day: i64, scope: &str) -> Result<i64, Error> {
    let mut conditions = Where::default();
    conditions.and("day = ?", day);
    conditions.and("scope = ?", scope);
    let rows = db.read(conditions.statement("SELECT used FROM daily_usage", "")).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}
