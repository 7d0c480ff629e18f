//! TLS of the SMTP gateway: the certificate changes while sessions go on; a load balancer says for
//! whom it speaks.

use std::process::Stdio;

use postern_tests::peer;
use postern_tests::smtp_client::SmtpClient;
use postern_tests::stack::Stack;
use postern_tests::wait;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};

struct Probe {
    _child: tokio::process::Child,
    asks: ChildStdin,
    says: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Probe {
    async fn start(args: &[&str]) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(peer::path("tls_probe.py")).args(args).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let asks = child.stdin.take().unwrap();
        let says = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut probe = Self { _child: child, asks, says };
        let open = probe.line().await;
        assert!(open.starts_with("open TLSv1.3"), "{open}");
        probe
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(wait::LIMIT, self.says.next_line()).await;
        line.unwrap().unwrap().expect("the probe goes on")
    }

    /// The certificate's digest, and what the first session answers.
    async fn look(&mut self) -> (String, String) {
        self.asks.write_all(b"look\n").await.unwrap();
        let line = self.line().await;
        let (digest, answer) = line.split_once(' ').unwrap();
        (digest.to_owned(), answer.to_owned())
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_no_session_drops() {
    let other = Stack::start(&[]).await.unwrap();
    let stack = Stack::start(&[]).await.unwrap();
    let mut probe = Probe::start(&[&stack.smtp.starttls.to_string()]).await;
    let (before, answer) = probe.look().await;
    assert!(answer.starts_with("250 2.0.0"), "{answer}");
    // Another installation's certificate stands for the renewed one.
    for file in ["tls-key.pem", "tls-cert.pem"] {
        std::fs::copy(other.folder().join(file), stack.folder().join(file)).unwrap();
    }
    let renewed = wait::until("the new certificate", async || {
        let (now, answer) = probe.look().await;
        assert!(answer.starts_with("250 2.0.0"), "{answer}");
        Ok((now != before).then_some(now))
    });
    renewed.await.unwrap();
}

#[tokio::test]
async fn a_load_balancer_says_for_whom_it_speaks() {
    let vars = [
        ("POSTERN_SMTP_PROXY_NETWORKS", "127.0.0.1/32"),
        ("POSTERN_SMTP_CONNECTIONS_PER_ADDRESS_MAX", "1"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let port = stack.smtp.starttls.to_string();
    // One connection of each client address is allowed; these are two addresses.
    let first = Probe::start(&[&port, "192.0.2.1"]).await;
    let second = Probe::start(&[&port, "192.0.2.2"]).await;
    let mut plain = SmtpClient::dial(stack.smtp.starttls).await.unwrap();
    plain.send(b"EHLO no-header\r\nNOOP\r\nNOOP\r\n").await.unwrap();
    assert_eq!(plain.until_closed().await.unwrap(), "", "without a header nothing is said");
    drop((first, second));
}
