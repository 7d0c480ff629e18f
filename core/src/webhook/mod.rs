//! NOTIFY: events are posted to endpoints of clients, signed, and tried again until they are taken.
//!
//! The event row is the entry in the outbox: it commits with what it reports. Collecting
//! ([`fanout`]) turns events into deliveries behind a cursor, in one transaction with it; a runner for
//! each endpoint ([`deliver`]) takes those that are due and posts them, so an endpoint that is slow or
//! dead holds up nobody else. A crash loses nothing: what was being tried is due again by itself, and
//! the receiver sees the same id once more.

pub mod payload;
mod legacy;
pub mod sign;
pub mod schedule;
pub mod post;
mod deliver;
mod fanout;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use postern_kit::clock::Clock;
use postern_kit::spans::Spans;
use postern_proto::ids::WebhookId;
use postern_proto::settings::WEBHOOKS_RETENTION;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::directory::Directory;
use crate::metrics::Metrics;
use crate::model::event::{EventRow, NewEvent};
use crate::model::webhook::{Endpoint, Format};
use crate::outgoing::Outgoing;
use crate::store::group::Group;
use crate::store::webhook_attempts::Ended;
use crate::store::webhook_deliveries::Facts;
use crate::store::{Database, Error, handovers, webhook_deliveries, webhooks};

use self::deliver::Runner;
pub(crate) use self::fanout::wants;

/// Other nodes' changes of endpoints are looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a commit waits for others before endpoints collect.
const GATHER: Duration = Duration::from_millis(20);
/// Looks between two searches for what dead nodes had taken, and between two notes of how far
/// endpoints have looked that found nothing.
const FREE_EVERY: u32 = 5;
/// Looks between two rounds of tidying.
const TIDY_EVERY: u32 = 60;

/// What else a body in this format says about each of these events, in their order.
pub async fn facts(
    db: &dyn Database,
    format: Format,
    events: impl IntoIterator<Item = &EventRow>,
) -> Result<Vec<Facts>, Error> {
    let events: Vec<_> = events.into_iter().map(|row| &row.event).collect();
    let messages: Vec<_> = events.iter().map(|event| event.message_id).collect();
    let deliveries: Vec<_> = events.iter().map(|event| event.delivery_id).collect();
    let known = webhook_deliveries::facts(db, &messages).await?;
    // Only the old system's receivers were ever told.
    let postal_ids = match format {
        Format::Legacy => handovers::postal_ids(db, &deliveries).await?,
        _ => HashMap::new(),
    };
    let of_event = |event: &&NewEvent| {
        let known = known.get(&event.message_id).cloned().unwrap_or_default();
        Facts { postal_id: postal_ids.get(&event.delivery_id).copied(), ..known }
    };
    Ok(events.iter().map(of_event).collect())
}

/// What posting needs.
#[derive(Clone)]
pub struct Posting {
    /// The store.
    pub db: Arc<dyn Database>,
    /// The settings.
    pub directory: Arc<Directory>,
    /// The way out.
    pub outgoing: Outgoing,
    /// Records how tries ended, many at a time.
    pub end: Group<Ended, ()>,
    /// What is counted, and whether posting gets on.
    pub metrics: Arc<Metrics>,
    /// Where the spans of tries go.
    pub spans: Spans,
    /// This node.
    pub node: Uuid,
    /// The time.
    pub clock: Clock,
    /// The name under which the old system's receivers know us.
    pub server_id: String,
    /// Something about endpoints or deliveries was changed by hand.
    pub changed: Arc<Notify>,
}

/// Posts events on one node.
pub struct Webhooks {
    posting: Posting,
    runners: HashMap<WebhookId, Running>,
    seen: fanout::Seen,
    tasks: TaskTracker,
}

/// The runner of an endpoint.
struct Running {
    endpoint: watch::Sender<Endpoint>,
    wake: Arc<Notify>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Webhooks {
    /// Nothing runs yet.
    pub fn new(posting: Posting) -> Self {
        let (runners, seen) = (HashMap::new(), fanout::Seen::default());
        Self { posting, runners, seen, tasks: TaskTracker::new() }
    }

    /// Collects and posts until told to stop; then waits for tries under way.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut signal = self.posting.db.events_signal();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (changed, mut looked) = (self.posting.changed.clone(), 0u32);
        while !stop.is_cancelled() {
            signal.mark_unchanged();
            let persist = looked.is_multiple_of(FREE_EVERY);
            let metrics = self.posting.metrics.clone();
            let round = metrics.webhooks.during(self.round(&stop, persist)).await;
            let is_more = round.unwrap_or_else(|error| {
                tracing::warn!(%error, "webhooks: the next look tries again");
                false
            });
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = looks.tick() => {
                    self.keep_house(looked).await;
                    looked = looked.wrapping_add(1);
                }
                () = std::future::ready(()), if is_more => {}
                () = changed.notified() => self.wake_all(),
                _ = signal.changed(), if !self.runners.is_empty() => {
                    // Others will follow at once: one look for all of them.
                    let _stopped = stop.run_until_cancelled(tokio::time::sleep(GATHER)).await;
                }
            }
        }
        for running in self.runners.values() {
            running.stop.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Follows the list of endpoints, and collects for them. Tells whether there is more at once.
    async fn round(&mut self, stop: &CancellationToken, persist: bool) -> Result<bool, Error> {
        let endpoints = webhooks::active(&*self.posting.db).await?;
        self.follow(&endpoints, stop);
        let (posting, seen) = (&self.posting, &mut self.seen);
        let collected = fanout::collect(posting, &endpoints, seen, persist).await?;
        for id in &collected.endpoints {
            if let Some(running) = self.runners.get(id) {
                running.wake.notify_one();
            }
        }
        Ok(collected.is_more)
    }

    fn follow(&mut self, endpoints: &[Endpoint], stop: &CancellationToken) {
        self.runners.retain(|id, running| {
            let stays = endpoints.iter().any(|endpoint| endpoint.id == *id);
            if !stays {
                running.stop.cancel();
            }
            !running.task.is_finished()
        });
        for endpoint in endpoints {
            match self.runners.get(&endpoint.id) {
                // It was disabled, and its last tries are under way. The next runner would know nothing
                // of them; it begins at a later look.
                Some(running) if running.stop.is_cancelled() => {}
                Some(running) => {
                    running.endpoint.send_if_modified(|current| {
                        // A runner has no use for the cursor.
                        current.cursor = endpoint.cursor;
                        let is_new = current != endpoint;
                        current.clone_from(endpoint);
                        is_new
                    });
                }
                None => {
                    let running = self.start(endpoint.clone(), stop.child_token());
                    self.runners.insert(endpoint.id, running);
                }
            }
        }
    }

    fn start(&self, endpoint: Endpoint, stop: CancellationToken) -> Running {
        let (sender, receiver) = watch::channel(endpoint);
        let wake = Arc::new(Notify::new());
        let runner = Runner::new(self.posting.clone(), receiver, wake.clone());
        let task = self.tasks.spawn(runner.run(stop.clone()));
        Running { endpoint: sender, wake, stop, task }
    }

    fn wake_all(&self) {
        for running in self.runners.values() {
            running.wake.notify_one();
        }
    }

    /// Frees what dead nodes had taken, and drops what is old, at every so many looks.
    pub(crate) async fn keep_house(&self, looked: u32) {
        let (db, now_ms) = (&*self.posting.db, self.posting.clock.now_ms());
        let done = async {
            if looked.is_multiple_of(FREE_EVERY)
                && webhook_deliveries::free_dead(db, now_ms).await? > 0
            {
                self.wake_all();
            }
            if looked.is_multiple_of(TIDY_EVERY) {
                let kept_for = self.posting.directory.now().settings().get(&WEBHOOKS_RETENTION);
                while webhook_deliveries::purge(db, now_ms - kept_for).await? {}
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = done.await {
            tracing::warn!(%error, "webhooks not tidied up; the next look tries again");
        }
    }
}
