//! Serves HTTP/1.1 and HTTP/2 connections, with or without TLS, until told to stop; then lets
//! requests under way finish. Connections, the time for a request's head, the time for a TLS handshake
//! and the time a connection may be idle are bounded; what a request may weigh and take is the
//! service's business.
//!
//! A crash closes every connection: no answer means that the client cannot know.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codegen::http::header::CONNECTION;
use tonic::codegen::http::{HeaderValue, Request, Response, Version};
use tower::{Service, ServiceExt as _};

use crate::request_body::{Left, RequestBody};

/// How long accepting rests after it failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long an idle HTTP/2 connection goes without a sign of life.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long a connection stays on which nothing is asked any more. HTTP/1.1 connections end earlier:
/// the time for a head begins when the answer before it is out.
const IDLE_TIME_MAX: Duration = Duration::from_secs(120);

/// How long after `stop` a connection that was just in use may bring its next request. A client that sends
/// one over HTTP/1.1 while we close cannot know what became of it (RFC 9112 §9.3.1); the answer to it says
/// that the connection ends. HTTP/2 has words for that (RFC 9113 §6.8).
const LAST_REQUEST_TIME: Duration = Duration::from_secs(1);

/// The other end of the connection, in the extensions of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many may be open; further ones wait.
    pub connections_max: usize,
    /// The longest time for the head of a request, and for a TLS handshake. A connection on which
    /// nothing was asked for as long is closed.
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
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
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
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
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
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let activity = Arc::new(Activity::new());
    let service = service_fn({
        let (activity, stop, left) = (activity.clone(), stop.clone(), Left::default());
        move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let is_http2 = request.version() == Version::HTTP_2;
            let request = RequestBody::watched(request, left.clone());
            let (under_way, stop, left) = (activity.begin(is_http2), stop.clone(), left.clone());
            let answer = service.clone().oneshot(request);
            async move {
                let mut answer = answer.await;
                drop(under_way);
                if let Ok(answer) = &mut answer
                    && (stop.is_cancelled() || left.too_much())
                    && !is_http2
                {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            }
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limit);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING_EVERY);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let enough = async {
        tokio::select! {
            () = async {
                stop.cancelled().await;
                activity.quiet().await;
            } => {}
            () = activity.idle(limit) => {}
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = enough => {
            connection.as_mut().graceful_shutdown();
            // HTTP/2 asks the client whether it has heard that; who never said a word will not, either.
            // An answer may still be on its way to anybody who asked for something.
            match tokio::time::timeout(limit, connection.as_mut()).await {
                Err(_) if activity.last_ms.load(Ordering::Relaxed) == NEVER => Ok(()),
                Err(_) => connection.await,
                Ok(ended) => ended,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// What is asked on a connection. hyper bounds the time for the head of an HTTP/1.1 request, but
/// neither the wait for the first octets, by which it tells the versions apart, nor an HTTP/2
/// connection on which nothing is asked.
struct Activity {
    since: Instant,
    /// When a request last began or was answered, in milliseconds; [`NEVER`] before the first.
    last_ms: AtomicU64,
    under_way: AtomicUsize,
    is_http2: AtomicBool,
}

const NEVER: u64 = u64::MAX;

/// A request that is not answered yet.
struct UnderWay(Arc<Activity>);

impl Activity {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            last_ms: NEVER.into(),
            under_way: 0.into(),
            is_http2: false.into(),
        }
    }

    fn begin(self: &Arc<Self>, is_http2: bool) -> UnderWay {
        self.is_http2.store(is_http2, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.touch();
        UnderWay(self.clone())
    }

    fn touch(&self) {
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(NEVER - 1);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Returns when the connection can be told that it ends, and no request crosses that: a request is under
    /// way, whose answer tells it, or none came for [`LAST_REQUEST_TIME`].
    async fn quiet(&self) {
        loop {
            let last_ms = match self.last_ms.load(Ordering::Relaxed) {
                NEVER => 0,
                last_ms => last_ms,
            };
            let until = Duration::from_millis(last_ms) + LAST_REQUEST_TIME;
            let left = until.saturating_sub(self.since.elapsed());
            let is_told =
                self.is_http2.load(Ordering::Relaxed) || self.under_way.load(Ordering::Relaxed) > 0;
            if is_told || left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// Returns when nothing was asked for too long.
    async fn idle(&self, first: Duration) {
        loop {
            let (last, limit) = match self.last_ms.load(Ordering::Relaxed) {
                NEVER => (Duration::ZERO, first),
                last_ms => (Duration::from_millis(last_ms), IDLE_TIME_MAX),
            };
            let left = (last + limit).saturating_sub(self.since.elapsed());
            let is_busy = self.under_way.load(Ordering::Relaxed) > 0;
            match (is_busy, left.is_zero()) {
                (false, true) => return,
                (false, false) => tokio::time::sleep(left).await,
                (true, _) => tokio::time::sleep(limit).await,
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.touch();
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Far more than any of it takes.
    pub(crate) const LIMIT: Duration = Duration::from_secs(60);

    /// What a server answers to these octets until it closes the connection.
    async fn answered(sent: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let bounds = Bounds {
            connections_max: 1,
            header_timeout: Duration::from_millis(200),
            drain_timeout: Duration::ZERO,
        };
        let service = tower::service_fn(async |request: Request<RequestBody>| {
            let peer = request.extensions().get::<Peer>().copied().unwrap();
            Ok(Response::new(format!("hello {}", peer.0.ip())))
        });
        let serving = tokio::spawn(serve(listener, None, service, bounds, stop.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut all = Vec::new();
        let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut all)).await;
        read.expect("the server closes").unwrap();
        stop.cancel();
        serving.await.unwrap();
        all
    }

    #[tokio::test]
    async fn who_asks_is_answered_and_who_asks_nothing_is_sent_away() {
        let text = answered(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("hello 127.0.0.1"), "{text}");
        assert_eq!(answered(b"").await, b"");
        // The beginning of both versions, a head that never ends, HTTP/2 without a request.
        assert_eq!(answered(b"P").await, b"");
        answered(b"GET / HTTP/1.1\r\nhost: ").await;
        answered(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    }

    /// Reads up to the end of one answer of a service that says hello.
    pub(crate) async fn one_answer(stream: &mut TcpStream) -> String {
        let mut all = Vec::new();
        while !all.ends_with(b"hello") {
            all.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn a_request_that_crosses_the_stop_is_answered_as_the_last_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let bounds = Bounds { connections_max: 1, header_timeout: LIMIT, drain_timeout: LIMIT };
        let service = tower::service_fn(async |_| Ok(Response::new("hello".to_owned())));
        let serving = tokio::spawn(serve(listener, None, service, bounds, stop.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let first = one_answer(&mut stream).await;
        assert!(!first.contains("connection: close"), "{first}");
        stop.cancel();
        // What can be done about it before the request is there is done.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        stream.write_all(ask).await.unwrap();
        let last = one_answer(&mut stream).await;
        assert!(last.contains("connection: close"), "{last}");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "it is closed");
        serving.await.unwrap();
    }
}
