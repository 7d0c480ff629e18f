//! Making a backup while the server goes on. See the module above for what a crash leaves.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postern_core::store::embedded;

use super::manifest::{self, Entry, FORMAT, Manifest};
use super::{BackupError, LEFT_OUT, PREFIX, SUFFIX, archive, state, sync, workshop};

/// What is wanted.
#[derive(Debug)]
pub(crate) struct Order {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The folder of the tracking edge's journal.
    pub(crate) journal: PathBuf,
    /// Where the backup goes.
    pub(crate) to: PathBuf,
    /// How many backups stay there, the new one included; none: all.
    pub(crate) keep: Option<usize>,
}

/// What was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// The backup.
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) octets: u64,
    /// How many files are in it.
    pub(crate) files: usize,
    /// Older backups that were removed.
    pub(crate) removed: Vec<PathBuf>,
}

/// Makes a backup, checks it, names it, and only then removes older ones. `report` is told what is
/// under way, and how many of how many octets are done.
pub(crate) fn make(
    order: &Order,
    report: impl FnMut(&'static str, u64, u64),
) -> Result<Made, BackupError> {
    let made = try_make(order, report);
    // What another one is making is no failure. Where not even this can be noted, the age tells.
    if made.as_ref().is_err_and(|error| !matches!(error, BackupError::UnderWay(_)))
        && let Err(error) = state::note_failure(&order.data, Timestamp::now())
    {
        tracing::debug!(%error, "that the backup failed was not noted");
    }
    made
}

fn try_make(
    order: &Order,
    mut report: impl FnMut(&'static str, u64, u64),
) -> Result<Made, BackupError> {
    let begun = Timestamp::now();
    let to = &order.to;
    let is_whole = || match order.data.join(embedded::RESTORING).exists() {
        true => Err(BackupError::HalfRestored(order.data.clone())),
        false => Ok(()),
    };
    is_whole()?;
    std::fs::create_dir_all(to).map_err(BackupError::io(to))?;
    // One at a time, so that what lies about is of nobody.
    let _lock = lock(to)?;
    let workshop = workshop(to, "backup")?;
    let staged = workshop.path().join("files");
    std::fs::create_dir(&staged).map_err(BackupError::io(&staged))?;
    let mut files = BTreeMap::new();
    // The journal before the store: a hit that is reported meanwhile is then in both, which the core
    // knows by its id, and never in neither.
    copy_folder(&order.journal, "tracker", order, &staged, &mut files)?;
    copy_folder(&order.data, "", order, &staged, &mut files)?;
    let store = staged.join(embedded::FILE);
    embedded::copy(&order.data, &store, |done, all| report("copying", done, all))?;
    // Nor was it exchanged while it was copied.
    is_whole()?;
    report("checking", 0, 0);
    let schema_version = embedded::verify(&store)?;
    let mut copied = File::open(&store).map_err(BackupError::io(&store))?;
    let entry = manifest::copy(&mut copied, &mut std::io::sink());
    files.insert(embedded::FILE.to_owned(), entry.map_err(BackupError::io(&store))?);
    let manifest = Manifest {
        format: FORMAT,
        begun_at: begun.to_string(),
        postern_version: env!("CARGO_PKG_VERSION").to_owned(),
        schema_version,
        files,
    };
    let unnamed = pack(workshop.path(), &staged, &manifest, &mut report)?;
    let path = name(&unnamed, to, begun)?;
    let octets = path.metadata().map_err(BackupError::io(&path))?.len();
    let removed = prune(&path, order.keep)?;
    state::write(&order.data, begun, Timestamp::now(), octets)?;
    Ok(Made { path, octets, files: manifest.files.len(), removed })
}

/// Held while a backup is made in a folder.
fn lock(to: &Path) -> Result<File, BackupError> {
    let path = to.join(".postern-lock");
    let lock = File::create(&path).map_err(BackupError::io(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(BackupError::UnderWay(to.to_owned())),
        Err(TryLockError::Error(source)) => Err(BackupError::Io { path, source }),
    }
}

/// Packs, and reads back what was packed.
fn pack(
    workshop: &Path,
    staged: &Path,
    manifest: &Manifest,
    report: &mut impl FnMut(&'static str, u64, u64),
) -> Result<PathBuf, BackupError> {
    let all = manifest.files.values().map(|entry| entry.octets).sum();
    let path = workshop.join("archive");
    let mut file = archive::create(&path).map_err(BackupError::io(&path))?;
    let mut done = 0;
    let packed = archive::write(&mut file, staged, manifest, |octets| {
        done += octets;
        report("packing", done, all);
    });
    packed.map_err(BackupError::io(&path))?;
    file.sync_all().map_err(BackupError::io(&path))?;
    let mut done = 0;
    archive::read(&path, None, |octets| {
        done += octets;
        report("reading back", done, all);
    })?;
    Ok(path)
}

/// Gives the backup its name. One that has it already is not overwritten.
fn name(unnamed: &Path, to: &Path, begun: Timestamp) -> Result<PathBuf, BackupError> {
    let path = to.join(format!("{PREFIX}{}{SUFFIX}", begun.strftime("%Y%m%dT%H%M%S.%3fZ")));
    std::fs::hard_link(unnamed, &path)
        .or_else(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Err(error),
            _ if path.exists() => Err(std::io::ErrorKind::AlreadyExists.into()),
            // Some file systems have no links.
            _ => std::fs::rename(unnamed, &path),
        })
        .map_err(BackupError::io(&path))?;
    sync(to)?;
    Ok(path)
}

/// Removes the oldest backups beside the one that was made, by the time in their names. What somebody
/// has called otherwise is theirs and is not counted.
fn prune(made: &Path, keep: Option<usize>) -> Result<Vec<PathBuf>, BackupError> {
    let (Some(keep), Some(to)) = (keep, made.parent()) else { return Ok(Vec::new()) };
    let mut backups = Vec::new();
    for entry in std::fs::read_dir(to).map_err(BackupError::io(to))? {
        let entry = entry.map_err(BackupError::io(to))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_ours(&name) && entry.path() != made {
            backups.push(entry.path());
        }
    }
    backups.sort();
    // Beside the new one.
    backups.truncate((backups.len() + 1).saturating_sub(keep));
    for path in &backups {
        std::fs::remove_file(path).map_err(BackupError::io(path))?;
    }
    Ok(backups)
}

/// Whether a file is called as we call backups: `postern-20261126T191500.123Z.tar.zst`.
fn is_ours(name: &str) -> bool {
    let time = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    let shape = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
    time.is_some_and(|time| shape(time) == "00000000T000000.000Z")
}

/// Copies the files of a folder and of the folders in it, except what is [`LEFT_OUT`], what is copied
/// on its own, and backups.
fn copy_folder(
    folder: &Path,
    prefix: &str,
    order: &Order,
    staged: &Path,
    files: &mut BTreeMap<String, Entry>,
) -> Result<(), BackupError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::io(folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(BackupError::io(folder))?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let inside = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let is_known = LEFT_OUT.contains(&name.as_str()) || files.contains_key(&inside);
        // Hidden: what a backup or restore is at work on, or an older state that was moved aside.
        let is_backup = name.starts_with('.') || name.ends_with(SUFFIX);
        if is_known || is_backup {
            continue;
        }
        // A segment of the journal that has been shipped may go at any moment.
        let kind = match path.metadata() {
            Ok(kind) => kind,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(BackupError::io(&path)(error)),
        };
        if kind.is_dir() && path != order.journal && path != order.to {
            copy_folder(&path, &inside, order, staged, files)?;
        } else if kind.is_file() {
            copy_file(&path, &inside, staged, files)?;
        }
    }
    Ok(())
}

fn copy_file(
    path: &Path,
    inside: &str,
    staged: &Path,
    files: &mut BTreeMap<String, Entry>,
) -> Result<(), BackupError> {
    let from = match File::open(path) {
        Ok(from) => from,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::io(path)(error)),
    };
    let to = staged.join(inside);
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(BackupError::io(folder))?;
    }
    // A file that grows is copied as long as it is now; its reader knows half records.
    let octets = from.metadata().map_err(BackupError::io(path))?.len();
    let mut target = archive::create(&to).map_err(BackupError::io(&to))?;
    let entry = manifest::copy(&mut from.take(octets), &mut target);
    files.insert(inside.to_owned(), entry.map_err(BackupError::io(path))?);
    Ok(())
}
