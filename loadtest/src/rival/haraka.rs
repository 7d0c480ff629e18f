//! Haraka from npm, as its `haraka -i` makes it, with its plugin `relay`: it writes each mail into its
//! queue before it answers, and relays it meanwhile.
//!
//! It is killed with the value; its folder is thrown away.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::{Child, Command};

use super::{free_address, listening};

/// A running Haraka.
#[derive(Debug)]
pub(crate) struct Haraka {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Haraka {
    /// Starts the one whose command is given; mail for `domain` is relayed to `sink`.
    pub(crate) async fn start(
        command: &Path,
        folder: &Path,
        domain: &str,
        sink: SocketAddr,
    ) -> anyhow::Result<Self> {
        let address = free_address().await?;
        let made = Command::new(command).arg("-i").arg(folder).output().await?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let config = folder.join("config");
        let write = |name: &str, text: String| std::fs::write(config.join(name), text);
        write("smtp.ini", format!("listen={address}\nnodes=0\n"))?;
        write("plugins", "relay\n".to_owned())?;
        write("relay.ini", "[relay]\nacl=true\ndest_domains=true\n".to_owned())?;
        write("relay_acl_allow", "127.0.0.1/32\n".to_owned())?;
        let next = format!("{{\"action\":\"accept\",\"nexthop\":\"{sink}\"}}");
        write("relay_dest_domains.ini", format!("[domains]\n{domain}={next}\n"))?;
        write("log.ini", "[main]\nlevel=warn\n".to_owned())?;
        let mut run = Command::new(command);
        run.arg("-c").arg(folder).stdin(Stdio::null()).kill_on_drop(true);
        let log = std::fs::File::create(folder.join("log"))?;
        let child = run.stdout(log.try_clone()?).stderr(log).spawn().context("haraka")?;
        listening(address).await?;
        Ok(Self { child, address })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}
