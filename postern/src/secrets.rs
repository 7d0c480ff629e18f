//! The secrets of a development installation: made on the first start, kept in the data folder,
//! readable by their owner only. In production they come from the environment.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use postern_core::credential;

const GATEWAY_TOKEN: &str = "gateway-token";
const TRACKING_KEYS: &str = "tracking-keys";
const FIRST_KEY: &str = "first-api-key";
const TOKEN_CHARS: usize = 48;

/// The token gateways share with the core; made when there is none.
pub(crate) fn gateway_token(folder: &Path) -> anyhow::Result<String> {
    made_once(folder, GATEWAY_TOKEN, || credential::random_text(TOKEN_CHARS))
}

/// The keys that tracking links are signed with; made when there are none.
pub(crate) fn tracking_keys(folder: &Path) -> anyhow::Result<String> {
    made_once(folder, TRACKING_KEYS, || format!("1:{}", credential::hex_secret()))
}

fn made_once(folder: &Path, name: &str, make: fn() -> String) -> anyhow::Result<String> {
    match read(folder, name)? {
        Some(secret) => Ok(secret),
        None => {
            let secret = make();
            write(folder, name, &secret)?;
            Ok(secret)
        }
    }
}

/// The first API key, if this installation keeps it.
pub(crate) fn first_key(folder: &Path) -> anyhow::Result<Option<String>> {
    read(folder, FIRST_KEY)
}

/// Keeps the first API key for the operator's commands and the curl line.
pub(crate) fn keep_first_key(folder: &Path, secret: &str) -> anyhow::Result<()> {
    write(folder, FIRST_KEY, secret)
}

fn read(folder: &Path, name: &str) -> anyhow::Result<Option<String>> {
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write(folder: &Path, name: &str, secret: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let path = folder.join(name);
    let mut options = OpenOptions::new();
    // Private from the first byte on: the mode is set when the file is made.
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&path);
    file.and_then(|mut file| writeln!(file, "{secret}").and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_made_once_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let first = gateway_token(folder.path()).unwrap();
        assert_eq!(gateway_token(folder.path()).unwrap(), first);
        assert_eq!(first.len(), TOKEN_CHARS);
        let keys = tracking_keys(folder.path()).unwrap();
        assert_eq!(tracking_keys(folder.path()).unwrap(), keys);
        assert!(keys.parse::<postern_proto::link::Keys>().is_ok());
        let mode = folder.path().join(GATEWAY_TOKEN).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
