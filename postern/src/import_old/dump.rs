//! A dump goes into an empty database first, by PostgreSQL's own programs. What a crash leaves there is
//! that database's; it is dropped and made again.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use postern_core::store::old_system::{OldSystemError, check_empty};
use tokio::process::Command;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// A dump could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    /// The scratch database.
    #[error(transparent)]
    Database(#[from] OldSystemError),
    /// The file.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such program.
    #[error("cannot start {program}: {source}; install postgresql-client")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It did not load.
    #[error("{program} did not load it: {said}")]
    Failed {
        /// Which program.
        program: &'static str,
        /// Its first error; what follows is a consequence, or a mark under a column.
        said: String,
    },
}

/// Loads a dump of `pg_dump`, in plain or custom format, into the scratch database.
pub(crate) async fn load(dump: &Path, scratch: &str) -> Result<(), DumpError> {
    check_empty(scratch).await?;
    let mut head = [0; 5];
    let read = std::fs::File::open(dump).and_then(|mut file| file.read(&mut head));
    read.map_err(|source| DumpError::File { path: dump.to_owned(), source })?;
    let (program, mut command) = if &head == b"PGDMP" {
        let mut command = Command::new("pg_restore");
        command.args(["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]);
        command.args(["--dbname", &database(scratch)]).arg(dump);
        ("pg_restore", command)
    } else {
        let mut command = Command::new("psql");
        command.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]);
        command.args(["--single-transaction", "--dbname", &database(scratch), "--file"]).arg(dump);
        ("psql", command)
    };
    // Not as an argument, which everybody on the machine can read.
    command.envs(login(scratch)).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.kill_on_drop(true).output().await;
    let output = output.map_err(|source| DumpError::Program { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = first_error(&String::from_utf8_lossy(&output.stderr)).to_owned();
    Err(DumpError::Failed { program, said })
}

fn first_error(said: &str) -> &str {
    let is_error =
        |line: &&str| ["ERROR: ", "FATAL: ", " error: "].iter().any(|mark| line.contains(mark));
    said.lines().find(is_error).or_else(|| said.lines().next()).unwrap_or_default()
}

fn database(url: &str) -> String {
    let config: Option<Config> = url.parse().ok();
    config.and_then(|config| config.get_dbname().map(str::to_owned)).unwrap_or_default()
}

fn login(url: &str) -> Vec<(&'static str, String)> {
    let Ok(config) = url.parse::<Config>() else { return Vec::new() };
    let mut vars = Vec::new();
    if let Some(host) = config.get_hosts().first() {
        let host = match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.to_string_lossy().into_owned(),
        };
        vars.push(("PGHOST", host));
    }
    vars.extend(config.get_ports().first().map(|port| ("PGPORT", port.to_string())));
    vars.extend(config.get_user().map(|user| ("PGUSER", user.to_owned())));
    let password = config.get_password().map(|text| String::from_utf8_lossy(text).into_owned());
    vars.extend(password.map(|password| ("PGPASSWORD", password)));
    vars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_told_and_not_the_mark_under_it() {
        let said = "psql:old.sql:1: NOTICE:  odd\npsql:old.sql:7: ERROR:  syntax error at \"X\"\n\
                    LINE 1: X\n        ^\n";
        assert_eq!(first_error(said), "psql:old.sql:7: ERROR:  syntax error at \"X\"");
        assert_eq!(first_error("pg_restore: error: no dump\n"), "pg_restore: error: no dump");
        assert_eq!(first_error("odd\nwords\n"), "odd");
        assert_eq!(first_error(""), "");
    }
}
