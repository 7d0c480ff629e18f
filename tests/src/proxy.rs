//! A TCP proxy that can be cut: connections break and new ones are refused until it is restored.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy; stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where to connect.
    pub addr: SocketAddr,
    open: watch::Sender<bool>,
}

impl Proxy {
    /// Passes connections on to `target`, a `host:port`.
    pub async fn start(target: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr().context("no address")?;
        let (open, state) = watch::channel(true);
        tokio::spawn(serve(listener, target.to_owned(), state));
        Ok(Self { addr, open })
    }

    /// Breaks every connection and lets none through.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.open.send_replace(true);
    }
}

async fn serve(listener: TcpListener, target: String, mut state: watch::Receiver<bool>) {
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
            tokio::spawn(pass(client, target.clone(), state.clone()));
        }
    }
}

async fn pass(mut client: TcpStream, target: String, mut state: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(&target).await else {
        return;
    };
    tokio::select! {
        _ended = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _cut = state.wait_for(|open| !open) => {}
    }
}
