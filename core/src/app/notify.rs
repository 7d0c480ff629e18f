//! What follows the event feed: campaigns, AMS and webhooks. Each goes on from what the store holds, so a
//! crash only delays it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::BuildError;
use crate::ams::{Ams, AmsError, Channel};
use crate::campaign::Watcher;
use crate::config::CoreConfig;
use crate::outgoing::Outgoing;
use crate::rpc::Context;
use crate::store;
use crate::store::group::{Group, GroupLimits};
use crate::transport::dns::{Dns, Resolver};
use crate::webhook::{Posting, Webhooks};

/// What webhook receivers see.
const USER_AGENT: &str = concat!("Postern-Webhooks/", env!("CARGO_PKG_VERSION"));

/// What follows the event feed.
pub(super) struct Notifying {
    campaigns: Watcher,
    ams: Option<Channel>,
    pub(super) webhooks: Webhooks,
}

impl Notifying {
    /// All three, and what the services need for webhooks.
    pub(super) fn new(
        context: &Context,
        config: &CoreConfig,
        node: Uuid,
    ) -> Result<(Self, Posting), BuildError> {
        let (campaigns, ams) = (watcher(context, config), channel(context, config, node)?);
        let posting = posting(context, config, node)?;
        let webhooks = Webhooks::new(posting.clone());
        Ok((Self { campaigns, ams, webhooks }, posting))
    }

    /// Why AMS could not be told the last time, whenever that changes; none without AMS.
    pub(super) fn ams_away(&self) -> Option<watch::Receiver<Option<String>>> {
        self.ams.as_ref().map(|channel| channel.away.subscribe())
    }

    /// Runs until told to stop, and until what was being told is told.
    pub(super) async fn run(self, stop: CancellationToken) {
        let ams = async {
            if let Some(channel) = self.ams {
                channel.run(stop.clone()).await;
            }
        };
        tokio::join!(self.campaigns.run(stop.clone()), ams, self.webhooks.run(stop.clone()));
    }
}

fn watcher(context: &Context, config: &CoreConfig) -> Watcher {
    Watcher {
        db: context.db.clone(),
        directory: context.directory.clone(),
        clock: context.clock.clone(),
        has_ams: config.ams.is_some(),
    }
}

fn posting(context: &Context, config: &CoreConfig, node: Uuid) -> Result<Posting, BuildError> {
    let dns: Arc<dyn Dns> = Arc::new(Resolver::new(&config.transport)?);
    let outgoing = Outgoing::new(dns, config.webhooks_may_be_private, USER_AGENT)?;
    let limits = GroupLimits { weight_max: 200, parallel: 2, waiting_max: 4096 };
    let (db, metrics) = (context.db.clone(), context.intake.worker.metrics.clone());
    let end = move |ended: Arc<Vec<_>>| {
        let db = db.clone();
        async move {
            store::webhook_attempts::end(&*db, &ended).await?;
            Ok(vec![(); ended.len()])
        }
    };
    Ok(Posting {
        db: context.db.clone(),
        directory: context.directory.clone(),
        outgoing,
        end: Group::start(limits, |_| 1, metrics.groups.clone(), end),
        metrics,
        spans: context.spans.clone(),
        node,
        clock: context.clock.clone(),
        server_id: config.transport.helo_name.clone(),
        changed: Arc::default(),
    })
}

fn channel(
    context: &Context,
    config: &CoreConfig,
    node: Uuid,
) -> Result<Option<Channel>, AmsError> {
    let Some(ams) = config.ams.clone() else { return Ok(None) };
    Ok(Some(Channel {
        ams: Ams::new(ams)?,
        db: context.db.clone(),
        directory: context.directory.clone(),
        node,
        clock: context.clock.clone(),
        metrics: context.intake.worker.metrics.clone(),
        away: watch::Sender::default(),
    }))
}
