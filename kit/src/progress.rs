//! Whether a part that has work gets on with it: a process that lives may have a loop that hangs.
//!
//! In memory only; after a crash every part begins anew.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// No piece of work is under way.
const IDLE: u64 = u64::MAX;

/// The work of one loop, which does one piece at a time.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    /// When the piece of work under way began or last got on, in milliseconds.
    since_ms: AtomicU64,
}

/// Ends a piece of work, also one that is dropped half way.
struct UnderWay<'a>(&'a Progress);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.since_ms.store(IDLE, Ordering::Relaxed);
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self { start: Instant::now(), since_ms: IDLE.into() }
    }
}

impl Progress {
    /// Does a piece of work and notes that it is under way.
    pub async fn during<F: Future>(&self, work: F) -> F::Output {
        self.since_ms.store(self.now_ms(), Ordering::Relaxed);
        let _under_way = UnderWay(self);
        work.await
    }

    /// Notes that the piece of work under way got on: it has many steps.
    pub fn step(&self) {
        if self.since_ms.load(Ordering::Relaxed) != IDLE {
            self.since_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(IDLE - 1)
    }
}

/// The work of a part that does many pieces at a time; the oldest one counts.
#[derive(Debug, Default)]
pub struct ManyProgress {
    next: AtomicU64,
    /// When each piece under way began.
    begun: Mutex<BTreeMap<u64, Instant>>,
}

/// Ends one of many pieces of work, also one that is dropped half way.
struct OneOfMany<'a>(&'a ManyProgress, u64);

impl Drop for OneOfMany<'_> {
    fn drop(&mut self) {
        self.0.begun().remove(&self.1);
    }
}

impl ManyProgress {
    /// Does a piece of work and notes that it is under way.
    pub async fn during<F: Future>(&self, work: F) -> F::Output {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.begun().insert(number, Instant::now());
        let _under_way = OneOfMany(self, number);
        work.await
    }

    fn begun(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        // The map is whole even if a thread panicked while it held the lock.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a part gets on.
pub trait Stalls {
    /// How long the work under way has not got on; nothing while there is none.
    fn stalled(&self) -> Duration;
}

impl Stalls for Progress {
    fn stalled(&self) -> Duration {
        match self.since_ms.load(Ordering::Relaxed) {
            IDLE => Duration::ZERO,
            since_ms => Duration::from_millis(self.now_ms().saturating_sub(since_ms)),
        }
    }
}

impl Stalls for ManyProgress {
    fn stalled(&self) -> Duration {
        self.begun().values().map(Instant::elapsed).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_many_pieces_the_oldest_counts() {
        let progress = ManyProgress::default();
        assert_eq!(progress.stalled(), Duration::ZERO);
        let old = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        let seen = progress.during(async {
            progress.begun().insert(0, old);
            // One that comes and goes changes nothing about one that hangs.
            progress.during(async {}).await;
            progress.stalled()
        });
        assert!(seen.await >= Duration::from_secs(100));
        assert_eq!(progress.stalled(), Duration::ZERO);
        let hung = progress.during(std::future::pending::<()>());
        assert!(tokio::time::timeout(Duration::ZERO, hung).await.is_err());
        assert_eq!(progress.stalled(), Duration::ZERO);
    }

    #[tokio::test]
    async fn work_counts_while_it_is_under_way_and_not_when_it_is_dropped() {
        let start = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        let progress = Progress { start, since_ms: IDLE.into() };
        assert_eq!(progress.stalled(), Duration::ZERO);
        let seen = progress.during(async {
            progress.since_ms.store(1000, Ordering::Relaxed);
            let before = progress.stalled();
            progress.step();
            (before, progress.stalled())
        });
        let (before, after) = seen.await;
        assert!(before >= Duration::from_secs(99), "{before:?}");
        assert!(after < Duration::from_secs(50), "{after:?}");
        assert_eq!(progress.stalled(), Duration::ZERO);
        let hung = progress.during(std::future::pending::<()>());
        assert!(tokio::time::timeout(Duration::ZERO, hung).await.is_err());
        assert_eq!(progress.stalled(), Duration::ZERO);
    }
}
