//! One try: header fields, signature, POST, and what the answer means.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use postern_kit::spans::{Ended, KeyValue, Kind};
use postern_kit::trace::Trace;
use url::Url;

use crate::model::event::EventRow;
use crate::model::webhook::{Endpoint, ErrorClass, Format};
use crate::outgoing::{Answer, Failed};

use super::{Posting, sign};

/// What is kept of an answer.
const KEPT_OCTETS: usize = 1024;
/// What the old system called itself.
const LEGACY_USER_AGENT: &str = "EmailSender-Webhook/1.0";
/// By which an endpoint says more than a status can.
const WORD: &str = "webhook-delivery";
/// Header fields that are ours, or the connection's.
const OWN: [&str; 13] = [
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "host",
    "te",
    "traceparent",
    "upgrade",
    "user-agent",
    "x-signature",
    "x-timestamp",
    "x-server-id",
];

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The HTTP status; 0 for none.
    pub status: u16,
    /// Why it failed; none for success.
    pub error: Option<ErrorClass>,
    /// The beginning of the answer, or what went wrong.
    pub response: String,
    /// How long the endpoint wants to be left alone.
    pub retry_after: Option<Duration>,
    /// What the endpoint wants besides.
    pub wish: Wish,
}

/// What an endpoint may say about what is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    None,
    /// This event is not to be tried again.
    AbortMessage,
    /// Nothing is to be posted any more.
    Disable,
}

/// Whether a header field may be sent along.
pub fn is_free(name: &str) -> bool {
    let own = ["webhook-", "x-webhook-", "proxy-"];
    !OWN.contains(&name) && !own.iter().any(|start| name.starts_with(start))
}

/// What is posted in one try.
#[derive(Debug)]
pub struct Try<'a> {
    /// The event's id, the same in every try.
    pub id: &'a str,
    /// Which try it is, from 1.
    pub attempt: i64,
    /// The span of the try, of which the receiver's work is a part; none without a message.
    pub trace: Option<Trace>,
    /// The body.
    pub body: String,
}

/// Posts a body once.
pub async fn post(
    posting: &Posting,
    endpoint: &Endpoint,
    one: Try<'_>,
    limit: Duration,
) -> Outcome {
    let now_ms = posting.clock.now_ms();
    let Ok(url) = Url::parse(&endpoint.wanted.url) else {
        let text = "the url cannot be read".to_owned();
        return failed(Failed { class: ErrorClass::Blocked, text });
    };
    let headers = headers(endpoint, &posting.server_id, &one, now_ms);
    match posting.outgoing.post(&url, headers, Bytes::from(one.body), limit).await {
        Ok(answer) => answered(&answer, now_ms),
        Err(error) => failed(error),
    }
}

fn headers(endpoint: &Endpoint, server_id: &str, one: &Try<'_>, now_ms: i64) -> HeaderMap {
    let Try { id, attempt, trace, body } = one;
    let wanted = &endpoint.wanted;
    let seconds = now_ms / 1000;
    let mut secrets = vec![endpoint.secret.as_str()];
    if !endpoint.old_secret.is_empty() && endpoint.old_secret_expire_ms > now_ms {
        secrets.push(&endpoint.old_secret);
    }
    let mut fields = vec![
        (CONTENT_TYPE.as_str(), "application/json".to_owned()),
        ("webhook-id", (*id).to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", sign::standard(&secrets, id, seconds, body)),
        ("webhook-attempt", attempt.to_string()),
    ];
    fields.extend(trace.map(|trace| ("traceparent", trace.parent())));
    if wanted.format == Format::Legacy {
        let secret = endpoint.secret.as_str();
        fields.extend([
            (USER_AGENT.as_str(), LEGACY_USER_AGENT.to_owned()),
            ("x-webhook-signature", sign::legacy_url(secret, &wanted.url)),
            ("x-timestamp", seconds.to_string()),
            ("x-server-id", server_id.to_owned()),
            ("x-signature", sign::legacy_body(secret, seconds, body)),
        ]);
    }
    let more = wanted.headers.iter().filter(|(name, _)| is_free(&name.to_ascii_lowercase()));
    fields.extend(more.map(|(name, value)| (name.as_str(), value.clone())));
    let field = |(name, value): (&str, String)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&value).ok()?))
    };
    fields.into_iter().filter_map(field).collect()
}

/// The span of a try.
pub fn span(endpoint: &Endpoint, event: &EventRow, attempt: i64, outcome: &Outcome) -> Ended {
    let host = Url::parse(&endpoint.wanted.url).ok();
    let host = host.as_ref().and_then(|url| url.host_str()).unwrap_or_default();
    let mut attributes = vec![
        KeyValue::new("http.request.method", "POST"),
        // Only the host: the rest of a webhook's address may be a secret.
        KeyValue::new("server.address", host.to_owned()),
        KeyValue::new("http.request.resend_count", attempt.saturating_sub(1)),
        KeyValue::new("postern.webhook.id", endpoint.id.to_string()),
        KeyValue::new("postern.event.id", event.event.id.to_string()),
        KeyValue::new("postern.event", event.event.kind.name()),
        KeyValue::new("postern.message.id", event.event.message_id.to_string()),
    ];
    if outcome.status > 0 {
        attributes.push(KeyValue::new("http.response.status_code", i64::from(outcome.status)));
    }
    let error = outcome.error.map(|class| class.name().to_owned());
    Ended { name: "POST webhook".into(), kind: Kind::Client, attributes, error }
}

fn answered(answer: &Answer, now_ms: i64) -> Outcome {
    let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let status = answer.status.as_u16();
    let wish = match text(WORD) {
        Some("abort-message") => Wish::AbortMessage,
        Some("disable") => Wish::Disable,
        // 410 Gone: RFC 9110 §15.5.11, and the standard's way to say so.
        _ if status == 410 => Wish::Disable,
        _ => Wish::None,
    };
    let kept = &answer.body[..answer.body.len().min(KEPT_OCTETS)];
    Outcome {
        status,
        error: (!answer.status.is_success()).then_some(ErrorClass::Status),
        response: String::from_utf8_lossy(kept).replace('\0', "\u{fffd}"),
        retry_after: text(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, now_ms)),
        wish,
    }
}

fn failed(error: Failed) -> Outcome {
    let Failed { class, text } = error;
    Outcome { status: 0, error: Some(class), response: text, retry_after: None, wish: Wish::None }
}

/// Seconds or a date (RFC 9110 §10.2.3).
fn retry_after(value: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at: Timestamp = rfc2822::DateTimeParser::new().parse_timestamp(value.trim()).ok()?;
    u64::try_from(at.as_millisecond() - now_ms).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait_is_told_in_seconds_or_by_a_date() {
        let now_ms = 1_800_000_000_000;
        let seconds = |text: &str| retry_after(text, now_ms).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Fri, 15 Jan 2027 08:01:00 GMT"), Some(60));
        for none in ["Fri, 15 Jan 2027 07:59:00 GMT", "-5", "soon", ""] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }

    /// However long a receiver wants us to wait: within bounds, for it and for the others.
    #[test]
    fn fuzz_retry_after() {
        use tokio::time::Instant;

        use crate::webhook::schedule::{Health, RETRY_AFTER_MAX, pause};

        postern_fuzz::check!("retry_after", |input| {
            let asked = retry_after(&postern_fuzz::text(input), 1_800_000_000_000);
            let now = Instant::now();
            Health::new(now).failed(now, asked, 100);
            let wait = pause(1, 100, asked, 0.5).unwrap();
            assert!(wait <= RETRY_AFTER_MAX);
            assert!(asked.is_none_or(|asked| wait >= asked.min(RETRY_AFTER_MAX)));
        });
    }

    #[test]
    fn our_own_header_fields_cannot_be_set() {
        for (name, free) in [
            ("authorization", true),
            ("x-tenant", true),
            ("webhook-id", false),
            ("content-type", false),
            ("host", false),
            ("x-webhook-signature", false),
            ("transfer-encoding", false),
        ] {
            assert_eq!(is_free(name), free, "{name}");
        }
    }
}
