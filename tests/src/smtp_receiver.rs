//! An SMTP server that is not ours (aiosmtpd); see `py/receiver.py` for what it does to whom.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::peer::Peer;
use crate::wait;

/// A running server and the folder of what it accepted.
#[derive(Debug)]
pub struct Receiver {
    peer: Peer,
    folder: TempDir,
}

/// One accepted mail.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The envelope sender.
    pub from: String,
    /// The envelope recipients.
    pub to: Vec<String>,
    /// The bytes as they came.
    pub raw: Vec<u8>,
}

impl Mail {
    /// The bytes as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

impl Receiver {
    /// Starts one on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let peer = Peer::start("receiver.py", 0, &[text(folder.path())?]).await?;
        Ok(Self { peer, folder })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.peer.port
    }

    /// The value for `POSTERN_RELAY_URL`.
    pub fn relay_url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=off", self.port())
    }

    /// Where the mails are, as files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lets recipients named `slow` have their answer from now on.
    pub fn release(&self) -> anyhow::Result<()> {
        std::fs::write(self.folder.path().join("release"), b"").context("cannot write release")
    }

    /// Waits until the content for a `slow` recipient has arrived and its answer is held back.
    pub async fn wait_until_held(&self, recipient: &str) -> anyhow::Result<()> {
        let mark = self.folder.path().join(format!("waiting-{recipient}"));
        wait::until("content is held back", async || Ok(mark.exists().then_some(()))).await
    }

    /// Everything accepted so far, in order.
    pub fn mails(&self) -> anyhow::Result<Vec<Mail>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        let mails = paths.iter().map(|path| {
            let facts: Value = serde_json::from_slice(&std::fs::read(path)?)?;
            let to = facts["to"].as_array().context("no recipients")?;
            let to = to.iter().filter_map(Value::as_str).map(str::to_owned);
            Ok(Mail {
                from: facts["from"].as_str().unwrap_or_default().to_owned(),
                to: to.collect(),
                raw: std::fs::read(path.with_extension("eml"))?,
            })
        });
        mails.collect()
    }

    /// The mails to an address.
    pub fn mails_to(&self, address: &str) -> anyhow::Result<Vec<Mail>> {
        let mut mails = self.mails()?;
        mails.retain(|mail| mail.to.iter().any(|to| to == address));
        Ok(mails)
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the temporary folder is not UTF-8")
}
