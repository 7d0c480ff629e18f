//! Debian's smtp-sink (package postfix), which takes mail and stores nothing.
//!
//! It is killed with the value and keeps nothing.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::Context as _;
use tokio::process::{Child, Command};

use super::{free_address, is_root, listening, program};

/// A running smtp-sink.
#[derive(Debug)]
pub(crate) struct SmtpSink {
    _child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl SmtpSink {
    /// Starts it.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let address = free_address().await?;
        let mut command = Command::new(program("smtp-sink").context("it is not installed")?);
        // It refuses to serve as root.
        if is_root() {
            command.args(["-u", "nobody"]);
        }
        command.arg(address.to_string()).arg("1000").kill_on_drop(true);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        listening(address).await?;
        Ok(Self { _child: child, address })
    }
}
