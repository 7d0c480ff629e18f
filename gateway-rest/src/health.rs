//! Whether the process lives, and whether it can do its work, which is up to the core.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use postern_proto::reason::Reason;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::App;
use crate::fault::{json, status_of};

const PROBE_SECONDS_MAX: u64 = 3;

pub(crate) fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/livez", get(async || json(StatusCode::OK, &serde_json::json!({"status": "ok"}))))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .route("/health", get(crate::legacy::health))
        .route("/health/transport/postal", get(postal))
        .with_state(app.clone())
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    if core_serves(&app).await {
        return json(StatusCode::OK, &serde_json::json!({"status": "ok", "core": "serving"}));
    }
    let status = status_of(Reason::CoreUnavailable);
    json(status, &serde_json::json!({"status": "unavailable", "core": "not serving"}))
}

/// Whether mail for Postal goes, or waits because Postal fails.
async fn postal(State(app): State<Arc<App>>) -> Response {
    let (status, word) = match core_says(&app, "transport.postal").await {
        Ok(ServingStatus::Serving) => (StatusCode::OK, "serving"),
        Ok(_) => (status_of(Reason::Overloaded), "waiting"),
        Err(tonic::Code::NotFound) => (StatusCode::NOT_FOUND, "not configured"),
        Err(_) => (status_of(Reason::CoreUnavailable), "core not serving"),
    };
    json(status, &serde_json::json!({"status": word}))
}

/// Asks the core's own health service.
pub(crate) async fn core_serves(app: &App) -> bool {
    !app.drain.is_cancelled() && core_says(app, "").await == Ok(ServingStatus::Serving)
}

async fn core_says(app: &App, service: &str) -> Result<ServingStatus, tonic::Code> {
    let mut client = HealthClient::new(app.core.channel.clone());
    let limit = std::time::Duration::from_secs(PROBE_SECONDS_MAX);
    let asked = client.check(HealthCheckRequest { service: service.to_owned() });
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(answer)) => Ok(answer.into_inner().status()),
        Ok(Err(status)) => Err(status.code()),
        Err(_) => Err(tonic::Code::DeadlineExceeded),
    }
}
