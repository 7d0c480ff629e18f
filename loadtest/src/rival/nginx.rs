//! nginx: `empty_gif` with its access log, as Debian builds it.
//!
//! It is killed with the value; its log is thrown away with the folder.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use tokio::process::{Child, Command};

use super::{free_address, listening, open_to_all, program};

/// A running nginx.
#[derive(Debug)]
pub(crate) struct Nginx {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Nginx {
    /// Starts it.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let address = free_address().await?;
        std::fs::create_dir_all(folder)?;
        open_to_all(folder)?;
        let config = folder.join("nginx.conf");
        let at = folder.display();
        let text = format!(
            "daemon off;\nworker_processes auto;\npid {at}/pid;\nerror_log {at}/error.log;\n\
             events {{ worker_connections 4096; }}\nhttp {{ access_log {at}/access.log combined; \
             keepalive_requests 100000000;\n  server {{ listen {address}; \
             location / {{ empty_gif; }} }} }}\n"
        );
        std::fs::write(&config, text)?;
        let program = program("nginx").context("it is not installed")?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        listening(address).await?;
        Ok(Self { child, address })
    }

    /// Its master.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Lets it and its workers end; killed, it would leave the workers behind.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id() {
            Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        }
        self.child.wait().await?;
        Ok(())
    }
}
