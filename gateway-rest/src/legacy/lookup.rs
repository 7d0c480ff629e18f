//! GET /api/v1/status/{id} and GET /api/v1/stats: views over what the core holds, in old words.
//!
//! Reads only; a crash has nothing to lose.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use jiff::{Timestamp, ToSpan as _, civil, tz::TimeZone};
use postern_proto::ids::MessageId;
use postern_proto::mask;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time;
use postern_proto::v1::event_service_client::EventServiceClient;
use postern_proto::v1::message_service_client::MessageServiceClient;
use postern_proto::v1::stats_service_client::StatsServiceClient;
use postern_proto::v1::{
    Event, GetMessageRequest, ListEventsRequest, ListMessagesRequest, Message, QueryStatsRequest,
    QueryStatsResponse, RecipientState, Verdict,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Refusal, rules, seconds};
use crate::edge::Context;
use crate::fault::{Fault, json as answer};
use crate::{App, rpc};

const UNEXPECTED: &str = "Internal error";
const EVENTS_MAX: i32 = 1000;

#[derive(Serialize)]
struct Status {
    message_id: String,
    local_id: String,
    status: &'static str,
    recipient: String,
    created_at: Option<String>,
    sent_at: Option<String>,
    delivered_at: Option<String>,
    events: Vec<Value>,
}

pub(super) async fn status(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Context>,
    Path(id): Path<String>,
) -> Response {
    match look_up(&app, &context, &id).await {
        Ok(status) => answer(StatusCode::OK, &status),
        Err(refusal) => refusal.into(),
    }
}

async fn look_up(app: &App, context: &Context, id: &str) -> Result<Status, Refusal> {
    let message = find(app, context, id).await?;
    let mut client = EventServiceClient::new(app.core.channel.clone());
    let request = ListEventsRequest {
        page_size: EVENTS_MAX,
        message_id: message.id.clone(),
        ..ListEventsRequest::default()
    };
    let request = rpc::request(app, request, context);
    let events = client.list_events(request).await.map_err(refused)?.into_inner().events;
    let recipient = message.recipients.first();
    let state = recipient.map_or(RecipientState::Unspecified, |recipient| recipient.state());
    Ok(Status {
        status: rules::word(state),
        recipient: recipient.map(|r| mask::address(&r.email)).unwrap_or_default(),
        created_at: message.create_time.as_ref().and_then(second),
        sent_at: first(&events, &["message.sent", "message.delivered", "message.bounced"]),
        delivered_at: first(&events, &["message.delivered"]),
        events: events.iter().filter_map(old_event).collect(),
        message_id: message.external_id,
        local_id: message.id,
    })
}

async fn find(app: &App, context: &Context, id: &str) -> Result<Message, Refusal> {
    let mut client = MessageServiceClient::new(app.core.channel.clone());
    if id.parse::<MessageId>().is_ok() {
        let request = GetMessageRequest { id: id.to_owned() };
        let request = rpc::request(app, request, context);
        let found = client.get_message(request).await.map_err(refused)?.into_inner();
        return found.message.ok_or_else(not_found);
    }
    let request = ListMessagesRequest {
        page_size: 1,
        external_id: id.to_owned(),
        ..ListMessagesRequest::default()
    };
    let request = rpc::request(app, request, context);
    let found = client.list_messages(request).await.map_err(refused)?.into_inner();
    found.messages.into_iter().next().ok_or_else(not_found)
}

fn refused(status: tonic::Status) -> Refusal {
    Refusal::Core(Fault::from(status).0, UNEXPECTED)
}

fn not_found() -> Refusal {
    Refusal::Core(Failure::new(Reason::MessageNotFound, "Message not found"), UNEXPECTED)
}

fn second(stamp: &prost_types::Timestamp) -> Option<String> {
    Some(seconds(Timestamp::from_second(stamp.seconds).ok()?))
}

fn first(events: &[Event], types: &[&str]) -> Option<String> {
    let event = events.iter().find(|event| types.contains(&event.r#type.as_str()))?;
    event.create_time.as_ref().and_then(second)
}

fn old_event(event: &Event) -> Option<Value> {
    let kind = match event.r#type.as_str() {
        "message.delivered" => "delivered",
        "message.bounced" => "bounce",
        "message.opened" => "open",
        "message.clicked" => "click",
        "message.unsubscribed" => "unsubscribe",
        _ => return None,
    };
    let timestamp = event.create_time.as_ref().and_then(second);
    let client = event.engagement.as_ref();
    // Bots were never shown.
    if client.is_some_and(|client| client.verdict() == Verdict::Bot) {
        return None;
    }
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let ip = client.and_then(|client| known(&client.client_ip));
    let user_agent = client.and_then(|client| known(&client.user_agent));
    Some(json!({"type": kind, "timestamp": timestamp, "ip": ip, "user_agent": user_agent}))
}

#[derive(Serialize)]
struct Stats {
    period: String,
    date_from: String,
    date_to: String,
    summary: Value,
    rates: Value,
    hourly: Vec<Value>,
}

pub(super) async fn stats(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Context>,
    query: Result<Query<HashMap<String, String>>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Query(mut query) = query.unwrap_or_default();
    let period = query.remove("period").unwrap_or_else(|| "today".to_owned());
    let (from, to) = span(&period, Timestamp::now());
    let request = QueryStatsRequest {
        since: Some(time::timestamp(from.as_millisecond())),
        until: Some(time::timestamp(to.as_millisecond())),
        campaign_id: query.remove("campaign_id").unwrap_or_default(),
    };
    let request = rpc::request(&app, request, &context);
    let mut client = StatsServiceClient::new(app.core.channel.clone());
    match client.query_stats(request).await {
        Ok(found) => {
            let (date_from, date_to) = (seconds(from), seconds(to));
            answer(StatusCode::OK, &summary(period, date_from, date_to, &found.into_inner()))
        }
        Err(status) => refused(status).into(),
    }
}

/// From when to when a period goes; whatever is no period is today.
fn span(period: &str, now: Timestamp) -> (Timestamp, Timestamp) {
    let today = now.to_zoned(TimeZone::UTC).date();
    let midnight = |date: civil::Date| {
        // Years near 1970 to 9999 always have a midnight in UTC.
        date.to_zoned(TimeZone::UTC).map_or(now, |zoned| zoned.timestamp())
    };
    match period {
        "yesterday" => (midnight(today.saturating_sub(1.day())), midnight(today)),
        "week" => (midnight(today.saturating_sub(7.days())), now),
        "month" => (midnight(today.saturating_sub(30.days())), now),
        _ => (midnight(today), now),
    }
}

fn summary(
    period: String,
    date_from: String,
    date_to: String,
    found: &QueryStatsResponse,
) -> Stats {
    let total = found.total.unwrap_or_default();
    let share = |part: i64, whole: i64| match whole {
        0 => 0.0,
        whole => (part as f64 * 10_000.0 / whole as f64).round() / 100.0,
    };
    let rate = |part: i64| share(part, total.accepted);
    let mut hours = [(0i64, 0i64); 24];
    for bucket in &found.buckets {
        let hour = bucket.start_time.as_ref().map_or(0, |t| t.seconds.rem_euclid(86_400) / 3600);
        let counts = bucket.counts.unwrap_or_default();
        let hour = &mut hours[hour as usize];
        hour.0 += counts.accepted;
        hour.1 += counts.delivered;
    }
    let hourly = hours.iter().enumerate().map(
        |(hour, (sent, delivered))| json!({"hour": hour, "sent": sent, "delivered": delivered}),
    );
    Stats {
        period,
        date_from,
        date_to,
        summary: json!({
            "total_sent": total.accepted, "delivered": total.delivered, "bounced": total.bounced,
            "failed": total.failed + total.suppressed, "opened": total.opened,
            "clicked": total.clicked, "complained": total.complained,
        }),
        rates: json!({
            "delivery_rate": rate(total.delivered), "bounce_rate": rate(total.bounced),
            "open_rate": share(total.opened, total.delivered),
            "click_rate": share(total.clicked, total.delivered), "complaint_rate": rate(total.complained),
        }),
        hourly: hourly.collect(),
    }
}
