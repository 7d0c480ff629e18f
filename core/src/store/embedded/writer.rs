//! The one writer: a thread that runs whatever is waiting in one transaction, commits with one sync,
//! and only then tells the callers.
//!
//! Each piece of work runs in a savepoint, so one that fails takes back its own changes and not its
//! neighbours'. A crash before the commit loses work that nobody was told is done.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::super::Error;

/// How many pieces of work may wait.
const WAITING_MAX: usize = 4096;
/// How many pieces of work share a transaction at most.
const TRANSACTION_MAX: usize = 256;
/// How many transactions pass between two looks at the size of the log.
const LOOK_EVERY: u32 = 32;
/// Above this size the checkpointer copies the log into the file while the writer goes on.
const WAL_CHECKPOINT_BYTES: u64 = 32 << 20;

/// Tells a caller how its work ended, given how the commit ended.
type Tell = Box<dyn FnOnce(Result<(), Error>) + Send>;
type Work = Box<dyn FnOnce(&Connection) -> Tell + Send>;

pub(super) struct Writer {
    work: mpsc::Sender<Work>,
}

impl Writer {
    /// Starts the writer and the checkpointer.
    pub(super) fn start(
        connection: Connection,
        checkpointer: Connection,
        wal: PathBuf,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let log = Log::start(checkpointer, wal)?;
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_all(&connection, receiver, log))?;
        Ok(Self { work: sender })
    }

    /// Runs `work` inside a transaction and returns its result once that is committed.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let result = in_savepoint(connection, work);
            Box::new(move |committed| {
                // A caller that has gone away wants no answer.
                let _gone = sender.send(committed.and(result));
            })
        });
        let closed = || Error::Unavailable("the store is closed".to_owned());
        self.work.send(work).await.map_err(|_| closed())?;
        receiver.await.map_err(|_| closed())?
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let run = |sql| -> Result<(), Error> {
        connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    };
    run("SAVEPOINT work")?;
    let result = work(connection);
    if result.is_err() {
        run("ROLLBACK TO work")?;
    }
    run("RELEASE work")?;
    result
}

fn write_all(connection: &Connection, mut receiver: mpsc::Receiver<Work>, mut log: Log) {
    while let Some(first) = receiver.blocking_recv() {
        let begun = connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut s| s.execute([]));
        let mut tells = Vec::new();
        if begun.is_ok() {
            tells.push(first(connection));
            // A full disk may have rolled everything back: what comes now must not commit alone.
            while tells.len() < TRANSACTION_MAX && !connection.is_autocommit() {
                let Ok(next) = receiver.try_recv() else { break };
                tells.push(next(connection));
            }
        } else {
            // Dropping the work drops its sender: the caller sees the store closed for it.
            drop(first);
        }
        let committed = begun
            .and_then(|_| connection.prepare_cached("COMMIT").and_then(|mut s| s.execute([])))
            .map(|_| ())
            .map_err(Error::from);
        if let Err(error) = &committed {
            tracing::error!(%error, "commit failed; nothing of this transaction is stored");
            if !connection.is_autocommit() {
                let _nothing_to_roll_back = connection.execute_batch("ROLLBACK");
            }
        }
        for tell in tells {
            tell(committed.clone());
        }
        log.look(connection);
    }
}

/// Keeps the write-ahead log from growing without end.
///
/// The checkpointer alone would never get to its end while the writer goes on, and the log would
/// never start over. So after the checkpointer has copied the bulk, the writer copies the small
/// rest itself, between two transactions.
struct Log {
    wal: PathBuf,
    start: SyncSender<()>,
    bulk_done: Arc<AtomicBool>,
    transactions: u32,
}

impl Log {
    fn start(checkpointer: Connection, wal: PathBuf) -> std::io::Result<Self> {
        let (start, starts) = sync_channel(1);
        let bulk_done = Arc::new(AtomicBool::new(false));
        let done = bulk_done.clone();
        std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || copy_on_demand(&checkpointer, &starts, &done))?;
        Ok(Self { wal, start, bulk_done, transactions: 0 })
    }

    fn look(&mut self, writer: &Connection) {
        self.transactions += 1;
        if self.bulk_done.swap(false, Ordering::AcqRel) {
            checkpoint(writer);
        } else if self.transactions.is_multiple_of(LOOK_EVERY) {
            let size = std::fs::metadata(&self.wal).map(|meta| meta.len()).unwrap_or(0);
            if size > WAL_CHECKPOINT_BYTES {
                // Full means that one is wanted already.
                let _wanted_already = self.start.try_send(());
            }
        }
    }
}

fn copy_on_demand(checkpointer: &Connection, starts: &Receiver<()>, done: &AtomicBool) {
    while starts.recv().is_ok() {
        checkpoint(checkpointer);
        done.store(true, Ordering::Release);
    }
}

fn checkpoint(connection: &Connection) {
    let result = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = result {
        tracing::warn!(%error, "checkpoint failed; the log keeps growing until one succeeds");
    }
}
