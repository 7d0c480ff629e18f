//! Serves connections until told to stop, then lets requests under way finish.
//!
//! A crash closes every connection; no answer means that the client cannot know, and repeats the
//! request under its idempotency key.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::App;
use crate::edge::Peer;

const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Accepts connections until `stop`.
pub(crate) async fn serve(
    app: Arc<App>,
    router: Router,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    tasks.spawn(tidy_up(app.clone(), stop.clone()));
    let seats = Arc::new(Semaphore::new(app.config.connections_max));
    loop {
        let seat = tokio::select! {
            seat = seats.clone().acquire_owned() => seat,
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the client left early: neither is a reason to stop.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let (router, stop, limit) = (router.clone(), stop.clone(), app.config.header_timeout);
        tasks.spawn(async move {
            let _seat = seat;
            connection(stream, Peer(addr), router, stop, limit).await;
        });
    }
    app.drain.cancel();
    if !postern_kit::shutdown::drain(&tasks, app.config.drain_timeout).await {
        tracing::warn!(connections = tasks.len(), "some requests did not finish in time");
    }
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    stop: CancellationToken,
    header_timeout: Duration,
) {
    // Small answers must not wait for the client's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set nodelay");
    }
    let service = hyper::service::service_fn(move |request: http::Request<_>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn tidy_up(app: Arc<App>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => app.limits.tidy_up(),
            () = stop.cancelled() => return,
        }
    }
}
