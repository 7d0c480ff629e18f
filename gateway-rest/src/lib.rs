//! HTTP in, gRPC out. The gateway translates the native API, the frozen contract of the old system
//! and the inbox page into calls of `postern.v1`, within its own limits.
//!
//! It owns no state: everything it says it has heard from the core, so a crash loses nothing that
//! was answered, and any number of gateways can stand side by side.

mod config;
pub mod alone;
mod serve;
mod edge;
mod limits;
mod authn;
mod fault;
mod routes;
mod v1;
mod body;
mod multipart;
mod bulk;
mod raw;
mod etag;
mod events;
mod idempotency;
mod json;
mod rpc;
mod legacy;
mod postal;
mod inbox;
mod dashboard;
pub mod suppression_file;
mod health;
mod metrics;
mod openapi;
mod docs;
mod llms;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use postern_kit::core_client::CoreClient;
use postern_kit::live::Live;
use postern_kit::spans::Spans;
use postern_kit::tls::{CertFiles, CertStore, TlsError};
use postern_proto::settings::{REST_BODY_MAX, Settings};
use prost_reflect::DescriptorPool;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::decompression::{DecompressionBody, RequestDecompressionLayer};

pub use config::RestConfig;

/// What the handlers share.
pub(crate) struct App {
    pub(crate) config: RestConfig,
    pub(crate) core: CoreClient,
    pub(crate) live: Live,
    pub(crate) contract: DescriptorPool,
    pub(crate) limits: limits::Limits,
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) drain: CancellationToken,
    pub(crate) spans: Spans,
}

impl App {
    /// The largest body in octets, counted after decompression.
    pub(crate) fn body_max(&self) -> usize {
        self.live.now().count(&REST_BODY_MAX)
    }
}

/// A gateway, ready to serve.
pub struct Gateway {
    app: Arc<App>,
    router: Router,
    metrics: metrics::Metrics,
    certificate: Option<Arc<CertStore>>,
}

/// Puts a gateway together; opens nothing and calls nobody. `settings` hold until the core has told
/// what holds.
///
/// # Panics
///
/// When the contract compiled into this binary cannot be read, which the first test would find.
pub fn build(config: RestConfig, core: CoreClient, settings: Settings) -> Gateway {
    let contract = DescriptorPool::decode(postern_proto::DESCRIPTORS)
        .expect("the descriptors were made by our own build");
    let app = Arc::new(App {
        live: Live::new(core.clone(), "rest.").beginning_with(settings),
        limits: limits::Limits::default(),
        turns: Arc::new(Semaphore::new(config.concurrency_max)),
        watchers: Arc::new(Semaphore::new(config.watchers_max)),
        drain: CancellationToken::new(),
        spans: Spans::start(config.traces.clone(), "postern-rest"),
        config,
        core,
        contract,
    });
    let mut router = v1::router(&app)
        .merge(legacy::router(&app))
        .merge(postal::router(&app))
        .merge(health::router(&app))
        .merge(docs::router(&app));
    if app.config.dashboard {
        router = router.merge(dashboard::router(&app));
    }
    if app.config.inbox {
        router = router.merge(inbox::router(&app));
    }
    // Compressed bodies are unpacked as they are read, so the body limit counts what comes out.
    let unpack = ServiceBuilder::new().layer(RequestDecompressionLayer::new()).layer(
        MapRequestLayer::new(|request: Request<DecompressionBody<Body>>| request.map(Body::new)),
    );
    let router =
        router.layer(unpack).layer(axum::middleware::from_fn_with_state(app.clone(), edge::edge));
    // Outermost, so that pages can read every refusal as well. Without origins, OPTIONS stays what
    // it is for every other client.
    let router = match app.config.cors_origins.as_slice() {
        [] => router,
        origins => router.layer(cors(origins)),
    };
    let metrics = metrics::Metrics::new();
    let counted = axum::middleware::from_fn_with_state(metrics.clone(), metrics::count);
    Gateway { app, router: router.layer(counted), metrics, certificate: None }
}

/// Pages of the listed origins may call the API, and nothing else here.
fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let origins = origins.to_vec();
    let allowed = move |origin: &HeaderValue, parts: &Parts| {
        let path = parts.uri.path();
        let api = path.starts_with("/v1/") || path.starts_with("/api/v1/");
        api && origins.contains(origin)
    };
    let exposed = [
        "request-id",
        "x-request-id",
        "location",
        "etag",
        "retry-after",
        "idempotency-key",
        "idempotency-replayed",
        "idempotency-expire-time",
        "traceresponse",
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "postern-version",
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::HEAD,
        ])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.map(HeaderName::from_static))
        .max_age(Duration::from_secs(600))
}

impl Gateway {
    /// Speaks TLS with this certificate. Fails when it cannot be used.
    pub fn secured(mut self, files: Option<CertFiles>) -> Result<Self, TlsError> {
        self.certificate = files.map(CertStore::open).transpose()?;
        Ok(self)
    }

    /// Shows how this gateway is, and what it counts.
    pub fn observe(&self, ops: &mut postern_kit::ops::Ops) {
        self.metrics.register(ops.registry());
        ops.certificates("rest", self.certificate.as_slice());
        ops.check_core(&self.app.core);
    }

    /// The service itself, for tests that need no socket.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Serves until `stop`, then drains: requests under way finish, event streams end.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let spans = self.app.spans.clone();
        serve::serve(self.app, self.router, self.certificate, listener, stop).await;
        spans.stop().await;
    }
}
