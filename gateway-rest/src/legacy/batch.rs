//! POST /api/v1/batch: one content, up to 100 recipients, always 202 once the common checks pass.
//!
//! No state; an entry is reported as queued only after the core said that it is durable.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1::message_service_client::MessageServiceClient;
use postern_proto::v1::{BatchItem, BatchResult, BatchSendMessagesRequest, Recipient};
use prost::Message as _;
use serde::Serialize;
use serde_json::{Map, Value};

use super::send::{
    content, free_fields, object, or_else, read_keyed, text, track, unknown_template, untrack,
    verbatim,
};
use super::{Refusal, rules};
use crate::edge::Context;
use crate::fault::{Fault, json as answer};
use crate::{App, rpc};

const UNEXPECTED: &str = "Failed to process batch";
const ENTRIES_MAX: usize = 100;

#[derive(Serialize)]
struct Outcome {
    status: &'static str,
    batch_id: String,
    total: usize,
    queued: usize,
    failed: usize,
    results: Vec<Entry>,
    request_id: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry {
    Queued { recipient: String, message_id: Option<String>, local_id: String, status: &'static str },
    Failed { recipient: String, message_id: Option<String>, error: String, status: &'static str },
}

pub(super) async fn batch(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Context>,
    request: Request,
) -> Response {
    let (key, body) = match read_keyed(&app, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match queue(&app, &context, &body, &key).await {
        Ok(outcome) => answer(StatusCode::ACCEPTED, &outcome),
        Err(refusal) => refusal.into(),
    }
}

async fn queue(
    app: &App,
    context: &Context,
    body: &Map<String, Value>,
    request_id: &str,
) -> Result<Outcome, Refusal> {
    let entries = match body.get("messages") {
        None | Some(Value::Null) => &Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(unexpected()),
    };
    if !(1..=ENTRIES_MAX).contains(&entries.len()) {
        let text = format!("Batch must contain 1-{ENTRIES_MAX} messages");
        return Err(Refusal::Invalid(text));
    }
    let sender = text(body, "from_email");
    let invalid = |text: &str| Refusal::Invalid(text.to_owned());
    // The old check took the sender for the recipient too, which decides the text.
    rules::check_recipient(&sender).map_err(invalid)?;
    rules::check_sender(&sender, app.config.legacy_ams_ban).map_err(invalid)?;
    let mut failed = Vec::new();
    let mut items = Vec::new();
    let mut names = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        let Value::Object(entry) = entry else {
            return Err(unexpected());
        };
        let recipient = text(entry, "recipient");
        let message_id = Some(text(entry, "message_id")).filter(|id| !id.is_empty());
        if let Err(error) = rules::check_recipient(&recipient) {
            let error = error.to_owned();
            failed.push(Entry::Failed { recipient, message_id, error, status: "failed" });
            continue;
        }
        let external_id = message_id.clone();
        let external_id = external_id.unwrap_or_else(|| super::own_id(request_id, position));
        items.push(item(entry, &recipient, external_id));
        names.push((recipient, message_id));
    }
    let mut queued = Vec::new();
    if !items.is_empty() {
        let results = call(app, context, body, items, request_id).await?;
        for ((recipient, message_id), result) in names.into_iter().zip(results) {
            match result.error {
                None => {
                    let local_id = result.message_id;
                    let status = "queued";
                    queued.push(Entry::Queued { recipient, message_id, local_id, status });
                }
                Some(status) => {
                    let error = item_text(status);
                    failed.push(Entry::Failed { recipient, message_id, error, status: "failed" });
                }
            }
        }
    }
    Ok(outcome(queued, failed))
}

fn outcome(mut queued: Vec<Entry>, failed: Vec<Entry>) -> Outcome {
    let status = match (queued.len(), failed.len()) {
        (_, 0) => "queued",
        (0, _) => "failed",
        _ => "partial",
    };
    let (queued_count, failed_count) = (queued.len(), failed.len());
    queued.extend(failed);
    Outcome {
        status,
        batch_id: super::hex_id(),
        total: queued.len(),
        queued: queued_count,
        failed: failed_count,
        results: queued,
        request_id: super::hex_id(),
    }
}

fn item(entry: &Map<String, Value>, recipient: &str, external_id: String) -> BatchItem {
    let fields = free_fields(&object(entry, "variables"));
    BatchItem {
        to: Some(Recipient {
            email: recipient.to_owned(),
            variables: Some(prost_types::Struct { fields }),
            ..Recipient::default()
        }),
        external_id,
        request_id: String::new(),
    }
}

async fn call(
    app: &App,
    context: &Context,
    body: &Map<String, Value>,
    items: Vec<BatchItem>,
    request_id: &str,
) -> Result<Vec<BatchResult>, Refusal> {
    let mut message = content(body)?;
    message.campaign_id = or_else(text(body, "campaign_id"), || "unknown".to_owned());
    if !text(body, "campaign_id").is_empty() {
        track(&mut message);
    }
    if message.template.is_none() {
        fall_back(&mut message, body);
    }
    let mut client = MessageServiceClient::new(app.core.channel.clone());
    loop {
        let templated = message.template.is_some();
        let request = BatchSendMessagesRequest {
            message: Some(message.clone()),
            items: items.clone(),
            request_id: request_id.to_owned(),
            validate_only: false,
        };
        let request = rpc::request(app, request, context);
        match client.batch_send_messages(request).await {
            Ok(answer) => return Ok(answer.into_inner().results),
            Err(status) => {
                let failure = Fault::from(status).0;
                if untrack(&failure, &mut message) {
                    continue;
                }
                if !templated || !unknown_template(&failure) {
                    return Err(Refusal::Core(failure, UNEXPECTED));
                }
                message.template = None;
                fall_back(&mut message, body);
            }
        }
    }
}

/// Each entry has its own `variables.body`, so that the page for unknown templates is Liquid here.
fn fall_back(message: &mut postern_proto::v1::OutgoingMessage, body: &Map<String, Value>) {
    let html = text(body, "html_body");
    message.html = or_else(html, || {
        r#"<html><body>{{ body | default: "Email content" }}</body></html>"#.to_owned()
    });
    if !message.liquid {
        message.liquid = true;
        message.subject = verbatim(&message.subject);
    }
}

fn item_text(status: tonic_types::pb::Status) -> String {
    let details = status.encode_to_vec();
    let code = tonic::Code::from_i32(status.code);
    let status = tonic::Status::with_details(code, status.message, details.into());
    let failure = Failure::from_status(&status);
    match (failure.reason, rules::text_of(&failure)) {
        (Reason::SenderNotAllowed, _) => "From email domain is not authorized".to_owned(),
        (_, Some(text)) => text.to_owned(),
        (reason, None) if reason.meaning().http >= 500 => "Internal error".to_owned(),
        (_, None) => failure.message,
    }
}

fn unexpected() -> Refusal {
    Refusal::Core(Failure::new(Reason::Internal, UNEXPECTED), UNEXPECTED)
}
