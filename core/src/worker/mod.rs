//! The loop in which time passes: deliveries come from acceptance in memory or from the store, wait
//! for their turn in lanes, and are attempted.
//!
//! Wake-ups are hints, polling is the guarantee: whatever this loop forgets in a crash is in the
//! store under a lease that the reaper takes away.

mod prepared;
mod build;
pub mod attempt;
pub mod keeper;
mod span;
#[cfg(test)]
mod simulation;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_kit::shutdown;
use postern_proto::ids::RecipientId;
use postern_proto::settings::{CONCURRENCY, LANE_CONCURRENCY};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::model::content::domain_of;
use crate::model::message::Claimed;
use crate::queue::lanes::{LaneLimits, Lanes};

use self::attempt::{Lab, attempt};
pub use self::build::build;
pub use self::prepared::{Prepared, Rendered};

/// How many deliveries this node keeps in memory. What is accepted beyond that waits in the store.
pub const HELD_MAX: usize = 20_000;
/// How many deliveries are claimed at a time.
const CLAIM_MAX: usize = 500;
/// How long a stop waits for the store to take leases back.
const GIVE_BACK_MAX: Duration = Duration::from_secs(5);
/// The store is asked for due deliveries at least this often.
const POLL: Duration = Duration::from_secs(1);

/// A delivery of this node, with its content where that is in memory.
pub struct Job {
    /// The delivery.
    pub claimed: Claimed,
    /// The content.
    pub prepared: Option<Arc<Prepared>>,
    /// Under what its attempt is logged: the call that it was accepted in, or after a restart its trace.
    pub span: Span,
}

/// Room for deliveries that are about to be handed over. Dropping it gives the room back.
pub struct Reservation {
    count: usize,
    held: Arc<AtomicUsize>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.held.fetch_sub(self.count, Ordering::AcqRel);
    }
}

/// How others reach the loop.
#[derive(Clone)]
pub struct Handle {
    jobs: mpsc::UnboundedSender<Vec<Job>>,
    held: Arc<AtomicUsize>,
    wake: Arc<Notify>,
    /// The deliveries in this node's memory, for finding leases that are in nobody's.
    known: Arc<Mutex<HashSet<RecipientId>>>,
    /// What is counted, and whether the loops of this node get on.
    pub metrics: Arc<Metrics>,
}

impl Handle {
    /// Whether a delivery is in this node's memory.
    pub fn knows(&self, id: &RecipientId) -> bool {
        self.known().contains(id)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<RecipientId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for `count` deliveries, if there is.
    pub fn reserve(&self, count: usize) -> Option<Reservation> {
        let room = |held: usize| (held + count <= HELD_MAX).then_some(held + count);
        let fits = self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok();
        fits.then(|| Reservation { count, held: self.held.clone() })
    }

    /// Hands accepted deliveries over. There may be fewer than were reserved.
    pub fn hand_over(&self, mut reservation: Reservation, jobs: Vec<Job>) {
        self.known().extend(jobs.iter().map(|job| job.claimed.id));
        // From here on each delivery gives its own room back when it ends.
        let kept = jobs.len().min(reservation.count);
        reservation.count -= kept;
        drop(reservation);
        if self.jobs.send(jobs).is_err() {
            // The loop has stopped: the leases of this node will be released or reaped.
            self.held.fetch_sub(kept, Ordering::AcqRel);
        }
    }

    /// Says that the store may have something due.
    pub fn wake(&self) {
        self.wake.notify_one();
    }
}

/// The loop before it runs.
pub struct Worker {
    lab: Arc<Lab>,
    node: Uuid,
    handle: Handle,
    jobs: mpsc::UnboundedReceiver<Vec<Job>>,
}

/// A handle, and the end of it that [`Worker::new`] takes.
pub fn handle() -> (Handle, mpsc::UnboundedReceiver<Vec<Job>>) {
    let (jobs, receiver) = mpsc::unbounded_channel();
    let held = Arc::new(AtomicUsize::new(0));
    let (wake, known) = (Arc::new(Notify::new()), Arc::default());
    (Handle { jobs, held, wake, known, metrics: Arc::default() }, receiver)
}

/// Gives the room of an attempt back when it ends, also when it panics.
struct UnderWay {
    handle: Handle,
    id: RecipientId,
    ended: mpsc::UnboundedSender<String>,
    lane: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.handle.known().remove(&self.id);
        self.handle.held.fetch_sub(1, Ordering::AcqRel);
        // The loop only stops listening when it has ended.
        let _stopped = self.ended.send(std::mem::take(&mut self.lane));
    }
}

impl Worker {
    /// A loop that delivers for `node`.
    pub fn new(
        lab: Arc<Lab>,
        node: Uuid,
        (handle, jobs): (Handle, mpsc::UnboundedReceiver<Vec<Job>>),
    ) -> Self {
        Self { lab, node, handle, jobs }
    }

    /// Runs until told to stop, then waits up to `drain` for attempts under way and gives the rest
    /// back to the store.
    pub async fn run(mut self, stop: CancellationToken, drain: Duration) {
        let mut lanes = Lanes::new(self.limits());
        let (ended, mut endings) = mpsc::unbounded_channel::<String>();
        let tasks = TaskTracker::new();
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            lanes.limit(self.limits());
            self.start(&mut lanes, &ended, &tasks);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // Before the busy arms, so that a steady stream of them cannot starve it.
                _ = poll.tick() => self.claim(&mut lanes).await,
                Some(lane) = endings.recv() => {
                    lanes.done(&lane);
                    while let Ok(lane) = endings.try_recv() {
                        lanes.done(&lane);
                    }
                }
                Some(jobs) = self.jobs.recv() => {
                    self.enqueue(&mut lanes, jobs);
                    while let Ok(jobs) = self.jobs.try_recv() {
                        self.enqueue(&mut lanes, jobs);
                    }
                }
                () = self.handle.wake.notified() => self.claim(&mut lanes).await,
            }
        }
        if !shutdown::drain(&tasks, drain).await {
            tracing::warn!("attempts still under way at the end of the drain time");
        }
        if tokio::time::timeout(GIVE_BACK_MAX, self.give_back(lanes)).await.is_err() {
            tracing::warn!("the store did not take the leases back in time; they will be reaped");
        }
    }

    /// What the settings say of attempts at once. A change is seen with the next delivery, or when the
    /// store is asked.
    fn limits(&self) -> LaneLimits {
        let known = self.lab.directory.now();
        LaneLimits {
            total: known.settings().count(&CONCURRENCY),
            per_lane: known.settings().count(&LANE_CONCURRENCY),
        }
    }

    fn enqueue(&self, lanes: &mut Lanes<Job>, jobs: Vec<Job>) {
        for job in jobs {
            let claimed = &job.claimed;
            let transport = self.lab.transports.of(claimed);
            let lane = transport.lane(&domain_of(&claimed.mailbox.email));
            let (priority, campaign) = (claimed.priority as usize - 1, claimed.campaign_id.clone());
            lanes.push(&lane, priority, &campaign, job);
        }
    }

    fn start(
        &self,
        lanes: &mut Lanes<Job>,
        ended: &mpsc::UnboundedSender<String>,
        tasks: &TaskTracker,
    ) {
        while let Some((lane, job)) = lanes.pop() {
            let (lab, ended, handle) = (self.lab.clone(), ended.clone(), self.handle.clone());
            let under_way = UnderWay { handle, id: job.claimed.id, ended, lane };
            let span = job.span.clone();
            let attempting = async move {
                let _given_back = under_way;
                attempt(&lab, job).await;
            };
            tasks.spawn(attempting.instrument(span));
        }
    }

    async fn claim(&self, lanes: &mut Lanes<Job>) {
        // With work at hand there is no hurry to fetch more. A backlog that only waits for a few slow
        // destinations must not keep the others from theirs; but it gets half of the memory at most,
        // since what is accepted now needs some, and other nodes may have time for it.
        let has_enough = lanes.waiting() > CLAIM_MAX;
        let most = if has_enough { HELD_MAX / 2 } else { HELD_MAX };
        let room = most.saturating_sub(self.handle.held.load(Ordering::Acquire));
        let limit = room.min(CLAIM_MAX);
        if limit == 0 || (has_enough && (lanes.has_ready() || lanes.is_full())) {
            return;
        }
        let claiming = self.lab.queue.claim(self.node, self.lab.clock.now_ms(), limit);
        match self.handle.metrics.claims.during(claiming).await {
            Ok(claimed) => {
                if claimed.len() == limit {
                    self.handle.wake();
                }
                self.handle.held.fetch_add(claimed.len(), Ordering::AcqRel);
                self.handle.known().extend(claimed.iter().map(|claimed| claimed.id));
                let job = |claimed| {
                    let span = span::logged(&claimed);
                    Job { claimed, prepared: None, span }
                };
                self.enqueue(lanes, claimed.into_iter().map(job).collect());
            }
            Err(error) => tracing::warn!(%error, "nothing claimed"),
        }
    }

    async fn give_back(&mut self, mut lanes: Lanes<Job>) {
        self.jobs.close();
        let mut ids: Vec<_> = lanes.drain().into_iter().map(|job| job.claimed.id).collect();
        while let Some(jobs) = self.jobs.recv().await {
            ids.extend(jobs.into_iter().map(|job| job.claimed.id));
        }
        if let Err(error) = self.lab.queue.release(self.node, &ids).await {
            tracing::warn!(%error, count = ids.len(), "leases not given back; they will be reaped");
        }
    }
}
