//! One role of the system in a process of its own, for what must be seen without the others.

use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::stack::binary;
use crate::wait;

/// The gateway token that core and gateway share in tests.
pub const TOKEN: &str = "a-gateway-token-of-tests-0123456789abcdef";

/// A running SMTP gateway. Dropping it kills the process.
#[derive(Debug)]
pub struct SmtpGateway {
    /// Its port with STARTTLS.
    pub port: u16,
    child: Child,
}

impl SmtpGateway {
    /// Starts `postern smtp` against the core at `host:port` with further variables.
    pub async fn start(core: &str, vars: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut child = Command::new(binary())
            .arg("smtp")
            .env_clear()
            .env("POSTERN_GATEWAY_TOKEN", TOKEN)
            .env("POSTERN_CORE_URL", format!("http://{core}"))
            .env("POSTERN_SMTP_LISTEN", "127.0.0.1:0")
            .env("POSTERN_SMTPS_LISTEN", "off")
            .env("POSTERN_SMTP_PLAIN_AUTH", "on")
            .env("POSTERN_LOG_FORMAT", "json")
            .envs(vars.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start postern smtp")?;
        let log = child.stderr.take().context("stderr is piped")?;
        let mut lines = BufReader::new(log).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                let entry: serde_json::Value = serde_json::from_str(&line).context(line)?;
                if let Some(address) = entry["fields"]["address"].as_str() {
                    let port = address.rsplit(':').next().unwrap_or_default();
                    return Ok(port.parse()?);
                }
            }
            bail!("it ended before it listened")
        };
        let port = tokio::time::timeout(wait::LIMIT, listening).await??;
        // Read on, so that a full pipe never stops the process under test.
        tokio::spawn(async move { while let Ok(Some(_line)) = lines.next_line().await {} });
        Ok(Self { port, child })
    }

    /// Asks the process to stop and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("it is not running")?;
        Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        tokio::time::timeout(wait::LIMIT, self.child.wait()).await??;
        Ok(())
    }
}
