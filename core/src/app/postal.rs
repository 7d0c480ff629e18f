//! What the core does for mail at Postal besides handing it over. Goes on from what the store holds, so
//! a crash only delays it.

use std::sync::Arc;

use postern_kit::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::breaker::Condition;
use crate::config::CoreConfig;
use crate::directory::Directory;
use crate::metrics::Metrics;
use crate::postal::api::Api;
use crate::postal::config::PostalConfig;
use crate::postal::hook::{Hook, Stored};
use crate::postal::watch::Watch;
use crate::rpc::Context;
use crate::store::Stores;
use crate::transport::Postal;

/// What the transport is called in the health service.
const POSTAL_HEALTH: &str = "transport.postal";

/// Takes its webhooks in.
pub(super) fn hook(
    config: &CoreConfig,
    stores: &Stores,
    directory: &Arc<Directory>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Hook {
    let stored = Stored {
        reports: stores.reports.clone(),
        tracking: stores.tracking.clone(),
        db: stores.db.clone(),
        directory: directory.clone(),
        metrics: metrics.clone(),
    };
    Hook::new(&config.postal, stored, clock.clone())
}

/// Tells through the health service whether mail for Postal goes or waits.
pub(super) async fn tell(
    postal: Option<Arc<Postal>>,
    health: tonic_health::server::HealthReporter,
    stop: CancellationToken,
) {
    let Some(postal) = postal else { return };
    let mut condition = postal.condition();
    loop {
        let status = match *condition.borrow_and_update() {
            Condition::Closed => tonic_health::ServingStatus::Serving,
            Condition::Open | Condition::HalfOpen => tonic_health::ServingStatus::NotServing,
        };
        health.set_service_status(POSTAL_HEALTH, status).await;
        let changed = stop.run_until_cancelled(condition.changed()).await;
        if !matches!(changed, Some(Ok(()))) {
            return;
        }
    }
}

/// Looks after mail at Postal, where there is one.
pub(super) async fn watch(context: Context, config: PostalConfig, stop: CancellationToken) {
    let hook = context.hook.clone();
    if config.api.is_none() && !hook.has_keys() {
        return;
    }
    let settings = context.directory.in_force();
    let api = config.api.as_ref().and_then(|api| Api::new(api, settings.clone()));
    Watch { hook, db: context.db, api, settings, clock: context.clock }.run(stop).await;
}
