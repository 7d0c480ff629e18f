//! Stored answers, looked up before anything else is decided about a repeated request.

use super::Error;
use super::db::{Database, Where};
use super::plan::StoredKey;

/// The answer under this key, unless it has expired.
pub async fn find(db: &dyn Database, key: &str, now_ms: i64) -> Result<Option<StoredKey>, Error> {
    let mut conditions = Where::default();
    conditions.and("key = ?", key);
    conditions.and("expire_ms > ?", now_ms);
    let select = "SELECT fingerprint, expire_ms, receipt FROM idempotency";
    let rows = db.read(conditions.statement(select, "")).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (fingerprint, expire_ms) = (row.blob(0)?, row.int(1)?);
    Ok(Some(StoredKey { fingerprint, expire_ms, receipt: row.blob(2)? }))
}
