//! One role of the system in a process of its own, for what must be seen without the others.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::stack::binary;
use crate::wait;

/// The gateway token that core and gateways share in tests.
pub const TOKEN: &str = "a-gateway-token-of-tests-0123456789abcdef";
/// The keys of tracking links that core and edge share in tests.
pub const TRACKING_KEYS: &str =
    "1:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A running gateway. Dropping it kills the process.
#[derive(Debug)]
pub struct Role {
    /// Its port.
    pub port: u16,
    /// Where its health and metrics are: `127.0.0.1:port`.
    pub ops: String,
    child: Child,
}

impl Role {
    /// Starts `postern smtp` against the core at `host:port` with further variables; its port is the
    /// one with STARTTLS.
    pub async fn smtp(core: &str, vars: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary());
        command.arg("smtp").env_clear();
        let own = [
            ("POSTERN_SMTP_LISTEN", "127.0.0.1:0"),
            ("POSTERN_SMTPS_LISTEN", "off"),
            ("POSTERN_SMTP_PLAIN_AUTH", "on"),
        ];
        Self::start(command, core, &[&own, vars].concat()).await
    }

    /// The same on a machine of this name: in a namespace of the process's own.
    pub async fn smtp_on(host: &str, core: &str, vars: &[(&str, &str)]) -> anyhow::Result<Self> {
        let script = "hostname \"$1\" && exec \"$2\" smtp";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--uts", "sh", "-c", script, "sh", host]);
        command.arg(binary()).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let own = [
            ("POSTERN_SMTP_LISTEN", "127.0.0.1:0"),
            ("POSTERN_SMTPS_LISTEN", "off"),
            ("POSTERN_SMTP_PLAIN_AUTH", "on"),
        ];
        Self::start(command, core, &[&own, vars].concat()).await
    }

    /// Starts `postern rest` against the core at `host:port` with further variables.
    pub async fn rest(core: &str, vars: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary());
        command.arg("rest").env_clear();
        Self::start(command, core, &[&[("POSTERN_REST_LISTEN", "127.0.0.1:0")], vars].concat())
            .await
    }

    /// Starts `postern tracker` against the core at `host:port`, with its journal in a folder.
    pub async fn tracker(core: &str, data: &Path, vars: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary());
        command.arg("tracker").env_clear().env("POSTERN_TRACKER_DATA", data);
        Self::start(command, core, &[&edge(), vars].concat()).await
    }

    /// The same on a disk of `octets` that nobody else uses: a file system in memory, in a mount
    /// namespace of the process's own.
    pub async fn tracker_on_small_disk(
        core: &str,
        data: &Path,
        octets: usize,
        vars: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let script = "mount -t tmpfs -o size=$1 tmpfs \"$2\" && exec \"$3\" tracker";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(octets.to_string()).arg(data).arg(binary()).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("POSTERN_TRACKER_DATA", data);
        Self::start(command, core, &[&edge(), vars].concat()).await
    }

    async fn start(
        mut command: Command,
        core: &str,
        vars: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut child = command
            .env("POSTERN_GATEWAY_TOKEN", TOKEN)
            .env("POSTERN_CORE_URL", format!("http://{core}"))
            .env("POSTERN_LOG_FORMAT", "json")
            .env("POSTERN_METRICS_LISTEN", "127.0.0.1:0")
            .envs(vars.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a role of postern")?;
        let log = child.stderr.take().context("stderr is piped")?;
        let mut lines = BufReader::new(log).lines();
        let mut ops = String::new();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                let entry: serde_json::Value = serde_json::from_str(&line).context(line)?;
                if let Some(address) = entry["fields"]["ops"].as_str() {
                    ops = address.to_owned();
                }
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
        Ok(Self { port, ops, child })
    }

    /// Kills the process as a power cut would and waits until it is gone.
    pub async fn kill_9(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill it")
    }

    /// Asks the process to stop and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("it is not running")?;
        Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        tokio::time::timeout(wait::LIMIT, self.child.wait()).await??;
        Ok(())
    }
}

/// The binary of a single part as a process.
#[derive(Debug)]
pub struct Single;

impl Single {
    /// The core, with its data in this folder.
    pub async fn core(data: &Path) -> anyhow::Result<Role> {
        let mut command = single("postern-core");
        command.env("POSTERN_GRPC_LISTEN", "127.0.0.1:0").env("POSTERN_DATA", data);
        Role::start(command, "127.0.0.1:1", &edge()[1..]).await
    }

    /// A gateway of this name against the core at `host:port`.
    pub async fn gateway(name: &str, core: &str, data: &Path) -> anyhow::Result<Role> {
        let mut command = single(name);
        let own: &[_] = match name {
            "postern-gateway-rest" => &[("POSTERN_REST_LISTEN", "127.0.0.1:0")],
            "postern-gateway-smtp" => {
                &[("POSTERN_SMTP_LISTEN", "127.0.0.1:0"), ("POSTERN_SMTPS_LISTEN", "off")]
            }
            _ => &edge(),
        };
        if name == "postern-tracker-edge" {
            command.env("POSTERN_TRACKER_DATA", data);
        }
        Role::start(command, core, own).await
    }
}

/// The binary beside the one under test.
fn single(name: &str) -> Command {
    let mut command = Command::new(binary().with_file_name(name));
    command.env_clear();
    command
}

fn edge() -> [(&'static str, &'static str); 2] {
    [("POSTERN_TRACKER_LISTEN", "127.0.0.1:0"), ("POSTERN_TRACKING_KEYS", TRACKING_KEYS)]
}
