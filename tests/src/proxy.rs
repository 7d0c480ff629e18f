//! A TCP proxy that can be cut: connections break and new ones are refused until it is restored.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy; stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where to connect.
    pub addr: SocketAddr,
    open: watch::Sender<bool>,
    answers: watch::Sender<bool>,
    delay: watch::Sender<Duration>,
}

impl Proxy {
    /// Passes connections on to `target`, a `host:port`.
    pub async fn start(target: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr().context("no address")?;
        let (open, state) = watch::channel(true);
        let (answers, heard) = watch::channel(true);
        let (delay, delayed) = watch::channel(Duration::ZERO);
        tokio::spawn(serve(listener, target.to_owned(), state, (heard, delayed)));
        Ok(Self { addr, open, answers, delay })
    }

    /// Breaks every connection and lets none through.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Holds back what the server says from now on; what the client says still arrives.
    pub fn hold_answers(&self) {
        self.answers.send_replace(false);
    }

    /// Lets answers through again, those that were held back first.
    pub fn release_answers(&self) {
        self.answers.send_replace(true);
    }

    /// Keeps every piece of an answer for so long from now on.
    pub fn delay_answers(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.open.send_replace(true);
    }
}

/// Whether answers are let through, and how much later.
type Answers = (watch::Receiver<bool>, watch::Receiver<Duration>);

async fn serve(
    listener: TcpListener,
    target: String,
    mut state: watch::Receiver<bool>,
    answers: Answers,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            closed = state.wait_for(|_| false) => {
                debug_assert!(closed.is_err(), "the condition never holds");
                return;
            }
        };
        let Ok((client, _)) = accepted else { continue };
        if *state.borrow() {
            tokio::spawn(pass(client, target.clone(), state.clone(), answers.clone()));
        }
    }
}

async fn pass(
    client: TcpStream,
    target: String,
    mut state: watch::Receiver<bool>,
    answers: Answers,
) {
    let Ok(server) = TcpStream::connect(&target).await else {
        return;
    };
    let (mut client_reads, mut client_hears) = client.into_split();
    let (mut server_says, mut server_hears) = server.into_split();
    let asking = async {
        let _ended = tokio::io::copy(&mut client_reads, &mut server_hears).await;
        let _gone = server_hears.shutdown().await;
    };
    let answering = async {
        let _ended = relay(&mut server_says, &mut client_hears, answers).await;
        let _gone = client_hears.shutdown().await;
    };
    tokio::select! {
        _ended = async { tokio::join!(asking, answering) } => {}
        _cut = state.wait_for(|open| !open) => {}
    }
}

async fn relay(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    (mut answers, delay): Answers,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if answers.wait_for(|let_through| *let_through).await.is_err() {
            return Ok(());
        }
        let delay = *delay.borrow();
        tokio::time::sleep(delay).await;
        to.write_all(&buffer[..read]).await?;
    }
}
