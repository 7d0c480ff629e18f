//! `last-backup` in the data folder: when the last backup was made, for whoever watches that it is not
//! too long ago. It is exchanged as a whole; a crash leaves the one before.

use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;

use super::{BackupError, sync};

/// Its name.
pub(super) const FILE: &str = "last-backup";

/// Writes it, in the text format of Prometheus.
pub(super) fn write(
    data: &Path,
    begun: Timestamp,
    ended: Timestamp,
    octets: u64,
) -> Result<(), BackupError> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = data.join(FILE);
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
    let io = || BackupError::io(&path);
    let mut file = tempfile::NamedTempFile::new_in(data).map_err(io())?;
    file.write_all(text.as_bytes()).map_err(io())?;
    // It holds no secret, and a collector runs as somebody else.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io())?;
    file.as_file().sync_all().map_err(io())?;
    file.persist(&path).map_err(|error| io()(error.error))?;
    sync(data)
}
