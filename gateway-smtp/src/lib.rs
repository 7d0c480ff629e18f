//! The SMTP gateway: submission on 2587, 587 (STARTTLS) and 465 (implicit TLS), and the plain sink
//! of a development installation on 1025. SMTP in, `postern.v1` out.
//!
//! [`session`] is the protocol without I/O, one type for each state; [`connection`] is the thin loop
//! that moves bytes between it and a socket. A 250 after the content means that the core has
//! committed the message.
//!
//! Owns no state. A crash closes every connection; a client that got no 250 sends again. What is lost
//! is the memory of answers that never came ([`submit`]), so only then may a message come twice.

mod config;
pub mod alone;
mod connection;
mod header;
mod listener;
mod login;
mod metrics;
mod options;
mod outcome;
mod proxy;
mod reply;
mod seats;
mod session;
mod submit;
mod vendor;

use std::sync::Arc;

use jiff::Timestamp;
use postern_kit::certificates;
use postern_kit::core_client::CoreClient;
use postern_kit::limits::Limiter;
use postern_kit::spans::Spans;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{Door, Listening, SmtpConfig, TlsFiles};

use crate::login::Logins;
use crate::metrics::Metrics;
use crate::seats::Seats;
use crate::submit::Submitter;
use postern_kit::live::Live;
use postern_kit::ops::Ops;
use postern_kit::presence::{self, Condition};
use prometheus_client::metrics::gauge::Gauge;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: SmtpConfig,
    pub(crate) live: Live,
    pub(crate) seats: Seats,
    pub(crate) logins: Logins,
    pub(crate) metrics: Metrics,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) submitter: Submitter,
    pub(crate) tls: Option<Tls>,
    /// Content in memory, of all sessions.
    pub(crate) content_octets: std::sync::atomic::AtomicUsize,
}

impl Shared {
    /// How the gateway is, as operators see it.
    fn condition(&self) -> Condition {
        let store = self.tls.as_ref().map(|tls| std::slice::from_ref(&tls.store));
        let expired = store.and_then(|store| certificates::expired(store, Timestamp::now()));
        Condition {
            good: expired.is_none(),
            detail: expired.unwrap_or_else(|| format!("{} connections", self.seats.taken())),
            certificate_end: store.and_then(certificates::first_end),
        }
    }
}

/// TLS as it is offered.
pub(crate) struct Tls {
    store: Arc<postern_kit::tls::CertStore>,
    pub(crate) acceptor: tokio_rustls::TlsAcceptor,
}

/// The gateway, ready to serve.
pub struct Gateway {
    core: CoreClient,
    shared: Arc<Shared>,
}

impl Gateway {
    /// Reads the certificate and wires the parts. No port is open yet. `sink` is how mail of the
    /// plain sink reaches the core.
    pub fn build(
        config: SmtpConfig,
        core: CoreClient,
        limiter: Limiter,
    ) -> Result<Self, postern_kit::tls::TlsError> {
        let tls = match &config.tls {
            None => None,
            Some(files) => {
                let store = postern_kit::tls::CertStore::open(files.clone())?;
                let acceptor = tokio_rustls::TlsAcceptor::from(store.server_config()?);
                Some(Tls { store, acceptor })
            }
        };
        let (limiter, metrics) = (Arc::new(limiter), Metrics::default());
        let spans = Spans::start(config.traces.clone(), "postern-smtp");
        let shared = Shared {
            live: Live::new(core.clone(), "smtp."),
            seats: Seats::default(),
            logins: Logins::new(
                core.clone(),
                limiter.clone(),
                config.core_timeout,
                metrics.clone(),
            ),
            metrics,
            limiter,
            submitter: Submitter::new(core.clone(), config.core_timeout, spans),
            tls,
            content_octets: std::sync::atomic::AtomicUsize::new(0),
            config,
        };
        Ok(Self { core, shared: Arc::new(shared) })
    }

    /// Shows how this gateway is, and what it counts.
    pub fn observe(&self, ops: &mut Ops) {
        self.shared.metrics.register(ops.registry());
        let connections = Gauge::<i64>::default();
        let help = "Open connections";
        ops.registry().register("postern_smtp_connections", help, connections.clone());
        ops.check_core(&self.core);
        if let Some(tls) = &self.shared.tls {
            ops.certificates("smtp", std::slice::from_ref(&tls.store));
        }
        let shared = self.shared.clone();
        ops.refresh(move || {
            connections.set(i64::try_from(shared.seats.taken()).unwrap_or(i64::MAX));
            async {}
        });
    }

    /// Serves the listeners until `stop`; then sessions end at their next pause.
    pub async fn serve(self, listeners: Vec<(Door, TcpListener)>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        tasks.spawn(self.shared.live.clone().follow(stop.clone()));
        let shared = self.shared.clone();
        tasks.spawn(presence::report(self.core, move || shared.condition(), stop.clone()));
        if let Some(tls) = &self.shared.tls {
            tasks.spawn(tls.store.clone().watch(stop.clone()));
        }
        for (door, listener) in listeners {
            let (shared, stop, connections) = (self.shared.clone(), stop.clone(), tasks.clone());
            tasks.spawn(listener::accept(shared, door, listener, connections, stop));
        }
        stop.cancelled().await;
        if !postern_kit::shutdown::drain(&tasks, self.shared.config.drain).await {
            tracing::warn!(sessions = tasks.len(), "some sessions did not end in time");
        }
        self.shared.submitter.spans.stop().await;
    }
}
