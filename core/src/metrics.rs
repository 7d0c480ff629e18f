//! What the core counts of its own work, and whether its loops get on.
//!
//! Counters are of this process and begin at zero after a crash. Labels have few values each: never an
//! address, a domain or an id.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use postern_kit::metrics::SECONDS;
use postern_kit::ops::Ops;
use postern_kit::progress::Progress;
use postern_proto::strict::has_method;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;

use crate::breaker::Condition;
use crate::store::queue::{Depth, Finish};
use crate::store::{Queue, Replicated};
use postern_kit::clock::Clock;

/// Labels of values that this program names.
type Named<const N: usize> = [(&'static str, &'static str); N];
/// The method of a call, from the contract, and the code of its answer.
type CallLabels = [(&'static str, String); 2];

/// What the core counts.
#[derive(Debug)]
pub struct Metrics {
    /// Asking the store for due deliveries.
    pub claims: Progress,
    /// Keeping house.
    pub house: Progress,
    /// Saying that this node lives.
    pub heartbeat: Progress,
    /// Messages stored.
    pub messages: Counter,
    /// Their recipients.
    pub recipients: Counter,
    attempts: Family<[(&'static str, String); 2], Counter>,
    attempt_time: Histogram,
    calls: Family<CallLabels, Counter>,
    call_time: Histogram,
    queue: Family<Named<1>, Gauge>,
    oldest_due: Gauge,
    replica_lag: Gauge<f64, AtomicU64>,
    breaker: Family<Named<1>, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            claims: Progress::default(),
            house: Progress::default(),
            heartbeat: Progress::default(),
            messages: Counter::default(),
            recipients: Counter::default(),
            attempts: Family::default(),
            attempt_time: Histogram::new(SECONDS),
            calls: Family::default(),
            call_time: Histogram::new(SECONDS),
            queue: Family::default(),
            oldest_due: Gauge::default(),
            replica_lag: Gauge::default(),
            breaker: Family::default(),
        }
    }
}

impl Metrics {
    /// Counts a recorded result and how long the attempt took.
    pub fn attempt_ended(&self, finish: &Finish, took: Duration) {
        let event = finish.event.kind.name().to_owned();
        let labels = [("event", event), ("reason", finish.event.reason.clone())];
        self.attempts.get_or_create(&labels).inc();
        self.attempt_time.observe(took.as_secs_f64());
    }

    /// Counts an answered call. A method that is not in the contract was named by the caller, who may
    /// name any number of them, and is no label.
    pub fn called(&self, path: &str, code: tonic::Code, took: Duration) {
        let method = if has_method(path) { path.trim_start_matches('/') } else { "other" };
        let method = method.to_owned();
        let labels = [("method", method), ("code", format!("{code:?}"))];
        self.calls.get_or_create(&labels).inc();
        self.call_time.observe(took.as_secs_f64());
    }

    fn show(&self, depth: &Depth, now_ms: i64) {
        let states = [
            ("scheduled", depth.scheduled),
            ("queued", depth.queued),
            ("sending", depth.sending),
            ("deferred", depth.deferred),
        ];
        for (state, count) in states {
            self.queue.get_or_create(&[("state", state)]).set(count);
        }
        let age_ms = depth.oldest_due_ms.map_or(0, |due_ms| (now_ms - due_ms).max(0));
        self.oldest_due.set(age_ms / 1000);
    }

    fn register(&self, registry: &mut Registry) {
        let mut counter = |name, help, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("postern_messages_accepted", "Messages stored by this process", &self.messages);
        counter("postern_recipients_accepted", "Recipients of those messages", &self.recipients);
        let help = "Ended attempts and deliveries by what was recorded and why";
        registry.register("postern_attempts", help, self.attempts.clone());
        let help = "Time from taking up a delivery until its result was recorded";
        let time = self.attempt_time.clone();
        registry.register_with_unit("postern_attempt_duration", help, Unit::Seconds, time);
        registry.register("postern_grpc_requests", "Answered calls", self.calls.clone());
        let help = "Time until a call was answered, or its stream began";
        let time = self.call_time.clone();
        registry.register_with_unit("postern_grpc_request_duration", help, Unit::Seconds, time);
        let help = "Deliveries of the whole installation that have not ended";
        registry.register("postern_queue_deliveries", help, self.queue.clone());
        let help = "How long the oldest free delivery has been due";
        let age = self.oldest_due.clone();
        registry.register_with_unit("postern_queue_oldest_due_age", help, Unit::Seconds, age);
        let help = "1 while calls of the transport fail and its mail waits";
        registry.register("postern_transport_breaker_open", help, self.breaker.clone());
    }
}

/// Shows what the core counts, and asks the store how long the queue is.
pub(crate) fn observe(
    ops: &mut Ops,
    metrics: &Arc<Metrics>,
    queue: &Arc<dyn Queue>,
    clock: &Clock,
    postal: Option<watch::Receiver<Condition>>,
    replica: Option<Arc<Replicated>>,
) {
    metrics.register(ops.registry());
    if replica.is_some() {
        let help = "How far the replica is behind; infinite when that is not known";
        let lag = metrics.replica_lag.clone();
        ops.registry().register_with_unit("postern_replica_lag", help, Unit::Seconds, lag);
    }
    ops.part("worker", metrics, |metrics| &metrics.claims);
    ops.part("keeper", metrics, |metrics| &metrics.house);
    ops.part("heartbeat", metrics, |metrics| &metrics.heartbeat);
    let asked = queue.clone();
    ops.check("store", move || {
        let queue = asked.clone();
        async move { queue.next_due().await.is_ok() }
    });
    let (queue, metrics, clock) = (queue.clone(), metrics.clone(), clock.clone());
    ops.refresh(move || {
        let (queue, metrics, clock) = (queue.clone(), metrics.clone(), clock.clone());
        if let Some(postal) = &postal {
            let is_open = *postal.borrow() != Condition::Closed;
            metrics.breaker.get_or_create(&[("transport", "postal")]).set(is_open.into());
        }
        if let Some(replica) = &replica {
            let lag = replica.lag().map_or(f64::INFINITY, |lag| lag.as_secs_f64());
            metrics.replica_lag.set(lag);
        }
        async move {
            match queue.depth().await {
                Ok(depth) => metrics.show(&depth, clock.now_ms()),
                Err(error) => tracing::debug!(%error, "the queue was not measured"),
            }
        }
    });
}
