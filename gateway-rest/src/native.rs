//! The native API: `/v1`, as `/openapi.json` describes it.
//!
//! Every handler reads one request, makes one gRPC call, and writes one answer; there is nothing a
//! crash could leave half-done.

pub(crate) mod messages;
pub(crate) mod message_body;
pub(crate) mod message_view;
pub(crate) mod batch;
pub(crate) mod raw;
pub(crate) mod events;
pub(crate) mod watch;
pub(crate) mod templates;
pub(crate) mod suppressions;
pub(crate) mod domains;
pub(crate) mod stats;
pub(crate) mod keys;
pub(crate) mod sink;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::wire::query::from_text;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/messages", post(messages::send).get(messages::list))
        .route("/v1/messages/batch", post(batch::send))
        .route("/v1/messages/{id}", get(messages::read))
        .route("/v1/messages/{id}/cancel", post(messages::cancel))
        .route("/v1/events", get(events::list))
        .route("/v1/events/watch", get(watch::watch))
        .route("/v1/templates", post(templates::create).get(templates::list))
        .route(
            "/v1/templates/{id}",
            get(templates::read).put(templates::update).delete(templates::delete),
        )
        .route("/v1/templates/{id}/render", post(templates::render))
        .route("/v1/suppressions", post(suppressions::create).get(suppressions::list))
        .route("/v1/suppressions/{id}", get(suppressions::read).delete(suppressions::delete))
        .route("/v1/domains", post(domains::create).get(domains::list))
        .route("/v1/domains/{id}", get(domains::read).delete(domains::delete))
        .route("/v1/stats", get(stats::query))
        .route("/v1/queue", get(stats::queue))
        .route("/v1/keys", post(keys::create).get(keys::list))
        .route("/v1/keys/{id}/revoke", post(keys::revoke))
        .route("/v1/sink/messages", get(sink::list).delete(sink::delete_all))
        .route("/v1/sink/messages/{id}", get(sink::read).delete(sink::delete))
        .route("/v1/sink/messages/{id}/raw", get(sink::raw))
        .route("/v1/sink/wait", get(sink::wait))
}

/// Which page of a list to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// How many at most: default 50; values above 1000 are taken as 1000.
    #[serde(default, alias = "pageSize", alias = "limit", deserialize_with = "from_text")]
    pub(crate) page_size: Option<i32>,
    /// Where to go on: `next_page_token` of the previous answer.
    #[serde(default, alias = "pageToken")]
    pub(crate) page_token: Option<String>,
}

/// How to delete.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Deletion {
    /// Answer 204 also when there is nothing to delete.
    #[serde(default, alias = "allowMissing", deserialize_with = "from_text")]
    pub(crate) allow_missing: Option<bool>,
}

/// `201 Created` with its `Location`.
pub(crate) fn created(location: String, body: impl IntoResponse) -> Response {
    let mut response = (StatusCode::CREATED, body).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Marks an answer that an earlier request with the same idempotency key got.
pub(crate) fn mark_replayed(response: &mut Response, replayed: bool) {
    if replayed {
        let value = HeaderValue::from_static("true");
        response.headers_mut().insert("idempotency-replayed", value);
    }
}
