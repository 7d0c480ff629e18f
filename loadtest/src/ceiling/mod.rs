//! What the machine and the stores can do at all: the ceilings that other figures are held against.
//!
//! The rows are those that the core writes for a scheduled message to one recipient (message, body,
//! delivery, event, counter), by the statements the core writes them with, in tables that a Postern
//! made. Rows that stay behind after a crash harm nobody: the tables are thrown away.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::figure::Figure;
use crate::target::FSYNC;

const DAY_MS: i64 = 86_400_000;
/// Octets that the core stores around the text: addresses, names, subject.
const ENVELOPE_BYTES: usize = 64;
/// Numbers of the core: the state and the event of a scheduled message, and normal priority.
const SCHEDULED: i64 = 1;
const SCHEDULED_EVENT: i64 = 2;
const NORMAL: i64 = 2;
/// As many octets as the core keeps of a trace.
const TRACE: [u8; 25] = [1; 25];

/// Appends 4 KiB and syncs, again and again.
pub(crate) fn fsync(folder: &Path, seconds: Duration) -> anyhow::Result<Figure> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("fsync-probe");
    let mut file = File::create(&path)?;
    let (block, began, mut count) = ([7u8; 4096], Instant::now(), 0);
    while began.elapsed() < seconds {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1;
    }
    let figure = Figure::rate(FSYNC, "fdatasync of 4 KiB appended", count, began.elapsed());
    std::fs::remove_file(path)?;
    Ok(figure)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}
