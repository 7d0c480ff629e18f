//! A name server on loopback that knows the test domains, or those that a test publishes; see
//! `py/dns_server.py`.

use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::peer::Peer;

/// Starts it; the value for `POSTERN_DNS_SERVERS` is `127.0.0.1:<port>`.
pub async fn start() -> anyhow::Result<Peer> {
    Peer::start("dns_server.py", 0, &[]).await
}

/// A name server whose names a test publishes as it goes.
#[derive(Debug)]
pub struct Zone {
    peer: Peer,
    folder: TempDir,
}

impl Zone {
    /// Starts it without any name.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("zone"), "{}")?;
        let path = folder.path().join("zone");
        let path = path.to_str().context("the path is UTF-8")?;
        Ok(Self { peer: Peer::start("dns_server.py", 0, &[path]).await?, folder })
    }

    /// The value for `POSTERN_DNS_SERVERS`.
    pub fn server(&self) -> String {
        format!("127.0.0.1:{}", self.peer.port)
    }

    /// From now on it knows these names and no others: `{"shop.test": {"TXT": ["v=spf1 -all"]}}`.
    pub fn publish(&self, names: &Value) -> anyhow::Result<()> {
        let (new, path) = (self.folder.path().join("new"), self.folder.path().join("zone"));
        std::fs::write(&new, names.to_string())?;
        // In one step, so that no question meets half a file.
        std::fs::rename(new, path).context("cannot publish a zone")
    }

    /// From now on nobody answers.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.peer.kill().await
    }
}
