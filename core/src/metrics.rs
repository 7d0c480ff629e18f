//! What the core counts of its own work, and whether its loops get on.
//!
//! Counters are of this process and begin at zero after a crash. Labels have few values each: never an
//! address, a domain or an id.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use postern_kit::metrics::SECONDS;
use postern_kit::ops::Ops;
use postern_kit::progress::{ManyProgress, Progress};
use postern_proto::metadata;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::strict::has_method;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;
use tonic::Code;
use tonic::codegen::http::HeaderMap;

use crate::breaker::Condition;
use crate::directory::Directory;
use crate::model::event::EventType;
use crate::store::queue::{Depth, Finish};
use crate::store::{Database, Error, Queue, Replicated, webhook_deliveries};
use postern_kit::clock::Clock;

/// Two weeks: when operators are told by mail for the first time.
const EXPIRING_MS: i64 = 14 * 86_400_000;

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
    /// Groups of the store that are being committed.
    pub groups: Arc<ManyProgress>,
    /// Collecting for webhooks, and posting them.
    pub webhooks: ManyProgress,
    /// A round of telling AMS.
    pub ams: Progress,
    messages: Family<Named<2>, Counter>,
    recipients: Counter,
    refusals: Family<Named<2>, Counter>,
    auth_failures: Family<Named<2>, Counter>,
    rate_limited: Family<Named<1>, Counter>,
    posts: Family<Named<1>, Counter>,
    attempts: Family<[(&'static str, String); 2], Counter>,
    attempt_time: Histogram,
    calls: Family<CallLabels, Counter>,
    call_time: Histogram,
    queue: Family<Named<1>, Gauge>,
    oldest_due: Gauge,
    replica_lag: Gauge<f64, AtomicU64>,
    webhooks_pending: Gauge,
    webhooks_age: Gauge,
    expiring: Gauge,
    breaker: Family<Named<1>, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            claims: Progress::default(),
            house: Progress::default(),
            heartbeat: Progress::default(),
            groups: Arc::default(),
            webhooks: ManyProgress::default(),
            ams: Progress::default(),
            messages: Family::default(),
            recipients: Counter::default(),
            refusals: Family::default(),
            auth_failures: Family::default(),
            rate_limited: Family::default(),
            posts: Family::default(),
            attempts: Family::default(),
            attempt_time: Histogram::new(SECONDS),
            calls: Family::default(),
            call_time: Histogram::new(SECONDS),
            queue: Family::default(),
            oldest_due: Gauge::default(),
            replica_lag: Gauge::default(),
            webhooks_pending: Gauge::default(),
            webhooks_age: Gauge::default(),
            expiring: Gauge::default(),
            breaker: Family::default(),
        }
    }
}

/// How mail came in.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// The door; see [`door`].
    pub door: &'static str,
    /// `single` or `batch`.
    pub kind: &'static str,
}

/// Through which door a call came: as a gateway says, or `grpc` for one that came straight here.
pub fn door(headers: &HeaderMap) -> &'static str {
    const DOORS: [&str; 4] = ["rest", "smtp", "sink", "tracking"];
    // Whoever names a door without a gateway's token came by none; a wrong token is refused.
    let named =
        headers.get(metadata::DOOR).filter(|_| headers.contains_key(metadata::GATEWAY_TOKEN));
    let is_named = |door: &&str| named.is_some_and(|named| named.as_bytes() == door.as_bytes());
    DOORS.into_iter().find(is_named).unwrap_or("grpc")
}

impl Metrics {
    /// Counts a stored message.
    pub fn accepted(&self, way: Way, recipients: usize) {
        self.messages.get_or_create(&[("door", way.door), ("kind", way.kind)]).inc();
        self.recipients.inc_by(recipients as u64);
    }

    /// Counts what was reported of mail that another system sends.
    pub fn reported(&self, event: EventType, reason: &str) {
        let labels = [("event", event.name().to_owned()), ("reason", reason.to_owned())];
        self.attempts.get_or_create(&labels).inc();
    }

    /// Counts a refusal by its reason; one for want of a credential and one by a limit once more.
    pub fn refused(&self, failure: &Failure, door: &'static str) {
        let meaning = failure.reason.meaning();
        let labels = [("door", door), ("reason", meaning.name)];
        self.refusals.get_or_create(&labels).inc();
        if meaning.grpc == Code::Unauthenticated || failure.reason == Reason::AddressNotAllowed {
            self.auth_failures.get_or_create(&labels).inc();
        }
        let named = failure.metadata.iter().find(|(key, _)| key == "policy");
        let is_limit = matches!(failure.reason, Reason::RateLimited | Reason::QuotaExceeded);
        if is_limit || named.is_some() {
            let known = ["grpc", "send", "send-total"].into_iter();
            let policy =
                known.into_iter().find(|known| named.is_some_and(|(_, name)| name == known));
            self.rate_limited.get_or_create(&[("limit", policy.unwrap_or("other"))]).inc();
        }
    }

    /// Counts a try of a webhook.
    pub fn posted(&self, outcome: &'static str) {
        self.posts.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Counts a recorded result and how long the attempt took.
    pub fn attempt_ended(&self, finish: &Finish, took: Duration) {
        let event = finish.event.kind.name().to_owned();
        let labels = [("event", event), ("reason", finish.event.reason.clone())];
        self.attempts.get_or_create(&labels).inc();
        self.attempt_time.observe(took.as_secs_f64());
    }

    /// Counts an answered call. A method that is not in the contract was named by the caller, who may
    /// name any number of them, and is no label.
    pub fn called(&self, path: &str, code: Code, took: Duration) {
        let method = if has_method(path) { path.trim_start_matches('/') } else { "other" };
        let method = method.to_owned();
        let labels = [("method", method), ("code", format!("{code:?}"))];
        self.calls.get_or_create(&labels).inc();
        self.call_time.observe(took.as_secs_f64());
    }

    /// What is in memory.
    fn look(&self, sources: &Sources) {
        if let Some(postal) = &sources.postal {
            let is_open = *postal.borrow() != Condition::Closed;
            self.breaker.get_or_create(&[("transport", "postal")]).set(is_open.into());
        }
        if let Some(replica) = &sources.replica {
            let lag = replica.lag().map_or(f64::INFINITY, |lag| lag.as_secs_f64());
            self.replica_lag.set(lag);
        }
        let count = expiring(&sources.directory, sources.clock.now_ms());
        self.expiring.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// What is in the store.
    async fn ask(&self, sources: &Sources) -> Result<(), Error> {
        let now_ms = sources.clock.now_ms();
        self.show(&sources.queue.depth().await?, now_ms);
        let backlog = webhook_deliveries::backlog(&*sources.db).await?;
        self.webhooks_pending.set(backlog.count);
        let age_ms = backlog.oldest_ms.map_or(0, |create_ms| (now_ms - create_ms).max(0));
        self.webhooks_age.set(age_ms / 1000);
        Ok(())
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

    fn register_intake(&self, registry: &mut Registry) {
        let help = "Messages stored by this process, by where they came in and how";
        registry.register("postern_messages_accepted", help, self.messages.clone());
        let help = "Recipients of those messages";
        registry.register("postern_recipients_accepted", help, self.recipients.clone());
        let help = "Refused calls by door and reason";
        registry.register("postern_grpc_refusals", help, self.refusals.clone());
        let help = "Refused calls that showed no credential, or one that is not good";
        registry.register("postern_auth_failures", help, self.auth_failures.clone());
        let help = "Refused calls by the limit that was used up";
        registry.register("postern_grpc_rate_limited", help, self.rate_limited.clone());
        let help = "Tries of webhook deliveries by what came of them";
        registry.register("postern_webhook_posts", help, self.posts.clone());
    }

    fn register(&self, registry: &mut Registry) {
        self.register_intake(registry);
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
        let help = "Events that endpoints have not taken yet";
        registry.register("postern_webhook_pending", help, self.webhooks_pending.clone());
        let help = "How long the oldest of them has waited";
        let age = self.webhooks_age.clone();
        registry.register_with_unit("postern_webhook_oldest_pending_age", help, Unit::Seconds, age);
        let help = "Credentials that end within two weeks and have no successor";
        registry.register("postern_credentials_expiring", help, self.expiring.clone());
        let help = "1 while calls of the transport fail and its mail waits";
        registry.register("postern_transport_breaker_open", help, self.breaker.clone());
    }
}

/// Where figures come from that are looked up when they are asked for.
#[derive(Clone)]
pub(crate) struct Sources {
    /// How long the queue is.
    pub(crate) queue: Arc<dyn Queue>,
    /// What waits for webhooks.
    pub(crate) db: Arc<dyn Database>,
    /// Which credentials end soon.
    pub(crate) directory: Arc<Directory>,
    /// The time.
    pub(crate) clock: Clock,
    /// How the way to Postal is; none without it.
    pub(crate) postal: Option<watch::Receiver<Condition>>,
    /// None where there is no replica.
    pub(crate) replica: Option<Arc<Replicated>>,
}

/// Shows what the core counts, and asks the store how much waits.
pub(crate) fn observe(ops: &mut Ops, metrics: &Arc<Metrics>, sources: Sources) {
    metrics.register(ops.registry());
    if sources.replica.is_some() {
        let help = "How far the replica is behind; infinite when that is not known";
        let lag = metrics.replica_lag.clone();
        ops.registry().register_with_unit("postern_replica_lag", help, Unit::Seconds, lag);
    }
    ops.part("worker", metrics, |metrics| &metrics.claims);
    ops.part("keeper", metrics, |metrics| &metrics.house);
    ops.part("heartbeat", metrics, |metrics| &metrics.heartbeat);
    ops.part("groups", metrics, |metrics| &*metrics.groups);
    ops.part("webhooks", metrics, |metrics| &metrics.webhooks);
    ops.part("ams", metrics, |metrics| &metrics.ams);
    let asked = sources.queue.clone();
    ops.check("store", move || {
        let queue = asked.clone();
        async move { queue.next_due().await.is_ok() }
    });
    let metrics = metrics.clone();
    ops.refresh(move || {
        let (metrics, sources) = (metrics.clone(), sources.clone());
        async move {
            metrics.look(&sources);
            if let Err(error) = metrics.ask(&sources).await {
                tracing::debug!(%error, "not everything was measured");
            }
        }
    });
}

/// Credentials that end within two weeks and have no successor: somebody should be told.
fn expiring(directory: &Directory, now_ms: i64) -> usize {
    let known = directory.now();
    let is_soon = |expire_ms: Option<i64>, revoke_ms: Option<i64>| {
        revoke_ms.is_none()
            && expire_ms.is_some_and(|at_ms| (now_ms..now_ms + EXPIRING_MS).contains(&at_ms))
    };
    let replaced: HashSet<_> = known.keys().filter_map(|key| key.replaces).collect();
    let keys = known
        .keys()
        .filter(|key| is_soon(key.expire_ms, key.revoke_ms) && !replaced.contains(&key.id));
    let smtp = known.smtp_credentials().filter(|one| is_soon(one.expire_ms, one.revoke_ms));
    keys.count() + smtp.count()
}
