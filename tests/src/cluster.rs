//! PostgreSQL servers of a test's own: a primary that may be killed, and a streaming replica of it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail, ensure};
use postern_kit::env::Env;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// The user that runs the servers where the tests run as root, whom PostgreSQL refuses.
const USER: &str = "postgres";
/// What each server is told, besides where it is.
const OPTIONS: &str = "-c listen_addresses=127.0.0.1 -c fsync=on -c wal_level=replica \
    -c max_connections=60 -c wal_keep_size=64MB -c hot_standby=on";

/// One server. Dropping it stops it at once and removes its data.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    bin: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
}

impl Server {
    /// An empty primary with these further options.
    pub fn primary(options: &str) -> anyhow::Result<Self> {
        let server = Self::bare()?;
        server.init()?;
        server.start(options)?;
        Ok(server)
    }

    /// Makes an empty database where a bare server's data is to be.
    pub fn init(&self) -> anyhow::Result<()> {
        let data = self.data();
        self.run("initdb", &["-D", &data, "-U", "postern", "-A", "trust", "--no-sync"]).map(drop)
    }

    /// A replica of a primary, which streams from it under this name.
    pub fn replica_of(primary: &Server, name: &str) -> anyhow::Result<Self> {
        let server = Self::bare()?;
        let from =
            format!("host=127.0.0.1 port={} user=postern application_name={name}", primary.port);
        server.run("pg_basebackup", &["-D", &server.data(), "-d", &from, "-R", "-X", "stream"])?;
        server.start("")?;
        Ok(server)
    }

    /// A server over data that something else has put into its folder, see [`Self::data`].
    pub fn bare() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        if is_root()? {
            let user = Command::new("id").args(["-u", USER]).output()?;
            let uid = String::from_utf8(user.stdout)?.trim().parse().context("no user postgres")?;
            chown(folder.path(), Some(uid), None)?;
        }
        Ok(Self { folder, bin: bin()?, port })
    }

    /// Starts it and waits until it answers.
    pub fn start(&self, options: &str) -> anyhow::Result<()> {
        let socket = self.folder.path().display();
        let port = self.port;
        let all = format!("{OPTIONS} -p {port} -c unix_socket_directories={socket} {options}");
        let log = self.folder.path().join("log");
        let log = log.to_str().context("a temporary folder is UTF-8")?;
        self.run(
            "pg_ctl",
            &["-D", &self.data(), "-w", "-t", "60", "-l", log, "-o", &all, "start"],
        )?;
        Ok(())
    }

    /// Stops it as a power cut would: connections break, nothing is written any more.
    pub fn crash(&self) -> anyhow::Result<()> {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]).map(drop)
    }

    /// Sends a signal to all of its processes: STOP makes it hang, CONT ends that.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let (parent, children) = self.processes()?;
        let all = children.iter().chain([&parent]);
        let killed = Command::new("kill").args(["-s", name]).args(all).status()?;
        ensure!(killed.success(), "kill -s {name}: {killed}");
        Ok(())
    }

    /// Kills all of its processes. Some may take a moment to be gone.
    pub fn kill_9(&self) -> anyhow::Result<()> {
        let (parent, children) = self.processes()?;
        let killed = Command::new("kill").args(["-s", "KILL", &parent]).status()?;
        ensure!(killed.success(), "kill -s KILL: {killed}");
        // Without their parent they end by themselves, so some may be gone already.
        Command::new("kill").args(["-s", "KILL"]).args(children).output()?;
        Ok(())
    }

    /// The ids of the first process and of its children.
    fn processes(&self) -> anyhow::Result<(String, Vec<String>)> {
        let pid = std::fs::read_to_string(format!("{}/postmaster.pid", self.data()))?;
        let parent = pid.lines().next().context("postmaster.pid is empty")?.to_owned();
        let children = Command::new("pgrep").args(["-P", &parent]).output()?;
        let children = String::from_utf8(children.stdout)?.lines().map(str::to_owned).collect();
        Ok((parent, children))
    }

    /// Makes a replica the primary.
    pub fn promote(&self) -> anyhow::Result<()> {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "promote"]).map(drop)
    }

    /// Where its data is.
    pub fn data(&self) -> String {
        self.folder.path().join("data").to_string_lossy().into_owned()
    }

    /// The folder around the data, which the server's user may write.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The url of its database.
    pub fn url(&self) -> String {
        format!("postgres://postern@127.0.0.1:{}/postgres", self.port)
    }

    /// A connection to it.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
        // It ends with the client, or with the server.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs one of PostgreSQL's programs as the server's user.
    pub fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<Output> {
        self.run_with(self.bin.join(program).to_str().context("a path is UTF-8")?, args, &[])
    }

    /// Runs any program as the server's user, which must succeed.
    pub fn run_with(
        &self,
        program: &str,
        args: &[&str],
        vars: &[(&str, &str)],
    ) -> anyhow::Result<Output> {
        let output = self.command(program, args, vars)?.output().context(program.to_owned())?;
        ensure!(
            output.status.success(),
            "{program} {args:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output)
    }

    /// A program as the server's user, with PostgreSQL's programs in its path and this server as the
    /// one they speak to.
    pub fn command(
        &self,
        program: &str,
        args: &[&str],
        vars: &[(&str, &str)],
    ) -> anyhow::Result<Command> {
        let path = format!("{}:{}", self.bin.display(), Env::process().text("PATH", ""));
        let mut command = match is_root()? {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", USER, "--", program]);
                command
            }
            false => Command::new(program),
        };
        command.args(args).env("PATH", path).current_dir("/");
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string());
        command.env("PGUSER", "postern").env("PGDATABASE", "postgres");
        command.envs(vars.iter().copied());
        Ok(command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed may have left it hanging.
        let _not_running = self.signal("CONT");
        let _not_running = self.crash();
    }
}

/// A folder that the server's user may read and write.
pub fn shared_folder() -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
    Ok(folder)
}

fn is_root() -> anyhow::Result<bool> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

/// Where Debian keeps the newest server's programs.
fn bin() -> anyhow::Result<PathBuf> {
    let mut versions = Vec::new();
    for entry in std::fs::read_dir("/usr/lib/postgresql").context("install postgresql")? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        versions.extend(number.map(|number| (number, path)));
    }
    match versions.into_iter().max() {
        Some((_, path)) => Ok(path.join("bin")),
        None => bail!("install postgresql"),
    }
}
