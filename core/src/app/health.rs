//! Tells through the health service when a loop hangs: the services that need it do not serve, so
//! gateways and load balancers go to another core. Loops that get on again make them serve again.
//!
//! Looks at what the loops note down; a crash has nothing to lose.

use std::sync::Arc;
use std::time::Duration;

use postern_kit::progress::Stalls;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::metrics::Metrics;

/// How often the loops are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The core as a whole.
const ALL: &str = "";
const MESSAGES: &str = "postern.v1.MessageService";
const QUEUE: &str = "postern.v1.QueueService";
const WEBHOOKS: &str = "postern.v1.WebhookService";
const CAMPAIGNS: &str = "postern.v1.CampaignService";
/// Each service whose health is told.
const SERVICES: [&str; 5] = [ALL, MESSAGES, QUEUE, WEBHOOKS, CAMPAIGNS];

/// Tells until told to stop, and then that nothing more is to be sent here.
pub(super) async fn tell(
    metrics: Arc<Metrics>,
    stall_time: Duration,
    health: HealthReporter,
    stop: CancellationToken,
) {
    let mut told = [None; SERVICES.len()];
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(looks.tick()).await.is_some() {
        let hanging = hanging(&metrics, stall_time);
        for (service, told) in SERVICES.into_iter().zip(&mut told) {
            let by = hanging.iter().find(|(_, services)| services.contains(&service));
            let serves = by.is_none();
            if *told == Some(serves) {
                continue;
            }
            let status = match by {
                None => ServingStatus::Serving,
                Some((part, _)) => {
                    tracing::error!(part, service, "does not serve: a loop hangs");
                    ServingStatus::NotServing
                }
            };
            health.set_service_status(service, status).await;
            if serves && told.is_some() {
                tracing::info!(service, "serves again");
            }
            *told = Some(serves);
        }
    }
    health.set_service_status(ALL, ServingStatus::NotServing).await;
}

/// The parts that hang, and the services that need them.
fn hanging(metrics: &Metrics, limit: Duration) -> Vec<(&'static str, &'static [&'static str])> {
    let parts: [(&str, &dyn Stalls, &[&str]); 6] = [
        ("worker", &metrics.claims, &[ALL, MESSAGES]),
        ("groups", &*metrics.groups, &[ALL, MESSAGES]),
        // Others take this node's deliveries for themselves.
        ("heartbeat", &metrics.heartbeat, &[ALL, MESSAGES]),
        ("keeper", &metrics.house, &[QUEUE]),
        ("webhooks", &metrics.webhooks, &[WEBHOOKS]),
        ("ams", &metrics.ams, &[CAMPAIGNS]),
    ];
    let hangs = |(part, stalls, services): (_, &dyn Stalls, _)| {
        (stalls.stalled() >= limit).then_some((part, services))
    };
    parts.into_iter().filter_map(hangs).collect()
}
