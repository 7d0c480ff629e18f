//! The part of `WebhookService` that is about deliveries: shown, resent, recovered, replayed, tested.

use postern_proto::ids::EventId;
use postern_proto::reason::Reason;
use postern_proto::settings::WEBHOOKS_TIMEOUT;
use postern_proto::status::Failure;
use postern_proto::v1;
use prost::Message as _;

use crate::intake::draft::{Faults, check_id};
use crate::model::event::{EventFilter, EventRow};
use crate::model::webhook::{AttemptRow, DeliveryRow, DeliveryState, Endpoint, fits};
use crate::store::webhook_deliveries::{self as deliveries, Collected};
use crate::store::{feed_place, ledger, webhook_attempts};
use crate::webhook::post::{self, Try};
use crate::webhook::{self, Posting, payload, wants};

use super::act::By;
use super::webhook_draft::{attempt, check_type, delivery};
use super::{Context, convert};

/// Tries of a delivery that are shown.
const TRIES_MAX: usize = 100;
/// Events that one call replays.
const REPLAY_MAX: usize = 10_000;

/// Posts a test and says what came of it.
pub(super) async fn test(posting: &Posting, endpoint: &Endpoint) -> v1::WebhookAttempt {
    let create_ms = posting.clock.now_ms();
    let id = EventId::generate().to_string();
    let body = payload::ping(endpoint.wanted.format, &id, create_ms);
    let limit = posting.directory.now().settings().time(&WEBHOOKS_TIMEOUT);
    let one = Try { id: &id, attempt: 1, trace: None, body };
    let outcome = post::post(posting, endpoint, one, limit).await;
    let row = AttemptRow {
        number: 1,
        create_ms,
        end_ms: Some(posting.clock.now_ms()),
        status: i64::from(outcome.status),
        error: outcome.error.map_or("", |class| class.name()).to_owned(),
        response: outcome.response,
    };
    attempt(row, 1)
}

/// Deliveries of an endpoint.
pub(super) async fn list(
    context: &Context,
    endpoint: &Endpoint,
    request: v1::ListWebhookDeliveriesRequest,
) -> Result<v1::ListWebhookDeliveriesResponse, Failure> {
    let size = context.pages.size(request.page_size)?;
    let unpaged = v1::ListWebhookDeliveriesRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    };
    let binding = unpaged.encode_to_vec();
    let cursor = context.pages.cursor("page_token", &binding, &request.page_token)?;
    let before = cursor.and_then(|cursor| cursor.parse().ok());
    let state = match v1::WebhookDeliveryState::try_from(request.state) {
        Ok(v1::WebhookDeliveryState::Unspecified) => None,
        Ok(state) => DeliveryState::from_number(i64::from(state as i32)),
        Err(_) => return Err(convert::unknown_enum("state")),
    };
    let mut found = deliveries::list(&*context.db, endpoint.id, state, before, size + 1).await?;
    let next_page_token =
        context.pages.cut(&mut found, size, &binding, |last| last.sequence.to_string());
    let deliveries = found.iter().map(delivery).collect();
    Ok(v1::ListWebhookDeliveriesResponse { deliveries, next_page_token })
}

async fn find(
    context: &Context,
    endpoint: &Endpoint,
    text: &str,
) -> Result<(DeliveryRow, EventRow), Failure> {
    let missing = || {
        let text: String = text.chars().take(64).collect();
        let message = format!("there is no delivery of event '{text}' to this webhook");
        Failure::new(Reason::WebhookDeliveryNotFound, message).with("name", text)
    };
    let event: EventId = text.parse().map_err(|_| missing())?;
    deliveries::find(&*context.db, endpoint.id, event).await?.ok_or_else(missing)
}

/// A delivery with its tries and what is posted.
pub(super) async fn get(
    context: &Context,
    endpoint: &Endpoint,
    event: &str,
) -> Result<v1::WebhookDelivery, Failure> {
    let (row, _) = find(context, endpoint, event).await?;
    let db = &*context.db;
    let tries = webhook_attempts::list(db, endpoint.id, row.sequence, TRIES_MAX).await?;
    // Read behind its tries, so that it is never older than what they say.
    let (row, event) = find(context, endpoint, event).await?;
    let format = endpoint.wanted.format;
    let facts = webhook::facts(db, format, [&event]).await?.pop().unwrap_or_default();
    // The newest try of a delivery that is over, or due, is not under way.
    let under_way = row.state == DeliveryState::Pending && row.due_ms > context.clock.now_ms();
    let newest = row.attempts + i64::from(!under_way);
    Ok(v1::WebhookDelivery {
        tries: tries.into_iter().map(|one| attempt(one, newest)).collect(),
        body: payload::body(format, &event, &facts).unwrap_or_default(),
        ..delivery(&row)
    })
}

/// Makes a delivery due.
pub(super) async fn resend(
    context: &Context,
    by: &By,
    endpoint: &Endpoint,
    event: &str,
    dry: bool,
) -> Result<v1::WebhookDelivery, Failure> {
    let (row, _) = find(context, endpoint, event).await?;
    if dry {
        return Ok(delivery(&row));
    }
    let again =
        Collected { endpoint: endpoint.id, events: vec![(row.sequence, row.event)], cursor: 0 };
    let id = endpoint.id.to_string();
    let db = context.audited(by, "webhook.resend", &id, &format!("event {event}"));
    deliveries::replay(&db, &again, context.clock.now_ms()).await?;
    let (row, _) = find(context, endpoint, event).await?;
    Ok(delivery(&row))
}

/// Makes what failed since a time due.
pub(super) async fn recover(
    context: &Context,
    by: &By,
    endpoint: &Endpoint,
    request: v1::RecoverWebhookRequest,
) -> Result<v1::RecoverWebhookResponse, Failure> {
    let since_ms = required("since", request.since)?;
    let now_ms = context.clock.now_ms();
    let (id, dry) = (endpoint.id, request.validate_only);
    let db = context.audited(by, "webhook.recover", &id.to_string(), "");
    let count = deliveries::recover(&db, id, since_ms, now_ms, dry).await?;
    Ok(v1::RecoverWebhookResponse { count })
}

/// Makes events of a time due, whether they were posted or not.
pub(super) async fn replay(
    context: &Context,
    by: &By,
    endpoint: &Endpoint,
    request: v1::ReplayWebhookRequest,
) -> Result<v1::ReplayWebhookResponse, Failure> {
    let since_ms = required("since", request.since)?;
    let until_ms = convert::time("until", request.until)?;
    let mut faults = Faults::default();
    check_id("campaign_id", &request.campaign_id, &mut faults);
    for (n, name) in request.event_types.iter().enumerate() {
        check_type(&format!("event_types[{n}]"), name, &mut faults);
    }
    faults.into_result()?;
    let unpaged = v1::ReplayWebhookRequest { page_token: String::new(), ..request.clone() };
    let binding = unpaged.encode_to_vec();
    let cursor = context.pages.cursor("page_token", &binding, &request.page_token)?;
    let db = &*context.db;
    let after = match cursor.and_then(|cursor| cursor.parse().ok()) {
        Some(after) => after,
        None => feed_place::before(db, since_ms).await?,
    };
    let filter = EventFilter {
        campaign_id: request.campaign_id.clone(),
        since_ms: Some(since_ms),
        until_ms,
        ..EventFilter::default()
    };
    let mut rows = ledger::events(db, &filter, after, REPLAY_MAX + 1).await?;
    let next_page_token =
        context.pages.cut(&mut rows, REPLAY_MAX, &binding, |row| row.sequence.to_string());
    let end_ms = until_ms.unwrap_or_else(|| context.clock.now_ms());
    let progress = match rows.last() {
        Some(last) if !next_page_token.is_empty() => share(last.event.create_ms, since_ms, end_ms),
        _ => 1.0,
    };
    let wanted = rows.iter().filter(|row| match request.event_types.is_empty() {
        true => wants(endpoint, row),
        false => fits(&request.event_types, row.event.kind),
    });
    let events: Vec<_> = wanted.map(|row| (row.sequence, row.event.id)).collect();
    let count = events.len() as i64;
    if !request.validate_only {
        let again = Collected { endpoint: endpoint.id, events, cursor: 0 };
        let id = endpoint.id.to_string();
        let db = context.audited(by, "webhook.replay", &id, &format!("{count} events"));
        deliveries::replay(&db, &again, context.clock.now_ms()).await?;
    }
    Ok(v1::ReplayWebhookResponse { count, next_page_token, progress })
}

/// How much of the time between two moments is over.
fn share(at_ms: i64, since_ms: i64, end_ms: i64) -> f64 {
    let whole_ms = end_ms.saturating_sub(since_ms).max(1) as f64;
    (at_ms.saturating_sub(since_ms) as f64 / whole_ms).clamp(0.0, 1.0)
}

fn required(field: &str, time: Option<prost_types::Timestamp>) -> Result<i64, Failure> {
    let missing = || Failure::field(Reason::MissingField, field, "is required");
    convert::time(field, time)?.ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn a_replay_is_as_far_as_the_time_it_has_looked_through() {
        assert_eq!(
            [share(100, 100, 200), share(125, 100, 200), share(999, 100, 200)],
            [0.0, 0.25, 1.0]
        );
        assert_eq!([share(100, 100, 100), share(90, 100, 50)], [0.0, 0.0], "no time at all");
    }
}
