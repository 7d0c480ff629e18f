//! One recipient of one message: its state, its attempts, and what remote servers said.

use std::time::Duration;

use bytes::Bytes;
use postern_proto::ids::{MessageId, RecipientId};

/// The state of a delivery. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Waits for its send time.
    Scheduled = 1,
    /// Waits for its first attempt.
    Queued = 2,
    /// An attempt is under way.
    Sending = 3,
    /// Waits for another attempt.
    Deferred = 4,
    /// Taken over by the remote server. Terminal.
    Delivered = 5,
    /// Refused for good. Terminal.
    Bounced = 6,
    /// Given up. Terminal.
    Failed = 7,
    /// Not sent: the address is suppressed. Terminal.
    Suppressed = 8,
    /// Too old. Terminal.
    Expired = 9,
    /// Canceled. Terminal.
    Canceled = 10,
    /// Handed to a system that sends it and reports later what became of it.
    Sent = 11,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [State; 11] = [
        State::Scheduled,
        State::Queued,
        State::Sending,
        State::Deferred,
        State::Delivered,
        State::Bounced,
        State::Failed,
        State::Suppressed,
        State::Expired,
        State::Canceled,
        State::Sent,
    ];

    /// The state with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i64 == number)
    }

    /// Nothing leaves a terminal state.
    pub fn is_terminal(self) -> bool {
        self as u8 >= State::Delivered as u8 && self != State::Sent
    }

    /// Another attempt is to follow, so there is a time when it is due.
    pub fn is_waiting(self) -> bool {
        (self as u8) < State::Delivered as u8
    }
}

/// How a recipient is addressed. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// In the To field.
    To = 1,
    /// In the Cc field.
    Cc = 2,
    /// In no field.
    Bcc = 3,
}

impl Kind {
    /// The kind with this number; unknown numbers are read as To.
    pub fn from_number(number: i64) -> Self {
        match number {
            2 => Self::Cc,
            3 => Self::Bcc,
            _ => Self::To,
        }
    }
}

/// Where in the conversation with a remote server something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Finding the servers.
    Dns,
    /// Connecting, and the greeting.
    Connect,
    /// EHLO.
    Ehlo,
    /// STARTTLS and the handshake.
    StartTls,
    /// Our login.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA and the reply to the final dot.
    Data,
    /// Decided here, without a remote server.
    Local,
    /// A bounce message that came after the remote server had taken the mail.
    OutOfBand,
}

impl Phase {
    /// The word shown to clients.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Local => "local",
            Self::OutOfBand => "out_of_band",
        }
    }
}

/// What a remote server answered, or what went wrong before it could. Encodes itself for storage.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Reply {
    /// The reply code; 0 when the server said nothing.
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// The enhanced status code, for example `5.1.1`; empty when there was none.
    #[prost(string, tag = "2")]
    pub enhanced: String,
    /// The text, at most [`Reply::TEXT_BYTES_MAX`].
    #[prost(string, tag = "3")]
    pub text: String,
    /// The host that answered or could not be reached.
    #[prost(string, tag = "4")]
    pub host: String,
    /// [`Phase::name`].
    #[prost(string, tag = "5")]
    pub phase: String,
    /// The TLS version; empty for a plain connection.
    #[prost(string, tag = "6")]
    pub tls: String,
    /// What was said until then, line by line; empty where there was no conversation. Kept with the
    /// event only.
    #[prost(string, repeated, tag = "7")]
    pub transcript: Vec<String>,
}

impl Reply {
    /// The reply without what was said before it.
    #[must_use]
    pub fn alone(&self) -> Self {
        // Field by field: a copy of all would copy what is left out, once for every delivery.
        Self {
            code: self.code,
            enhanced: self.enhanced.clone(),
            text: self.text.clone(),
            host: self.host.clone(),
            phase: self.phase.clone(),
            tls: self.tls.clone(),
            transcript: Vec::new(),
        }
    }

    /// Longer texts are cut.
    pub const TEXT_BYTES_MAX: usize = 1024;

    /// Something that was decided here, without a remote server.
    pub fn local(text: impl Into<String>) -> Self {
        Self { text: text.into(), phase: Phase::Local.name().to_owned(), ..Self::default() }
    }
}

/// Why a delivery did not succeed, in one word. A closed list that clients may branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// The mailbox does not exist.
    UnknownUser,
    /// The mailbox exists and takes no mail.
    Inactive,
    /// The mailbox is full.
    MailboxFull,
    /// The receiver's policy.
    Policy,
    /// The content was taken for spam.
    SpamContent,
    /// The sender's address or domain has a bad name.
    Reputation,
    /// The receiver limits the rate, or greylists.
    RateLimited,
    /// The domain has no usable server, or the lookup failed.
    DnsFailure,
    /// The mail is too large.
    TooLarge,
    /// The other side broke the protocol, or lacks an extension the mail needs.
    Protocol,
    /// Nothing was heard in time.
    Timeout,
    /// The connection could not be made, or broke.
    Connection,
    /// TLS failed.
    Tls,
    /// The server does not relay for us.
    RelayDenied,
    /// SPF, DKIM or DMARC of the sender, or our own login, failed.
    AuthFailed,
    /// The content could not be rendered.
    Content,
    /// Anything else.
    Other,
}

impl Category {
    /// All categories.
    pub const ALL: [Category; 17] = [
        Category::UnknownUser,
        Category::Inactive,
        Category::MailboxFull,
        Category::Policy,
        Category::SpamContent,
        Category::Reputation,
        Category::RateLimited,
        Category::DnsFailure,
        Category::TooLarge,
        Category::Protocol,
        Category::Timeout,
        Category::Connection,
        Category::Tls,
        Category::RelayDenied,
        Category::AuthFailed,
        Category::Content,
        Category::Other,
    ];

    /// Those that say that nobody will ever get mail at the address.
    const DEAD: [Self; 2] = [Self::UnknownUser, Self::Inactive];

    /// The category with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }

    /// Whether a bounce for this reason says that no mailbox is behind the address.
    pub fn is_dead_address(reason: &str) -> bool {
        Self::DEAD.map(Self::name).contains(&reason)
    }

    /// Whether it says that nobody will ever get mail at the address.
    pub fn is_dead(self) -> bool {
        Self::DEAD.contains(&self)
    }

    /// The word shown to clients and stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::Inactive => "inactive",
            Self::MailboxFull => "mailbox_full",
            Self::Policy => "policy",
            Self::SpamContent => "spam_content",
            Self::Reputation => "reputation",
            Self::RateLimited => "rate_limited",
            Self::DnsFailure => "dns_failure",
            Self::TooLarge => "too_large",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::RelayDenied => "relay_denied",
            Self::AuthFailed => "auth_failed",
            Self::Content => "content",
            Self::Other => "other",
        }
    }
}

/// How one attempt ended. A refusal by the remote server is an outcome, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The remote server took responsibility.
    Delivered {
        /// Its reply.
        reply: Reply,
    },
    /// It may work later.
    Deferred {
        /// The reply, or what went wrong.
        reply: Reply,
        /// Why.
        category: Category,
        /// The connection broke after the whole mail was sent and before the reply: the recipient
        /// may have got it.
        may_duplicate: bool,
    },
    /// It will never work.
    Refused {
        /// The reply.
        reply: Reply,
        /// Why.
        category: Category,
    },
    /// Another system took it over and reports later what becomes of it.
    Sent {
        /// What it answered.
        reply: Reply,
        /// By what its reports are recognised.
        ticket: Ticket,
        /// When to ask, if it has reported no end by then.
        ask_after: Duration,
    },
    /// The other system may have taken it over, and cannot be asked. Its reports would tell.
    Unknown {
        /// What went wrong.
        reply: Reply,
        /// Why.
        category: Category,
        /// How long to wait for a report before trying again.
        wait: Duration,
    },
}

impl Outcome {
    /// The reply that it goes by.
    pub fn reply_mut(&mut self) -> &mut Reply {
        match self {
            Self::Delivered { reply }
            | Self::Deferred { reply, .. }
            | Self::Refused { reply, .. }
            | Self::Sent { reply, .. }
            | Self::Unknown { reply, .. } => reply,
        }
    }
}

/// By what a system that took mail over calls it. Both belong together: ids alone are not unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Its number.
    pub id: i64,
    /// Its token.
    pub token: String,
}

/// How an attempt to hand mail over ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandOver {
    /// It was taken.
    Taken(Ticket),
    /// It may have been taken.
    Unknown,
}

/// A mail ready to be handed to a transport.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The delivery, for logs and to recognise a repeated hand-over.
    pub delivery: RecipientId,
    /// The message.
    pub message: MessageId,
    /// The envelope sender; empty for the null reverse-path.
    pub from: String,
    /// The envelope recipient.
    pub to: String,
    /// The composed and signed message with CRLF line ends.
    pub bytes: Bytes,
}
