//! Backups of an installation with the embedded store: the store, the generated secrets and the
//! journal of the tracking edge in one file.
//!
//! A backup has its name only when it is whole and checked, so what a crash leaves behind is a hidden
//! folder and never a backup that cannot be trusted. A restore checks everything before it touches
//! the data folder, and marks the folder for the moment in which it is neither the old nor the new.

mod archive;
mod make;
mod manifest;
mod restore;
mod state;

use std::io;
use std::path::{Path, PathBuf};

use postern_core::store::embedded::SnapshotError;

pub(crate) use make::{Order, make};
pub(crate) use restore::{Restored, restore};

/// How backups are called, with the time between the two.
const PREFIX: &str = "postern-";
const SUFFIX: &str = ".tar.zst";
/// Where they go in the data folder unless somebody says otherwise.
pub(crate) const FOLDER: &str = "backups";
/// Files that are copied in a way of their own, made anew by every start, or say nothing about the
/// system. `shipped` tells how far the journal is known to the core: copied a moment later than the
/// segments it would point behind them, and without it all of them are reported again, which the core
/// knows by their ids.
const LEFT_OUT: [&str; 7] = [
    "postern.db",
    "postern.db-wal",
    "postern.db-shm",
    "postern.lock",
    "lock",
    "shipped",
    state::FILE,
];

/// A backup could not be made or restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// A file or folder cannot be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be copied, or a copy is broken.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The file is no backup, or not a whole one.
    #[error("{path} is not to be trusted: {problem}; take another backup")]
    Bad {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The backup is of a newer program.
    #[error(
        "the backup has schema {found} and this postern knows {known}; install {version} or newer"
    )]
    Newer {
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
        /// The program that made it.
        version: String,
    },
    /// There is something in the data folder.
    #[error("{0} is not empty; give --replace to move what is there aside")]
    NotEmpty(PathBuf),
    /// It is a file system of its own, and cannot be moved.
    #[error("{0} is a file system of its own; unmount it, restore, and mount it again")]
    Mounted(PathBuf),
    /// A restore was cut off.
    #[error("a restore into {0} was cut off: run postern restore --replace again, then back up")]
    HalfRestored(PathBuf),
    /// Another backup goes to the same folder.
    #[error("another backup into {0} is under way; wait until it is done")]
    UnderWay(PathBuf),
    /// A server uses the data folder.
    #[error("{0} is in use by a running postern; stop it first")]
    InUse(PathBuf),
}

impl BackupError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }

    fn bad(path: &Path, problem: impl Into<String>) -> Self {
        Self::Bad { path: path.to_owned(), problem: problem.into() }
    }
}

/// Has a file or the entries of a folder on stable storage.
fn sync(path: &Path) -> Result<(), BackupError> {
    std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(BackupError::io(path))
}

/// A hidden folder beside what is made in it, that is gone when it is dropped. Those that a crash left
/// are removed; the caller holds a lock, so they are nobody's.
fn workshop(beside: &Path, purpose: &str) -> Result<tempfile::TempDir, BackupError> {
    let prefix = format!(".postern-{purpose}-");
    for entry in std::fs::read_dir(beside).map_err(BackupError::io(beside))? {
        let entry = entry.map_err(BackupError::io(beside))?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            std::fs::remove_dir_all(entry.path()).map_err(BackupError::io(&entry.path()))?;
        }
    }
    let builder = tempfile::Builder::new().prefix(&prefix).tempdir_in(beside);
    builder.map_err(BackupError::io(beside))
}
