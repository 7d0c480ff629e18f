//! SMTP without pipelining, as most programs speak it: over connections that are kept, or a new one
//! for each mail.
//!
//! Nothing is kept; a crash loses the measurement under way.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

use super::Mail;
use crate::pace::Door;

/// Whether the connection is kept for the next mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is.
    Kept,
    /// A new one is made for each.
    New,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Smtp {
    address: SocketAddr,
    mail: Mail,
    keep: Keep,
    open: Option<BufStream<TcpStream>>,
    line: String,
}

impl Smtp {
    /// So many clients.
    pub(crate) fn callers(address: SocketAddr, mail: &Mail, keep: Keep, count: usize) -> Vec<Self> {
        let one = || Self { address, mail: mail.clone(), keep, open: None, line: String::new() };
        std::iter::repeat_with(one).take(count).collect()
    }

    async fn connect(&mut self) -> anyhow::Result<BufStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let mut stream = BufStream::with_capacity(1024, 8192, stream);
        self.expect(&mut stream, '2').await.context("greeting")?;
        self.say(&mut stream, b"EHLO load.example.com\r\n", '2').await.context("EHLO")?;
        Ok(stream)
    }

    async fn say(
        &mut self,
        stream: &mut BufStream<TcpStream>,
        text: &[u8],
        class: char,
    ) -> anyhow::Result<()> {
        stream.write_all(text).await?;
        stream.flush().await?;
        self.expect(stream, class).await
    }

    /// Reads a reply, whose code must begin with `class`.
    async fn expect(
        &mut self,
        stream: &mut BufStream<TcpStream>,
        class: char,
    ) -> anyhow::Result<()> {
        loop {
            self.line.clear();
            ensure!(stream.read_line(&mut self.line).await? > 0, "the connection was closed");
            if self.line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            if self.line.starts_with(class) {
                return Ok(());
            }
            bail!("{}", self.line.trim_end());
        }
    }

    async fn mail(&mut self, stream: &mut BufStream<TcpStream>, number: u64) -> anyhow::Result<()> {
        let from = format!("MAIL FROM:<{}>\r\n", self.mail.from);
        self.say(stream, from.as_bytes(), '2').await?;
        let to = format!("RCPT TO:<{}>\r\n", self.mail.to(number));
        self.say(stream, to.as_bytes(), '2').await?;
        self.say(stream, b"DATA\r\n", '3').await?;
        // The texts have no line that begins with a dot.
        let mut raw = self.mail.raw(number);
        raw.extend_from_slice(b".\r\n");
        self.say(stream, &raw, '2').await
    }
}

impl Door for Smtp {
    async fn call(&mut self, number: u64) -> anyhow::Result<u64> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        self.mail(&mut stream, number).await?;
        match self.keep {
            Keep::Kept => self.open = Some(stream),
            Keep::New => self.say(&mut stream, b"QUIT\r\n", '2').await?,
        }
        Ok(1)
    }
}
