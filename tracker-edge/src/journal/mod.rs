//! The journal: what the edge has answered and the core does not know yet, in append-only files.
//!
//! A record is in the file (in the kernel's hands) before the answer leaves, so `kill -9` loses
//! nothing; it is on stable storage soon after, in groups, so a power cut loses at most the last
//! [`postern_proto::settings::TRACKING_SYNC_INTERVAL`]. Each start begins a new segment: what a crash
//! left at the end of an old one is never written behind. When nothing can be written, answers still
//! flow; what is lost by that is counted and reported at error level.

mod reader;
mod record;
mod segment;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use reader::{Batch, Reader};
pub(crate) use record::Record;
pub(crate) use segment::Position;

/// A segment above this size is closed and a new one begun.
const SEGMENT_OCTETS: u64 = 16 << 20;

/// Why a record was not journaled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The journal has reached its permitted size.
    #[error("the journal holds {0} octets already, as many as tracking.journal_octets_max allows")]
    Full(u64),
    /// The disk is full, or worse.
    #[error("the journal cannot be written: {0}")]
    Io(#[from] io::Error),
    /// Another process holds the folder.
    #[error(
        "the journal folder {0} is used by another edge; give each one its own POSTERN_TRACKER_DATA"
    )]
    Taken(PathBuf),
}

/// How much has been written since the start, as a point that a sync can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The journal of one edge.
pub(crate) struct Journal {
    folder: PathBuf,
    /// Held for as long as the journal is open.
    _lock: File,
    writing: Mutex<Writing>,
    unsynced: Notify,
    /// What has been synced, or was tried to be.
    synced: watch::Sender<Ticket>,
    lost: AtomicU64,
}

struct Writing {
    file: Arc<File>,
    position: Position,
    /// Bytes in all segments.
    octets: u64,
    written: Ticket,
    /// Closed segments that have not been synced.
    closed: Vec<Arc<File>>,
    /// The segment is not written to any more: its end could not be mended, a sync of it failed, or
    /// the disk is full and its octets are wanted back as soon as they are shipped.
    spent: bool,
}

impl Journal {
    /// Opens the journal in its folder, which is made when it is missing, and a reader at the first
    /// record that the core has not acknowledged.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Reader), JournalError> {
        std::fs::create_dir_all(folder)?;
        let lock = File::create(folder.join("lock"))?;
        if lock.try_lock().is_err() {
            return Err(JournalError::Taken(folder.to_owned()));
        }
        let segments = segment::list(folder)?;
        let octets = segments.iter().map(|(_, octets)| octets).sum();
        let next = segments.last().map_or(1, |(number, _)| number + 1);
        let reader = Reader::open(folder)?;
        let writing = Writing {
            file: Arc::new(segment::create(folder, next)?),
            position: Position { segment: next, offset: 0 },
            octets,
            written: Ticket(0),
            closed: Vec::new(),
            spent: false,
        };
        let journal = Self {
            folder: folder.to_owned(),
            _lock: lock,
            writing: Mutex::new(writing),
            unsynced: Notify::new(),
            synced: watch::Sender::new(Ticket(0)),
            lost: AtomicU64::new(0),
        };
        Ok((journal, reader))
    }

    /// Writes a record, unless the journal would hold more than `octets_max` then. The ticket is for
    /// [`Self::wait_synced`].
    ///
    /// The write is a short copy into the page cache, so it is made right here: handing it to
    /// another thread would cost more than it takes.
    pub(crate) fn append(&self, record: &Record, octets_max: u64) -> Result<Ticket, JournalError> {
        let mut bytes = Vec::with_capacity(512);
        record.write(&mut bytes);
        let result = self.writing().append(&self.folder, &bytes, octets_max);
        if result.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        // After a failure too: a segment that is closed must not be kept open, or a full disk would
        // get nothing back when it is deleted.
        self.unsynced.notify_one();
        result
    }

    /// Returns when everything up to the ticket has been synced, or could not be.
    pub(crate) async fn wait_synced(&self, ticket: Ticket) {
        let mut synced = self.synced.subscribe();
        let _never_closed = synced.wait_for(|synced| *synced >= ticket).await;
    }

    /// Where the next record will stand: the reader reads up to here.
    pub(crate) fn end(&self) -> Position {
        self.writing().position
    }

    /// Bytes in all segments, shipped or not.
    pub(crate) fn octets(&self) -> u64 {
        self.writing().octets
    }

    /// Segments were deleted.
    pub(crate) fn released(&self, octets: u64) {
        let mut writing = self.writing();
        writing.octets = writing.octets.saturating_sub(octets);
    }

    /// How many records could not be written since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Syncs what was written, again and again, until told to stop, and once more then. `pause` says
    /// how long a record may wait for others.
    pub(crate) async fn keep_synced(&self, pause: impl Fn() -> Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(self.unsynced.notified()).await.is_some() {
            let _stopped = stop.run_until_cancelled(tokio::time::sleep(pause())).await;
            self.sync().await;
        }
        self.sync().await;
    }

    async fn sync(&self) {
        let (files, ticket) = {
            let mut writing = self.writing();
            let mut files = std::mem::take(&mut writing.closed);
            files.push(writing.file.clone());
            (files, writing.written)
        };
        let work = move || files.iter().try_for_each(|file| file.sync_data());
        let result = match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = result {
            tracing::error!(%error, "the journal was not synced; a power cut could lose hits");
            // After a failed sync the kernel may have dropped what it held (fsyncgate): what comes
            // next goes into a file of its own.
            self.writing().spent = true;
        }
        self.synced.send_replace(ticket);
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        // A panic between two records leaves the state whole.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    fn append(&mut self, folder: &Path, bytes: &[u8], max: u64) -> Result<Ticket, JournalError> {
        let len = bytes.len() as u64;
        if self.octets + len > max {
            return Err(JournalError::Full(self.octets));
        }
        if self.spent || self.position.offset + len > SEGMENT_OCTETS {
            self.begin_segment(folder)?;
        }
        if let Err(error) = (&*self.file).write_all(bytes) {
            // Half a record must not stand before the next one.
            let mended = self.file.set_len(self.position.offset);
            self.spent = mended.is_err() || self.position.offset > 0;
            return Err(error.into());
        }
        self.position.offset += len;
        self.octets += len;
        self.written.0 += len;
        Ok(self.written)
    }

    fn begin_segment(&mut self, folder: &Path) -> io::Result<()> {
        let number = self.position.segment + 1;
        let file = Arc::new(segment::create(folder, number)?);
        self.closed.push(std::mem::replace(&mut self.file, file));
        self.position = Position { segment: number, offset: 0 };
        self.spent = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
