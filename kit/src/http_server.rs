//! Serves HTTP/1.1 and HTTP/2 connections, with or without TLS, until told to stop; then lets
//! requests under way finish. Connections, the time for a request's head and the time for a TLS
//! handshake are bounded; what a request may weigh and take is the service's business.
//!
//! A crash closes every connection: no answer means that the client cannot know.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codegen::http::{Request, Response};
use tower::{Service, ServiceExt as _};

/// How long accepting rests after it failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long an idle HTTP/2 connection goes without a sign of life.
const PING_EVERY: Duration = Duration::from_secs(30);

/// The other end of the connection, in the extensions of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many may be open; further ones wait.
    pub connections_max: usize,
    /// The longest time for the head of a request, and for a TLS handshake.
    pub header_timeout: Duration,
    /// The longest time to finish requests after `stop`.
    pub drain_timeout: Duration,
}

/// Accepts connections until `stop`, then drains.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: S,
    bounds: Bounds,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let tasks = TaskTracker::new();
    let seats = Arc::new(Semaphore::new(bounds.connections_max));
    loop {
        let seat = tokio::select! {
            seat = seats.clone().acquire_owned() => seat,
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the client left early: neither is a reason to stop, but the
                // reason is still there the next moment.
                tracing::warn!(%error, "cannot accept a connection");
                let pause = tokio::time::sleep(ACCEPT_PAUSE);
                if stop.run_until_cancelled(pause).await.is_none() {
                    break;
                }
                continue;
            }
        };
        let (service, tls, stop) = (service.clone(), tls.clone(), stop.clone());
        tasks.spawn(async move {
            let _seat = seat;
            connection(stream, peer, tls, service, bounds.header_timeout, stop).await;
        });
    }
    if !crate::shutdown::drain(&tasks, bounds.drain_timeout).await {
        tracing::warn!(connections = tasks.len(), "some requests did not finish in time");
    }
}

async fn connection<S, B>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    service: S,
    limit: Duration,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Small answers must not wait for the client's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set nodelay");
    }
    let Some(tls) = tls else {
        return conversation(stream, peer, service, limit, stop).await;
    };
    match tokio::time::timeout(limit, tls.accept(stream)).await {
        Ok(Ok(stream)) => conversation(stream, peer, service, limit, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn conversation<I, S, B>(
    stream: I,
    peer: SocketAddr,
    service: S,
    limit: Duration,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limit);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING_EVERY);
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
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
