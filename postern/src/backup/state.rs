//! `last-backup` in the data folder: when the last backup was made, and whether one failed since, for
//! whoever watches that. It is exchanged as a whole; a crash leaves the one before.

use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;

use super::{BackupError, sync};

/// Its name.
pub(super) const FILE: &str = postern_kit::metrics::LAST_BACKUP;
/// The figure of a backup that failed.
const FAILED: &str = "postern_backup_last_failure_timestamp_seconds";

/// Writes it, in the text format of Prometheus.
pub(super) fn write(
    data: &Path,
    begun: Timestamp,
    ended: Timestamp,
    octets: u64,
) -> Result<(), BackupError> {
    let (begun, ended) = (begun.as_second(), ended.as_second());
    let text = format!(
        "# HELP postern_backup_last_success_timestamp_seconds When the newest backup was begun.\n\
         # TYPE postern_backup_last_success_timestamp_seconds gauge\n\
         postern_backup_last_success_timestamp_seconds {begun}\n\
         # HELP postern_backup_last_duration_seconds How long it took.\n\
         # TYPE postern_backup_last_duration_seconds gauge\n\
         postern_backup_last_duration_seconds {}\n\
         # HELP postern_backup_last_size_bytes How large it is.\n\
         # TYPE postern_backup_last_size_bytes gauge\n\
         postern_backup_last_size_bytes {octets}\n",
        ended - begun
    );
    exchange(data, &text)
}

/// Notes that one could not be made, and leaves what is told of the last one that was.
pub(super) fn note_failure(data: &Path, at: Timestamp) -> Result<(), BackupError> {
    let before = std::fs::read_to_string(data.join(FILE)).unwrap_or_default();
    let mut text = String::new();
    for told in before.lines().filter(|line| !line.contains(FAILED)) {
        text += told;
        text.push('\n');
    }
    let at = at.as_second();
    text += &format!(
        "# HELP {FAILED} When a backup failed, after the newest one that did not.\n\
         # TYPE {FAILED} gauge\n\
         {FAILED} {at}\n"
    );
    exchange(data, &text)
}

fn exchange(data: &Path, text: &str) -> Result<(), BackupError> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = data.join(FILE);
    let io = || BackupError::io(&path);
    let mut file = tempfile::NamedTempFile::new_in(data).map_err(io())?;
    file.write_all(text.as_bytes()).map_err(io())?;
    // It holds no secret, and a collector runs as somebody else.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io())?;
    file.as_file().sync_all().map_err(io())?;
    file.persist(&path).map_err(|error| io()(error.error))?;
    sync(data)
}

#[cfg(test)]
mod tests {
    use postern_kit::metrics::{failed_backup, last_backup};

    use super::*;

    #[test]
    fn a_failure_is_told_until_a_backup_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let at = |second| Timestamp::from_second(second).unwrap();
        note_failure(folder.path(), at(5)).unwrap();
        assert_eq!((last_backup(&file), failed_backup(&file)), (None, Some(5)));
        write(folder.path(), at(10), at(12), 7).unwrap();
        assert_eq!((last_backup(&file), failed_backup(&file)), (Some(10), None));
        note_failure(folder.path(), at(20)).unwrap();
        note_failure(folder.path(), at(30)).unwrap();
        assert_eq!((last_backup(&file), failed_backup(&file)), (Some(10), Some(30)));
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.matches(FAILED).count(), 3, "{text}");
    }
}
