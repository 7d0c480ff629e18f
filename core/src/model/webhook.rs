//! Endpoints that events are posted to, and what became of each.

use std::collections::BTreeMap;

use postern_proto::ids::{EventId, WebhookId};

use super::event::EventType;

/// How an event is written. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// Everything there is.
    Postern = 1,
    /// Ids and type only.
    Thin = 2,
    /// As the old system wrote it.
    Legacy = 3,
}

impl Format {
    /// The format with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Postern, Self::Thin, Self::Legacy].into_iter().find(|one| *one as i64 == number)
    }
}

/// What a client says about an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where to.
    pub url: String,
    /// For people.
    pub description: String,
    /// Names of types, or `message.*`; empty for all.
    pub event_types: Vec<String>,
    /// Only of these campaigns; empty for all mail.
    pub campaign_ids: Vec<String>,
    /// How events are written.
    pub format: Format,
    /// One at a time, in the order of the feed.
    pub ordered: bool,
    /// How many at once.
    pub max_concurrency: i64,
    /// How many a second; 0 for no limit.
    pub rate_limit: i64,
    /// Header fields that are sent along.
    pub headers: BTreeMap<String, String>,
}

impl Wanted {
    /// The host in its address, which may be told; the rest may be a secret.
    pub fn host(&self) -> String {
        let url = url::Url::parse(&self.url).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether the endpoint wants events of this type.
    pub fn wants_type(&self, kind: EventType) -> bool {
        fits(&self.event_types, kind)
    }

    /// Whether the endpoint wants events of this campaign.
    pub fn wants_campaign(&self, campaign_id: &str) -> bool {
        self.campaign_ids.is_empty() || self.campaign_ids.iter().any(|one| one == campaign_id)
    }
}

/// Whether a list of names and `message.*` has a type; an empty one has all.
pub fn fits(types: &[String], kind: EventType) -> bool {
    let one = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => kind.name().starts_with(start),
        None => pattern == kind.name(),
    };
    types.is_empty() || types.iter().any(one)
}

/// An endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The id.
    pub id: WebhookId,
    /// What the client says.
    pub wanted: Wanted,
    /// What deliveries are signed with, as the client knows it.
    pub secret: String,
    /// What they were signed with before; empty when there is none.
    pub old_secret: String,
    /// Until when the old one signs too.
    pub old_secret_expire_ms: i64,
    /// Nothing is posted.
    pub disabled: bool,
    /// Why.
    pub disable_reason: String,
    /// Since when everything has failed.
    pub failing_ms: Option<i64>,
    /// Up to which event it has collected.
    pub cursor: i64,
    /// When it was made.
    pub create_ms: i64,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({}, {}, …)", self.id, self.wanted.url)
    }
}

/// Where a delivery stands. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DeliveryState {
    /// To be tried.
    Pending = 1,
    /// Taken.
    Delivered = 2,
    /// Given up.
    Failed = 3,
}

impl DeliveryState {
    /// The state with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Failed].into_iter().find(|one| *one as i64 == number)
    }
}

/// An event on its way to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The endpoint.
    pub endpoint: WebhookId,
    /// The event's place in the feed.
    pub sequence: i64,
    /// The event.
    pub event: EventId,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many tries were begun.
    pub attempts: i64,
    /// When it is due.
    pub due_ms: i64,
    /// When it was collected.
    pub create_ms: i64,
}

/// Why a try failed, in one word. The words are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It would have led into a private network, or to a port or scheme that is not allowed.
    Blocked,
    /// The name has no address.
    Dns,
    /// No connection, or it broke.
    Tcp,
    /// No TLS, or a certificate that is not trusted.
    Tls,
    /// It took too long.
    Timeout,
    /// The answer was none of HTTP.
    Protocol,
    /// The answer was no.
    Status,
}

impl ErrorClass {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Status => "status",
        }
    }
}

/// A try as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Which one, from 1.
    pub number: i64,
    /// When it began.
    pub create_ms: i64,
    /// When it ended; none when it was interrupted, or is under way.
    pub end_ms: Option<i64>,
    /// The HTTP status; 0 for none.
    pub status: i64,
    /// [`ErrorClass::name`]; empty for success.
    pub error: String,
    /// The beginning of the answer, or what went wrong.
    pub response: String,
}
