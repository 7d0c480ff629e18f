//! The tracking edge: opens, clicks and unsubscribes. It answers signed links without asking anybody,
//! writes what happened into its journal before the answer leaves, and tells the core in batches.
//!
//! The way of a request: [`serve`] → [`limits`] → [`visitor`] (who asks) → [`hits`], [`old`] or
//! [`subscription`] → [`verdict`] (who was behind it) → [`journal`] → [`answer`]. Behind that,
//! [`ship`] tells the core.
//!
//! A crash loses no hit that was answered: the journal is in the kernel's hands by then, and is
//! read again from where the core last acknowledged.

pub mod alone;
mod answer;
mod config;
mod health;
mod hits;
mod journal;
mod limits;
mod metrics;
mod old;
mod pages;
mod resolve;
mod serve;
mod ship;
mod subscription;
mod verdict;
mod visitor;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use postern_kit::core_client::CoreClient;
use postern_kit::live::Live;
use postern_kit::presence;
use postern_kit::tls::CertStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::TrackerConfig;

use crate::journal::{Journal, Reader};
use crate::limits::Limits;
use crate::resolve::Resolver;

/// What all requests share.
pub(crate) struct App {
    pub(crate) config: TrackerConfig,
    pub(crate) live: Live,
    pub(crate) journal: Journal,
    pub(crate) limits: Limits,
    pub(crate) hits: metrics::Hits,
    pub(crate) resolver: Resolver,
    pub(crate) shipping: ship::Standing,
    pub(crate) certificates: Vec<Arc<CertStore>>,
}

/// The edge, ready to serve.
pub struct Edge {
    app: Arc<App>,
    core: CoreClient,
    reader: Reader,
}

impl Edge {
    /// Opens the journal and reads the certificates. Fails when the journal's folder cannot be used or
    /// belongs to another edge, or a certificate cannot be used.
    pub fn build(config: TrackerConfig, core: CoreClient) -> anyhow::Result<Self> {
        let (journal, reader) = Journal::open(&config.data)?;
        let stores = config.certificates.iter().cloned().map(CertStore::open);
        let certificates = stores.collect::<Result<_, _>>()?;
        let live = Live::new(core.clone(), "tracking.");
        let app = App {
            live,
            journal,
            limits: Limits::default(),
            hits: metrics::Hits::default(),
            resolver: Resolver::new(core.clone(), config.core_timeout),
            shipping: ship::Standing::default(),
            certificates,
            config,
        };
        Ok(Self { app: Arc::new(app), core, reader })
    }

    /// Shows how this edge is, and what it counts. It is ready whatever has become of the core: it answers
    /// recipients in any case.
    pub fn observe(&self, ops: &mut postern_kit::ops::Ops) {
        self.app.hits.register(ops.registry());
        ops.part("shipper", &self.app, |app| app.shipping.progress());
        let figures = metrics::Figures(self.app.clone());
        ops.registry().register_collector(Box::new(figures));
        ops.certificates("tracker", &self.app.certificates);
    }

    /// Serves until `stop`; then lets requests under way finish, tells the core what is left if it
    /// can be reached at once, and syncs the journal.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let Self { app, core, reader } = self;
        let answered = CancellationToken::new();
        let (pausing, live) = (app.clone(), app.live.clone());
        let syncing = tokio::spawn({
            let (app, answered) = (app.clone(), answered.clone());
            async move {
                app.journal.keep_synced(|| hits::sync_pause(&pausing.live.now()), answered).await
            }
        });
        let following = tokio::spawn(live.follow(answered.clone()));
        let told = app.clone();
        let how = move || health::condition(&told);
        let reporting = tokio::spawn(presence::report(core.clone(), how, answered.clone()));
        let shipping = tokio::spawn(ship::run(app.clone(), core, reader, answered.clone()));
        serve::serve(app.clone(), router(app), listener, stop).await;
        answered.cancel();
        let _ended = tokio::join!(syncing, following, reporting, shipping);
    }
}

/// Every path there is.
fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/o/{file}", get(hits::open))
        .route("/c/{token}", get(hits::click))
        .route("/u/{token}", get(subscription::show).post(subscription::change))
        .route("/track/o", get(old::open))
        .route("/track/c", get(old::click))
        .route("/t/o/{file}", get(old::token_open))
        .route("/t/c/{token}", get(old::token_click))
        .route("/go/{slug}", get(old::go))
        .route("/unsubscribe", get(old::show).post(old::change))
        .route("/robots.txt", get(pages::robots))
        .route("/style.css", get(pages::style))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .fallback(pages::nothing_here)
        .with_state(app)
}
