//! A server that behaves as it is told. It keeps what it was sent.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use postern_smtp_wire::data::Unstuffer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Closes the connection instead of an answer. (An answer without CRLF closes it too.)
pub(super) const CLOSE: &str = "CLOSE";
/// Says nothing any more.
pub(super) const SILENCE: &str = "SILENCE";
/// The point in the dialogue at which the greeting is given.
pub(super) const GREETING: &str = "GREETING";
/// The point at which the final dot is answered.
pub(super) const DOT: &str = "DOT";

type Rule = dyn Fn(usize, &str) -> Option<String> + Send + Sync;

#[derive(Clone)]
pub(super) struct Script {
    rule: Arc<Rule>,
    extensions: &'static str,
    chopped: bool,
    implicit_tls: bool,
    tls: Option<TlsAcceptor>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            rule: Arc::new(|_, _| None),
            extensions: "250-PIPELINING\r\n250-SIZE 2000000\r\n250 8BITMIME\r\n",
            chopped: false,
            implicit_tls: false,
            tls: None,
        }
    }
}

impl Script {
    /// What is answered, by connection (from 0) and command; `None` for the polite answer.
    pub(super) fn rule<A: Into<String>>(
        mut self,
        rule: impl Fn(usize, &str) -> Option<A> + Send + Sync + 'static,
    ) -> Self {
        self.rule = Arc::new(move |connection, command| rule(connection, command).map(Into::into));
        self
    }

    /// Answers one command by its first word.
    pub(super) fn on(self, verb: &'static str, answer: &str) -> Self {
        let answer = answer.to_owned();
        self.rule(move |_, command| {
            (command.split([' ', ':']).next() == Some(verb)).then(|| answer.clone())
        })
    }

    pub(super) fn extensions(mut self, extensions: &'static str) -> Self {
        self.extensions = extensions;
        self
    }

    /// Writes every byte on its own.
    pub(super) fn chopped(mut self) -> Self {
        self.chopped = true;
        self
    }

    pub(super) fn tls(mut self, acceptor: TlsAcceptor, implicit: bool) -> Self {
        self.tls = Some(acceptor);
        self.implicit_tls = implicit;
        self
    }

    pub(super) async fn start(self) -> Server {
        self.start_at(Ipv4Addr::LOCALHOST, 0).await
    }

    pub(super) async fn start_at(self, ip: Ipv4Addr, port: u16) -> Server {
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(accept(listener, self, seen.clone()));
        Server { address, seen, task }
    }
}

#[derive(Default)]
pub(super) struct Seen {
    connections: AtomicUsize,
    /// Commands by connection.
    commands: Mutex<HashMap<usize, Vec<String>>>,
    /// What each read brought, as long as it was commands.
    reads: Mutex<Vec<String>>,
    mails: Mutex<Vec<String>>,
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(super) fn commands(&self, connection: usize) -> Vec<String> {
        self.seen.commands.lock().unwrap().get(&connection).cloned().unwrap_or_default()
    }

    pub(super) fn reads(&self) -> Vec<String> {
        self.seen.reads.lock().unwrap().clone()
    }

    pub(super) fn mails(&self) -> Vec<String> {
        self.seen.mails.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, script: Script, seen: Arc<Seen>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let number = seen.connections.fetch_add(1, Ordering::SeqCst);
        let dialogue = Dialogue { script: script.clone(), seen: seen.clone(), number };
        tokio::spawn(async move {
            // How a connection ended is seen from the other side.
            let _ = dialogue.run(tcp).await;
        });
    }
}

struct Dialogue {
    script: Script,
    seen: Arc<Seen>,
    number: usize,
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

impl Dialogue {
    async fn run(self, tcp: TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        if !self.script.implicit_tls {
            let mut tcp = tcp;
            return match self.talk(&mut tcp, true).await? {
                true => self.encrypted(tcp, false).await,
                false => Ok(()),
            };
        }
        self.encrypted(tcp, true).await
    }

    async fn encrypted(&self, tcp: TcpStream, greet: bool) -> io::Result<()> {
        let Some(acceptor) = &self.script.tls else {
            return Ok(());
        };
        let mut tls = acceptor.accept(tcp).await?;
        self.talk(&mut tls, greet).await.map(|_| ())
    }

    /// True when STARTTLS was agreed.
    async fn talk(&self, socket: &mut dyn Socket, greet: bool) -> io::Result<bool> {
        if greet && !self.answer(socket, GREETING).await? {
            return Ok(false);
        }
        let mut buffer = Vec::new();
        loop {
            let Some(end) = buffer.windows(2).position(|pair| pair == b"\r\n") else {
                if !self.read(socket, &mut buffer, true).await? {
                    return Ok(false);
                }
                continue;
            };
            let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 2);
            self.seen.commands.lock().unwrap().entry(self.number).or_default().push(line.clone());
            let reply = self.reply(&line);
            if !self.say(socket, &reply).await? || line == "QUIT" {
                return Ok(false);
            }
            if line == "STARTTLS" && reply == "220 go\r\n" {
                return Ok(true);
            }
            if line == "DATA" && reply.starts_with("354") && !self.body(socket, &mut buffer).await?
            {
                return Ok(false);
            }
        }
    }

    async fn body(&self, socket: &mut dyn Socket, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let (mut unstuffer, mut content) = (Unstuffer::default(), Vec::new());
        loop {
            if let Some(taken) = unstuffer.feed(buffer, &mut content) {
                buffer.drain(..taken);
                break;
            }
            buffer.clear();
            if !self.read(socket, buffer, false).await? {
                return Ok(false);
            }
        }
        assert!(!unstuffer.has_bare_line_end());
        let content = String::from_utf8_lossy(&content).into_owned();
        self.seen.mails.lock().unwrap().push(content);
        self.answer(socket, DOT).await
    }

    async fn read(
        &self,
        socket: &mut dyn Socket,
        buffer: &mut Vec<u8>,
        commands: bool,
    ) -> io::Result<bool> {
        let before = buffer.len();
        buffer.reserve(64 * 1024);
        let count = socket.read_buf(buffer).await?;
        if commands && count > 0 {
            let read = String::from_utf8_lossy(&buffer[before..]).into_owned();
            self.seen.reads.lock().unwrap().push(read);
        }
        Ok(count > 0)
    }

    async fn answer(&self, socket: &mut dyn Socket, point: &str) -> io::Result<bool> {
        let reply = self.reply(point);
        self.say(socket, &reply).await
    }

    fn reply(&self, command: &str) -> String {
        if let Some(reply) = (self.script.rule)(self.number, command) {
            return reply;
        }
        match command.split([' ', ':']).next().unwrap_or_default() {
            GREETING => "220 them.example.net ready\r\n".to_owned(),
            "EHLO" => format!("250-them.example.net\r\n{}", self.script.extensions),
            "STARTTLS" => "220 go\r\n".to_owned(),
            "AUTH" => "235 2.7.0 welcome\r\n".to_owned(),
            "DATA" => "354 go on\r\n".to_owned(),
            DOT => "250 2.0.0 queued as 14294\r\n".to_owned(),
            "QUIT" => "221 bye\r\n".to_owned(),
            _ => "250 2.1.0 ok\r\n".to_owned(),
        }
    }

    async fn say(&self, socket: &mut dyn Socket, reply: &str) -> io::Result<bool> {
        match reply {
            CLOSE => return Ok(false),
            SILENCE => {
                // Until the other side hangs up.
                let _ = socket.read_to_end(&mut Vec::new()).await;
                return Ok(false);
            }
            _ if self.script.chopped => {
                for byte in reply.bytes() {
                    socket.write_all(&[byte]).await?;
                    socket.flush().await?;
                    tokio::task::yield_now().await;
                }
            }
            _ => socket.write_all(reply.as_bytes()).await?,
        }
        socket.flush().await?;
        // Half a line is the last that is heard.
        Ok(reply.ends_with("\r\n"))
    }
}

/// An address that nobody listens at.
pub(super) async fn closed_port(ip: IpAddr) -> u16 {
    TcpListener::bind((ip, 0)).await.unwrap().local_addr().unwrap().port()
}
