//! POST /api/v1/send.
//!
//! No state; 202 means that the core has the message on stable storage.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1::message_service_client::MessageServiceClient;
use postern_proto::v1::{
    ClickTracking, EmailAddress, MissingVariables, OutgoingMessage, Priority, Recipient,
    SendMessageRequest, TemplateRef, TrackingOptions, UnsubscribeMode, UnsubscribeOptions,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Refusal, rules};
use crate::edge::Context;
use crate::fault::{Fault, json as answer};
use crate::{App, body, idempotency, rpc};

const UNEXPECTED: &str = "Failed to queue email";

#[derive(Serialize)]
struct Queued {
    status: &'static str,
    message_id: String,
    external_message_id: String,
    estimated_send_time: String,
    request_id: String,
}

pub(super) async fn send(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Context>,
    request: Request,
) -> Response {
    let (key, body) = match read_keyed(&app, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match queue(&app, &context, &body, key).await {
        Ok(queued) => answer(StatusCode::ACCEPTED, &queued),
        Err(refusal) => refusal.into(),
    }
}

/// The idempotency key, empty for none, and the JSON object of a request.
pub(super) async fn read_keyed(
    app: &App,
    request: Request,
) -> Result<(String, Map<String, Value>), Response> {
    let (parts, body) = read(app, request).await?;
    let key = idempotency::key(&parts.headers).map_err(|fault| fault.into_response())?;
    Ok((key.unwrap_or_default(), body))
}

/// The head and the JSON object of a request.
pub(super) async fn read(
    app: &App,
    request: Request,
) -> Result<(http::request::Parts, Map<String, Value>), Response> {
    let (parts, body) = request.into_parts();
    let body = body::whole(body, app.body_max()).await;
    let body = body.map_err(|fault| fault.into_response())?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(fields)) => Ok((parts, fields)),
        _ => {
            let text = "the body is no JSON object";
            Err(Fault(Failure::new(Reason::MalformedJson, text)).into_response())
        }
    }
}

async fn queue(
    app: &App,
    context: &Context,
    body: &Map<String, Value>,
    request_id: String,
) -> Result<Queued, Refusal> {
    let recipient = text(body, "recipient");
    let invalid = |text: &str| Refusal::Invalid(text.to_owned());
    rules::check_recipient(&recipient).map_err(invalid)?;
    let sender = text(body, "from_email");
    rules::check_sender(&sender, app.config.legacy_ams_ban).map_err(invalid)?;
    let mut message = content(body)?;
    let tracking = object(body, "tracking");
    message.to = vec![Recipient { email: recipient, ..Recipient::default() }];
    message.external_id = or_else(text(&tracking, "message_id"), || super::own_id(&request_id, 0));
    message.campaign_id = or_else(text(&tracking, "campaign_id"), || "unknown".to_owned());
    if ["message_id", "campaign_id"].iter().all(|name| !text(&tracking, name).is_empty()) {
        track(&mut message);
    }
    let external_message_id = message.external_id.clone();
    let due = message.send_time;
    let sent = send_or_fall_back(app, context, message, body, request_id).await?;
    let due = due.and_then(|due| jiff::Timestamp::from_second(due.seconds).ok());
    Ok(Queued {
        status: "queued",
        message_id: sent,
        external_message_id,
        estimated_send_time: super::seconds(due.unwrap_or_else(jiff::Timestamp::now)),
        request_id: super::hex_id(),
    })
}

async fn send_or_fall_back(
    app: &App,
    context: &Context,
    message: OutgoingMessage,
    body: &Map<String, Value>,
    request_id: String,
) -> Result<String, Refusal> {
    let mut client = MessageServiceClient::new(app.core.channel.clone());
    let mut message = Some(message);
    loop {
        let sending = message.clone().unwrap_or_default();
        let templated = sending.template.is_some();
        let request_id = request_id.clone();
        let request =
            SendMessageRequest { message: Some(sending), request_id, validate_only: false };
        let request = rpc::request(app, request, context);
        match client.send_message(request).await {
            Ok(sent) => return Ok(sent.into_inner().message.unwrap_or_default().id),
            Err(status) => {
                let failure = Fault::from(status).0;
                if let Some(message) = &mut message
                    && untrack(&failure, message)
                {
                    continue;
                }
                if !templated || !unknown_template(&failure) {
                    return Err(Refusal::Core(failure, UNEXPECTED));
                }
                // An unknown template was never an error in the old system.
                if let Some(message) = &mut message {
                    message.template = None;
                    let variables = object(body, "variables");
                    message.html = fallback_page(body, &text(&variables, "body"));
                }
            }
        }
    }
}

/// Asks for what the old system did to every mail of a campaign: pixel, links, a way to leave.
pub(super) fn track(message: &mut OutgoingMessage) {
    message.tracking = Some(TrackingOptions {
        opens: Some(true),
        clicks: ClickTracking::Html.into(),
        keep_campaign_links: false,
    });
    let mode = UnsubscribeMode::OneClick.into();
    message.unsubscribe = Some(UnsubscribeOptions { mode, footer: None });
}

/// Takes that back where the core cannot do it: the client did not ask for it in words. Tells
/// whether that was why the core refused.
pub(super) fn untrack(failure: &Failure, message: &mut OutgoingMessage) -> bool {
    let impossible = failure.reason == Reason::TrackingNotConfigured
        || failure.violations.iter().any(|one| one.reason == Reason::TrackingNotConfigured);
    if !impossible || (message.tracking.is_none() && message.unsubscribe.is_none()) {
        return false;
    }
    (message.tracking, message.unsubscribe) = (None, None);
    true
}

/// The core does not know this template, or its name cannot be one of its.
pub(super) fn unknown_template(failure: &Failure) -> bool {
    let about = |field: &str| field.trim_start_matches("message.").starts_with("template.id");
    failure.reason == Reason::TemplateNotFound
        || failure.violations.iter().any(|violation| about(&violation.field))
}

fn fallback_page(body: &Map<String, Value>, text_body: &str) -> String {
    let html = text(body, "html_body");
    if !html.is_empty() {
        return html;
    }
    let shown = if text_body.is_empty() { "Email content" } else { text_body };
    format!("<html><body>{shown}</body></html>")
}

/// What a message and a batch have in common: sender, subject, content and options.
pub(super) fn content(body: &Map<String, Value>) -> Result<OutgoingMessage, Refusal> {
    let variables = object(body, "variables");
    let subject = or_else(text(body, "subject"), || "No Subject".to_owned());
    let mut message = OutgoingMessage {
        from: Some(EmailAddress {
            email: text(body, "from_email"),
            display_name: text(body, "from_name"),
        }),
        subject,
        variables: Some(prost_types::Struct { fields: free_fields(&variables) }),
        ..OutgoingMessage::default()
    };
    let template = text(body, "template_id");
    let html = text(body, "html_body");
    if !template.is_empty() {
        let missing_variables = MissingVariables::Empty.into();
        message.template = Some(TemplateRef { id: template, missing_variables });
    } else if !html.is_empty() {
        message.html = html;
        if !variables.is_empty() {
            message.liquid = true;
            message.missing_variables = MissingVariables::Empty.into();
            message.subject = verbatim(&message.subject);
        }
    } else {
        message.html = fallback_page(body, &text(&variables, "body"));
    }
    options(&object(body, "options"), &mut message)?;
    Ok(message)
}

fn options(options: &Map<String, Value>, message: &mut OutgoingMessage) -> Result<(), Refusal> {
    message.priority = match text(options, "priority").as_str() {
        "" | "normal" => Priority::Normal.into(),
        "high" | "urgent" => Priority::High.into(),
        "low" | "bulk" => Priority::Low.into(),
        _ => return Err(Refusal::Invalid("options.priority is invalid".to_owned())),
    };
    if let Some(Value::Array(tags)) = options.get("tags") {
        message.tags = tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
    }
    let due = text(options, "send_at");
    if !due.is_empty() {
        let due: jiff::Timestamp =
            due.parse().map_err(|_| Refusal::Invalid("options.send_at is invalid".to_owned()))?;
        message.send_time = Some(postern_proto::time::timestamp(due.as_millisecond()));
    }
    Ok(())
}

/// The old system never applied Liquid to the subject.
pub(super) fn verbatim(subject: &str) -> String {
    if subject.contains("{{") || subject.contains("{%") {
        return format!("{{% raw %}}{subject}{{% endraw %}}");
    }
    subject.to_owned()
}

/// A field as text; numbers are taken as their digits, anything else as nothing.
pub(super) fn text(fields: &Map<String, Value>, name: &str) -> String {
    match fields.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// A field that is an object, or an empty one.
pub(super) fn object(fields: &Map<String, Value>, name: &str) -> Map<String, Value> {
    match fields.get(name) {
        Some(Value::Object(fields)) => fields.clone(),
        _ => Map::new(),
    }
}

pub(super) fn or_else(text: String, default: impl FnOnce() -> String) -> String {
    if text.is_empty() { default() } else { text }
}

/// Variables in the form of the contract.
pub(super) fn free_fields(fields: &Map<String, Value>) -> BTreeMap<String, prost_types::Value> {
    fields.iter().map(|(key, value)| (key.clone(), free(value))).collect()
}

fn free(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            let values = items.iter().map(free).collect();
            Kind::ListValue(prost_types::ListValue { values })
        }
        Value::Object(fields) => {
            Kind::StructValue(prost_types::Struct { fields: free_fields(fields) })
        }
    };
    prost_types::Value { kind: Some(kind) }
}
