//! A copy of the file while it is written to, and the proof that a copy is whole.
//!
//! The copy is of one moment: everything committed before it, nothing after. It is made in a new file,
//! so a crash leaves the store as it was and a copy that nobody counts on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::open::migrations;

/// The file's name in the data folder.
pub const FILE: &str = "postern.db";
/// Pages copied between two reports.
const PAGES: i32 = 512;

/// A copy could not be made, or is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is no store.
    #[error("there is no store at {0}; set POSTERN_DATA to the data folder of the installation")]
    Missing(PathBuf),
    /// SQLite refused.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The check of SQLite found the file broken.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Nobody migrated this file.
    #[error("the file is no store of postern")]
    NotOurs,
}

/// Copies the store in `folder` to the new file `to`, also while a server writes to it. `report` is
/// told how many of how many octets are done.
pub fn copy(
    folder: &Path,
    to: &Path,
    mut report: impl FnMut(u64, u64),
) -> Result<(), SnapshotError> {
    let from = folder.join(FILE);
    if !from.is_file() {
        return Err(SnapshotError::Missing(from));
    }
    // Not read-only: without a running server, the log that a crash left has to be read in.
    let source = open(&from)?;
    // With a read under way all steps see the same moment, however much is written meanwhile; without
    // it, every write would make the copy begin again.
    source.execute_batch("BEGIN")?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    let octets = source.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))?;
    let octets = u64::try_from(octets).unwrap_or(0);
    let mut target = Connection::open(to)?;
    let backup = Backup::new(&source, &mut target)?;
    loop {
        let step = backup.step(PAGES)?;
        let progress = backup.progress();
        let (all, left) = (pages(progress.pagecount), pages(progress.remaining));
        report(all.saturating_sub(left) * octets, all * octets);
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            // Somebody holds the file for a moment.
            _ => std::thread::yield_now(),
        }
    }
}

fn pages(count: i32) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Has SQLite check every page and index of the file, and says the version of its schema.
pub fn verify(file: &Path) -> Result<i64, SnapshotError> {
    let connection = open(file)?;
    let mut findings = Vec::new();
    connection.pragma_query(None, "integrity_check", |row| {
        findings.push(row.get::<_, String>(0)?);
        Ok(())
    })?;
    if findings != ["ok"] {
        return Err(SnapshotError::Damaged(findings.join("; ")));
    }
    let sql = "SELECT max(version) FROM refinery_schema_history";
    let version = connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    version.ok().flatten().ok_or(SnapshotError::NotOurs)
}

/// The version of the schema that this program knows and brings a store to.
pub fn newest_schema() -> i64 {
    let versions = migrations::migrations::runner();
    versions.get_migrations().iter().map(|one| i64::from(one.version())).max().unwrap_or(0)
}

fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_of_one_moment_and_a_broken_one_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let mut writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        migrations::migrations::runner().run(&mut writer).unwrap();
        writer.execute_batch("CREATE TABLE pile (n INTEGER, fill BLOB)").unwrap();
        let put = |n: i64| {
            let sql = "INSERT INTO pile VALUES (?1, zeroblob(100000))";
            writer.execute(sql, [n]).unwrap();
        };
        (0..100).for_each(put);
        let to = folder.path().join("copy");
        let mut reports = 0;
        // Every step of the copy has a write between it and the next.
        copy(folder.path(), &to, |done, all| {
            assert!(done <= all);
            reports += 1;
            put(1000 + reports);
        })
        .unwrap();
        assert!(reports > 1, "{reports}");
        let sql = "SELECT count(*), max(n) FROM pile";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        assert_eq!(open(&to).unwrap().query_row(sql, [], read).unwrap(), (100, 99));
        assert_eq!(verify(&to).unwrap(), newest_schema());
        let octets = std::fs::read(&to).unwrap();
        let mut broken = octets.clone();
        let middle = octets.len() / 2;
        broken[middle..middle + 20_000].fill(0xff);
        std::fs::write(&to, broken).unwrap();
        assert!(matches!(verify(&to), Err(SnapshotError::Damaged(_) | SnapshotError::Sqlite(_))));
    }
}
