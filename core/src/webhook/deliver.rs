//! The runner of one endpoint: takes what is due, posts it, records how it went.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_kit::backoff;
use postern_proto::settings::{WEBHOOKS_DISABLE_AFTER, WEBHOOKS_RETRY_PERCENT, WEBHOOKS_TIMEOUT};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::webhook::{DeliveryState, Endpoint};
use crate::store::webhook_attempts::Ended;
use crate::store::webhook_deliveries::{self, Facts, Take, Taken};
use crate::store::{Error, webhooks};

use super::post::{self, Outcome, Try, Wish};
use super::schedule::{self, Health, Pace, Permit};
use super::{Posting, payload};

/// Deliveries are taken in advance, so that a fast endpoint does not wait for the store: as many as
/// this for each that may be under way.
const AHEAD: usize = 16;
const TAKE_MAX: usize = 256;
/// What is done besides waiting for the answer: how much longer a try may take.
const MARGIN: Duration = Duration::from_secs(30);
/// The store is asked for due deliveries at least this often: other nodes may have made some due.
const POLL: Duration = Duration::from_secs(5);
const STORE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Posts to one endpoint.
pub(super) struct Runner {
    posting: Posting,
    endpoint: watch::Receiver<Endpoint>,
    wake: Arc<Notify>,
    health: Arc<Mutex<Health>>,
    pace: Pace,
    /// The store may have given us deliveries of which we know nothing.
    is_unsure: bool,
}

/// What tries of one turn share.
struct Turn {
    posting: Posting,
    endpoint: Endpoint,
    health: Arc<Mutex<Health>>,
    limit: Duration,
    percent: i64,
    stop: CancellationToken,
}

impl Runner {
    pub(super) fn new(
        posting: Posting,
        endpoint: watch::Receiver<Endpoint>,
        wake: Arc<Notify>,
    ) -> Self {
        let health = Arc::new(Mutex::new(Health::new(Instant::now())));
        Self { posting, endpoint, wake, health, pace: Pace::default(), is_unsure: false }
    }

    /// Posts until told to stop; then waits for tries under way.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let pause = match self.turn(&stop).await {
                Ok(pause) => {
                    failures = 0;
                    pause
                }
                Err(error) => {
                    tracing::warn!(%error, "webhook deliveries not taken; trying again");
                    self.is_unsure = true;
                    failures += 1;
                    let first = Duration::from_millis(100);
                    backoff::delay(failures, first, STORE_PAUSE_MAX, 20, rand::random())
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                _ = self.endpoint.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes what is due and posts it. Returns how long there is nothing more to do.
    async fn turn(&mut self, stop: &CancellationToken) -> Result<Duration, Error> {
        let endpoint = self.endpoint.borrow_and_update().clone();
        let wanted = &endpoint.wanted;
        let now_ms = self.posting.clock.now_ms();
        if self.is_unsure {
            let (db, node) = (&*self.posting.db, self.posting.node);
            webhook_deliveries::free_own(db, endpoint.id, node, now_ms).await?;
            self.is_unsure = false;
        }
        let width = usize::try_from(wanted.max_concurrency).unwrap_or(1).max(1);
        // Tries that ended at the same time may have noted their ends in another order.
        if endpoint.failing_ms.is_some_and(|since| lock(&self.health).is_well_since(since)) {
            let well = webhooks::failing(endpoint.id, None);
            self.posting.db.write(vec![well]).await?;
        }
        let permit = lock(&self.health).permit(Instant::now());
        let room = match permit {
            Permit::NoneFor(left) => return Ok(left.min(POLL)),
            Permit::One => 1,
            Permit::Any if wanted.ordered => 1,
            Permit::Any => (width * AHEAD).min(TAKE_MAX),
        };
        let room = self.pace.take(room, wanted.rate_limit, now_ms);
        if room == 0 {
            return Ok(Duration::from_millis(20));
        }
        let settings = self.posting.directory.now();
        let limit = settings.settings().time(&WEBHOOKS_TIMEOUT);
        // The last of those taken in advance may have to wait for all the others.
        let turns = room.div_ceil(width) as u32;
        let until_ms = now_ms + millis(limit.saturating_mul(turns) + MARGIN);
        let (id, node, ordered) = (endpoint.id, self.posting.node, wanted.ordered);
        let take = Take { endpoint: id, node, now_ms, until_ms, limit: room, ordered };
        let taking = webhook_deliveries::take(&*self.posting.db, &take);
        let taken = self.posting.metrics.webhooks.during(taking).await?;
        if taken.is_empty() {
            let due = webhook_deliveries::next_due(&*self.posting.db, id, ordered).await?;
            let left_ms = due.map_or(i64::MAX, |due_ms| due_ms.saturating_sub(now_ms));
            return Ok(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).min(POLL));
        }
        let percent = settings.settings().get(&WEBHOOKS_RETRY_PERCENT);
        let (posting, health) = (self.posting.clone(), self.health.clone());
        let stop = stop.clone();
        let turn = Turn { posting, endpoint, health, limit, percent, stop };
        turn.post_all(taken, width).await?;
        Ok(Duration::ZERO)
    }
}

impl Turn {
    /// Posts what was taken, so many at once. Told to stop, it begins no more: what it took and did
    /// not try is due again by itself.
    async fn post_all(self, taken: Vec<Taken>, width: usize) -> Result<(), Error> {
        let (db, format) = (&*self.posting.db, self.endpoint.wanted.format);
        let facts = super::facts(db, format, taken.iter().map(|one| &one.event)).await?;
        let (turn, seats) = (Arc::new(self), Arc::new(Semaphore::new(width)));
        let tasks = TaskTracker::new();
        for (one, facts) in taken.into_iter().zip(facts) {
            let Ok(seat) = seats.clone().acquire_owned().await else { break };
            let now_ms = turn.posting.clock.now_ms();
            let permit = lock(&turn.health).permit(Instant::now());
            let alone = matches!(permit, Permit::NoneFor(_));
            if turn.stop.is_cancelled() || alone {
                turn.give_back(&one, now_ms).await;
                continue;
            }
            let turn = turn.clone();
            tasks.spawn(async move {
                turn.post(one, &facts).await;
                drop(seat);
            });
        }
        tasks.close();
        tasks.wait().await;
        Ok(())
    }

    async fn post(&self, taken: Taken, facts: &Facts) {
        let (event, format) = (&taken.event, self.endpoint.wanted.format);
        let id = event.event.id.to_string();
        let outcome = match payload::body(format, event, facts) {
            Some(body) => {
                let (posting, attempt) = (&self.posting, taken.attempt);
                // A span that nobody keeps would make receivers record theirs as parts of nothing.
                let accepted = facts.trace.filter(|_| posting.spans.is_exporting());
                let trace = accepted.map(|accepted| accepted.child());
                let try_ = Try { id: &id, attempt, trace, body };
                let start = Instant::now();
                let posted = post::post(posting, &self.endpoint, try_, self.limit);
                let outcome = posting.metrics.webhooks.during(posted).await;
                if let Some(trace) = trace {
                    let span = || post::span(&self.endpoint, event, attempt, &outcome);
                    posting.spans.ended(&trace, start.elapsed(), span);
                }
                outcome
            }
            // The format was changed to one without a word for it.
            None => Outcome {
                status: 0,
                error: None,
                response: "the format has no word for this event".to_owned(),
                retry_after: None,
                wish: Wish::AbortMessage,
            },
        };
        let ended = self.judge(&taken, &outcome);
        self.record(ended).await;
        self.disable_if_hopeless(&outcome).await;
    }

    /// What comes of a try.
    fn judge(&self, taken: &Taken, outcome: &Outcome) -> Ended {
        let now_ms = self.posting.clock.now_ms();
        let pause = schedule::pause(taken.tries, self.percent, outcome.retry_after, rand::random());
        let (state, due_ms) = match (outcome.error, outcome.wish, pause) {
            (None, _, _) => (DeliveryState::Delivered, now_ms),
            (Some(_), Wish::AbortMessage, _) | (Some(_), _, None) => {
                (DeliveryState::Failed, now_ms)
            }
            (Some(_), _, Some(pause)) => (DeliveryState::Pending, now_ms + millis(pause)),
        };
        let is_failing = self.endpoint.failing_ms.is_some();
        let failing = match outcome.error {
            None => {
                lock(&self.health).succeeded(Instant::now(), now_ms);
                is_failing.then_some(None)
            }
            Some(_) => {
                lock(&self.health).failed(Instant::now(), outcome.retry_after, self.percent);
                (!is_failing).then_some(Some(now_ms))
            }
        };
        Ended {
            endpoint: self.endpoint.id,
            sequence: taken.event.sequence,
            attempt: taken.attempt,
            node: self.posting.node,
            skipped: false,
            end_ms: now_ms,
            status: i64::from(outcome.status),
            error: outcome.error.map_or("", |class| class.name()),
            response: outcome.response.clone(),
            state,
            due_ms,
            failing,
        }
    }

    /// Makes a delivery due that was taken and not posted.
    async fn give_back(&self, taken: &Taken, now_ms: i64) {
        let ended = Ended {
            endpoint: self.endpoint.id,
            sequence: taken.event.sequence,
            attempt: taken.attempt,
            node: self.posting.node,
            skipped: true,
            end_ms: now_ms,
            status: 0,
            error: "skipped",
            response: "not posted: the core stops, or leaves the endpoint alone for a while"
                .to_owned(),
            state: DeliveryState::Pending,
            due_ms: now_ms,
            failing: None,
        };
        self.record(ended).await;
    }

    /// Records, for as long as it takes, but not beyond a stop: a result that is not recorded has the
    /// event posted once more.
    async fn record(&self, ended: Ended) {
        for tries in 0.. {
            match self.posting.end.call(ended.clone()).await {
                Ok(()) => return self.posting.metrics.posted(outcome(&ended)),
                Err(Error::Unavailable(cause)) if self.stop.is_cancelled() => {
                    return tracing::warn!(cause, "a webhook delivery will be made once more");
                }
                Err(Error::Unavailable(cause)) => {
                    tracing::warn!(cause, "result of a webhook delivery not recorded yet");
                    let first = Duration::from_millis(100);
                    let pause = backoff::delay(tries, first, STORE_PAUSE_MAX, 20, rand::random());
                    let _stopped = self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                }
                Err(error) => {
                    return tracing::error!(%error, "result of a webhook delivery is lost");
                }
            }
        }
    }

    async fn disable_if_hopeless(&self, outcome: &Outcome) {
        let reason = match outcome.wish {
            Wish::Disable if outcome.status == 410 => "the endpoint answered 410 Gone",
            Wish::Disable => "the endpoint asked for it",
            _ if outcome.error.is_some() && self.has_failed_too_long().await => {
                "every delivery has failed for longer than webhooks.disable_after"
            }
            _ => return,
        };
        let id = self.endpoint.id;
        match webhooks::disable(
            &*self.posting.db,
            &self.endpoint,
            reason,
            self.posting.clock.now_ms(),
        )
        .await
        {
            Ok(true) => {
                tracing::warn!(webhook.id = %id, reason, "webhook disabled");
                self.posting.changed.notify_one();
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(webhook.id = %id, %error, "webhook not disabled yet"),
        }
    }

    /// Whether nothing was taken for too long. The store is asked too: what this turn began with may
    /// be out of date.
    async fn has_failed_too_long(&self) -> bool {
        let snapshot = self.posting.directory.now();
        let limit_ms = snapshot.settings().get(&WEBHOOKS_DISABLE_AFTER);
        let now_ms = self.posting.clock.now_ms();
        let too_long = |since: Option<i64>| since.is_some_and(|since| now_ms - since > limit_ms);
        if !too_long(self.endpoint.failing_ms) {
            return false;
        }
        let found = webhooks::find(&*self.posting.db, self.endpoint.id).await;
        found.is_ok_and(|found| found.is_some_and(|endpoint| too_long(endpoint.failing_ms)))
    }
}

/// What came of a try, in one word.
fn outcome(ended: &Ended) -> &'static str {
    match ended.state {
        _ if ended.skipped => "skipped",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
        _ => "deferred",
    }
}

fn lock(health: &Mutex<Health>) -> MutexGuard<'_, Health> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
