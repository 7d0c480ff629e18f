//! A Postern of the release build as a child process, with free ports and a folder of its own.
//!
//! It is killed with the value that stands for it; what it kept is thrown away with the folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::process::cpu_seconds;

/// The longest start, with a full queue.
const START_MAX: Duration = Duration::from_secs(180);
const STOP_MAX: Duration = Duration::from_secs(60);

/// Limits that protect a server from its clients, and would be what is measured here.
pub(crate) const NO_LIMITS: &[(&str, &str)] = &[
    ("POSTERN_REST_LIMIT_KEY_PER_MINUTE", "10000000"),
    ("POSTERN_REST_LIMIT_CONCURRENT", "100000"),
    ("POSTERN_SMTP_MESSAGES_PER_SESSION_MAX", "1000000"),
    ("POSTERN_SMTP_COMMANDS_MAX", "10000000"),
    ("POSTERN_SMTP_CONNECTIONS_MAX", "100000"),
    ("POSTERN_SMTP_CONNECTIONS_PER_ADDRESS_MAX", "100000"),
    ("POSTERN_TRACKING_REQUESTS_PER_ADDRESS", "1000000000"),
    ("POSTERN_TRACKING_JOURNAL_OCTETS_MAX", "8589934592"),
];

/// Where servers come from and what all of them get.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    /// The binary.
    pub(crate) path: PathBuf,
}

/// A running one.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Its process.
    pub(crate) pid: u32,
    /// How long it took from its start until it was ready.
    pub(crate) ready_in: Duration,
    /// gRPC as a URL.
    pub(crate) core: String,
    pub(crate) rest: SocketAddr,
    pub(crate) edge: SocketAddr,
    /// SMTP with STARTTLS.
    pub(crate) smtp: SocketAddr,
    /// The first API key.
    pub(crate) key: String,
}

/// Variables, as pairs.
pub(crate) type Vars = Vec<(String, String)>;

/// Pairs of texts as variables.
pub(crate) fn vars(pairs: &[(&str, &str)]) -> Vars {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Binary {
    /// Starts one over the folder.
    pub(crate) async fn start(&self, data: &Path, vars: &Vars) -> anyhow::Result<Server> {
        std::fs::create_dir_all(data)?;
        let log = data.join("load-log");
        let began = Instant::now();
        let mut command = Command::new(&self.path);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        for door in ["METRICS", "GRPC", "REST", "TRACKER", "SMTP", "SMTPS"] {
            command.env(format!("POSTERN_{door}_LISTEN"), "127.0.0.1:0");
        }
        let mut child = command
            .env("POSTERN_SMTP_SINK_LISTEN", "off")
            .env("POSTERN_DATA", data)
            .env("POSTERN_LOG", "warn")
            .envs(NO_LIMITS.iter().copied())
            .envs(vars.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let pid = child.id().context("it has just been started")?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let read = tokio::time::timeout(START_MAX, welcome(&mut lines)).await;
        let Ok(Ok(said)) = read else {
            bail!("postern did not start: {read:?}\n{}", std::fs::read_to_string(&log)?);
        };
        // Read on, so that a full pipe never stops it.
        tokio::spawn(async move { while let Ok(Some(_line)) = lines.next_line().await {} });
        Ok(Server {
            child,
            pid,
            ready_in: began.elapsed(),
            core: format!("http://{}", said.grpc.context("no gRPC in the welcome")?),
            rest: said.rest.context("no REST in the welcome")?,
            edge: said.edge.context("no tracking in the welcome")?,
            smtp: said.smtp.context("no SMTP in the welcome")?,
            key: said.key.context("no key in the welcome")?,
        })
    }

    /// Starts one that takes mail over SMTP from this machine without a login. The folder has its key
    /// from a start before.
    pub(crate) async fn start_trusting(&self, data: &Path, vars: &Vars) -> anyhow::Result<Server> {
        let first = self.start(data, vars).await?;
        let key = first.key.clone();
        first.stop().await?;
        let mut vars = vars.clone();
        vars.push(("POSTERN_SMTP_TRUSTED_NETWORKS".to_owned(), "127.0.0.1/32".to_owned()));
        vars.push(("POSTERN_SMTP_TRUSTED_KEY".to_owned(), key));
        self.start(data, &vars).await
    }
}

impl Server {
    /// Processor seconds so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.pid)
    }

    /// Asks it to stop and waits for that.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.pid.to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await?;
        if tokio::time::timeout(STOP_MAX, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Said {
    grpc: Option<SocketAddr>,
    rest: Option<SocketAddr>,
    edge: Option<SocketAddr>,
    smtp: Option<SocketAddr>,
    key: Option<String>,
}

async fn welcome(lines: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<Said> {
    let mut said = Said::default();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("Stop with") {
            return Ok(said);
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = |text: &str| {
            let text = text.trim_start_matches("http://").trim_end_matches("/v1");
            text.parse().ok()
        };
        match words.as_slice() {
            ["gRPC", at, ..] => said.grpc = address(at),
            ["REST", at, ..] => said.rest = address(at),
            ["tracking", at, ..] => said.edge = address(at),
            ["SMTP", at, ..] => said.smtp = address(at),
            ["API", "key", key] => said.key = Some((*key).to_owned()),
            _ => {}
        }
    }
    bail!("it ended")
}
