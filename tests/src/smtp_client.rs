//! A raw SMTP client: sends the bytes it is told to and reads whole replies, so that a test can say
//! exactly what goes over the wire.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wait;

/// `hi@shop.test` to `ann@good.test`.
pub const ENVELOPE: &str = "MAIL FROM:<hi@shop.test>\r\nRCPT TO:<ann@good.test>\r\n";

/// A connection.
#[derive(Debug)]
pub struct SmtpClient {
    stream: TcpStream,
    input: Vec<u8>,
}

impl SmtpClient {
    /// Connects and reads the greeting.
    pub async fn connect(port: u16) -> anyhow::Result<Self> {
        let mut client = Self::dial(port).await?;
        let greeting = client.reply().await?;
        ensure!(greeting.starts_with("220 "), "{greeting}");
        Ok(client)
    }

    /// Connects and reads nothing.
    pub async fn dial(port: u16) -> anyhow::Result<Self> {
        Self::dial_at(&format!("127.0.0.1:{port}")).await
    }

    /// The same at a `host:port`.
    pub async fn dial_at(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Connects, says EHLO and logs in with AUTH PLAIN, which needs `POSTERN_SMTP_PLAIN_AUTH`.
    pub async fn login(port: u16, user: &str, password: &str) -> anyhow::Result<Self> {
        Self::login_at(&format!("127.0.0.1:{port}"), user, password).await
    }

    /// The same at a `host:port`.
    pub async fn login_at(address: &str, user: &str, password: &str) -> anyhow::Result<Self> {
        let mut client = Self::dial_at(address).await?;
        let greeting = client.reply().await?;
        ensure!(greeting.starts_with("220 "), "{greeting}");
        client.ask("EHLO test\r\n").await?;
        let reply = client.auth(user, password).await?;
        ensure!(reply.starts_with("235 "), "{reply}");
        Ok(client)
    }

    /// AUTH PLAIN; returns the reply.
    pub async fn auth(&mut self, user: &str, password: &str) -> anyhow::Result<String> {
        let response = base64(format!("\0{user}\0{password}").as_bytes());
        self.ask(&format!("AUTH PLAIN {response}\r\n")).await
    }

    /// Sends a mail in a session that is logged in; returns the last reply.
    pub async fn mail(&mut self, message: &str) -> anyhow::Result<String> {
        self.mail_with(ENVELOPE, message).await
    }

    /// The same with an envelope like [`ENVELOPE`].
    pub async fn mail_with(&mut self, envelope: &str, message: &str) -> anyhow::Result<String> {
        self.send(envelope.as_bytes()).await?;
        for _ in 0..2 {
            let reply = self.reply().await?;
            if !reply.starts_with("250 ") {
                return Ok(reply);
            }
        }
        let reply = self.ask("DATA\r\n").await?;
        ensure!(reply.starts_with("354 "), "{reply}");
        self.ask(&format!("{message}\r\n.\r\n")).await
    }

    /// Sends and reads one reply.
    pub async fn ask(&mut self, text: &str) -> anyhow::Result<String> {
        self.send(text.as_bytes()).await?;
        self.reply().await
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await.context("the connection is gone")
    }

    /// Reads one reply, all its lines.
    pub async fn reply(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = end_of_reply(&self.input) {
                let reply: Vec<u8> = self.input.drain(..end).collect();
                return Ok(String::from_utf8(reply)?);
            }
            ensure!(self.read().await? > 0, "the server closed: {:?}", self.input);
        }
    }

    /// Reads until the server closes; returns what it said before.
    pub async fn until_closed(&mut self) -> anyhow::Result<String> {
        loop {
            match self.read().await {
                Ok(0) => break,
                Ok(_) => {}
                // A server that closes with bytes of ours unread resets the connection.
                Err(error) if error.is::<std::io::Error>() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(String::from_utf8(std::mem::take(&mut self.input))?)
    }

    async fn read(&mut self) -> anyhow::Result<usize> {
        let reading = self.stream.read_buf(&mut self.input);
        let limit: Duration = wait::LIMIT;
        Ok(tokio::time::timeout(limit, reading).await.context("no reply in time")??)
    }
}

/// Where the first reply in the bytes ends.
fn end_of_reply(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(length) = bytes[start..].windows(2).position(|two| two == b"\r\n") {
        let end = start + length + 2;
        if bytes.get(start + 3) != Some(&b'-') {
            return Some(end);
        }
        start = end;
    }
    None
}

/// Base64, for AUTH.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
