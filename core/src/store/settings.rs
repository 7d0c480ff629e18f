//! Live settings: the values that differ from the defaults. Every change raises the version of the
//! directory, by which all nodes notice it.

use super::db::{Database, Statement};
use super::{Error, directory};

/// The settings that were changed, as name and value.
pub async fn changed(db: &dyn Database) -> Result<Vec<(String, String)>, Error> {
    let sql = "SELECT name, value FROM settings WHERE name <> 'directory_version'";
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
}

/// Changes a setting.
pub async fn put(db: &dyn Database, name: &str, value: &str) -> Result<(), Error> {
    let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let put = Statement::new(sql, vec![name.into(), value.into()]);
    db.write(vec![put, directory::raise_version()]).await.map(|_| ())
}

/// Puts a setting back to its default.
pub async fn reset(db: &dyn Database, name: &str) -> Result<(), Error> {
    let delete = Statement::new("DELETE FROM settings WHERE name = $1", vec![name.into()]);
    db.write(vec![delete, directory::raise_version()]).await.map(|_| ())
}
