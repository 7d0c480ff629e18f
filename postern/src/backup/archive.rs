//! Writing and reading the file. Reading believes nothing: neither names nor sizes nor hashes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use super::manifest::{self, FORMAT, Manifest, OCTETS_MAX};
use super::{BackupError, sync};

/// Fast, and mail becomes a quarter of its size.
const LEVEL: i32 = 3;

/// Writes the manifest, and the files it names from `folder`, as a compressed archive. Nothing is on
/// stable storage yet.
pub(super) fn write(
    to: &mut File,
    folder: &Path,
    manifest: &Manifest,
    mut report: impl FnMut(u64),
) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(BufWriter::new(to), LEVEL)?;
    encoder.include_checksum(true)?;
    let mut archive = tar::Builder::new(encoder);
    let text = serde_json::to_vec_pretty(manifest)?;
    archive.append_data(&mut header(text.len() as u64), manifest::FILE, text.as_slice())?;
    for (path, entry) in &manifest.files {
        let file = File::open(folder.join(path))?;
        archive.append_data(&mut header(entry.octets), path, BufReader::new(file))?;
        report(entry.octets);
    }
    archive.into_inner()?.finish()?.flush()
}

fn header(octets: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(octets);
    header.set_mode(0o600);
    header
}

/// Reads an archive to its end and refuses it if anything is not as its manifest says. With a folder,
/// the files are put there and on stable storage.
pub(super) fn read(
    path: &Path,
    into: Option<&Path>,
    mut report: impl FnMut(u64),
) -> Result<Manifest, BackupError> {
    let bad = |problem: String| BackupError::bad(path, problem);
    let broken = |error: io::Error| bad(error.to_string());
    let file = File::open(path).map_err(BackupError::io(path))?;
    let decoder = zstd::Decoder::new(file).map_err(broken)?;
    let mut archive = tar::Archive::new(decoder);
    let mut entries = archive.entries().map_err(broken)?;
    let first = entries.next().ok_or_else(|| bad("it is empty".to_owned()))?;
    let manifest = read_manifest(first.map_err(broken)?).map_err(broken)?;
    if manifest.format != FORMAT {
        return Err(bad(format!("its format is {}, not {FORMAT}", manifest.format)));
    }
    let mut seen = BTreeSet::new();
    for entry in entries {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.into_owned();
        let text = name.to_string_lossy().into_owned();
        let promised = manifest.files.get(&text);
        let promised = promised.ok_or_else(|| bad(format!("{text} is not in its manifest")))?;
        let is_file = entry.header().entry_type() == tar::EntryType::Regular;
        if !is_file || !manifest::is_inside(&name) || !seen.insert(text.clone()) {
            return Err(bad(format!("{text} has no business in it")));
        }
        if entry.header().size().map_err(broken)? != promised.octets {
            return Err(bad(format!("{text} has not the size that its manifest says")));
        }
        let found = match into {
            None => manifest::copy(&mut entry, &mut io::sink()).map_err(broken)?,
            Some(folder) => put(&mut entry, &folder.join(&name))?,
        };
        if found != *promised {
            return Err(bad(format!("{text} is not what its manifest says")));
        }
        report(found.octets);
    }
    let missing = manifest.files.keys().find(|name| !seen.contains(*name));
    match missing {
        Some(name) => Err(bad(format!("{name} is missing"))),
        None => Ok(manifest),
    }
}

fn read_manifest(entry: tar::Entry<'_, impl io::Read>) -> io::Result<Manifest> {
    if entry.path()? != Path::new(manifest::FILE) {
        return Err(io::Error::other("it does not begin with a manifest"));
    }
    let mut text = Vec::new();
    entry.take(OCTETS_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn put(entry: &mut impl io::Read, to: &Path) -> Result<manifest::Entry, BackupError> {
    let folder: PathBuf = to.parent().map(Path::to_owned).unwrap_or_default();
    std::fs::create_dir_all(&folder).map_err(BackupError::io(&folder))?;
    let mut file = create(to).map_err(BackupError::io(to))?;
    let found = manifest::copy(entry, &mut file).map_err(BackupError::io(to))?;
    file.sync_all().map_err(BackupError::io(to))?;
    sync(&folder)?;
    Ok(found)
}

/// A new file that only its owner may read, from its first octet on.
pub(super) fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}
