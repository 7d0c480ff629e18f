//! Postfix with a queue of its own on our disk: it keeps what it takes, or relays it.
//!
//! It is stopped with the value; its queue is thrown away with the folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::{free_address, listening, open_to_all};

/// What it does with the mail.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Does {
    /// It holds it, so that acceptance is measured alone.
    Hold,
    /// It relays it to a server.
    Relay(SocketAddr),
}

/// A running Postfix.
#[derive(Debug)]
pub(crate) struct Postfix {
    folder: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its master.
    pub(crate) pid: u32,
}

impl Postfix {
    /// Starts it; only root may.
    pub(crate) async fn start(folder: &Path, does: Does) -> anyhow::Result<Self> {
        let address = free_address().await?;
        for name in ["etc", "queue", "lib"] {
            std::fs::create_dir_all(folder.join(name))?;
        }
        open_to_all(folder)?;
        let owned = Command::new("chown").arg("postfix").arg(folder.join("lib")).status()?;
        ensure!(owned.success(), "there is no user postfix");
        std::fs::write(folder.join("etc/main.cf"), main_cf(folder, does))?;
        let master = std::fs::read_to_string("/etc/postfix/master.cf")?;
        std::fs::write(folder.join("etc/master.cf"), master_cf(&master, address))?;
        let etc = folder.join("etc");
        postfix(&etc, "start")?;
        listening(address).await?;
        let pid = std::fs::read_to_string(folder.join("queue/pid/master.pid"))?;
        let pid = pid.trim().parse().context("master.pid has no number")?;
        Ok(Self { folder: folder.to_owned(), address, pid })
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // When it cannot be stopped nothing more can be done about it here.
        let _ = postfix(&self.folder.join("etc"), "stop");
    }
}

fn postfix(etc: &Path, what: &str) -> anyhow::Result<()> {
    let mut command = Command::new("/usr/sbin/postfix");
    command.arg("-c").arg(etc).arg(what).stdout(Stdio::null()).stderr(Stdio::null());
    ensure!(command.status()?.success(), "postfix {what} failed");
    Ok(())
}

fn main_cf(folder: &Path, does: Does) -> String {
    let folder = folder.display();
    let does = match does {
        Does::Hold => "smtpd_recipient_restrictions = check_client_access static:HOLD, \
                       permit_mynetworks"
            .to_owned(),
        Does::Relay(to) => {
            format!("relayhost = [{}]:{}\nsmtp_tls_security_level = none", to.ip(), to.port())
        }
    };
    format!(
        "compatibility_level = 3.6\nqueue_directory = {folder}/queue\n\
         data_directory = {folder}/lib\nmaillog_file = {folder}/log\n\
         maillog_file_prefixes = /\nmyhostname = bench.test\nmydestination =\n\
         mynetworks = 127.0.0.0/8\ninet_interfaces = loopback-only\n\
         inet_protocols = ipv4\nsmtpd_client_connection_count_limit = 0\n\
         alias_maps =\nalias_database =\n{does}\n"
    )
}

/// Debian's, on our address and without chroot.
fn master_cf(debian: &str, address: SocketAddr) -> String {
    let mut out = String::new();
    for line in debian.lines() {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let is_service = words.len() >= 8 && !line.starts_with(['#', ' ', '\t']);
        if !is_service {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let listen = address.to_string();
        if words[0] == "smtp" && words[1] == "inet" {
            words[0] = &listen;
        }
        if words[4] == "y" {
            words[4] = "n";
        }
        out.push_str(&words.join(" "));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_and_the_chroot_change() {
        let debian = "# a comment\nsmtp      inet  n       -       y       -       -       smtpd\n\
                      smtp      unix  -       -       y       -       -       smtp\n        -o x=y\n";
        let ours = master_cf(debian, SocketAddr::from(([127, 0, 0, 1], 2525)));
        let wanted = "# a comment\n127.0.0.1:2525 inet n - n - - smtpd\n\
                      smtp unix - - n - - smtp\n        -o x=y\n";
        assert_eq!(ours, wanted);
    }
}
