//! What a client says about an endpoint, checked; and how endpoints, deliveries and tries are shown.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use postern_proto::reason::Reason;
use postern_proto::time::timestamp;
use postern_proto::v1;
use prost_types::Duration;
use url::Url;

use crate::intake::draft::{Faults, check_id};
use crate::model::event::EventType;
use crate::model::webhook::{AttemptRow, DeliveryRow, DeliveryState, Endpoint, Format, Wanted};
use crate::outgoing::Outgoing;
use crate::store::value::json;
use crate::webhook::post;

use super::etag;

const URL_OCTETS_MAX: usize = 2048;
const DESCRIPTION_MAX: usize = 256;
const TYPES_MAX: usize = 50;
const CAMPAIGNS_MAX: usize = 100;
const HEADERS_MAX: usize = 20;
const HEADER_OCTETS_MAX: usize = 1024;
const CONCURRENCY: i64 = 8;
const CONCURRENCY_MAX: i64 = 64;
const RATE_MAX: i64 = 10_000;

/// Checks everything a client may say.
pub(super) fn checked(asked: v1::Webhook, outgoing: &Outgoing, faults: &mut Faults) -> Wanted {
    check_url(&asked.url, outgoing, faults);
    let of = |field: &str| format!("webhook.{field}");
    faults.at_most(
        &of("description"),
        "characters",
        asked.description.chars().count(),
        DESCRIPTION_MAX,
    );
    if asked.description.chars().any(char::is_control) {
        faults.add(Reason::ForbiddenCharacter, of("description"), "contains a control character");
    }
    faults.at_most(&of("event_types"), "types", asked.event_types.len(), TYPES_MAX);
    for (n, name) in asked.event_types.iter().enumerate() {
        check_type(&of(&format!("event_types[{n}]")), name, faults);
    }
    faults.at_most(&of("campaign_ids"), "campaigns", asked.campaign_ids.len(), CAMPAIGNS_MAX);
    for (n, campaign) in asked.campaign_ids.iter().enumerate() {
        check_id(&of(&format!("campaign_ids[{n}]")), campaign, faults);
    }
    let format = match v1::WebhookFormat::try_from(asked.format) {
        Ok(v1::WebhookFormat::Unspecified | v1::WebhookFormat::Postern) => Format::Postern,
        Ok(v1::WebhookFormat::Thin) => Format::Thin,
        Ok(v1::WebhookFormat::Legacy) => Format::Legacy,
        Err(_) => {
            let text = "is not one of the values of its enum";
            faults.add(Reason::InvalidValue, of("format"), text);
            Format::Postern
        }
    };
    let mut number = |field: &str, value: i32, default: i64, max: i64| {
        if !(0..=max).contains(&i64::from(value)) {
            faults.add(Reason::ValueOutOfRange, of(field), format!("is not from 0 to {max}"));
        }
        if value == 0 { default } else { i64::from(value) }
    };
    let max_concurrency =
        number("max_concurrency", asked.max_concurrency, CONCURRENCY, CONCURRENCY_MAX);
    let rate_limit = number("rate_limit", asked.rate_limit, 0, RATE_MAX);
    check_headers(&asked.headers, faults);
    Wanted {
        url: asked.url,
        description: asked.description,
        event_types: asked.event_types,
        campaign_ids: asked.campaign_ids,
        format,
        ordered: asked.ordered,
        max_concurrency,
        rate_limit,
        headers: asked.headers,
    }
}

fn check_url(text: &str, outgoing: &Outgoing, faults: &mut Faults) {
    let field = "webhook.url";
    if text.is_empty() {
        return faults.add(Reason::MissingField, field, "is required: https://…");
    }
    if text.len() > URL_OCTETS_MAX {
        return faults.add(Reason::ValueOutOfRange, field, "has more than 2048 octets");
    }
    let Ok(url) = Url::parse(text) else {
        return faults.add(Reason::InvalidValue, field, "is no url: https://…");
    };
    if url.fragment().is_some() {
        return faults.add(Reason::InvalidValue, field, "has a fragment, which is never sent");
    }
    if let Err(blocked) = outgoing.check(&url) {
        let text = format!(
            "{}; POSTERN_WEBHOOK_PRIVATE_TARGETS=allow lets private targets and http through",
            blocked.text
        );
        faults.add(Reason::InvalidValue, field, &text);
    }
}

/// A name of an event, or the beginning of some and `*`.
pub(super) fn check_type(field: &str, name: &str, faults: &mut Faults) {
    let known = EventType::ALL.iter().any(|kind| match name.strip_suffix('*') {
        Some(start) => kind.name().starts_with(start),
        None => kind.name() == name,
    });
    if !known {
        let names: Vec<_> = EventType::ALL.iter().map(|kind| kind.name()).collect();
        let text = format!("is no event type; there are message.*, {}", names.join(", "));
        faults.add(Reason::InvalidValue, field, &text);
    }
}

fn check_headers(headers: &BTreeMap<String, String>, faults: &mut Faults) {
    faults.at_most("webhook.headers", "fields", headers.len(), HEADERS_MAX);
    for (name, value) in headers {
        let field = format!("webhook.headers.{name}");
        if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err()
        {
            faults.add(Reason::ForbiddenCharacter, &field, "cannot be sent as a header field");
        } else if !post::is_free(&name.to_ascii_lowercase()) {
            faults.add(Reason::HeaderNotAllowed, &field, "is set by the server");
        }
        faults.at_most(&field, "octets", name.len() + value.len(), HEADER_OCTETS_MAX);
    }
}

/// What a client's change relies on: everything that a client says.
pub(super) fn tag(wanted: &Wanted) -> String {
    let numbers = format!(
        "{} {} {} {}",
        wanted.format as i64, wanted.ordered, wanted.max_concurrency, wanted.rate_limit
    );
    let lists = [json(&wanted.event_types), json(&wanted.campaign_ids), json(&wanted.headers)];
    let texts = [&wanted.url, &wanted.description, &numbers, &lists[0], &lists[1], &lists[2]];
    etag::of(&texts.map(|text| text.as_bytes()))
}

/// An endpoint as clients see it.
pub(super) fn shown(endpoint: Endpoint, now_ms: i64) -> v1::Webhook {
    let etag = tag(&endpoint.wanted);
    let wanted = endpoint.wanted;
    let format = match wanted.format {
        Format::Postern => v1::WebhookFormat::Postern,
        Format::Thin => v1::WebhookFormat::Thin,
        Format::Legacy => v1::WebhookFormat::Legacy,
    };
    let overlaps = !endpoint.old_secret.is_empty() && endpoint.old_secret_expire_ms > now_ms;
    v1::Webhook {
        id: endpoint.id.to_string(),
        url: wanted.url,
        description: wanted.description,
        event_types: wanted.event_types,
        campaign_ids: wanted.campaign_ids,
        format: format.into(),
        ordered: wanted.ordered,
        max_concurrency: wanted.max_concurrency as i32,
        rate_limit: wanted.rate_limit as i32,
        headers: wanted.headers,
        disabled: endpoint.disabled,
        disable_reason: endpoint.disable_reason,
        failing_time: endpoint.failing_ms.map(timestamp),
        create_time: Some(timestamp(endpoint.create_ms)),
        old_secret_expire_time: overlaps.then(|| timestamp(endpoint.old_secret_expire_ms)),
        etag,
    }
}

/// A delivery as clients see it, without its tries.
pub(super) fn delivery(row: &DeliveryRow) -> v1::WebhookDelivery {
    let state = match row.state {
        DeliveryState::Pending => v1::WebhookDeliveryState::Pending,
        DeliveryState::Delivered => v1::WebhookDeliveryState::Delivered,
        DeliveryState::Failed => v1::WebhookDeliveryState::Failed,
    };
    v1::WebhookDelivery {
        webhook_id: row.endpoint.to_string(),
        event_id: row.event.to_string(),
        sequence: row.sequence,
        state: state.into(),
        attempts: row.attempts as i32,
        next_attempt_time: (row.state == DeliveryState::Pending).then(|| timestamp(row.due_ms)),
        create_time: Some(timestamp(row.create_ms)),
        tries: Vec::new(),
        body: String::new(),
    }
}

/// A try as clients see it. One without an end that is not the newest was interrupted.
pub(super) fn attempt(row: AttemptRow, newest: i64) -> v1::WebhookAttempt {
    let interrupted = row.end_ms.is_none() && row.number < newest;
    let ms = row.end_ms.map(|end_ms| (end_ms - row.create_ms).max(0));
    v1::WebhookAttempt {
        number: row.number as i32,
        create_time: Some(timestamp(row.create_ms)),
        duration: ms
            .map(|ms| Duration { seconds: ms / 1000, nanos: (ms % 1000) as i32 * 1_000_000 }),
        status: row.status as i32,
        error: if interrupted { "interrupted".to_owned() } else { row.error },
        response: row.response,
    }
}
