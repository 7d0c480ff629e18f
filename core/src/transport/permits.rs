//! Permits whose number may change while some are taken.
//!
//! In memory only; a crash gives all of them back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Permits for what may go on at once.
#[derive(Debug)]
pub(super) struct Permits {
    free: Semaphore,
    count: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    /// Taken and free ones.
    all: usize,
    /// How many there are to be.
    wanted: usize,
}

/// One permit; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    permits: &'a Permits,
    taken: Option<SemaphorePermit<'a>>,
}

impl Default for Permits {
    fn default() -> Self {
        Self { free: Semaphore::new(0), count: Mutex::default() }
    }
}

impl Permits {
    /// Waits for one of `wanted` permits. When that number has become smaller, those that are taken are
    /// not given out again until it holds.
    pub(super) async fn acquire(&self, wanted: usize) -> Permit<'_> {
        self.resize(wanted);
        // It is never closed.
        Permit { permits: self, taken: self.free.acquire().await.ok() }
    }

    fn resize(&self, wanted: usize) {
        let mut count = self.count();
        count.wanted = wanted;
        if count.all < wanted {
            self.free.add_permits(wanted - count.all);
            count.all = wanted;
        } else {
            count.all -= self.free.forget_permits(count.all - wanted);
        }
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        // Two numbers are whole even if a thread panicked while it held the lock.
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut count = self.permits.count();
        if count.all > count.wanted
            && let Some(taken) = self.taken.take()
        {
            taken.forget();
            count.all -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_number_that_shrinks_holds_as_soon_as_permits_come_back() {
        let permits = Permits::default();
        let first = permits.acquire(2).await;
        let second = permits.acquire(2).await;
        assert!(permits.acquire(2).now_or_never().is_none());
        assert!(permits.acquire(1).now_or_never().is_none());
        drop(first);
        assert!(permits.acquire(1).now_or_never().is_none(), "one is out, and one may be");
        drop(second);
        let only = permits.acquire(1).now_or_never().unwrap();
        assert!(permits.acquire(1).now_or_never().is_none());
        let more = permits.acquire(2).now_or_never().unwrap();
        drop((only, more));
        assert_eq!(permits.count().all, 2);
    }
}
