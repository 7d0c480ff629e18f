//! One socket, plain or under TLS: whole replies in, grouped commands and bodies out. One read and
//! one write buffer live as long as the connection.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postern_smtp_wire::command::{Command, CommandError};
use postern_smtp_wire::data::END;
use postern_smtp_wire::reply::{Reply, ReplyError, ReplyReader};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::transcript::Transcript;

/// Bodies are written in pieces of this size, each with its own time limit.
const BLOCK_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 4096;

/// Why a connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("no answer in time")]
    Timeout,
    #[error("the server closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(io::ErrorKind),
    #[error("the server broke the protocol: {0}")]
    Reply(#[from] ReplyError),
    #[error("the server answered before it was asked")]
    Unasked,
    #[error("a command cannot be sent: {0}")]
    Command(#[from] CommandError),
    #[error("TLS failed: {0}")]
    Tls(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        // Errors of the TLS layer arrive wrapped.
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Tls(tls.to_string()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Io(error.kind()),
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Wire {
    stream: Stream,
    reader: ReplyReader,
    input: Box<[u8; READ_BYTES]>,
    /// The bytes of `input` that have been read and not taken.
    unread: std::ops::Range<usize>,
    /// What was said.
    pub(super) transcript: Transcript,
    /// Commands that wait for [`Wire::flush`].
    pub(super) out: Vec<u8>,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self {
            stream: Stream::Plain(tcp),
            reader: ReplyReader::default(),
            input: Box::new([0; READ_BYTES]),
            unread: 0..0,
            transcript: Transcript::default(),
            out: Vec::with_capacity(1024),
        }
    }

    /// Encrypts the connection. Whatever arrived before must have been looked at, see
    /// [`Wire::has_unread`].
    pub(super) async fn encrypt(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        limit: Duration,
    ) -> Result<Self, Broken> {
        let Stream::Plain(tcp) = self.stream else {
            return Ok(self);
        };
        let connect = TlsConnector::from(config).connect(name, tcp);
        let tls = within(limit, connect).await.map_err(|broken| match broken {
            // A server that cannot speak TLS usually just hangs up.
            Broken::Closed | Broken::Io(_) => Broken::Tls(broken.to_string()),
            other => other,
        })?;
        let stream = Stream::Tls(Box::new(tls));
        Ok(Self { stream, reader: ReplyReader::default(), unread: 0..0, ..self })
    }

    /// The TLS version in words; empty for a plain connection.
    pub(super) fn tls_version(&self) -> &'static str {
        let Stream::Tls(tls) = &self.stream else {
            return "";
        };
        match tls.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        }
    }

    /// Whether bytes have arrived that belong to no reply taken so far.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty() || self.reader.is_within_reply()
    }

    /// Whether an unused connection still stands and the server has said nothing unasked, which
    /// would be a farewell. Never waits.
    pub(super) fn is_quiet(&self) -> bool {
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        };
        // A byte lost here is of a connection that is given up.
        let nothing = tcp.try_read(&mut [0; 1]).map_err(|error| error.kind());
        !self.has_unread() && nothing == Err(io::ErrorKind::WouldBlock)
    }

    /// Writes the waiting commands in one go. Fails when an answer is there already: every answer
    /// behind it would be taken for that of another command, and a mail be judged by it.
    pub(super) async fn flush(&mut self, limit: Duration) -> Result<(), Broken> {
        if self.has_unread() {
            return Err(Broken::Unasked);
        }
        let result = within(limit, self.stream.write(&self.out)).await;
        self.out.clear();
        result
    }

    /// Writes one command.
    pub(super) async fn say(
        &mut self,
        command: Command<'_>,
        limit: Duration,
    ) -> Result<(), Broken> {
        command.write(&mut self.out)?;
        self.transcript.command(&command, &self.out);
        self.flush(limit).await
    }

    /// Writes a dot-stuffed body and the final dot. On an error the dot was not sent.
    pub(super) async fn body(&mut self, stuffed: &[u8], limit: Duration) -> Result<(), Broken> {
        self.transcript.body(stuffed.len());
        let tail_at = stuffed.len() - stuffed.len() % BLOCK_BYTES;
        let (blocks, tail) = stuffed.split_at(tail_at);
        for block in blocks.chunks(BLOCK_BYTES) {
            within(limit, self.stream.write(block)).await?;
        }
        self.out.extend_from_slice(tail);
        self.out.extend_from_slice(END);
        self.flush(limit).await
    }

    /// The next reply; the limit covers all of it.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<Reply, Broken> {
        let reply = timeout(limit, self.read_reply()).await.map_err(|_| Broken::Timeout)??;
        self.transcript.reply(&reply);
        Ok(reply)
    }

    async fn read_reply(&mut self) -> Result<Reply, Broken> {
        loop {
            let mut unread = &self.input[self.unread.clone()];
            let reply = self.reader.feed(&mut unread)?;
            self.unread.start = self.unread.end - unread.len();
            if let Some(reply) = reply {
                return Ok(reply);
            }
            let count = self.stream.read(self.input.as_mut_slice()).await?;
            if count == 0 {
                return Err(Broken::Closed);
            }
            self.unread = 0..count;
        }
    }
}

impl Stream {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes).await,
            Self::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await
            }
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer).await,
            Self::Tls(tls) => tls.read(buffer).await,
        }
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Broken> {
    Ok(timeout(limit, work).await.map_err(|_| Broken::Timeout)??)
}
