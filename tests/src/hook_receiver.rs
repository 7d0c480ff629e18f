//! A receiver of webhooks; see `py/hook_receiver.py` for what it does to whom.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use postern_kit::env::Env;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::peer::{self, Peer};
use crate::wait;

/// A running receiver and the folder of what it got.
#[derive(Debug)]
pub struct HookReceiver {
    peer: Peer,
    folder: TempDir,
}

impl HookReceiver {
    /// Starts one on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().to_str().context("the temporary folder is not UTF-8")?.to_owned();
        let peer = Peer::start("hook_receiver.py", 0, &[&path]).await?;
        Ok(Self { peer, folder })
    }

    /// The url of an endpoint.
    pub fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.peer.port)
    }

    /// Changes what happens to requests for an endpoint from now on.
    pub fn set_mode(&self, name: &str, mode: &str) -> anyhow::Result<()> {
        let next = self.folder.path().join("next");
        std::fs::write(&next, mode)?;
        // A request must not see half of it.
        let file = self.folder.path().join(format!("mode-{name}"));
        std::fs::rename(next, file).context("cannot change the mode")
    }

    /// The requests for an endpoint, in the order of their answers.
    pub fn requests(&self, name: &str) -> anyhow::Result<Vec<Value>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut requests = Vec::new();
        for path in paths {
            let request: Value = serde_json::from_slice(&std::fs::read(path)?)?;
            if request["path"] == format!("/{name}") {
                requests.push(request);
            }
        }
        Ok(requests)
    }

    /// The bodies that an endpoint has taken, as JSON.
    pub fn taken(&self, name: &str) -> anyhow::Result<Vec<Value>> {
        let taken = self.requests(name)?.into_iter().filter(|request| request["status"] == 200);
        taken
            .map(|one| Ok(serde_json::from_str(one["body"].as_str().unwrap_or_default())?))
            .collect()
    }

    /// Waits until an endpoint has got so many requests with an answer of this status.
    pub async fn wait(&self, name: &str, status: u16, count: usize) -> anyhow::Result<Vec<Value>> {
        wait::until("requests of the endpoint", async || {
            let mut found = self.requests(name)?;
            found.retain(|request| request["status"] == status);
            Ok((found.len() >= count).then_some(found))
        })
        .await
    }
}

/// Verifies a request as receivers do: `standard` by the standard's own library, or `legacy`.
pub async fn verify(kind: &str, secret: &str, request: &Value) -> anyhow::Result<String> {
    let python = Env::process().text("POSTERN_TEST_PYTHON", "");
    ensure!(!python.is_empty(), "run this under tests/run");
    let mut child = Command::new(python)
        .arg(peer::path("verify_webhook.py"))
        .args([kind, secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    stdin.write_all(request.to_string().as_bytes()).await?;
    drop(stdin);
    let output = tokio::time::timeout(wait::LIMIT, child.wait_with_output()).await??;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
