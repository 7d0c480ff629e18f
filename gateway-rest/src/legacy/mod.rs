//! The old system's `/api/v1`, frozen: its paths, fields, texts and status codes, so that its
//! clients can switch over by changing a host name. Nothing here is to be improved; what is new is
//! in `/v1`.
//!
//! No state; a 202 is answered only after the core said that the message is durable.

mod rules;
mod send;
mod batch;
mod lookup;
mod templates;

use std::fmt::Write as _;

use sha2::Digest as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use serde::Serialize;
use serde_json::{Value, json};

use crate::fault::{self, json as answer, status_of};
use crate::{App, authn, health as probes};

pub(crate) fn router(app: &Arc<App>) -> Router {
    let keyed = Router::new()
        .route("/api/v1/send", post(send::send))
        .route("/api/v1/batch", post(batch::batch))
        .route("/api/v1/status/{*id}", get(lookup::status))
        .route("/api/v1/stats", get(lookup::stats))
        .route("/api/v1/templates", post(templates::create))
        .route_layer(axum::middleware::from_fn_with_state(app.clone(), authn::authn));
    Router::new().route("/api/v1/health", get(health)).merge(keyed).with_state(app.clone())
}

/// A refusal in the old shape: code, text, and details where the old system gave some.
pub(super) enum Refusal {
    /// 422 with this text.
    Invalid(String),
    /// Whatever the core said, with the text for unexpected failures of this method.
    Core(Failure, &'static str),
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(text) => error(422, "validation_error", &text, None),
            Refusal::Core(failure, unexpected) => core_error(&failure, unexpected),
        }
    }
}

/// A failure that met the request before or outside the handlers.
pub(crate) fn fault(failure: &Failure, path: &str) -> Response {
    let unexpected = match path {
        "/api/v1/send" => "Failed to queue email",
        "/api/v1/batch" => "Failed to process batch",
        _ => "Internal error",
    };
    core_error(failure, unexpected)
}

fn core_error(failure: &Failure, unexpected: &str) -> Response {
    let status = failure.reason.meaning().http;
    match failure.reason {
        Reason::SenderNotAllowed => {
            error(422, "validation_error", "From email domain is not authorized", None)
        }
        Reason::MalformedJson => bad_request(),
        _ if status == 429 => rate_limited(failure),
        _ if status == 401 => denied(),
        _ if status == 404 => error(404, "not_found", &not_found(failure), None),
        _ if status == 403 => error(403, "blocked", &failure.message, None),
        _ if status >= 500 => {
            let mut response = error(status, "internal_error", unexpected, None);
            fault::retry_after(&mut response, failure);
            response
        }
        _ if status == 422 => {
            let text = rules::text_of(failure);
            let details = text.is_none().then(|| json!([{"message": failure.message}]));
            error(422, "validation_error", text.unwrap_or("Validation failed"), details)
        }
        _ => error(status, "validation_error", &failure.message, None),
    }
}

fn not_found(failure: &Failure) -> String {
    match failure.reason {
        Reason::MessageNotFound => "Message not found".to_owned(),
        _ => failure.message.clone(),
    }
}

fn rate_limited(failure: &Failure) -> Response {
    let after = failure.retry_after.unwrap_or_default().as_millis().div_ceil(1000).max(1);
    let limit = failure.metadata.iter().find(|(key, _)| key == "limit");
    let limit: Option<u32> = limit.and_then(|(_, limit)| limit.parse().ok());
    // The old count was that of the request which was one too many.
    let body = json!({"error": {
        "code": "rate_limit_exceeded", "message": "Too many requests", "retry_after": after,
        "limit": limit, "count": limit.map(|limit| limit.saturating_add(1)),
    }});
    let mut response = answer(status_of(failure.reason), &body);
    fault::retry_after(&mut response, failure);
    response
}

/// The old framework's answer to a missing or wrong key.
fn denied() -> Response {
    let mut response = Response::new(Body::from("HTTP Token: Access denied.\n"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("text/plain; charset=utf-8"));
    let realm = HeaderValue::from_static(r#"Token realm="Application""#);
    headers.insert("www-authenticate", realm);
    response
}

fn bad_request() -> Response {
    answer(StatusCode::BAD_REQUEST, &json!({"status": 400, "error": "Bad Request"}))
}

#[derive(Serialize)]
struct Error<'a> {
    error: ErrorBody<'a>,
    request_id: String,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

fn error(status: u16, code: &str, message: &str, details: Option<Value>) -> Response {
    let body = Error { error: ErrorBody { code, message, details }, request_id: hex_id() };
    answer(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), &body)
}

/// 24 hex digits, as the old system drew for requests, batches and messages without an id.
fn hex_id() -> String {
    let mut text = String::with_capacity(24);
    for byte in rand::random::<[u8; 12]>() {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// The id of a message to which the client gave none: drawn, or made from the idempotency key, so
/// that a repeated request is the same request.
fn own_id(request_id: &str, position: usize) -> String {
    if request_id.is_empty() {
        return hex_id();
    }
    let digest = sha2::Sha256::digest(format!("{request_id}/{position}").as_bytes());
    let mut text = String::with_capacity(24);
    for byte in &digest[..12] {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// Now, or the given time, with second precision.
fn seconds(time: jiff::Timestamp) -> String {
    format!("{time:.0}")
}

/// GET /api/v1/health and /health: the checks keep their old names; all of them are the core now.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    let serves = probes::core_serves(&app).await;
    let check = match serves {
        true => json!({"status": "ok"}),
        false => json!({"status": "error", "message": "the core cannot be reached"}),
    };
    let status = if serves { StatusCode::OK } else { status_of(Reason::CoreUnavailable) };
    let checks = ["database", "redis", "postal", "sidekiq", "bounce_tables"];
    let checks: serde_json::Map<_, _> =
        checks.into_iter().map(|name| (name.to_owned(), check.clone())).collect();
    let body = json!({
        "status": if serves { "healthy" } else { "unhealthy" },
        "timestamp": seconds(jiff::Timestamp::now()),
        "checks": checks,
    });
    answer(status, &body)
}
