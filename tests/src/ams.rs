//! A stand-in for AMS with a certificate that it signed itself; see `py/ams_server.py`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::peer::Peer;

/// A running AMS and the folder of what it was told.
#[derive(Debug)]
pub struct Ams {
    peer: Peer,
    folder: TempDir,
    /// The value for `POSTERN_AMS_CERT_SHA256`.
    pub pin: String,
}

impl Ams {
    /// Starts one on a free port, in a mode that `py/ams_server.py` knows.
    pub async fn start(mode: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("mode"), mode)?;
        let names = ["ams.test".to_owned()];
        let files = postern_kit::tls::self_signed(folder.path(), &names)?;
        let (cert, key) = (text(&files.cert)?, text(&files.key)?);
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in", cert]);
        let printed = String::from_utf8(openssl.output().await?.stdout)?;
        let (_, pin) = printed.trim().split_once('=').context("openssl prints a fingerprint")?;
        let pin = pin.to_owned();
        let peer = Peer::start("ams_server.py", 0, &[text(folder.path())?, cert, key]).await?;
        Ok(Self { peer, folder, pin })
    }

    /// The value for `POSTERN_AMS_URL`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/api/v1", self.peer.port)
    }

    /// Changes what happens from the next call on.
    pub fn set_mode(&self, mode: &str) -> anyhow::Result<()> {
        let next = self.folder.path().join("next");
        std::fs::write(&next, mode)?;
        // A call must not see half of it.
        std::fs::rename(next, self.folder.path().join("mode")).context("cannot change the mode")
    }

    /// What `getMailings` answers.
    pub fn set_mailings(&self, mailings: &Value) -> anyhow::Result<()> {
        let file = self.folder.path().join("mailings.json");
        std::fs::write(file, mailings.to_string()).context("cannot change the mailings")
    }

    /// The calls of a method, in order, with the mode that each met.
    pub fn calls(&self, method: &str) -> anyhow::Result<Vec<Value>> {
        let lines = std::fs::read_to_string(self.folder.path().join("calls.jsonl"));
        let lines = lines.unwrap_or_default();
        // A line may be under way.
        let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut calls = Vec::new();
        for line in whole.lines() {
            let call: Value = serde_json::from_str(line)?;
            if call["method"] == method {
                calls.push(call);
            }
        }
        Ok(calls)
    }

    /// What it took of a mailing: addresses and what they did.
    pub fn taken(&self, mailing: i64) -> anyhow::Result<BTreeSet<(String, String)>> {
        let mut taken = BTreeSet::new();
        for call in self.calls("postMailingOpenClicksData")? {
            let params = &call["params"];
            let refused = call["mode"] == format!("refuse {mailing}");
            if matches!(call["mode"].as_str(), Some("down" | "500" | "429" | "410" | "hang"))
                || refused
            {
                continue;
            }
            if params["mailingID"] != mailing {
                continue;
            }
            for item in params["opensClicksData"].as_array().context("no list")? {
                let word = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
                taken.insert((word("email"), word("url")));
            }
        }
        Ok(taken)
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the temporary folder is not UTF-8")
}
