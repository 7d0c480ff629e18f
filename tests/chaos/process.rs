//! A process that is killed and started again at the same address over the same data.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use postern_kit::env::Env;
use postern_tests::wait;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// One process. Dropping it kills it and removes its data.
#[derive(Debug)]
pub(crate) struct Process {
    /// What it is called in what the tests print.
    pub(crate) name: &'static str,
    command: Vec<String>,
    vars: Vec<(String, String)>,
    /// Where it listens, `host:port`.
    listens: String,
    /// Before the folder, which it writes to.
    child: Option<Child>,
    folder: TempDir,
}

impl Process {
    /// Says what to run; nothing runs yet.
    pub(crate) fn new(
        name: &'static str,
        command: &[&str],
        listens: String,
        vars: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Ok(Self {
            name,
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            vars: vars.iter().map(own).collect(),
            listens,
            folder: tempfile::tempdir()?,
            child: None,
        })
    }

    /// Runs it with one more variable from the next start on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.vars.retain(|(known, _)| known != name);
        self.vars.push((name.to_owned(), value.to_owned()));
    }

    /// Its own folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("test-log")
    }

    /// Everything it has printed since the first start.
    pub(crate) fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.log_file())?)
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let (program, args) = self.command.split_first().context("no program")?;
        let child = Command::new(program)
            .args(args)
            .env_clear()
            .env("PATH", Env::process().text("PATH", "/usr/bin:/bin"))
            .envs(self.vars.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        self.child = Some(child);
        let listening = wait::until("it listens", async || {
            let child = self.child.as_mut().context("it was started")?;
            if let Some(status) = child.try_wait()? {
                bail!("it ended: {status}");
            }
            Ok(TcpStream::connect(&self.listens).await.ok())
        });
        if let Err(error) = listening.await {
            let log = self.log()?;
            let end = log.lines().rev().take(20).collect::<Vec<_>>();
            bail!("{} did not start: {error:#}\n{end:#?}", self.name);
        }
        Ok(())
    }

    /// Kills it as a power cut would and waits until it is gone.
    pub(crate) async fn kill_9(&mut self) -> anyhow::Result<()> {
        let child = self.child.as_mut().context("it does not run")?;
        let ended = child.try_wait()?;
        ensure!(ended.is_none(), "{} ended by itself: {ended:?}\n{}", self.name, self.log()?);
        child.kill().await.context("cannot kill it")
    }

    /// Sends it a signal: STOP makes it hang, CONT ends that.
    pub(crate) async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.id()?.to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await?;
        ensure!(sent.success(), "kill -s {name}: {sent}");
        Ok(())
    }

    /// Fails when it ended although nobody told it to.
    pub(crate) fn ensure_alive(&mut self) -> anyhow::Result<()> {
        let child = self.child.as_mut().context("it does not run")?;
        let ended = child.try_wait()?;
        ensure!(ended.is_none(), "{} ended by itself: {ended:?}\n{}", self.name, self.log()?);
        Ok(())
    }

    /// Its memory in KiB.
    pub(crate) fn memory_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).context("no VmRSS")
    }

    fn id(&self) -> anyhow::Result<u32> {
        self.child.as_ref().and_then(Child::id).context("it does not run")
    }
}
