//! The body of a request to a server of ours. A service may answer without having read it, as when the
//! key is wrong or the body too large. What is then still on its way is read and thrown away within
//! bounds: a connection that is closed over unread octets is reset, and with it goes the answer (RFC
//! 9112 §9.6).
//!
//! A crash has nothing to lose.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tonic::codegen::http::header::EXPECT;
use tonic::codegen::http::{Request, Version};

/// How much of a body that nobody wants is read, and for how long.
const UNWANTED_BYTES_MAX: u64 = 32 << 20;
const UNWANTED_TIME: Duration = Duration::from_secs(2);
/// Behind so much of it a connection is not used again.
const UNWANTED_BYTES_SMALL: u64 = 1 << 20;

/// A body as it comes in.
#[derive(Debug)]
pub struct RequestBody {
    /// None once it is read to its end.
    incoming: Option<Incoming>,
    /// Whether the client sends it: at once, or since somebody began to read.
    is_coming: bool,
    /// HTTP/2 refuses one body alone.
    is_http2: bool,
    left: Left,
}

/// Tells whether so much of a body was left unread that its connection cannot be used again. One for
/// each connection: HTTP/1.1 has one request at a time, and HTTP/2 does not ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Left(Arc<AtomicBool>);

impl Left {
    pub(crate) fn too_much(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl RequestBody {
    /// The request with its body watched.
    pub(crate) fn watched(request: Request<Incoming>, left: Left) -> Request<Self> {
        let version = request.version();
        // Who asks first has nothing on its way (RFC 9110 §10.1.1).
        let expect = request.headers().get(EXPECT);
        let asks_first = version == Version::HTTP_11
            && expect.is_some_and(|value| value.as_bytes() == b"100-continue");
        let is_http2 = version == Version::HTTP_2;
        let body =
            |incoming| Self { incoming: Some(incoming), is_coming: !asks_first, is_http2, left };
        request.map(body)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // Who asked first is told to send now.
        self.is_coming = true;
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(cx);
        // One without a length does not know its end before it is there.
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.incoming = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let unread = self.incoming.take().filter(|incoming| !incoming.is_end_stream());
        let (Some(unread), Ok(runtime)) = (unread, tokio::runtime::Handle::try_current()) else {
            return;
        };
        let size = unread.size_hint().exact();
        if !self.is_coming || size.is_none_or(|size| size > UNWANTED_BYTES_SMALL) {
            self.left.0.store(true, Ordering::Relaxed);
        }
        if !self.is_coming || self.is_http2 {
            return;
        }
        runtime.spawn(tokio::time::timeout(UNWANTED_TIME, throw_away(unread)));
    }
}

async fn throw_away(mut unread: Incoming) {
    let mut read = 0;
    while read <= UNWANTED_BYTES_MAX {
        match unread.frame().await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) | None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;
    use tonic::codegen::http::Response;

    use super::*;
    use crate::http_server::tests::{LIMIT, one_answer};
    use crate::http_server::{Bounds, serve};

    /// A server that answers without a look at the body, unless it is asked for `/read`.
    async fn careless() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = Bounds { connections_max: 1, header_timeout: LIMIT, drain_timeout: LIMIT };
        let service = tower::service_fn(async |request: Request<RequestBody>| {
            if request.uri().path() == "/read" {
                request.into_body().collect().await.unwrap();
            }
            Ok(Response::new("hello".to_owned()))
        });
        tokio::spawn(serve(listener, None, service, bounds, CancellationToken::new()));
        TcpStream::connect(address).await.unwrap()
    }

    async fn post(stream: &mut TcpStream, size: usize, sent: &[u8]) -> String {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = one_answer(stream).await;
        // Only now, as from a client that is slow.
        stream.write_all(sent).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_connection_outlives_a_small_body_that_nobody_reads() {
        let mut stream = careless().await;
        for _ in 0..3 {
            let answer = post(&mut stream, 100_000, &[b'x'; 100_000]).await;
            assert!(!answer.contains("connection: close"), "{answer}");
        }
    }

    #[tokio::test]
    async fn the_answer_to_a_large_body_that_nobody_reads_arrives_and_is_the_last() {
        let mut stream = careless().await;
        // All of it is sent before the answer is read, as most clients do it.
        let size = 8 << 20;
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; size]).await.unwrap();
        let answer = one_answer(&mut stream).await;
        assert!(answer.contains("connection: close"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_outlives_a_body_in_chunks_that_is_read() {
        let mut stream = careless().await;
        for _ in 0..3 {
            let chunks = "POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                          2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
            stream.write_all(chunks.as_bytes()).await.unwrap();
            let answer = one_answer(&mut stream).await;
            assert!(!answer.contains("connection: close"), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_client_that_asks_before_it_sends_is_told_that_its_connection_ends() {
        let mut stream = careless().await;
        let asks =
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
        stream.write_all(asks.as_bytes()).await.unwrap();
        let answer = one_answer(&mut stream).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"),
            "{answer}"
        );
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "it is closed");
    }
}
