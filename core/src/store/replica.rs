//! Reads that may be a moment old, from a streaming replica of PostgreSQL while it is fresh enough.
//!
//! How far it is behind is found out every second: a position in the log of the primary that the
//! replica has replayed was the newest one at a time we know, and what it shows is as old as that time.
//! A replica that is too far behind, away, or no replica any more is not asked; its reads go to the
//! primary. All reads of one answer go to the same server, or it would contradict itself. A crash has
//! nothing to lose.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Error;
use super::db::{Database, Statement};

/// How often is looked how far it is behind.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the replica takes longer for has failed: one that hangs must not hold up lists.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Positions that are remembered: of a quarter of an hour.
const SAMPLES_MAX: usize = 900;
/// Of when what it shows is, before the first look and when it cannot be asked.
const UNKNOWN: i64 = i64::MIN;

/// Where the log of the primary ends, as a number.
const WRITTEN: &str = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint";
/// Up to where a replica has replayed it; null on a server that is none.
const REPLAYED: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END";

/// Where reads go that may be a moment old.
#[derive(Clone)]
pub enum Reads {
    /// There is one server.
    One(Arc<dyn Database>),
    /// There are two.
    Replicated(Arc<Replicated>),
}

impl Reads {
    /// All reads of one answer, on one server; anew on the primary when the replica fails.
    pub async fn with<T, R>(&self, read: impl Fn(Arc<dyn Database>) -> R + Send) -> Result<T, Error>
    where
        R: Future<Output = Result<T, Error>> + Send,
    {
        let both = match self {
            Self::One(db) => return read(db.clone()).await,
            Self::Replicated(both) => both,
        };
        if both.is_fresh() {
            match tokio::time::timeout(ANSWER_TIME_MAX, read(both.replica.clone())).await {
                Ok(Ok(found)) => return Ok(found),
                // Also when the replica had to end the query because it stood in the way of replay.
                Ok(Err(error)) => tracing::debug!(%error, "not read from the replica"),
                Err(_) => tracing::debug!("the replica did not answer in time"),
            }
        }
        read(both.primary.clone()).await
    }
}

/// The primary and its replica.
pub struct Replicated {
    primary: Arc<dyn Database>,
    replica: Arc<dyn Database>,
    lag_max: Duration,
    /// Milliseconds after `begin`.
    as_of_ms: AtomicI64,
    seen: Mutex<Positions>,
    begin: Instant,
}

impl Replicated {
    /// Reads from `replica` as long as it is at most `lag_max` behind. It is asked only after
    /// [`Self::follow`] has looked.
    pub fn new(primary: Arc<dyn Database>, replica: Arc<dyn Database>, lag_max: Duration) -> Self {
        let (as_of_ms, seen) = (AtomicI64::new(UNKNOWN), Mutex::default());
        Self { primary, replica, lag_max, as_of_ms, seen, begin: Instant::now() }
    }

    /// How far the replica is behind; none when that is not known. It grows until the next look.
    pub fn lag(&self) -> Option<Duration> {
        let as_of_ms = u64::try_from(self.as_of_ms.load(Ordering::Relaxed)).ok()?;
        Some(self.begin.elapsed().saturating_sub(Duration::from_millis(as_of_ms)))
    }

    /// Looks how far it is behind until told to stop.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look().await;
        }
    }

    async fn look(&self) {
        let was_fresh = self.is_fresh();
        let asked = self.begin.elapsed();
        let (written, replayed) =
            tokio::join!(position(&self.primary, WRITTEN), position(&self.replica, REPLAYED));
        let now_ms = i64::try_from(asked.as_millis()).unwrap_or(i64::MAX);
        let as_of_ms = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(Some(written)) = written {
                seen.written(now_ms, written);
            }
            match &replayed {
                Ok(Some(replayed)) => seen.as_of_ms(*replayed),
                Ok(None) | Err(_) => UNKNOWN,
            }
        };
        self.as_of_ms.store(as_of_ms, Ordering::Relaxed);
        let lag = self.lag();
        match (was_fresh, self.is_fresh(), replayed) {
            (true, false, Err(error)) => {
                tracing::warn!(%error, "the replica cannot be read; the primary is");
            }
            (true, false, Ok(None)) => {
                tracing::warn!("DATABASE_REPLICA_URL leads to no replica; the primary is read");
            }
            (true, false, _) => {
                tracing::warn!(?lag, "the replica is too far behind; the primary is read");
            }
            (false, true, _) => tracing::info!(?lag, "lists are read from the replica"),
            _ => {}
        }
    }

    /// Whether it is read.
    pub fn is_fresh(&self) -> bool {
        self.lag().is_some_and(|lag| lag <= self.lag_max)
    }
}

/// A position in the log, in time.
async fn position(db: &Arc<dyn Database>, sql: &str) -> Result<Option<i64>, Error> {
    let read = db.read(Statement::new(sql, Vec::new()));
    let rows = tokio::time::timeout(ANSWER_TIME_MAX, read).await;
    let rows = rows.map_err(|_| Error::Unavailable("no answer in time".to_owned()))??;
    rows.first().map_or(Ok(None), |row| row.int_or_null(0))
}

impl std::fmt::Debug for Replicated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicated").field("lag", &self.lag()).finish_non_exhaustive()
    }
}

/// Ends of the primary's log with the times at which they were seen, oldest first. Pure.
#[derive(Debug, Default)]
struct Positions {
    seen: VecDeque<(i64, i64)>,
    /// The time of the newest one that the replica has replayed.
    replayed_ms: Option<i64>,
}

impl Positions {
    fn written(&mut self, now_ms: i64, position: i64) {
        if self.seen.len() < SAMPLES_MAX {
            self.seen.push_back((now_ms, position));
        }
    }

    /// Of when what the replica shows is.
    fn as_of_ms(&mut self, replayed: i64) -> i64 {
        while let Some((at_ms, position)) = self.seen.front().copied()
            && position <= replayed
        {
            self.replayed_ms = Some(at_ms);
            self.seen.pop_front();
        }
        self.replayed_ms.unwrap_or(UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_as_old_as_the_newest_position_that_it_has_replayed() {
        let mut positions = Positions::default();
        assert_eq!(positions.as_of_ms(500), UNKNOWN, "nothing to compare with");
        positions.written(1000, 100);
        assert_eq!(positions.as_of_ms(99), UNKNOWN, "it was never seen to be up to date");
        assert_eq!(positions.as_of_ms(100), 1000);
        positions.written(2000, 100);
        assert_eq!(positions.as_of_ms(100), 2000, "nothing was written meanwhile");
        positions.written(3000, 150);
        positions.written(4000, 200);
        assert_eq!(positions.as_of_ms(120), 2000);
        assert_eq!(positions.as_of_ms(199), 3000);
        // A primary that does not answer any more tells nothing new.
        assert_eq!(positions.as_of_ms(200), 4000);
        assert_eq!(positions.as_of_ms(200), 4000);
    }
}
