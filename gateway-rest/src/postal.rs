//! Webhooks of Postal, passed on to the core octet by octet with the header fields that sign them. The
//! core verifies: there is no key here, and no caller to check.
//!
//! No state; success is answered only after the core said that the report is durable, and every other
//! answer makes Postal try again.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Router};
use http::{HeaderMap, StatusCode};
use postern_proto::reason::Reason;
use postern_proto::v1::ReceiveWebhookRequest;
use postern_proto::v1::postal_service_client::PostalServiceClient;

use crate::edge::Context;
use crate::fault::{Fault, json};
use crate::{App, body, rpc};

/// Postal's own bodies have a few kilobytes.
pub(crate) const WEBHOOK_BYTES_MAX: usize = 1 << 20;
/// The path of the old system.
pub(crate) const OLD_PATH: &str = "/api/v1/webhook";
/// The path that only Postal knows.
pub(crate) const PATH: &str = "/v1/postal/webhooks/{endpoint}";

/// Whether a request is a webhook, which has limits of its own.
pub(crate) fn is_webhook(path: &str) -> bool {
    path == OLD_PATH || path.starts_with("/v1/postal/webhooks/")
}

/// A path as it may be logged: without the part that nobody else knows.
pub(crate) fn logged(path: &str) -> &str {
    if is_webhook(path) && path != OLD_PATH { PATH } else { path }
}

pub(crate) fn router(app: &Arc<App>) -> Router {
    Router::new().route(OLD_PATH, post(old)).route(PATH, post(receive)).with_state(app.clone())
}

/// The old contract: 401 has no body, and success is always the same one.
async fn old(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Context>,
    request: Request,
) -> Response {
    match pass_on(&app, &context, String::new(), request).await {
        Ok(()) => received(),
        Err(fault) if fault.0.reason == Reason::SignatureInvalid => {
            StatusCode::UNAUTHORIZED.into_response()
        }
        Err(fault) => fault.into_response(),
    }
}

async fn receive(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Context>,
    Path(endpoint): Path<String>,
    request: Request,
) -> Response {
    match pass_on(&app, &context, endpoint, request).await {
        Ok(()) => received(),
        Err(fault) => fault.into_response(),
    }
}

fn received() -> Response {
    json(StatusCode::OK, &serde_json::json!({"received": true}))
}

async fn pass_on(
    app: &App,
    context: &Context,
    endpoint: String,
    request: Request,
) -> Result<(), Fault> {
    let (parts, body) = request.into_parts();
    let body = body::whole(body, WEBHOOK_BYTES_MAX.min(app.body_max())).await?;
    let field = |name| field(&parts.headers, name);
    let message = ReceiveWebhookRequest {
        endpoint,
        body,
        signature_256: field("x-postal-signature-256"),
        signature: field("x-postal-signature"),
        key_id: field("x-postal-signature-kid"),
    };
    let request = rpc::request(app, message, context);
    PostalServiceClient::new(app.core.channel.clone()).receive_webhook(request).await?;
    Ok(())
}

/// A header field; empty when it is missing or no text, which then verifies as little.
fn field(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}
