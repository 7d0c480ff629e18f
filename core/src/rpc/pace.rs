//! What is looked at before a request is read: whether anybody we know sends something that may be large,
//! and how many calls an API key made this minute straight to the core. Calls that come through a
//! gateway are counted there.
//!
//! State: what the limiter counts; a crash forgives at most one minute.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postern_kit::limits::{Limiter, Quota};
use postern_proto::reason::Reason;
use postern_proto::settings::GRPC_LIMIT_KEY_PER_MINUTE;
use postern_proto::status::Failure;
use tonic::Status;
use tonic::codegen::http::{Request, Response};
use tonic::metadata::MetadataMap;
use tower::{Layer, Service};

use super::auth::Gate;

/// The service whose requests may be as large as a mail.
const LARGE: &str = "/postern.v1.MessageService/";
const MINUTE: Duration = Duration::from_secs(60);

/// Puts [`Pace`] around the services.
#[derive(Clone)]
pub(super) struct Paces {
    /// Knows the keys and the settings.
    pub(super) gate: Arc<Gate>,
    /// Counts the calls.
    pub(super) limiter: Arc<Limiter>,
}

impl<S> Layer<S> for Paces {
    type Service = Pace<S>;

    fn layer(&self, inner: S) -> Pace<S> {
        Pace { inner, paces: self.clone() }
    }
}

/// A service that refuses calls of a key that makes too many.
#[derive(Clone)]
pub(super) struct Pace<S> {
    inner: S,
    paces: Paces,
}

type Answer<R, E> = Pin<Box<dyn Future<Output = Result<Response<R>, E>> + Send>>;

impl<S, B, R> Service<Request<B>> for Pace<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Answer<R, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // Lent and given back, for every call passes here and a copy is not needed.
        let metadata = MetadataMap::from_headers(std::mem::take(request.headers_mut()));
        let is_large = request.uri().path().starts_with(LARGE);
        let known = if is_large { self.paces.gate.known(&metadata) } else { Ok(()) };
        let counted = self.paces.counted(&metadata);
        *request.headers_mut() = metadata.into_headers();
        if let Err(failure) = known {
            return Box::pin(async move { Ok(Status::from(failure).into_http()) });
        }
        let Some((name, limit)) = counted else {
            return Box::pin(self.inner.call(request));
        };
        // The one that is ready is used; its copy is asked the next time.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let limiter = self.paces.limiter.clone();
        Box::pin(async move {
            let verdict = limiter.take(&name, Quota { limit, window: MINUTE }).await;
            match verdict.retry_after() {
                Some(wait) => Ok(Status::from(refused(limit, wait)).into_http()),
                None => inner.call(request).await,
            }
        })
    }
}

impl Paces {
    /// Under which name a call counts and how many there may be; none when there is no limit for it.
    fn counted(&self, metadata: &MetadataMap) -> Option<(String, u64)> {
        let known = self.gate.directory.now();
        let limit = known.settings().get(&GRPC_LIMIT_KEY_PER_MINUTE);
        let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0)?;
        let key = self.gate.direct_caller(metadata)?;
        Some((format!("grpc:{}", key.id), limit))
    }
}

fn refused(limit: u64, wait: Duration) -> Failure {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let text = format!("more than {limit} calls per minute; try again in {seconds} s");
    let failure = Failure::new(Reason::RateLimited, text).retry_after(wait);
    failure.with("policy", "grpc").with("limit", limit.to_string())
}
