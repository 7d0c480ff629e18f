//! The folder of the certificate: chain, key, account. Each file changes by renaming, so that nobody reads
//! half of one; a listener that sees the new key beside the old chain keeps what it has until they fit.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use postern_kit::tls::{self, CertFiles, TlsError};

/// The names that programs of Let's Encrypt use, so that the folder can take the place of theirs.
const CHAIN: &str = "fullchain.pem";
const KEY: &str = "privkey.pem";
const ACCOUNT: &str = "account.json";
/// There when chain and key come from an order, and not from ourselves.
const ORDERED: &str = "ordered";

/// The folder.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it when it is not there, for its user and group.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o750).create(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Where chain and key are; made by ourselves when there are none yet.
    pub(super) fn files(&self, names: &[String]) -> Result<CertFiles, TlsError> {
        let files = CertFiles { cert: self.0.join(CHAIN), key: self.0.join(KEY) };
        if files.cert.exists() && files.key.exists() {
            return Ok(files);
        }
        let failed = |problem: std::io::Error| TlsError::File {
            path: self.0.clone(),
            problem: problem.to_string(),
        };
        let scratch = tempfile::tempdir_in(&self.0).map_err(failed)?;
        let own = tls::self_signed(scratch.path(), names)?;
        let _none = std::fs::remove_file(self.0.join(ORDERED));
        let read = |path: &Path| std::fs::read_to_string(path).map_err(failed);
        self.put(KEY, &read(&own.key)?, 0o640).map_err(failed)?;
        self.put(CHAIN, &read(&own.cert)?, 0o644).map_err(failed)?;
        Ok(files)
    }

    /// Whether the certificate there is comes from an order, and is there.
    pub(super) fn is_ordered(&self) -> bool {
        [ORDERED, CHAIN, KEY].iter().all(|name| self.0.join(name).exists())
    }

    /// Exchanges chain and key.
    pub(super) fn exchange(&self, chain: &str, key: &str) -> std::io::Result<()> {
        // Both are on the disk before the first takes its place: a full disk changes nothing.
        self.write(KEY, key, 0o640)?;
        self.write(CHAIN, chain, 0o644)?;
        self.take(KEY)?;
        self.take(CHAIN)?;
        self.put(ORDERED, "", 0o644)
    }

    /// Takes away what is there, so that a pair of our own is made: chain and key that do not fit would stop
    /// every process that reads them.
    pub(super) fn discard(&self) -> std::io::Result<()> {
        for name in [ORDERED, CHAIN, KEY] {
            match std::fs::remove_file(self.0.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The account, as it was kept.
    pub(super) fn account(&self) -> std::io::Result<Option<String>> {
        match std::fs::read_to_string(self.0.join(ACCOUNT)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the account, whose key is in it.
    pub(super) fn keep_account(&self, text: &str) -> std::io::Result<()> {
        self.put(ACCOUNT, text, 0o600)
    }

    fn put(&self, name: &str, text: &str, mode: u32) -> std::io::Result<()> {
        self.write(name, text, mode)?;
        self.take(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> std::io::Result<()> {
        let part = self.0.join(format!("{name}.part"));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    fn take(&self, name: &str) -> std::io::Result<()> {
        std::fs::rename(self.0.join(format!("{name}.part")), self.0.join(name))?;
        std::fs::File::open(&self.0)?.sync_all()
    }
}
