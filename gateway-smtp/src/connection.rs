//! The loop between a session and its socket: reads what the session wants, writes what it says,
//! does what it asks for. Everything that waits has a limit.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures_util::FutureExt as _;
use postern_kit::limits::{Quota, Verdict};
use postern_proto::ids::MessageId;
use postern_proto::settings::{
    SMTP_COMMAND_TIME_MAX, SMTP_CONTENT_OCTETS_MAX, SMTP_CREDENTIAL_MESSAGES,
    SMTP_CREDENTIAL_RECIPIENTS, SMTP_CREDENTIAL_WINDOW, SMTP_DATA_TIME_MAX, SMTP_SESSION_TIME_MAX,
    Settings,
};
use postern_smtp_wire::line::{self, Framed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::reply::{Reply, hint};
use crate::session::{Effect, Handover, Identity, Input, Session, Spending};

/// How much is read at a time: for commands, and for content.
const READ_COMMAND: usize = 1 << 10;
const READ_CONTENT: usize = 64 << 10;
/// Buffers above this are given back between messages.
const KEPT: usize = 16 << 10;
/// How much of what a client still sends is thrown away before it is cut off.
const DISCARDED: usize = 4 << 20;
/// A client is believed to wait this long for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a client may take to read what we said last.
const GOODBYE: Duration = Duration::from_secs(5);

/// A socket, encrypted or not.
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Its handshake failed.
    Gone,
}

/// Why a conversation ended without a last word of the session.
enum Ended {
    /// The client is gone.
    Gone,
    /// A time limit.
    TimedOut(&'static str),
    /// We are stopping.
    Stopping,
}

/// Talks to one client until either side ends it.
pub(crate) async fn run(
    shared: &Shared,
    session: Session,
    io: Io,
    client: IpAddr,
    stop: &CancellationToken,
) {
    let began = Instant::now();
    let mut conversation = Conversation {
        shared,
        session,
        io,
        client,
        stop,
        began,
        input: BytesMut::new(),
        out: Vec::new(),
        content_began: None,
        command_began: None,
        held: Held { total: &shared.content_octets, own: 0 },
        unconfirmed: None,
    };
    conversation.session.greet(&mut conversation.out);
    let ended = conversation.talk().await;
    if let Some((handover, id)) = conversation.unconfirmed.take() {
        shared.submitter.remember(&handover, id);
    }
    let Err(ended) = ended else { return };
    let Conversation { session, out, .. } = &mut conversation;
    match ended {
        Ended::Gone => return,
        Ended::TimedOut(text) => drop(session.hang_up("4.4.2", text, out)),
        Ended::Stopping => {
            drop(session.hang_up("4.3.2", "the server is shutting down; connect again", out));
        }
    }
    let _gone = tokio::time::timeout(GOODBYE, conversation.flush()).await;
}

struct Conversation<'a> {
    shared: &'a Shared,
    session: Session,
    io: Io,
    client: IpAddr,
    stop: &'a CancellationToken,
    began: Instant,
    input: BytesMut,
    out: Vec<u8>,
    /// Since when content has been coming in.
    content_began: Option<Instant>,
    /// Since when a command has been awaited.
    command_began: Option<Instant>,
    held: Held<'a>,
    /// A message that was accepted late, until the client shows that it has waited for the answer.
    unconfirmed: Option<(Handover, MessageId)>,
}

/// Content in memory, counted over all sessions; given back when the session ends.
struct Held<'a> {
    total: &'a AtomicUsize,
    own: usize,
}

impl Held<'_> {
    /// Counts what the session holds now. Returns what all of them hold.
    fn set(&mut self, own: usize) -> usize {
        let before = std::mem::replace(&mut self.own, own);
        if own >= before {
            self.total.fetch_add(own - before, Ordering::Relaxed) + own - before
        } else {
            self.total.fetch_sub(before - own, Ordering::Relaxed) - (before - own)
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Conversation<'_> {
    async fn talk(&mut self) -> Result<(), Ended> {
        loop {
            let mut effect = self.step().await?;
            if !matches!(effect, Effect::HandOver(_)) {
                let all = self.held.set(self.session.held());
                let max = self.shared.live.now().count(&SMTP_CONTENT_OCTETS_MAX);
                if all > max && self.held.own > 0 {
                    let text = "too much mail is coming in at once; try again in a moment";
                    effect = self.session.hang_up("4.3.1", text, &mut self.out);
                }
            }
            // An effect may lead to the next one, as when a refusal is the last that is borne.
            loop {
                effect = match effect {
                    Effect::Continue => break,
                    Effect::Close => return self.close().await,
                    Effect::StartTls => {
                        self.start_tls().await?;
                        break;
                    }
                    Effect::Check(login) => {
                        self.flush_in_time().await?;
                        let settings = self.shared.live.now();
                        let checked = self.shared.logins.check(login, self.client, &settings).await;
                        self.session.checked(checked, &mut self.out)
                    }
                    Effect::Spend(spending, identity) => {
                        let refused = self.spend(spending, &identity).await;
                        self.session.spent(refused, &mut self.out)
                    }
                    Effect::HandOver(handover) => {
                        let reply = self.hand_over(*handover).await;
                        self.held.set(0);
                        self.session.handed_over(&reply, &mut self.out)
                    }
                };
            }
        }
    }

    /// Hands a message to the core. A client may have lost patience meanwhile: as long as it does not
    /// go on, nobody knows whether it has heard the answer.
    async fn hand_over(&mut self, handover: Handover) -> Reply {
        let began = Instant::now();
        let (reply, accepted) = self.shared.submitter.submit(&handover, self.client).await;
        if let Some(id) = accepted.filter(|_| began.elapsed() > PATIENCE) {
            self.unconfirmed = Some((handover, id));
        }
        reply
    }

    /// Gives the session one line or one piece of content.
    async fn step(&mut self) -> Result<Effect, Ended> {
        loop {
            match self.session.input() {
                Input::Line(bytes_max) => {
                    if !self.session.has_content() {
                        self.content_began = None;
                    }
                    match line::frame(&self.input, bytes_max) {
                        Framed::Partial => {}
                        Framed::Line(text, taken) => {
                            self.command_began = None;
                            let more = self.input.len() > taken;
                            let effect = self.session.line(text, more, &mut self.out);
                            self.input.advance(taken);
                            return Ok(effect);
                        }
                        Framed::Bad(error, taken) => {
                            self.input.advance(taken);
                            return Ok(self.session.bad_line(error, &mut self.out));
                        }
                    }
                }
                Input::Content if self.input.is_empty() => {}
                Input::Content => {
                    let mut rest = &self.input[..];
                    let effect = self.session.content(&mut rest, &mut self.out);
                    let taken = self.input.len() - rest.len();
                    self.input.advance(taken);
                    return Ok(effect);
                }
            }
            // Nothing can be done with what is there: say what is to be said, then read on.
            self.flush_in_time().await?;
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Ended> {
        let settings = self.shared.live.now();
        let content = self.session.input() == Input::Content;
        let (limit, text) = if content {
            let since = *self.content_began.get_or_insert_with(Instant::now);
            (since + settings.time(&SMTP_DATA_TIME_MAX), "the message took too long")
        } else {
            let since = *self.command_began.get_or_insert_with(Instant::now);
            let limit = since + settings.time(&SMTP_COMMAND_TIME_MAX);
            // Between chunks the message has its limit too.
            let limit = self
                .content_began
                .map_or(limit, |began| limit.min(began + settings.time(&SMTP_DATA_TIME_MAX)));
            (limit, "you were silent for too long; connect again")
        };
        let session_end = self.began + settings.time(&SMTP_SESSION_TIME_MAX);
        let (limit, text) = match session_end < limit {
            true => (session_end, "the session has lasted long enough; connect again"),
            false => (limit, text),
        };
        self.session.set_settings(settings);
        if self.input.is_empty() && self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
        let wanted = if content { READ_CONTENT } else { READ_COMMAND };
        let reading = read_some(&mut self.io, &mut self.input, wanted);
        tokio::select! {
            biased;
            read = tokio::time::timeout_at(limit, reading) => match read {
                Ok(Ok(true)) => {
                    self.unconfirmed = None;
                    Ok(())
                }
                Ok(Ok(false) | Err(_)) => Err(Ended::Gone),
                Err(_) => Err(Ended::TimedOut(text)),
            },
            // A message that has begun may still end, within its own limit.
            () = self.stop.cancelled(), if !content => Err(Ended::Stopping),
        }
    }

    async fn flush_in_time(&mut self) -> Result<(), Ended> {
        let limit = self.shared.live.now().time(&SMTP_COMMAND_TIME_MAX);
        match tokio::time::timeout(limit, self.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended::Gone),
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.shared.metrics.replied(&self.out);
        match &mut self.io {
            Io::Plain(stream) => stream.write_all(&self.out).await?,
            Io::Tls(stream) => {
                stream.write_all(&self.out).await?;
                stream.flush().await?;
            }
            Io::Gone => {}
        }
        self.out.clear();
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Ended> {
        let goodbye = async {
            self.flush().await?;
            match &mut self.io {
                Io::Plain(stream) => stream.shutdown().await?,
                Io::Tls(stream) => stream.shutdown().await?,
                Io::Gone => {}
            }
            // What the client is still sending is read and thrown away for a while: closing on unread
            // bytes would reset the connection, and the client would never see why.
            for _ in 0..DISCARDED / READ_CONTENT {
                self.input.clear();
                if !read_some(&mut self.io, &mut self.input, READ_CONTENT).await? {
                    break;
                }
            }
            std::io::Result::Ok(())
        };
        let _gone = tokio::time::timeout(GOODBYE, goodbye).await;
        Ok(())
    }

    /// Begins TLS. Bytes that came behind STARTTLS were refused by the session, so nothing that was
    /// sent in clear is read as if it had been encrypted (CVE-2011-0411).
    async fn start_tls(&mut self) -> Result<(), Ended> {
        self.flush_in_time().await?;
        if !self.input.is_empty() {
            return Err(Ended::Gone);
        }
        let Some(tls) = &self.shared.tls else { return Err(Ended::Gone) };
        let limit = self.shared.live.now().time(&SMTP_COMMAND_TIME_MAX);
        let Io::Plain(stream) = std::mem::replace(&mut self.io, Io::Gone) else {
            return Err(Ended::Gone);
        };
        match tokio::time::timeout(limit, tls.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                self.io = Io::Tls(Box::new(stream));
                self.session.encrypted();
                Ok(())
            }
            Ok(Err(error)) => {
                tracing::debug!(client.ip = %self.client, %error, "STARTTLS failed");
                Err(Ended::Gone)
            }
            Err(_) => Err(Ended::Gone),
        }
    }

    /// Counts against the limit of a credential; a refusal says why.
    async fn spend(&self, spending: Spending, identity: &Identity) -> Option<Reply> {
        let settings = self.shared.live.now();
        let quota = quota(spending, identity, &settings)?;
        let (kind, what) = match spending {
            Spending::Message => ("messages", "messages"),
            Spending::Recipient => ("recipients", "recipients"),
        };
        let name = format!("smtp:{kind}:{}", identity.id);
        match self.shared.limiter.take(&name, quota).await {
            Verdict::Granted { .. } => None,
            Verdict::Refused { retry_after } => {
                self.shared.metrics.limited(kind);
                let text = format!("too many {what} for this credential; {}", hint(retry_after));
                Some(Reply::new(451, "4.7.1", text))
            }
        }
    }
}

fn quota(spending: Spending, identity: &Identity, settings: &Settings) -> Option<Quota> {
    let setting = |definition| settings.count(definition) as u64;
    let limit = match spending {
        Spending::Message if identity.rate_limit > 0 => identity.rate_limit,
        Spending::Message => setting(&SMTP_CREDENTIAL_MESSAGES),
        Spending::Recipient => setting(&SMTP_CREDENTIAL_RECIPIENTS),
    };
    let window = settings.time(&SMTP_CREDENTIAL_WINDOW);
    (limit > 0).then_some(Quota { limit, window })
}

/// Reads something; false at the end. A plain connection holds no buffer while it is idle.
async fn read_some(io: &mut Io, input: &mut BytesMut, wanted: usize) -> std::io::Result<bool> {
    match io {
        Io::Plain(stream) => loop {
            stream.readable().await?;
            input.reserve(wanted);
            // Unlike `try_read_buf` this takes note of a read that emptied the socket, which saves
            // another one that finds nothing.
            match stream.read_buf(input).now_or_never() {
                Some(read) => return Ok(read? > 0),
                None if input.is_empty() => *input = BytesMut::new(),
                None => {}
            }
        },
        Io::Tls(stream) => {
            input.reserve(wanted);
            Ok(stream.read_buf(input).await? > 0)
        }
        Io::Gone => Ok(false),
    }
}
