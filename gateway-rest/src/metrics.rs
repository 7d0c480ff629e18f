//! Counts what is asked and answered, by the route as it is written in the table, never by the path
//! that a client names.
//!
//! Counters are of this process and begin at zero after a crash.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};
use postern_kit::metrics::SECONDS;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// What the gateway counts.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: Family<[(&'static str, String); 3], Counter>,
    rate_limited: Family<[(&'static str, &'static str); 1], Counter>,
    time: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: Family::default(),
            rate_limited: Family::default(),
            time: Histogram::new(SECONDS),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Answered requests by route and class of status";
        registry.register("postern_http_requests", help, self.requests.clone());
        let help = "Refused requests by the limit that was used up";
        registry.register("postern_http_rate_limited", help, self.rate_limited.clone());
        let (help, time) = ("Time until the head of an answer was there", self.time.clone());
        registry.register_with_unit("postern_http_request_duration", help, Unit::Seconds, time);
    }
}

/// Of an answer that is a refusal: the limit that was used up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exhausted(pub(crate) &'static str);

/// The name of a method that HTTP has, and that we may answer.
pub(crate) fn known_method(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

/// The layer that counts.
pub(crate) async fn count(
    State(metrics): State<Metrics>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let mut under_way = UnderWay {
        start: Instant::now(),
        // A method of the client's own making is no label.
        method: known_method(request.method()).unwrap_or("other"),
        route: route.map_or("other", MatchedPath::as_str).to_owned(),
        status: None,
        metrics,
    };
    let response = next.run(request).await;
    if let Some(standing) = response.extensions().get::<Exhausted>() {
        under_way.metrics.rate_limited.get_or_create(&[("limit", standing.0)]).inc();
    }
    under_way.status = Some(response.status());
    response
}

/// A request that is counted when it is dropped: answered, or given up by its client.
struct UnderWay {
    metrics: Metrics,
    start: Instant,
    method: &'static str,
    route: String,
    status: Option<StatusCode>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let class = match self.status {
            Some(status) => format!("{}xx", status.as_u16() / 100),
            None => "canceled".to_owned(),
        };
        let route = std::mem::take(&mut self.route);
        let labels = [("method", self.method.to_owned()), ("route", route), ("status", class)];
        self.metrics.requests.get_or_create(&labels).inc();
        self.metrics.time.observe(self.start.elapsed().as_secs_f64());
    }
}
