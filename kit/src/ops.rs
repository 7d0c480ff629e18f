//! The port for those who run the system: `/livez` (restart me when this fails), `/readyz` (send me
//! traffic while this succeeds) and `/metrics`. It has no login and shows no mail, so it belongs on
//! loopback or a network of the operator's own.
//!
//! No state but counters; a crash closes the port, which is noticed as well.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codegen::http::{HeaderValue, Request, Response, StatusCode, header};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::certificates::Certificates;
use crate::core_client::CoreClient;
use crate::env::{Env, EnvError};
use crate::http_server::{self, Bounds};
use crate::listen::{ListenAddr, ListenError};
use crate::metrics;
use crate::progress::Stalls;
use crate::request_body::RequestBody;
use crate::tls::CertStore;

/// The port that OpenTelemetry's exporter for Prometheus has.
const DEFAULT: &str = "127.0.0.1:9464";
/// Probes and one or two collectors.
const CONNECTIONS_MAX: usize = 64;
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long one check of readiness may take.
const CHECK_TIME_MAX: Duration = Duration::from_secs(3);
/// The default of `POSTERN_STALL_TIME`.
const STALL_TIME: Duration = Duration::from_secs(120);

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// Asks something each time it is called.
type Ask<T> = Box<dyn Fn() -> Later<T> + Send + Sync>;

/// The port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// A variable cannot be read.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// The port is taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// How long a part may not get on before it counts as stuck.
pub fn stall_time(env: &Env) -> Result<Duration, EnvError> {
    env.duration("POSTERN_STALL_TIME", STALL_TIME)
}

/// What parts of a process say of themselves. They are added first; then it is served.
pub struct Ops {
    listener: Option<TcpListener>,
    board: Board,
}

struct Board {
    registry: Registry,
    parts: Vec<(&'static str, Ask<Duration>)>,
    checks: Vec<(&'static str, Ask<bool>)>,
    refreshers: Vec<Ask<()>>,
    certificates: Certificates,
    stall_time: Duration,
    stop: CancellationToken,
}

impl Ops {
    /// Opens the port of `POSTERN_METRICS_LISTEN`, unless it is `off`. `data` is the folder whose disk
    /// and last backup are shown; backups made by others are found by `POSTERN_BACKUP_STATUS`.
    pub async fn open(env: &Env, data: Option<PathBuf>) -> Result<Self, OpsError> {
        let name = "POSTERN_METRICS_LISTEN";
        let listener = match env.text(name, DEFAULT).as_str() {
            "off" => None,
            _ => Some(ListenAddr::from_env(env, name, DEFAULT)?.bind().await?),
        };
        if let Some(ops) = listener.as_ref().and_then(|listener| listener.local_addr().ok()) {
            tracing::info!(%ops, "health and metrics listen");
        }
        let mut registry = Registry::default();
        let named = env.get("POSTERN_BACKUP_STATUS").map(Path::new);
        let backup = metrics::backup_status(named, data.as_deref());
        metrics::register(&mut registry, data, backup);
        let certificates = Certificates::default();
        registry.register_collector(Box::new(certificates.clone()));
        let board = Board {
            certificates,
            registry,
            parts: Vec::new(),
            checks: Vec::new(),
            refreshers: Vec::new(),
            stall_time: stall_time(env)?,
            stop: CancellationToken::new(),
        };
        Ok(Self { listener, board })
    }

    /// Where metrics are registered.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.board.registry
    }

    /// A part that must get on; `/livez` names it when it does not. `progress` picks its own out of
    /// what it shares.
    pub fn part<T, S, P>(&mut self, name: &'static str, shared: &Arc<T>, progress: P)
    where
        T: Send + Sync + 'static,
        S: Stalls,
        P: Fn(&T) -> &S + Send + Sync + 'static,
    {
        let shared = shared.clone();
        let ask = move || -> Later<Duration> {
            let stalled = progress(&shared).stalled();
            Box::pin(async move { stalled })
        };
        self.board.parts.push((name, Box::new(ask)));
    }

    /// Something without which no traffic can be taken.
    pub fn check<A, F>(&mut self, name: &'static str, ask: A)
    where
        A: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = bool> + Send + 'static,
    {
        self.board.checks.push((name, Box::new(move || Box::pin(ask()))));
    }

    /// The core that a gateway needs.
    pub fn check_core(&mut self, core: &CoreClient) {
        let channel = core.channel.clone();
        self.check("core", move || {
            let mut client = HealthClient::new(channel.clone());
            async move {
                let answer = client.check(HealthCheckRequest::default()).await;
                answer.is_ok_and(|is| is.into_inner().status() == ServingStatus::Serving)
            }
        });
    }

    /// The certificates of a listener. One that has ended makes nobody unready, since no other process
    /// would have a better one; it is named.
    pub fn certificates(&mut self, listener: &'static str, stores: &[Arc<CertStore>]) {
        self.board.certificates.add(listener, stores);
    }

    /// Brings figures up to date before they are shown.
    pub fn refresh<A, F>(&mut self, ask: A)
    where
        A: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.board.refreshers.push(Box::new(move || Box::pin(ask())));
    }

    /// Serves in the background. While the process drains after `draining` it is alive and not ready; the
    /// port is closed when the process ends.
    pub fn serve(mut self, draining: CancellationToken) {
        let Some(listener) = self.listener else { return };
        self.board.stop = draining;
        let board = Arc::new(self.board);
        let service = tower::service_fn(move |request: Request<RequestBody>| {
            let board = board.clone();
            async move { Ok::<_, Infallible>(board.answer(&request).await) }
        });
        let bounds = Bounds {
            connections_max: CONNECTIONS_MAX,
            header_timeout: HEADER_TIME_MAX,
            drain_timeout: Duration::ZERO,
        };
        tokio::spawn(http_server::serve(listener, None, service, bounds, CancellationToken::new()));
    }
}

impl Board {
    async fn answer<B>(&self, request: &Request<B>) -> Response<String> {
        match request.uri().path() {
            "/livez" => self.alive().await,
            "/readyz" => self.ready().await,
            "/metrics" => self.metrics().await,
            _ => answer(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n".into()),
        }
    }

    async fn alive(&self) -> Response<String> {
        let mut text = String::new();
        for (name, stalled) in &self.parts {
            let time = stalled().await;
            if time >= self.stall_time {
                text += &format!("{name} has not got on for {} s\n", time.as_secs());
            }
        }
        judged(text)
    }

    async fn ready(&self) -> Response<String> {
        let mut text = String::new();
        if self.stop.is_cancelled() {
            text += "draining\n";
        }
        for (name, check) in &self.checks {
            if !matches!(tokio::time::timeout(CHECK_TIME_MAX, check()).await, Ok(true)) {
                text += &format!("{name} does not serve\n");
            }
        }
        match text.is_empty() {
            true => {
                let ended = self.certificates.expired(Timestamp::now());
                let lines = ended.iter().fold("ok\n".to_owned(), |text, line| text + line + "\n");
                answer(StatusCode::OK, lines)
            }
            false => judged(text),
        }
    }

    async fn metrics(&self) -> Response<String> {
        for refresh in &self.refreshers {
            if tokio::time::timeout(CHECK_TIME_MAX, refresh()).await.is_err() {
                tracing::debug!("figures could not be read in time; the last ones are shown");
            }
        }
        let mut text = String::new();
        for (name, stalled) in &self.parts {
            // Ahead of the registry's own, which ends with the mark of the end.
            if text.is_empty() {
                text += "# HELP postern_part_stalled_seconds How long a part has not got on.\n";
                text += "# TYPE postern_part_stalled_seconds gauge\n";
                text += "# UNIT postern_part_stalled_seconds seconds\n";
            }
            let seconds = stalled().await.as_secs_f64();
            if writeln!(text, "postern_part_stalled_seconds{{part=\"{name}\"}} {seconds}").is_err()
            {
                return answer(StatusCode::INTERNAL_SERVER_ERROR, String::new());
            }
        }
        if encode(&mut text, &self.registry).is_err() {
            return answer(StatusCode::INTERNAL_SERVER_ERROR, String::new());
        }
        let mut response = Response::new(text);
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

/// Good when there is nothing to say.
fn judged(text: String) -> Response<String> {
    match text.is_empty() {
        true => answer(StatusCode::OK, "ok\n".to_owned()),
        false => answer(StatusCode::SERVICE_UNAVAILABLE, text),
    }
}

fn answer(status: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
