//! The events of Postal, read from the bodies of its webhooks. Pure.

use postern_proto::ids::HitId;
use postern_proto::v1::Verdict;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::api::text_or_null;
use super::news::{self, Said};
use crate::model::delivery::Ticket;
use crate::model::event::{Engagement, EventType};
use crate::store::reports::{News, Subject};
use crate::store::tracking::link_of_url;

/// Octets of what is kept of a url, an address and a user agent.
const URL_BYTES_MAX: usize = 2048;
const IP_BYTES_MAX: usize = 64;
const USER_AGENT_BYTES_MAX: usize = 512;
/// The longest uuid that is taken for one.
const UUID_BYTES_MAX: usize = 128;

/// A body that is signed and yet no event: Postal signs what it passes on of inbound mail, too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEvent {
    /// It is no JSON object.
    #[error("the body is no JSON object")]
    NotJson,
    /// This field is missing or of another type.
    #[error("{0}: is missing or cannot be used")]
    Field(&'static str),
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Tells it from all others.
    pub uuid: String,
    /// What it says.
    pub content: Content,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Something happened to a mail.
    Mail(Subject, News),
    /// The recipient opened a mail or followed a link in it.
    Hit(Subject, Box<Hit>),
    /// Something about the server that its operator should know.
    Warning(String),
    /// It is about mail that came in, which is none of ours.
    Incoming,
    /// An event that we do not know.
    Other(String),
}

/// An open or a click.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The same whenever the event is read.
    pub id: HitId,
    /// [`EventType::Opened`] or [`EventType::Clicked`].
    pub kind: EventType,
    /// Which link counts as the same one; 0 for opens.
    pub link: i64,
    /// When it happened.
    pub create_ms: i64,
    /// The rest.
    pub engagement: Engagement,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default, deserialize_with = "text_or_null")]
    event: String,
    #[serde(default, deserialize_with = "text_or_null")]
    uuid: String,
    timestamp: Option<f64>,
    payload: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    id: i64,
    token: String,
    #[serde(default, deserialize_with = "text_or_null")]
    direction: String,
    #[serde(default, deserialize_with = "text_or_null")]
    message_id: String,
    #[serde(default, deserialize_with = "text_or_null")]
    to: String,
}

/// Reads an event.
pub fn parse(body: &[u8]) -> Result<Event, BadEvent> {
    let value: Value = serde_json::from_slice(body).map_err(|_| BadEvent::NotJson)?;
    if !value.is_object() {
        return Err(BadEvent::NotJson);
    }
    let bad = |_| BadEvent::Field("event");
    let envelope = Envelope::deserialize(value).map_err(bad)?;
    if envelope.event.is_empty() {
        return Err(BadEvent::Field("event"));
    }
    if envelope.uuid.is_empty() || envelope.uuid.len() > UUID_BYTES_MAX {
        return Err(BadEvent::Field("uuid"));
    }
    let payload = envelope.payload.as_ref().filter(|payload| payload.is_object());
    let payload = payload.ok_or(BadEvent::Field("payload"))?;
    let content = content(&envelope, payload)?;
    Ok(Event { uuid: envelope.uuid, content })
}

fn content(envelope: &Envelope, payload: &Value) -> Result<Content, BadEvent> {
    let said = Said { output: text(payload, "output"), details: text(payload, "details") };
    let news = match envelope.event.as_str() {
        // The second is not Postal's; senders that the old system knew had it.
        "MessageSent" | "MessageDelivered" => news::delivered(said),
        "MessageDelayed" => news::delayed(said),
        "MessageDeliveryFailed" => news::gave_up(said),
        "MessageHeld" => news::held(said),
        "MessageBounced" => news::bounced(),
        "MessageComplained" => news::complained(),
        "MessageLoaded" => return hit(envelope, payload, EventType::Opened),
        "MessageLinkClicked" => return hit(envelope, payload, EventType::Clicked),
        name @ ("DomainDNSError" | "SendLimitApproaching" | "SendLimitExceeded") => {
            return Ok(Content::Warning(warning(name, payload)));
        }
        other => return Ok(Content::Other(printable(other, UUID_BYTES_MAX))),
    };
    // A bounce message is a message of its own; what it is about is the original one.
    let original = envelope.event == "MessageBounced" && payload.get("original_message").is_some();
    let field = if original { "original_message" } else { "message" };
    Ok(match subject(payload, field)? {
        Some(subject) => Content::Mail(subject, news),
        None => Content::Incoming,
    })
}

/// The message in a field; none when it came in.
fn subject(payload: &Value, field: &'static str) -> Result<Option<Subject>, BadEvent> {
    let found = payload.get(field).ok_or(BadEvent::Field(field))?;
    let message = Message::deserialize(found).map_err(|_| BadEvent::Field(field))?;
    if message.token.is_empty() {
        return Err(BadEvent::Field(field));
    }
    let subject = Subject {
        ticket: Ticket { id: message.id, token: message.token },
        rfc_message_id: message.message_id.trim_matches(['<', '>']).to_owned(),
        email: message.to.to_lowercase(),
    };
    Ok((message.direction != "incoming").then_some(subject))
}

fn hit(envelope: &Envelope, payload: &Value, kind: EventType) -> Result<Content, BadEvent> {
    let Some(subject) = subject(payload, "message")? else { return Ok(Content::Incoming) };
    let seconds = envelope.timestamp.filter(|seconds| (0.0..1e11).contains(seconds));
    let create_ms = (seconds.ok_or(BadEvent::Field("timestamp"))? * 1000.0) as i64;
    let url = match kind {
        EventType::Clicked => printable(text(payload, "url"), URL_BYTES_MAX),
        _ => String::new(),
    };
    Ok(Content::Hit(
        subject,
        Box::new(Hit {
            id: hit_id(&envelope.uuid, create_ms),
            kind,
            link: if kind == EventType::Clicked { link_of_url(&url) } else { 0 },
            create_ms,
            engagement: Engagement {
                verdict: Verdict::Unknown.into(),
                url,
                link_index: -1,
                client_ip: printable(text(payload, "ip_address"), IP_BYTES_MAX),
                user_agent: printable(text(payload, "user_agent"), USER_AGENT_BYTES_MAX),
                ..Engagement::default()
            },
        }),
    ))
}

/// An id as hits have them (UUIDv7), made from what tells the event from others, so that one that
/// comes twice is one hit.
fn hit_id(uuid: &str, create_ms: i64) -> HitId {
    let digest = Sha256::digest(uuid.as_bytes());
    let mut octets = [0; 10];
    octets.copy_from_slice(&digest[..10]);
    let millis = u64::try_from(create_ms).unwrap_or_default();
    HitId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &octets).into_uuid())
}

fn warning(name: &str, payload: &Value) -> String {
    let about = ["domain", "volume", "limit", "spf_error", "dkim_error", "mx_error"];
    let mut out = name.to_owned();
    for field in about {
        let value = match &payload[field] {
            Value::String(text) => printable(text, URL_BYTES_MAX),
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        out.push_str(&format!(", {field}: {value}"));
    }
    out
}

fn text<'v>(payload: &'v Value, field: &str) -> &'v str {
    payload[field].as_str().unwrap_or_default()
}

/// A text without control characters, cut to so many octets.
fn printable(text: &str, max: usize) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text[..text.floor_char_boundary(max)].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::delivery::State;

    fn read(event: &str, payload: Value) -> Result<Content, BadEvent> {
        let body =
            json!({"event": event, "uuid": "u-1", "timestamp": 1700000000.5, "payload": payload});
        parse(body.to_string().as_bytes()).map(|event| event.content)
    }

    fn message() -> Value {
        json!({"id": 7, "token": "t7", "direction": "outgoing", "message_id": "m@shop.test",
               "to": "Ann@good.test", "tag": null})
    }

    fn expected() -> Subject {
        Subject {
            ticket: Ticket { id: 7, token: "t7".to_owned() },
            rfc_message_id: "m@shop.test".to_owned(),
            email: "ann@good.test".to_owned(),
        }
    }

    #[test]
    fn every_event_about_a_mail_leads_somewhere() {
        use EventType::{Bounced, Complained, Deferred, Delivered, Failed};
        for (name, output, event, state) in [
            ("MessageSent", "250 OK", Delivered, Some(State::Delivered)),
            ("MessageDelivered", "250 OK", Delivered, Some(State::Delivered)),
            ("MessageDelayed", "451 later", Deferred, Some(State::Sent)),
            ("MessageDeliveryFailed", "550 5.1.1 no", Bounced, Some(State::Bounced)),
            ("MessageDeliveryFailed", "", Failed, Some(State::Failed)),
            ("MessageHeld", "", Failed, Some(State::Failed)),
            ("MessageComplained", "", Complained, None),
        ] {
            let payload = json!({"message": message(), "output": output, "details": null});
            let Ok(Content::Mail(subject, news)) = read(name, payload) else { panic!("{name}") };
            assert_eq!(subject, expected());
            assert_eq!((news.event, news.state), (event, state), "{name}");
        }
        let bounce = json!({"id": 8, "token": "t8", "direction": "incoming"});
        let payload = json!({"original_message": message(), "bounce": bounce});
        let Ok(Content::Mail(subject, news)) = read("MessageBounced", payload) else { panic!() };
        assert_eq!((subject, news.event), (expected(), Bounced));
    }

    #[test]
    fn hits_have_the_same_id_whenever_they_are_read() {
        let payload = json!({"message": message(), "url": "https://a.example/", "token": "l1",
                             "ip_address": "192.0.2.1", "user_agent": "R/1"});
        let clicks = [0, 1].map(|_| read("MessageLinkClicked", payload.clone()).unwrap());
        assert_eq!(clicks[0], clicks[1]);
        let Content::Hit(subject, hit) = &clicks[0] else { panic!() };
        assert_eq!(
            (subject, hit.kind, hit.create_ms),
            (&expected(), EventType::Clicked, 1_700_000_000_500)
        );
        assert_eq!(hit.engagement.url, "https://a.example/");
        let Ok(Content::Hit(_, open)) = read("MessageLoaded", payload) else { panic!() };
        assert_eq!(
            (open.kind, open.link, open.engagement.url.as_str()),
            (EventType::Opened, 0, "")
        );
    }

    #[test]
    fn what_is_not_about_mail_of_ours_is_told_apart() {
        let incoming = json!({"message": {"id": 1, "token": "t", "direction": "incoming"}});
        assert_eq!(read("MessageSent", incoming), Ok(Content::Incoming));
        let limit = read("SendLimitExceeded", json!({"server": {}, "volume": 9, "limit": 8}));
        assert_eq!(
            limit,
            Ok(Content::Warning("SendLimitExceeded, volume: 9, limit: 8".to_owned()))
        );
        assert_eq!(read("NewThing", json!({})), Ok(Content::Other("NewThing".to_owned())));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert_eq!(parse(b"[]"), Err(BadEvent::NotJson));
        assert_eq!(parse(br#"{"id":1,"message":"x"}"#), Err(BadEvent::Field("event")));
        assert_eq!(parse(br#"{"event":"MessageSent"}"#), Err(BadEvent::Field("uuid")));
        assert_eq!(parse(br#"{"event":"X","uuid":"u"}"#), Err(BadEvent::Field("payload")));
        for payload in
            [json!({}), json!({"message": {"id": "7", "token": "t"}}), json!({"message": null})]
        {
            assert_eq!(read("MessageSent", payload), Err(BadEvent::Field("message")));
        }
        // Never the first mail that has no id.
        let payload = json!({"message": {"id": 7, "token": ""}});
        assert_eq!(read("MessageSent", payload), Err(BadEvent::Field("message")));
        let bounce = json!({"original_message": null, "bounce": {}});
        assert_eq!(read("MessageBounced", bounce), Err(BadEvent::Field("original_message")));
    }
}
