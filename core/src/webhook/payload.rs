//! What is posted: an event as JSON, the same octets at every try. Pure.

use jiff::Timestamp;
use postern_proto::v1::Verdict;
use serde_json::{Map, Value, json};

use crate::model::event::{EventRow, EventType};
use crate::model::webhook::Format;
use crate::store::webhook_deliveries::Facts;

use super::legacy;

/// The largest body.
const OCTETS_MAX: usize = 256 << 10;

/// The body of a delivery; none for events that the format has no word for.
pub fn body(format: Format, row: &EventRow, facts: &Facts) -> Option<String> {
    match format {
        Format::Legacy => legacy::body(row, facts),
        Format::Thin => Some(envelope(row, ids(row)).to_string()),
        Format::Postern => {
            let mut data = ids(row);
            if row.subject.is_none() {
                data.extend(everything(row, facts));
            }
            let body = envelope(row, data.clone()).to_string();
            if body.len() <= OCTETS_MAX {
                return Some(body);
            }
            // Nothing else has room to be that large.
            data.insert("metadata".to_owned(), json!({}));
            data.insert("truncated".to_owned(), json!(["metadata"]));
            Some(envelope(row, data).to_string())
        }
    }
}

/// What a test posts.
pub fn ping(format: Format, id: &str, now_ms: i64) -> String {
    let body = match format {
        Format::Legacy => json!({"event_type": "test", "timestamp": time(now_ms), "data": {}}),
        _ => json!({
            "id": id, "type": "test.ping", "timestamp": time(now_ms), "api_version": "v1",
            "test": true, "data": {},
        }),
    };
    body.to_string()
}

/// A time as everywhere: RFC 3339 in UTC with milliseconds.
pub(super) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|time| format!("{time:.3}")).unwrap_or_default()
}

fn envelope(row: &EventRow, data: Map<String, Value>) -> Value {
    json!({
        "id": row.event.id.to_string(),
        "type": row.event.kind.name(),
        "timestamp": time(row.event.create_ms),
        "sequence": row.sequence,
        "api_version": "v1",
        "test": row.test,
        "data": data,
    })
}

fn ids(row: &EventRow) -> Map<String, Value> {
    let event = &row.event;
    if let Some(subject) = &row.subject {
        let end = subject.expire_time.as_ref().and_then(postern_proto::time::millis).map(time);
        return object(json!({
            "id": subject.id, "display_name": subject.display_name, "reason": event.reason,
            "expire_time": end,
        }));
    }
    object(json!({
        "message_id": event.message_id.to_string(),
        "recipient_id": event.delivery_id.to_string(),
        "external_id": row.external_id,
        "campaign_id": event.campaign_id,
    }))
}

fn everything(row: &EventRow, facts: &Facts) -> Map<String, Value> {
    let event = &row.event;
    let reason = (!event.reason.is_empty()).then_some(event.reason.as_str());
    let bounce = match event.kind {
        EventType::Bounced => Some("hard"),
        EventType::Deferred | EventType::Failed => Some("soft"),
        _ => None,
    };
    let smtp = event.reply.as_ref().map(|reply| {
        json!({
            "code": reply.code, "enhanced": reply.enhanced, "reply": reply.text,
            "host": reply.host, "phase": reply.phase, "tls": reply.tls,
        })
    });
    let mut data = object(json!({
        "recipient": row.recipient,
        "batch_id": facts.batch_id.map(|id| id.to_string()),
        "from": facts.from,
        "subject": facts.subject,
        "tags": facts.tags,
        "metadata": facts.metadata,
        "attempt": event.attempt,
        "possible_duplicate": event.possible_duplicate,
        "next_attempt_time": event.next_ms.map(time),
        "reason": reason,
        "smtp": smtp,
        "bounce": bounce.map(|class| json!({"class": class, "category": reason})),
    }));
    if let Some(engagement) = &row.engagement {
        let verdict = match engagement.verdict() {
            Verdict::Human => "human",
            Verdict::Bot => "bot",
            Verdict::Unknown | Verdict::Unspecified => "unknown",
        };
        let is_hit = matches!(event.kind, EventType::Opened | EventType::Clicked);
        data.extend(object(json!({
            "client": {"ip": engagement.client_ip, "user_agent": engagement.user_agent},
            "bot": is_hit.then(|| json!({"verdict": verdict, "signals": engagement.reasons})),
            "first": is_hit.then_some(engagement.first),
            "url": (!engagement.url.is_empty()).then_some(engagement.url.as_str()),
            "source": (!engagement.source.is_empty()).then_some(engagement.source.as_str()),
            "scope": (!engagement.scope.is_empty()).then_some(engagement.scope.as_str()),
        })));
    }
    data
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use postern_proto::ids::{EventId, MessageId, RecipientId};
    use postern_proto::v1::Engagement;

    use super::*;
    use crate::model::delivery::Reply;
    use crate::model::event::{NewEvent, Subject};

    /// An event of a type, with everything that can be there.
    pub(in crate::webhook) fn row(kind: EventType, reason: &str) -> EventRow {
        let is_hit = matches!(kind, EventType::Opened | EventType::Clicked);
        let engagement = Engagement {
            verdict: Verdict::Human.into(),
            first: true,
            url: "https://shop.example/?a=1&b=2".to_owned(),
            client_ip: "192.0.2.7".to_owned(),
            user_agent: "Firefox".to_owned(),
            ..Engagement::default()
        };
        EventRow {
            sequence: 7,
            event: NewEvent {
                id: EventId::from_uuid(uuid::Uuid::from_u128(1)),
                kind,
                create_ms: 1_800_000_000_123,
                message_id: MessageId::from_uuid(uuid::Uuid::from_u128(2)),
                delivery_id: RecipientId::from_uuid(uuid::Uuid::from_u128(3)),
                campaign_id: "77".to_owned(),
                attempt: 1,
                reason: reason.to_owned(),
                reply: Some(Reply {
                    code: 550,
                    enhanced: "5.1.1".to_owned(),
                    text: "no <such> user".to_owned(),
                    ..Reply::default()
                }),
                possible_duplicate: false,
                next_ms: None,
            },
            engagement: is_hit.then_some(engagement),
            subject: None,
            recipient: "bob@example.com".to_owned(),
            external_id: "ord-42".to_owned(),
            test: false,
        }
    }

    pub(in crate::webhook) fn facts() -> Facts {
        Facts {
            from: "hi@shop.example".to_owned(),
            subject: "News".to_owned(),
            rfc_message_id: "2@shop.example".to_owned(),
            trace: None,
            batch_id: None,
            tags: vec!["welcome".to_owned()],
            metadata: BTreeMap::from([("order".to_owned(), "42".to_owned())]),
            postal_id: None,
        }
    }

    #[test]
    fn what_is_about_no_message_says_what_it_is_about() {
        let subject = Subject {
            id: "key_1".to_owned(),
            display_name: "Shop".to_owned(),
            expire_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        };
        let row = EventRow { subject: Some(subject), ..row(EventType::KeyExpiring, "3d") };
        for format in [Format::Postern, Format::Thin] {
            let body = body(format, &row, &Facts::default()).unwrap();
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["type"], "key.expiring");
            assert_eq!(
                body["data"],
                json!({"id": "key_1", "display_name": "Shop", "reason": "3d",
                    "expire_time": "2027-01-15T08:00:00.000Z"})
            );
        }
        assert_eq!(body(Format::Legacy, &row, &Facts::default()), None);
    }

    fn json(format: Format, kind: EventType) -> Value {
        let body = body(format, &row(kind, "unknown_user"), &facts()).unwrap();
        serde_json::from_str(&body).unwrap()
    }

    #[test]
    fn a_bounce_says_everything() {
        let body = json(Format::Postern, EventType::Bounced);
        assert_eq!((&body["type"], &body["sequence"]), (&json!("message.bounced"), &json!(7)));
        assert_eq!(body["timestamp"], "2027-01-15T08:00:00.123Z");
        assert!(body["id"].as_str().unwrap().starts_with("evt_"));
        let data = &body["data"];
        assert_eq!(data["bounce"], json!({"class": "hard", "category": "unknown_user"}));
        assert_eq!(
            (&data["smtp"]["code"], &data["smtp"]["enhanced"]),
            (&json!(550), &json!("5.1.1"))
        );
        assert_eq!(
            (&data["recipient"], &data["metadata"]["order"]),
            (&json!("bob@example.com"), &json!("42"))
        );
        assert_eq!(data["client"], Value::Null);
    }

    #[test]
    fn a_click_says_who_it_was() {
        let data = &json(Format::Postern, EventType::Clicked)["data"];
        assert_eq!(data["url"], "https://shop.example/?a=1&b=2");
        assert_eq!(data["bot"], json!({"verdict": "human", "signals": []}));
        assert_eq!(data["client"]["ip"], "192.0.2.7");
    }

    #[test]
    fn thin_bodies_have_no_address() {
        let body = body(Format::Thin, &row(EventType::Bounced, "policy"), &facts()).unwrap();
        assert!(!body.contains("bob@") && body.contains("msg_"), "{body}");
    }

    #[test]
    fn a_body_that_is_too_large_loses_its_metadata() {
        let mut large = facts();
        large.metadata.insert("x".to_owned(), "y".repeat(OCTETS_MAX));
        let body = body(Format::Postern, &row(EventType::Delivered, ""), &large).unwrap();
        assert!(body.len() < OCTETS_MAX && body.contains(r#""truncated":["metadata"]"#));
    }
}
