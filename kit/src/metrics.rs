//! Figures that every process has: its build, and what it takes of the machine.
//!
//! They are read when they are asked for, and nothing is kept; counters begin at zero after a crash.

use std::path::{Path, PathBuf};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the times that are counted, in seconds: from an answer out of memory to the longest
/// wait for a remote server.
pub const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// The file in the data folder, or where `POSTERN_BACKUP_STATUS` says, that tells when the last backup was made.
pub const LAST_BACKUP: &str = "last-backup";
/// Its line with that time.
const BEGUN: &str = "postern_backup_last_success_timestamp_seconds ";
/// Its line with the time at which one failed.
const FAILED: &str = "postern_backup_last_failure_timestamp_seconds ";

/// The file that tells when the last backup was made: the one that is named, or the one in the data folder.
pub fn backup_status(named: Option<&Path>, data: Option<&Path>) -> Option<PathBuf> {
    named.map(Path::to_owned).or_else(|| data.map(|data| data.join(LAST_BACKUP)))
}

/// Registers what every process has. `data` is the folder whose disk is shown, `backup` the file that
/// tells when the last backup was made.
pub(crate) fn register(registry: &mut Registry, data: Option<PathBuf>, backup: Option<PathBuf>) {
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("postern_build", "The version of this program", build);
    registry.register_collector(Box::new(Process));
    registry.register_collector(Box::new(Data { folder: data, backup }));
}

#[derive(Debug)]
struct Process;

#[derive(Debug)]
struct Data {
    folder: Option<PathBuf>,
    backup: Option<PathBuf>,
}

/// Writes one gauge; one that cannot be read is left out.
fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    unit: Option<&Unit>,
    value: Option<i64>,
) -> std::fmt::Result {
    let Some(value) = value else { return Ok(()) };
    let value = ConstGauge::new(value);
    value.encode(encoder.encode_descriptor(name, help, unit, value.metric_type())?)
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let memory = ("process_resident_memory", "Memory of this process in RAM");
        gauge(&mut encoder, memory, Some(&Unit::Bytes), resident_bytes())?;
        gauge(&mut encoder, ("process_open_fds", "Open file descriptors"), None, open_files())
    }
}

impl Collector for Data {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let free = ("postern_data_free", "Free space on the disk of the data folder");
        gauge(&mut encoder, free, Some(&Unit::Bytes), self.folder.as_deref().and_then(free_bytes))?;
        let backup = (
            "postern_backup_last_success_timestamp",
            "When the newest complete backup was begun, Unix time",
        );
        gauge(
            &mut encoder,
            backup,
            Some(&Unit::Seconds),
            self.backup.as_deref().and_then(last_backup),
        )
    }
}

/// `VmRSS:   34816 kB` of the kernel.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<i64>().ok()?.checked_mul(1024)
}

/// The descriptor that reads the folder is not counted.
fn open_files() -> Option<i64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(open.saturating_sub(1)).ok()
}

/// Free space on the disk of a folder; none when it cannot be read.
pub fn free_bytes(folder: &Path) -> Option<i64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    i64::try_from(disk.f_bavail.saturating_mul(disk.f_frsize)).ok()
}

/// When the newest complete backup was begun, in Unix time, by the file that tells it; none when it
/// tells nothing.
pub fn last_backup(status: &Path) -> Option<i64> {
    told(status, BEGUN)
}

/// When a backup failed for the last time, in Unix time, by the same file; none when it tells nothing.
pub fn failed_backup(status: &Path) -> Option<i64> {
    told(status, FAILED)
}

fn told(status: &Path, name: &str) -> Option<i64> {
    let text = std::fs::read_to_string(status).ok()?;
    let is = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    text.lines().find_map(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_measured_and_a_backup_is_known_by_its_file() {
        assert!(resident_bytes().unwrap() > 100_000);
        assert!(open_files().unwrap() >= 3);
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(folder.path()).is_some());
        let status = folder.path().join(LAST_BACKUP);
        assert_eq!(last_backup(&status), None);
        let text = "postern_backup_last_success_timestamp_seconds 1795719600\nother 1\n";
        std::fs::write(&status, text).unwrap();
        assert_eq!(last_backup(&status), Some(1_795_719_600));
    }
}
