//! Putting a backup in the place of a data folder. Until everything is checked nothing is touched; a
//! crash in the moment of the exchange leaves a mark that stops every start until it is done again.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postern_core::store::embedded;

use super::manifest::Manifest;
use super::{BackupError, FOLDER, archive, sync, workshop};

/// What may lie in an empty folder: our lock, what a fresh file system has, and the backups, of which
/// one is just being restored.
const NOTHING: [&str; 3] = [embedded::LOCK, "lost+found", FOLDER];

/// What was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    /// When the backup was begun.
    pub(crate) begun_at: String,
    /// How many files.
    pub(crate) files: usize,
    /// Where what was there before is now.
    pub(crate) aside: Option<PathBuf>,
}

/// Restores `backup` into the data folder, which is empty or is to be replaced.
pub(crate) fn restore(
    backup: &Path,
    data: &Path,
    replace: bool,
    report: impl FnMut(u64),
) -> Result<Restored, BackupError> {
    std::fs::create_dir_all(data).map_err(BackupError::io(data))?;
    // Held until the end, so that no server starts in the middle.
    let _lock = lock(data)?;
    let before = held(data)?;
    if !before.is_empty() && !replace {
        return Err(BackupError::NotEmpty(data.to_owned()));
    }
    movable(data, &before)?;
    // Within the data folder, which may be a file system of its own.
    let workshop = workshop(data, "restore")?;
    let manifest = archive::read(backup, Some(workshop.path()), report)?;
    check(backup, workshop.path(), &manifest)?;
    let mark = data.join(embedded::RESTORING);
    File::create(&mark).and_then(|file| file.sync_all()).map_err(BackupError::io(&mark))?;
    sync(data)?;
    let aside = move_aside(data, &before)?;
    for name in names(workshop.path())? {
        let (from, to) = (workshop.path().join(&name), data.join(&name));
        std::fs::rename(&from, &to).map_err(BackupError::io(&to))?;
    }
    sync(data)?;
    std::fs::remove_file(&mark).map_err(BackupError::io(&mark))?;
    sync(data)?;
    Ok(Restored { begun_at: manifest.begun_at, files: manifest.files.len(), aside })
}

fn lock(data: &Path) -> Result<File, BackupError> {
    let path = data.join(embedded::LOCK);
    let lock = File::create(&path).map_err(BackupError::io(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse(data.to_owned())),
        Err(TryLockError::Error(source)) => Err(BackupError::Io { path, source }),
    }
}

/// What lies in the data folder and counts, older states that were moved aside excepted.
fn held(data: &Path) -> Result<Vec<String>, BackupError> {
    let counts = |name: &String| {
        let is_ours = name.starts_with(".postern-") || name.starts_with(ASIDE);
        !NOTHING.contains(&name.as_str()) && !is_ours
    };
    Ok(names(data)?.into_iter().filter(counts).collect())
}

/// Before anything is touched: what is to be moved aside can be.
fn movable(data: &Path, before: &[String]) -> Result<(), BackupError> {
    let disk = |path: &Path| path.metadata().map(|of| of.dev()).map_err(BackupError::io(path));
    let here = disk(data)?;
    for name in before {
        let path = data.join(name);
        if disk(&path)? != here {
            return Err(BackupError::Mounted(path));
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>, BackupError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(BackupError::io(folder))? {
        let entry = entry.map_err(BackupError::io(folder))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The store that came out is whole, and this program can open it.
fn check(backup: &Path, staged: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let store = staged.join(embedded::FILE);
    if !store.is_file() {
        return Err(BackupError::bad(backup, "there is no store in it"));
    }
    let found = embedded::verify(&store)?;
    if found != manifest.schema_version {
        let problem = format!("schema {found} is not {}", manifest.schema_version);
        return Err(BackupError::bad(backup, problem));
    }
    let known = embedded::newest_schema();
    if found > known {
        let version = manifest.postern_version.clone();
        return Err(BackupError::Newer { found, known, version });
    }
    Ok(())
}

const ASIDE: &str = ".before-restore-";

/// Nothing is deleted: a wrong restore can be taken back.
fn move_aside(data: &Path, before: &[String]) -> Result<Option<PathBuf>, BackupError> {
    let left: Vec<_> = before.iter().filter(|name| *name != embedded::RESTORING).collect();
    if left.is_empty() {
        return Ok(None);
    }
    let aside = data.join(format!("{ASIDE}{}", Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ")));
    std::fs::create_dir(&aside).map_err(BackupError::io(&aside))?;
    for name in left {
        let from = data.join(name);
        std::fs::rename(&from, aside.join(name)).map_err(BackupError::io(&from))?;
    }
    sync(&aside)?;
    sync(data)?;
    Ok(Some(aside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::{Order, make};
    use postern_core::store::embedded::Embedded;

    /// A folder with a store and a secret, and a backup of it.
    fn backed_up() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        drop(Embedded::open(&data).unwrap());
        std::fs::write(data.join("gateway-token"), "a secret").unwrap();
        std::fs::create_dir(data.join("tracker")).unwrap();
        std::fs::write(data.join("tracker/1.log"), "hits").unwrap();
        for left_out in ["tracker/shipped", "tracker/lock", "last-backup"] {
            std::fs::write(data.join(left_out), "").unwrap();
        }
        let order = Order {
            journal: data.join("tracker"),
            data,
            to: folder.path().join("backups"),
            keep: Some(2),
        };
        let made = make(&order, |_, _, _| {}).unwrap();
        assert_eq!(made.files, 3);
        (folder, made.path)
    }

    #[test]
    fn a_backup_is_private_and_comes_back_whole() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, backup) = backed_up();
        assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let state = std::fs::read_to_string(folder.path().join("data/last-backup")).unwrap();
        assert!(state.contains("\npostern_backup_last_success_timestamp_seconds "), "{state}");
        let fresh = folder.path().join("fresh");
        let restored = restore(&backup, &fresh, false, |_| {}).unwrap();
        assert_eq!((restored.files, restored.aside), (3, None));
        assert_eq!(std::fs::read_to_string(fresh.join("gateway-token")).unwrap(), "a secret");
        assert_eq!(std::fs::read_to_string(fresh.join("tracker/1.log")).unwrap(), "hits");
        let left = names(folder.path().join("backups").as_path()).unwrap();
        let name = backup.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(left, [".postern-lock".to_owned(), name]);
        drop(Embedded::open(&fresh).unwrap());
    }

    #[test]
    fn what_is_there_is_kept_and_moved_aside_when_told() {
        let (folder, backup) = backed_up();
        let data = folder.path().join("data");
        let refused = restore(&backup, &data, false, |_| {});
        assert!(matches!(refused, Err(BackupError::NotEmpty(_))), "{refused:?}");
        std::fs::write(data.join("gateway-token"), "a newer secret").unwrap();
        let aside = restore(&backup, &data, true, |_| {}).unwrap().aside.unwrap();
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(data.join("gateway-token")), "a secret");
        assert_eq!(read(aside.join("gateway-token")), "a newer secret");
    }

    #[test]
    fn a_server_in_the_folder_and_a_broken_backup_stop_it() {
        let (folder, backup) = backed_up();
        let data = folder.path().join("data");
        let running = Embedded::open(&data).unwrap();
        let refused = restore(&backup, &data, true, |_| {});
        assert!(matches!(refused, Err(BackupError::InUse(_))), "{refused:?}");
        drop(running);
        let mut octets = std::fs::read(&backup).unwrap();
        let middle = octets.len() / 2;
        octets[middle] ^= 1;
        let broken = folder.path().join("broken");
        std::fs::write(&broken, &octets).unwrap();
        std::fs::write(folder.path().join("short"), &octets[..middle]).unwrap();
        for name in ["broken", "short"] {
            let fresh = folder.path().join("fresh");
            let refused = restore(&folder.path().join(name), &fresh, false, |_| {});
            assert!(matches!(refused, Err(BackupError::Bad { .. })), "{refused:?}");
            assert_eq!(held(&fresh).unwrap(), Vec::<String>::new());
        }
    }

    #[test]
    fn a_restore_that_was_cut_off_stops_the_start_and_is_done_again() {
        let (folder, backup) = backed_up();
        let data = folder.path().join("data");
        std::fs::write(data.join(embedded::RESTORING), "").unwrap();
        let opened = Embedded::open(&data).err().unwrap().to_string();
        assert!(opened.contains("postern restore"), "{opened}");
        restore(&backup, &data, true, |_| {}).unwrap();
        drop(Embedded::open(&data).unwrap());
    }

    #[test]
    fn what_a_crash_left_is_removed_and_two_at_once_are_refused() {
        let (folder, _) = backed_up();
        let (data, to) = (folder.path().join("data"), folder.path().join("backups"));
        std::fs::create_dir(to.join(".postern-backup-cut-off")).unwrap();
        let order = Order { journal: data.join("tracker"), data, to: to.clone(), keep: None };
        let lock = File::create(to.join(".postern-lock")).unwrap();
        lock.lock().unwrap();
        let refused = make(&order, |_, _, _| {});
        assert!(matches!(refused, Err(BackupError::UnderWay(_))), "{refused:?}");
        drop(lock);
        make(&order, |_, _, _| {}).unwrap();
        assert!(!to.join(".postern-backup-cut-off").exists());
    }

    #[test]
    fn backups_in_the_data_folder_stay_where_they_are() {
        let (folder, backup) = backed_up();
        let data = folder.path().join("data");
        let inside = data.join(FOLDER);
        std::fs::create_dir(&inside).unwrap();
        let kept = inside.join(backup.file_name().unwrap());
        std::fs::rename(&backup, &kept).unwrap();
        restore(&kept, &data, true, |_| {}).unwrap();
        assert!(kept.is_file(), "it can be restored once more");
        let alone = folder.path().join("alone");
        std::fs::create_dir_all(alone.join(FOLDER)).unwrap();
        restore(&kept, &alone, false, |_| {}).unwrap();
    }

    #[test]
    fn a_folder_that_is_half_restored_or_unreadable_is_not_backed_up() {
        let (folder, _) = backed_up();
        let (data, to) = (folder.path().join("data"), folder.path().join("backups"));
        let order = Order { journal: data.join("tracker"), data, to, keep: Some(1) };
        let mark = order.data.join(embedded::RESTORING);
        std::fs::write(&mark, "").unwrap();
        let refused = make(&order, |_, _, _| {});
        assert!(matches!(refused, Err(BackupError::HalfRestored(_))), "{refused:?}");
        std::fs::remove_file(mark).unwrap();
        // No folder: it cannot be read as one, whoever asks.
        let order = Order { journal: order.data.join("gateway-token"), ..order };
        let refused = make(&order, |_, _, _| {});
        assert!(matches!(refused, Err(BackupError::Io { .. })), "{refused:?}");
    }

    #[test]
    fn only_the_newest_are_kept() {
        let (folder, first) = backed_up();
        let data = folder.path().join("data");
        let to = folder.path().join("backups");
        std::fs::write(to.join("postern-before-upgrade.tar.zst"), "mine").unwrap();
        let order = Order { journal: data.join("tracker"), data, to: to.clone(), keep: Some(2) };
        let second = make(&order, |_, _, _| {}).unwrap();
        assert_eq!(second.removed, Vec::<PathBuf>::new());
        assert_eq!(make(&order, |_, _, _| {}).unwrap().removed, [first]);
        // Beside the lock and what is not ours.
        assert_eq!(names(&to).unwrap().len(), 4);
    }
}
