//! Health for load balancers and people: the edge answers recipients whatever has become of the core
//! and the disk, so it stays ready; what is amiss is told in the body.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use jiff::Timestamp;
use postern_kit::certificates;
use postern_kit::presence::Condition;
use serde_json::json;

use crate::App;

/// `/health/live`: the process answers.
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// How the edge is, as operators see it.
pub(crate) fn condition(app: &App) -> Condition {
    let (lost, refused, waiting) =
        (app.journal.lost(), app.shipping.refused(), app.journal.octets());
    let detail = match (lost, refused) {
        (0, 0) => format!("{waiting} octets wait for the core"),
        (lost, refused) => format!("since its start {lost} hits lost, {refused} refused"),
    };
    let certificate_end = certificates::first_end(&app.certificates);
    if let Some(detail) = certificates::expired(&app.certificates, Timestamp::now()) {
        return Condition { good: false, detail, certificate_end };
    }
    let good = lost == 0 && refused == 0 && app.shipping.is_going();
    Condition { good, detail, certificate_end }
}

/// `/health/ready`: always 200 while recipients are answered; `degraded` when hits are lost or
/// cannot be told to the core.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let (lost, refused) = (app.journal.lost(), app.shipping.refused());
    let (is_good, is_shipping) = (condition(&app).good, app.shipping.is_going());
    let body = json!({
        "status": if is_good { "ok" } else { "degraded" },
        "core": if is_shipping { "reached" } else { "away" },
        "settings": if app.live.is_read() { "read" } else { "defaults" },
        "journal_octets": app.journal.octets(),
        "hits_shipped": app.shipping.shipped(),
        "hits_lost": lost,
        "hits_refused": refused,
        "certificates": certificates::expired(&app.certificates, Timestamp::now()).unwrap_or_default(),
    });
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (headers, body.to_string()).into_response()
}
