//! Other servers on the same disk in the same run: what a figure of Postern is held against. One that
//! is not installed is left out, and the report says so.
//!
//! They are children of this process and keep nothing that is needed again.

pub(crate) mod haraka;
pub(crate) mod nginx;
pub(crate) mod postfix;
pub(crate) mod smtp_sink;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::net::{TcpListener, TcpStream};

/// The longest start.
const START_MAX: Duration = Duration::from_secs(30);

/// An address that was free a moment ago.
pub(crate) async fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok(listener.local_addr()?)
}

/// Waits until somebody listens there.
pub(crate) async fn listening(address: SocketAddr) -> anyhow::Result<()> {
    let began = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        if began.elapsed() > START_MAX {
            bail!("nobody listens on {address}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A program on the PATH, or where Debian keeps servers.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// What a program says about its version, in one line; empty when it is not there.
pub(crate) fn version(name: &str, arguments: &[&str]) -> String {
    let Some(program) = program(name) else { return String::new() };
    let Ok(output) = std::process::Command::new(program).args(arguments).output() else {
        return String::new();
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// Whether this process may start servers that give their rights up.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.contains("\t0\t"))
}

/// Lets everybody read a folder, as servers that give their rights up must.
pub(crate) fn open_to_all(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
