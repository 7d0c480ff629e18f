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
        .with_state(app.clone())
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    if core_serves(&app).await {
        return json(StatusCode::OK, &serde_json::json!({"status": "ok", "core": "serving"}));
    }
    let status = status_of(Reason::CoreUnavailable);
    json(status, &serde_json::json!({"status": "unavailable", "core": "not serving"}))
}

/// Asks the core's own health service.
pub(crate) async fn core_serves(app: &App) -> bool {
    if app.drain.is_cancelled() {
        return false;
    }
    let mut client = HealthClient::new(app.core.channel.clone());
    let limit = std::time::Duration::from_secs(PROBE_SECONDS_MAX);
    let asked = client.check(HealthCheckRequest { service: String::new() });
    let answer = tokio::time::timeout(limit, asked).await;
    answer.is_ok_and(|answer| {
        answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
    })
}
