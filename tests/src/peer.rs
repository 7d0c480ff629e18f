//! A helper in Python that serves a port: started, asked for its port, killed on drop.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Debian's interpreter: it sees the Debian packages.
const PYTHON: &str = "/usr/bin/python3";

/// A running helper.
#[derive(Debug)]
pub struct Peer {
    /// The port on 127.0.0.1 it serves.
    pub port: u16,
    // Dropping kills it.
    child: Child,
}

impl Peer {
    /// Starts `tests/py/<script> 127.0.0.1 <port> <rest…>` and waits for `listening PORT`.
    pub async fn start(script: &str, port: u16, rest: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(PYTHON)
            .arg(path(script))
            .args(["127.0.0.1", &port.to_string()])
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {PYTHON}"))?;
        let out = child.stdout.take().context("stdout is piped")?;
        let line = BufReader::new(out).lines().next_line().await?;
        let line = line.with_context(|| format!("{script} ended before it listened"))?;
        let port = line.strip_prefix("listening ").context(line.clone())?;
        Ok(Self { port: port.parse()?, child })
    }

    /// Stops it at once and waits until its port is free.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill a helper")
    }
}

/// Where a helper script is.
pub fn path(script: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("py").join(script)
}
