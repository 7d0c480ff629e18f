//! The door: connections, limits, and TLS for the names that mail was sent under.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::extract::State;
use axum::middleware::{self, Next};
use axum::response::Response;
use http::Request;
use postern_kit::http_server::{self, Bounds};
use postern_kit::tls;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::limits::Customer;
use crate::pages;
use crate::visitor::client_ip;

/// The longest body: a form with a few short fields.
const BODY_OCTETS_MAX: usize = 16 << 10;
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Serves until `stop`, then drains.
pub(crate) async fn serve(
    app: Arc<App>,
    router: Router,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let config = &app.config;
    let bounds = Bounds {
        connections_max: config.connections_max,
        header_timeout: config.header_timeout,
        drain_timeout: config.drain_timeout,
    };
    let acceptor = match tls::acceptor(&app.certificates, &stop) {
        Ok(acceptor) => acceptor,
        Err(error) => return tracing::error!(%error, "there is no TLS"),
    };
    tokio::spawn(tidy_up(app.clone(), stop.clone()));
    let service = router
        .layer(DefaultBodyLimit::max(BODY_OCTETS_MAX))
        .layer(middleware::from_fn_with_state(app, guard));
    http_server::serve(listener, acceptor, service, bounds, stop).await;
}

/// Counts the request, and ends it when it takes too long.
async fn guard(State(app): State<Arc<App>>, mut request: Request<Body>, next: Next) -> Response {
    if let Some(ip) = client_ip(&app, request.extensions().get(), request.headers()) {
        request.extensions_mut().insert(Customer(ip));
    }
    if let Err((limit, wait)) = app.limits.take(&request, &app.live.now()) {
        app.hits.limited(limit);
        return pages::too_many(wait);
    }
    match tokio::time::timeout(app.config.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => pages::took_too_long(),
    }
}

async fn tidy_up(app: Arc<App>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        app.limits.tidy_up();
    }
}
