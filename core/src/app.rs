//! Puts the core together: opens the store, wires the parts, starts and stops them in order.
//!
//! Start: store, registration, reaping, worker, port. Stop: streams end and new calls are refused,
//! attempts under way finish, leases go back. A crash skips the stop; the reaper makes up for it.

mod alarms;
mod first;
mod groups;
mod health;
mod notify;
mod postal;
#[cfg(test)]
mod alarm_tests;
#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use postern_kit::clock::Clock;
use postern_kit::in_process::{CoreChannel, Local};
use postern_kit::ops::Ops;
use postern_kit::spans::Spans;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::{Router, TcpIncoming};
use uuid::Uuid;

use self::alarms::alarms;
pub use self::first::{FirstError, FirstOperator};
use self::groups::{intake, lab};
use self::notify::Notifying;
use self::postal::{hook, tell, watch};
use crate::alarm::Alarms;
use crate::ams::AmsError;
use crate::config::{CoreConfig, StoreConfig};
use crate::directory::Directory;
use crate::domain;
use crate::metrics::{self, Sources};
use crate::notice::Notices;
use crate::outgoing;
use crate::rpc::auth::Gate;
use crate::rpc::check_password::Checker;
use crate::rpc::login::Logins;
use crate::rpc::page::Pages;
use crate::rpc::session::Sessions;
use crate::rpc::system::Facts;
use crate::rpc::{Context, server};
use crate::store::embedded::{self, Embedded};
use crate::store::postgres::{self, Postgres};
use crate::store::{self, Replicated, Stores};
use crate::transport::{self, Postal};
use crate::uses::Uses;
use crate::worker::keeper::{Keeper, NODE_TTL};
use crate::worker::{self, Worker};

/// The core could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The embedded store.
    #[error(transparent)]
    Embedded(#[from] embedded::OpenError),
    /// PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The transport.
    #[error(transparent)]
    Transport(#[from] transport::SetupError),
    /// The client of AMS.
    #[error(transparent)]
    Ams(#[from] AmsError),
    /// The client that posts webhooks.
    #[error("webhooks cannot be posted: {0}")]
    Outgoing(#[from] outgoing::Failed),
    /// Reflection cannot read the contract.
    #[error("the contract cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The core, ready to run.
pub struct Core {
    context: Context,
    services: Routes,
    health: tonic_health::server::HealthReporter,
    worker: Worker,
    keeper: Keeper,
    notifying: Notifying,
    notices: Notices,
    alarms: Alarms,
    postal: Option<Arc<Postal>>,
    replica: Option<Arc<Replicated>>,
    config: CoreConfig,
}

impl Core {
    /// Opens the store and wires everything. Nothing is delivered and no port is open yet.
    pub async fn build(config: CoreConfig) -> Result<Self, BuildError> {
        Self::build_at(config, Clock::System).await
    }

    async fn build_at(config: CoreConfig, clock: Clock) -> Result<Self, BuildError> {
        let (uses, node) = (Arc::<Uses>::default(), Uuid::now_v7());
        let spans = Spans::start(config.traces.clone(), "postern-core");
        let stores = open(&config.store).await?;
        let loop_ends = worker::handle();
        let directory =
            Arc::new(Directory::load(stores.db.clone(), config.settings.clone()).await?);
        let keeper = Keeper {
            queue: stores.queue.clone(),
            db: stores.db.clone(),
            directory: directory.clone(),
            node,
            clock: clock.clone(),
            worker: loop_ends.0.clone(),
            uses: uses.clone(),
        };
        reap_at_start(&keeper, &config.store).await?;
        keeper.register().await?;
        let to_postal = |_: &_| Postal::new(&config.postal, directory.clone()).map(Arc::new);
        let postal = config.postal.api.as_ref().map(to_postal).transpose()?;
        let metrics = loop_ends.0.metrics.clone();
        let lab = lab(&config, &stores, &keeper, postal.clone(), spans.clone())?;
        let intake = intake(&config, &stores, &keeper);
        let gate = gate(&config, &directory, uses, &clock);
        let hook = Arc::new(hook(&config, &stores, &directory, &clock, &metrics));
        let context = Context {
            gate: Arc::new(gate),
            intake: Arc::new(intake),
            directory,
            queue: stores.queue.clone(),
            tracking: stores.tracking.clone(),
            hook,
            db: stores.db.clone(),
            reads: stores.reads.clone(),
            checker: Checker::default(),
            logins: Logins::new(config.limiter.clone()),
            domain_checker: Arc::new(domain_checker(&config)?),
            pages: Arc::new(Pages::new(config.gateway_token.reveal())),
            clock,
            spans,
            draining: CancellationToken::new(),
        };
        let notices = notices(&context, &config);
        let (notifying, posting) = Notifying::new(&context, &config, node)?;
        let facts = facts(&context, &config, postal.as_deref(), stores.replica.clone());
        let alarms = alarms(&context, &config, &facts, (&lab, &notifying));
        let (services, health) =
            server::services(context.clone(), posting, facts, config.limiter.clone()).await?;
        let replica = stores.replica;
        Ok(Self {
            context,
            services,
            health,
            worker: Worker::new(Arc::new(lab), node, loop_ends),
            keeper,
            postal,
            notifying,
            notices,
            alarms,
            replica,
            config,
        })
    }

    /// Where mail goes, in words.
    pub fn transports(&self) -> String {
        self.context.intake.transports()
    }

    /// The way to this core for gateways in the same process. They have to be done before it stops.
    pub fn channel(&self) -> CoreChannel {
        CoreChannel::Local(Local::new(self.services.clone()))
    }

    /// Shows how this core is, and what it counts.
    pub fn observe(&self, ops: &mut Ops) {
        let context = &self.context;
        let sources = Sources {
            queue: context.queue.clone(),
            db: context.db.clone(),
            directory: context.directory.clone(),
            clock: context.clock.clone(),
            postal: self.postal.as_deref().map(Postal::condition),
            replica: self.replica.clone(),
        };
        metrics::observe(ops, &context.intake.worker.metrics, sources);
    }

    /// Serves until `stop`, then drains.
    pub async fn run(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let Self {
            context,
            services,
            health,
            worker,
            keeper,
            postal,
            notifying,
            notices,
            alarms,
            replica,
            config,
        } = self;
        if let Some(replica) = replica {
            tokio::spawn(replica.follow(stop.clone()));
        }
        let noticing = tokio::spawn(notices.run(stop.clone()));
        let alarming = tokio::spawn(alarms.run(stop.clone()));
        let notifying = tokio::spawn(notifying.run(stop.clone()));
        let follower = context.directory.clone();
        let follow = tokio::spawn({
            let stop = stop.clone();
            async move { follower.follow(stop).await }
        });
        let keeper = Arc::new(keeper);
        // The node lives until its last attempt has ended, or others would take it for dead.
        let emptied = CancellationToken::new();
        let keeping = tokio::spawn(keeper.clone().run(stop.clone()));
        let beating = tokio::spawn(keeper.beat(emptied.clone()));
        // The worker goes on until the doors are closed, so nothing accepted is left behind.
        let doors_closed = CancellationToken::new();
        let working = tokio::spawn(worker.run(doors_closed.clone(), config.drain));
        let watching = tokio::spawn(watch(context.clone(), config.postal.clone(), stop.clone()));
        let telling = tokio::spawn(tell(postal, health.clone(), stop.clone()));
        let draining = context.draining.clone();
        let metrics = context.intake.worker.metrics.clone();
        let looking = health::tell(metrics, config.stall_time, health, stop.clone());
        let stopping = async move {
            looking.await;
            draining.cancel();
        };
        let announce = tokio::spawn(stopping);
        let tcp = TcpIncoming::from(listener).with_nodelay(Some(true));
        let router = server::router(services);
        let served = serve(router, tcp, stop.clone(), config.drain).await;
        stop.cancel();
        doors_closed.cancel();
        let _ended = working.await;
        // What is being posted is this node's for as long as it lives.
        let _ended = notifying.await;
        emptied.cancel();
        let _ended = tokio::join!(beating, keeping, follow, announce, watching, telling);
        let _ended = tokio::join!(noticing, alarming);
        if let Err(error) = context.gate.uses.flush(&*context.db).await {
            tracing::warn!(%error, "the last uses of credentials are not written");
        }
        context.spans.stop().await;
        served
    }
}

/// Serves until `stop`, then waits up to `drain` for calls under way.
async fn serve(
    router: Router,
    tcp: TcpIncoming,
    stop: CancellationToken,
    drain: Duration,
) -> Result<(), tonic::transport::Error> {
    let served = router.serve_with_incoming_shutdown(tcp, stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = served => served,
        () = overdue => {
            tracing::warn!("calls still under way at the end of the drain time");
            Ok(())
        }
    }
}

async fn open(config: &StoreConfig) -> Result<Stores, BuildError> {
    Ok(match config {
        StoreConfig::Embedded(folder) => Embedded::open(folder)?,
        StoreConfig::Postgres(config) => Postgres::open(config).await?,
    })
}

/// The embedded store is locked, so whoever held leases in it is gone; on PostgreSQL others may
/// live.
async fn reap_at_start(keeper: &Keeper, config: &StoreConfig) -> Result<(), store::Error> {
    let freed = match config {
        StoreConfig::Embedded(_) => keeper.reap(Duration::ZERO).await?,
        StoreConfig::Postgres(_) => keeper.reap(NODE_TTL).await?,
    };
    if freed > 0 {
        tracing::info!(count = freed, "took up deliveries that were left behind");
    }
    Ok(())
}

fn gate(config: &CoreConfig, directory: &Arc<Directory>, uses: Arc<Uses>, clock: &Clock) -> Gate {
    Gate {
        directory: directory.clone(),
        gateway_token: config.gateway_token.clone(),
        sessions: Sessions::new(config.gateway_token.reveal()),
        inbox_open: config.inbox_open,
        uses,
        clock: clock.clone(),
    }
}

fn notices(context: &Context, config: &CoreConfig) -> Notices {
    Notices {
        db: context.db.clone(),
        directory: context.directory.clone(),
        intake: context.intake.clone(),
        clock: context.clock.clone(),
        config: config.notices.clone(),
        done: Mutex::default(),
    }
}

fn facts(
    context: &Context,
    config: &CoreConfig,
    postal: Option<&Postal>,
    replica: Option<Arc<Replicated>>,
) -> Facts {
    Facts {
        store: match config.store {
            StoreConfig::Embedded(_) => "sqlite",
            StoreConfig::Postgres(_) => "postgresql",
        },
        start_ms: context.clock.now_ms(),
        has_ams: config.ams.is_some(),
        postal: postal.map(Postal::condition),
        replica,
    }
}

fn domain_checker(config: &CoreConfig) -> Result<domain::Checker, transport::SetupError> {
    let setup = domain::records::Setup {
        sending_addresses: config.transport.sending_addresses.clone(),
        helo_name: config.transport.helo_name.clone(),
        tracker: config.policy.tracker.clone(),
    };
    domain::Checker::new(&config.transport, setup)
}
