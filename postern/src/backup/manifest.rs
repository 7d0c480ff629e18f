//! What a backup says about itself: its first entry. Pure data.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The name of the entry.
pub(super) const FILE: &str = "manifest.json";
/// The layout this program writes and reads.
pub(super) const FORMAT: u32 = 1;
/// No manifest is longer.
pub(super) const OCTETS_MAX: u64 = 4 << 20;

/// The manifest.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// When it was begun: all that was accepted before is in it.
    pub(super) begun_at: String,
    pub(super) postern_version: String,
    pub(super) schema_version: i64,
    /// By path within the data folder.
    pub(super) files: BTreeMap<String, Entry>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) octets: u64,
    pub(super) sha256: String,
}

/// Copies and tells what was copied.
pub(super) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<Entry> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut octets = 0;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        let part = &buffer[..read];
        hash.update(part);
        to.write_all(part)?;
        octets += read as u64;
    }
    let sha256 = hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(Entry { octets, sha256 })
}

/// Whether a path leads into the data folder, and nowhere else.
pub(super) fn is_inside(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert!(is_inside(Path::new("tracker/0001.log")));
        for outside in ["", "/etc/passwd", "../x", "tracker/../../x"] {
            assert!(!is_inside(Path::new(outside)), "{outside}");
        }
    }

    #[test]
    fn what_is_copied_is_measured() {
        let mut to = Vec::new();
        let entry = copy(&mut b"abc".as_slice(), &mut to).unwrap();
        assert_eq!((entry.octets, to.as_slice()), (3, b"abc".as_slice()));
        assert!(entry.sha256.starts_with("ba7816bf8f01cfea"), "{}", entry.sha256);
    }
}
