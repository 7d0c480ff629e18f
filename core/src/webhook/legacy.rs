//! Events as the old system posted them to its receivers, without its faults: mail that came in over
//! SMTP is reported like all other, `message_id` is never empty, and what was never sent is reported
//! as failed. Pure.

use jiff::Timestamp;
use postern_proto::mask;
use postern_proto::v1::Verdict;
use serde_json::{Value, json};

use crate::model::event::{EventRow, EventType};
use crate::store::webhook_deliveries::Facts;

/// The body; none for what the old system never reported.
pub(super) fn body(row: &EventRow, facts: &Facts) -> Option<String> {
    let word = word(row)?;
    let event = &row.event;
    let own = event.message_id.to_string();
    // Mail that came over SMTP had its Message-ID with the brackets.
    let in_mail = format!("<{}>", facts.rfc_message_id);
    let known_as = match (&row.external_id, &facts.rfc_message_id) {
        (id, _) if !id.is_empty() => id,
        (_, id) if !id.is_empty() => &in_mail,
        _ => &own,
    };
    let at = time(event.create_ms);
    // Not of the first event, which is told before Postal has given one, and the same at every try.
    let postal_id = facts.postal_id.filter(|_| event.kind != EventType::Accepted);
    let mut data = json!({
        "message_id": known_as,
        "local_message_id": own,
        "campaign_id": event.campaign_id,
        "recipient": mask::address(&row.recipient),
        "status": word,
        "timestamp": at,
        "postal_message_id": postal_id.map(|id| id.to_string()),
    });
    if let (Value::Object(data), Value::Object(more)) = (&mut data, extras(row, word)) {
        data.extend(more);
    }
    Some(json!({"event_type": word, "timestamp": at, "data": data}).to_string())
}

/// A time as the old system wrote it: RFC 3339 in UTC, whole seconds.
fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// The old name of what happened.
pub(super) fn word(row: &EventRow) -> Option<&'static str> {
    let engagement = row.engagement.as_ref();
    let is_bot = engagement.is_some_and(|one| one.verdict() == Verdict::Bot);
    let is_first = engagement.is_some_and(|one| one.first);
    match row.event.kind {
        // The old receivers count what they hear, and know nothing of bots.
        EventType::Opened | EventType::Clicked if is_bot => None,
        EventType::Accepted => Some("sent"),
        EventType::Delivered => Some("delivered"),
        EventType::Bounced => Some("bounced"),
        EventType::Failed | EventType::Expired | EventType::Suppressed | EventType::Canceled => {
            Some("failed")
        }
        EventType::Opened => is_first.then_some("opened"),
        EventType::Clicked => Some("clicked"),
        EventType::Unsubscribed => Some("unsubscribed"),
        EventType::Complained => Some("complained"),
        _ => None,
    }
}

fn extras(row: &EventRow, word: &str) -> Value {
    let (event, engagement) = (&row.event, row.engagement.clone().unwrap_or_default());
    let reply = event.reply.clone().unwrap_or_default();
    match word {
        "bounced" => {
            let old = category(&event.reason);
            json!({
                "bounce_category": old.name,
                "smtp_code": (reply.code > 0).then(|| reply.code.to_string()),
                "smtp_message": reply.text,
                "should_add_to_bounce": old.bounces,
                "should_stop_mailing": old.stops,
            })
        }
        "failed" => {
            let what = event.kind.name().trim_start_matches("message.");
            let why = [&reply.text, &event.reason].into_iter().find(|text| !text.is_empty());
            json!({"error": why.map_or(what, String::as_str)})
        }
        "opened" => json!({"ip": engagement.client_ip, "user_agent": engagement.user_agent}),
        "clicked" => json!({
            "url": engagement.url, "ip": engagement.client_ip, "user_agent": engagement.user_agent,
        }),
        "unsubscribed" => json!({"reason": engagement.source}),
        _ => json!({}),
    }
}

/// A category of the old system.
struct Category {
    name: &'static str,
    /// The address is to be mailed no more.
    bounces: bool,
    /// The mailing had better stop.
    stops: bool,
}

/// The old category of a reason. Only what says something about the address bounces: the old system
/// gave addresses up for our own failed authentication, too.
fn category(reason: &str) -> Category {
    let (name, bounces, stops) = match reason {
        "unknown_user" | "inactive" => ("user_not_found", true, false),
        "mailbox_full" => ("mailbox_full", false, true),
        "rate_limited" => ("rate_limit", false, true),
        "spam_content" | "reputation" | "policy" => ("spam_block", false, true),
        "auth_failed" | "tls" | "relay_denied" => ("authentication", false, false),
        "connection" | "timeout" | "dns_failure" => ("connection", false, true),
        _ => ("unknown", false, false),
    };
    Category { name, bounces, stops }
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::{facts, row};
    use super::*;

    fn json(kind: EventType, reason: &str) -> Value {
        serde_json::from_str(&body(&row(kind, reason), &facts()).unwrap()).unwrap()
    }

    #[test]
    fn a_bounce_looks_as_it_did() {
        let body = json(EventType::Bounced, "unknown_user");
        assert_eq!(
            (&body["event_type"], &body["data"]["status"]),
            (&json!("bounced"), &json!("bounced"))
        );
        let data = &body["data"];
        assert_eq!(
            (&data["message_id"], &data["recipient"]),
            (&json!("ord-42"), &json!("b***b@example.com"))
        );
        assert_eq!(
            (&data["bounce_category"], &data["smtp_code"]),
            (&json!("user_not_found"), &json!("550"))
        );
        assert_eq!(
            (&data["should_add_to_bounce"], &data["should_stop_mailing"]),
            (&json!(true), &json!(false))
        );
        let ours = json(EventType::Bounced, "auth_failed");
        assert_eq!(ours["data"]["should_add_to_bounce"], false, "our fault is not the address's");
    }

    #[test]
    fn only_what_it_reported_is_reported_under_its_old_name() {
        for (kind, expected) in [
            (EventType::Accepted, Some("sent")),
            (EventType::Scheduled, None),
            (EventType::Suppressed, Some("failed")),
            (EventType::Deferred, None),
            (EventType::Delivered, Some("delivered")),
            (EventType::Failed, Some("failed")),
            (EventType::Expired, Some("failed")),
            (EventType::Opened, Some("opened")),
            (EventType::Clicked, Some("clicked")),
            (EventType::Unsubscribed, Some("unsubscribed")),
            (EventType::Complained, Some("complained")),
            (EventType::Sent, None),
            (EventType::Resubscribed, None),
        ] {
            assert_eq!(word(&row(kind, "")), expected, "{kind:?}");
        }
        let mut again = row(EventType::Opened, "");
        again.engagement.as_mut().unwrap().first = false;
        assert_eq!(word(&again), None, "only the first open");
        let mut bot = row(EventType::Clicked, "");
        bot.engagement.as_mut().unwrap().verdict = Verdict::Bot.into();
        assert_eq!(word(&bot), None);
    }

    #[test]
    fn mail_without_an_id_of_the_client_has_one_all_the_same() {
        let mut smtp = row(EventType::Delivered, "");
        smtp.external_id.clear();
        let body: Value = serde_json::from_str(&body(&smtp, &facts()).unwrap()).unwrap();
        assert_eq!(body["data"]["message_id"], "<2@shop.example>");
        let at = body["timestamp"].as_str().unwrap();
        assert!(at.len() == "2026-11-27T10:00:00Z".len() && at.ends_with('Z'), "{at}");
    }
}
