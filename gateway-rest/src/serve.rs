//! Serves connections until told to stop, then lets requests under way finish.
//!
//! A crash closes every connection; no answer means that the client cannot know, and repeats the
//! request under its idempotency key.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::Timestamp;
use postern_kit::certificates;
use postern_kit::http_server::{self, Bounds};
use postern_kit::presence::{self, Condition};
use postern_kit::tls::{self, CertStore};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::App;

const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Accepts connections until `stop`.
pub(crate) async fn serve(
    app: Arc<App>,
    router: Router,
    certificate: Option<Arc<CertStore>>,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let acceptor = match tls::acceptor(certificate.as_slice(), &stop) {
        Ok(acceptor) => acceptor,
        Err(error) => return tracing::error!(%error, "there is no TLS"),
    };
    let bounds = Bounds {
        connections_max: app.config.connections_max,
        header_timeout: app.config.header_timeout,
        drain_timeout: app.config.drain_timeout,
    };
    let serving = http_server::serve(listener, acceptor, router, bounds, stop.clone());
    // Event streams end by themselves; everything else is waited for.
    let draining = async {
        stop.cancelled().await;
        app.drain.cancel();
    };
    let following = app.live.clone().follow(stop.clone());
    let how = || {
        let stores = certificate.as_slice();
        let expired = certificates::expired(stores, Timestamp::now());
        Condition {
            good: expired.is_none(),
            detail: expired.unwrap_or_else(|| "serves".to_owned()),
            certificate_end: certificates::first_end(stores),
        }
    };
    let reporting = presence::report(app.core.clone(), how, stop.clone());
    tokio::join!(serving, draining, following, reporting, tidy_up(&app, &stop));
}

async fn tidy_up(app: &App, stop: &CancellationToken) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        app.limits.tidy_up();
    }
}
