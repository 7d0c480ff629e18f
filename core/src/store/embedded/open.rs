//! Opening the file: lock, settings, migrations, threads.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, watch};

use super::super::{Error, Reads, Stores};
use super::writer::Writer;

pub(super) mod migrations {
    refinery::embed_migrations!("migrations/embedded");
}

/// Held by whoever has the store open, or exchanges it.
pub const LOCK: &str = "postern.lock";
/// Lies in the data folder while a restore exchanges what is in it.
pub const RESTORING: &str = "restoring";
/// How many reads may run at once.
const READERS: usize = 4;

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be used.
    #[error("cannot use {path}: {source}; check its owner and permissions, or set POSTERN_DATA")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the store open.
    #[error("{path} is in use by another postern; stop it, or set POSTERN_DATA to another folder")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// A restore was cut off in the middle.
    #[error(
        "a restore into {0} did not come to its end; do it again: postern restore FILE --replace"
    )]
    Restoring(PathBuf),
    /// SQLite refused.
    #[error("cannot open the store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The schema could not be brought up to date.
    #[error("cannot migrate the store: {0}")]
    Migration(#[from] refinery::Error),
}

/// The embedded store. Dropping it closes the file once the last write is done.
pub struct Embedded {
    pub(super) writer: Writer,
    readers: Arc<Mutex<Vec<Connection>>>,
    free_readers: Arc<Semaphore>,
    pub(super) events: watch::Sender<u64>,
    // Held for as long as the store is open.
    _lock: File,
}

impl Embedded {
    /// Opens or makes the store in `folder`.
    pub fn open(folder: &Path) -> Result<Stores, OpenError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        std::fs::create_dir_all(folder).map_err(io(folder))?;
        let lock_path = folder.join(LOCK);
        let lock = File::create(&lock_path).map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: lock_path }),
            Err(TryLockError::Error(source)) => {
                return Err(OpenError::Io { path: lock_path, source });
            }
        }
        if folder.join(RESTORING).exists() {
            return Err(OpenError::Restoring(folder.to_owned()));
        }
        let path = folder.join("postern.db");
        let mut connection = Connection::open(&path)?;
        private(&path).map_err(io(&path))?;
        tune(&connection)?;
        migrations::migrations::runner().run(&mut connection)?;
        let readers = (0..READERS).map(|_| reader(&path)).collect::<Result<Vec<_>, _>>()?;
        let checkpointer = Connection::open(&path)?;
        let wal = folder.join("postern.db-wal");
        let store = Arc::new(Self {
            writer: Writer::start(connection, checkpointer, wal).map_err(io(&path))?,
            readers: Arc::new(Mutex::new(readers)),
            free_readers: Arc::new(Semaphore::new(READERS)),
            events: watch::Sender::new(0),
            _lock: lock,
        });
        let (intake, queue) = (store.clone(), store.clone());
        let (tracking, reports) = (store.clone(), store.clone());
        let reads = Reads::One(store.clone());
        Ok(Stores { intake, queue, tracking, reports, db: store, reads, replica: None })
    }

    /// Runs a read on a thread that may block.
    pub(super) async fn reading<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let closed = |_| Error::Unavailable("the store is closed".to_owned());
        let permit = self.free_readers.clone().acquire_owned().await.map_err(closed)?;
        let readers = self.readers.clone();
        let task = tokio::task::spawn_blocking(move || {
            let lock = || readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let taken = lock().pop();
            let connection = taken.ok_or_else(|| Error::Unavailable("no reader".to_owned()))?;
            let result = read(&connection);
            lock().push(connection);
            drop(permit);
            result
        });
        task.await.map_err(|error| Error::Corrupt(format!("a read panicked: {error}")))?
    }
}

/// The file holds private keys and mail: only its owner may read it.
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

fn tune(connection: &Connection) -> Result<(), rusqlite::Error> {
    // Only takes effect on a new file. 8 KiB holds a typical body with little waste.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // In WAL mode only FULL syncs at every commit, and an accepted mail must be on the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Checkpoints are the writer's and the checkpointer's business.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

fn reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
