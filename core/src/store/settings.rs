//! Live settings: the values that differ from the defaults. Every change raises the version of the
//! directory, by which all nodes notice it.

use super::db::{Database, Statement, Where};
use super::{Error, directory};

/// The settings that were changed, as name and value.
pub async fn changed(db: &dyn Database) -> Result<Vec<(String, String)>, Error> {
    let sql = "SELECT name, value FROM settings WHERE name <> 'directory_version'";
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
}

/// The value a change relies on: it only happens while the setting has this value.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The value.
    pub value: &'a str,
    /// It is the default, which no row need hold.
    pub is_default: bool,
}

/// Changes a setting. Tells whether it had the value that was expected.
pub async fn put(
    db: &dyn Database,
    name: &str,
    value: &str,
    expected: Option<Expected<'_>>,
) -> Result<bool, Error> {
    let insert = "INSERT INTO settings (name, value) VALUES ($1, $2) \
                  ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let put = match expected {
        None => Statement::new(insert, vec![name.into(), value.into()]),
        Some(Expected { value: before, is_default: true }) => {
            let sql = format!("{insert} WHERE settings.value = $3");
            Statement::new(sql, vec![name.into(), value.into(), before.into()])
        }
        Some(Expected { value: before, is_default: false }) => {
            let sql = "UPDATE settings SET value = $1 WHERE name = $2 AND value = $3";
            Statement::new(sql, vec![value.into(), name.into(), before.into()])
        }
    };
    let done = db.write(vec![put, directory::raise_version()]).await?;
    Ok(done[0].changed > 0)
}

/// Puts a setting back to its default. Tells whether it had the value that was expected.
pub async fn reset(
    db: &dyn Database,
    name: &str,
    expected: Option<Expected<'_>>,
) -> Result<bool, Error> {
    let mut conditions = Where::default();
    conditions.and("name = ?", name);
    if let Some(expected) = expected {
        conditions.and("value = ?", expected.value);
    }
    let delete = conditions.statement("DELETE FROM settings", "");
    let done = db.write(vec![delete, directory::raise_version()]).await?;
    // Without a row it has its default.
    Ok(done[0].changed > 0 || expected.is_none_or(|expected| expected.is_default))
}
