//! A gate before the SMTP receiver that does to connections what bad receivers do.

use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is passed on.
    Pass,
    /// Nothing is ever said.
    Hang,
    /// It is reset.
    Reset,
    /// Bytes that are no SMTP.
    Garbage,
    /// Every command is answered with a temporary failure.
    TryLater,
    /// It is passed on until the receiver has the mail; its reply to that is not.
    DropReply,
}

/// The gate; closes when dropped.
#[derive(Debug)]
pub(crate) struct Gate {
    port: u16,
    mode: watch::Sender<Mode>,
    target: watch::Sender<Option<u16>>,
}

impl Gate {
    /// Opens it. Until there is a target, connections wait.
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (mode, told) = watch::channel(Mode::Pass);
        let (target, known) = watch::channel(None);
        tokio::spawn(serve(listener, told, known));
        Ok(Self { port, mode, target })
    }

    /// The value for `POSTERN_RELAY_URL`.
    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=off", self.port)
    }

    /// The port of the receiver behind it.
    pub(crate) fn lead_to(&self, port: u16) {
        self.target.send_replace(Some(port));
    }

    /// What happens to connections from now on. Those there are break.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn serve(
    listener: TcpListener,
    mut mode: watch::Receiver<Mode>,
    mut target: watch::Receiver<Option<u16>>,
) {
    let mut open = mode.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _closed = gone(&mut open) => return,
        };
        let Ok((client, _)) = accepted else { continue };
        let Ok(Some(port)) = target.wait_for(Option::is_some).await.map(|port| *port) else {
            return;
        };
        let now = *mode.borrow_and_update();
        let mut changed = mode.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ended = treat(client, now, port) => {}
                _changed = changed.changed() => {}
            }
        });
    }
}

/// Waits until the gate is dropped.
async fn gone(mode: &mut watch::Receiver<Mode>) {
    while mode.changed().await.is_ok() {}
}

async fn treat(mut client: TcpStream, mode: Mode, port: u16) -> anyhow::Result<()> {
    match mode {
        Mode::Pass => {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        }
        Mode::Hang => std::future::pending().await,
        Mode::Reset => client.set_zero_linger()?,
        Mode::Garbage => {
            let bytes: Vec<u8> = (0..4096).map(|_| rand::random()).collect();
            client.write_all(&bytes).await?;
            client.write_all(b"\r\n250").await?;
        }
        Mode::TryLater => try_later(client).await?,
        Mode::DropReply => {
            let server = TcpStream::connect(("127.0.0.1", port)).await?;
            drop_reply(client, server).await?;
        }
    }
    Ok(())
}

async fn try_later(mut client: TcpStream) -> anyhow::Result<()> {
    client.write_all(b"220 mx.test ESMTP\r\n").await?;
    let mut buffer = [0; 4096];
    let mut greeted = false;
    loop {
        let read = client.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let commands = buffer[..read].split(|byte| *byte == b'\n').count() - 1;
        for _ in 0..commands {
            let reply = if greeted { "451 4.3.0 try later\r\n" } else { "250 mx.test\r\n" };
            client.write_all(reply.as_bytes()).await?;
            greeted = true;
        }
    }
}

/// Passes everything on but what the server says after the end of a mail.
async fn drop_reply(mut client: TcpStream, mut server: TcpStream) -> anyhow::Result<()> {
    let (mut said, mut ended) = (Vec::new(), false);
    let (mut asked, mut answered) = ([0; 4096], [0; 4096]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                said.extend_from_slice(&asked[..read]);
                ended = ended || said.ends_with(b"\r\n.\r\n");
                server.write_all(&asked[..read]).await?;
            }
            read = server.read(&mut answered) => {
                let read = read?;
                if read == 0 || ended {
                    return Ok(());
                }
                client.write_all(&answered[..read]).await?;
            }
        }
    }
}

/// The gate's own proof: a mail passes, and its reply is dropped where it is told to.
#[tokio::test]
async fn the_gate_passes_and_drops() {
    let receiver = postern_tests::smtp_receiver::Receiver::start().await.unwrap();
    let gate = Gate::open().await.unwrap();
    gate.lead_to(receiver.port());
    let address = format!("127.0.0.1:{}", gate.port);
    for (mode, passes) in [(Mode::Pass, true), (Mode::DropReply, false)] {
        gate.set(mode);
        let mut client = postern_tests::smtp_client::SmtpClient::dial_at(&address).await.unwrap();
        client.reply().await.unwrap();
        client.ask("HELO test\r\n").await.unwrap();
        let sent =
            tokio::time::timeout(Duration::from_secs(10), client.mail("Subject: x\r\n\r\nx"));
        let sent = sent.await.context("it hangs").unwrap();
        assert_eq!(sent.is_ok_and(|reply| reply.starts_with("250")), passes, "{mode:?}");
    }
    assert_eq!(receiver.mails().unwrap().len(), 2, "both arrived");
}
