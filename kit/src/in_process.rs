//! The core within the same process: the gateways of the all-in-one call its services directly,
//! through the same client type, the same messages and the same deadlines as over TCP, but without
//! HTTP/2, a socket or another task in between.
//!
//! A call ends when its caller goes away, as it does over a connection; a crash ends both sides.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::service::Routes;
use tonic::transport::{self, Channel};
use tower::Service;

use crate::resend;

/// How long a call waits whose caller names no limit: longer than any service takes.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);

/// The way to the core, for service clients to be built on.
#[derive(Debug, Clone)]
pub enum CoreChannel {
    /// Over the network.
    Remote(Channel),
    /// Within this process.
    Local(Local),
}

/// The services of a core in this process.
#[derive(Debug, Clone)]
pub struct Local {
    services: Routes,
}

impl Local {
    /// Calls of these services, which have limits of their own, are answered, or the beginning of a
    /// stream is, within the time that the caller allows; DEADLINE_EXCEEDED otherwise.
    pub fn new(services: Routes) -> Self {
        Self { services: services.prepare() }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, transport::Error>> + Send>>;

impl Service<Request<Body>> for CoreChannel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), transport::Error>> {
        match self {
            Self::Remote(channel) => channel.poll_ready(context),
            // Routes are always ready.
            Self::Local(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        match self {
            Self::Remote(channel) => {
                // The one that was asked whether it is ready is the one that is called.
                let next = channel.clone();
                let ready = std::mem::replace(channel, next);
                Box::pin(resend::call(ready, request))
            }
            Self::Local(local) => {
                let limit = timeout(request.headers()).unwrap_or(PATIENCE_MAX);
                let answer = local.services.call(request);
                Box::pin(async move {
                    match tokio::time::timeout(limit, answer).await {
                        Ok(Ok(response)) => Ok(response),
                        Ok(Err(never)) => match never {},
                        Err(_) => {
                            Ok(tonic::Status::deadline_exceeded("the core took too long")
                                .into_http())
                        }
                    }
                })
            }
        }
    }
}

/// How long the caller will wait: at most eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at(text.len().checked_sub(1)?);
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_patience_is_read() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            timeout(&headers)
        };
        assert_eq!(read("30S"), Some(Duration::from_secs(30)));
        assert_eq!(read("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        for bad in ["", "S", "3", "3s", "-1S", "123456789S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    /// A service whose method `Never` gives no answer.
    #[derive(Clone)]
    struct Slow;

    impl tonic::server::NamedService for Slow {
        const NAME: &'static str = "test.Slow";
    }

    impl Service<Request<Body>> for Slow {
        type Response = Response<Body>;
        type Error = std::convert::Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            Box::pin(async move {
                if request.uri().path().ends_with("/Never") {
                    std::future::pending::<()>().await;
                }
                Ok(tonic::Status::not_found("asked").into_http())
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_answered_and_a_late_one_is_a_deadline() {
        let services = Routes::new(Slow);
        let mut channel = CoreChannel::Local(Local::new(services));
        let mut ask = async |path: &str| {
            let request = Request::builder().uri(path).header("grpc-timeout", "5S");
            let response = channel.call(request.body(Body::empty()).unwrap()).await.unwrap();
            tonic::Status::from_header_map(response.headers()).unwrap().code()
        };
        let began = tokio::time::Instant::now();
        assert_eq!(ask("/test.Slow/Now").await, tonic::Code::NotFound);
        assert_eq!(ask("/test.Slow/Never").await, tonic::Code::DeadlineExceeded);
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}
