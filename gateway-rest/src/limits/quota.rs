//! A number of requests per minute that may change at any time.
//!
//! State: token buckets in memory. A crash, like a change of the number, forgets them, which forgives at
//! most one minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::NotUntil;
use governor::clock::QuantaInstant;
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

const MINUTE: Duration = Duration::from_secs(60);

type Governed<K> = GovernorConfig<K, StateInformationMiddleware>;

/// Counts the requests of each key that `K` finds in them.
#[derive(Default)]
pub(super) struct Quota<K: KeyExtractor> {
    extractor: K,
    /// The number that was asked for last, and the buckets of that size.
    current: Mutex<Option<(u32, Arc<Governed<K>>)>>,
}

impl<K: KeyExtractor> Quota<K> {
    /// Takes one of `per_minute` requests, which is at least 1.
    pub(super) fn take(
        &self,
        key: &K::Key,
        per_minute: u32,
    ) -> Result<StateSnapshot, NotUntil<QuantaInstant>> {
        self.of(per_minute).limiter().check_key(key)
    }

    /// Forgets those who have their full budget again.
    pub(super) fn tidy_up(&self) {
        if let Some((_, governed)) = &*self.current() {
            governed.limiter().retain_recent();
        }
    }

    fn of(&self, per_minute: u32) -> Arc<Governed<K>> {
        let mut current = self.current();
        match &*current {
            Some((size, governed)) if *size == per_minute => governed.clone(),
            _ => {
                let governed = Arc::new(governed(self.extractor.clone(), per_minute));
                *current = Some((per_minute, governed.clone()));
                governed
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<(u32, Arc<Governed<K>>)>> {
        // What is in it is whole even if a thread panicked while it held the lock.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn governed<K: KeyExtractor>(extractor: K, per_minute: u32) -> Governed<K> {
    GovernorConfigBuilder::default()
        .period(MINUTE / per_minute)
        .burst_size(per_minute)
        .key_extractor(extractor)
        .use_headers()
        .finish()
        .expect("the settings allow no number below 1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_governor::key_extractor::GlobalKeyExtractor;

    #[test]
    fn a_new_number_holds_at_once_and_the_same_one_keeps_the_count() {
        let quota = Quota { extractor: GlobalKeyExtractor, current: Mutex::default() };
        assert_eq!(quota.take(&(), 2).unwrap().remaining_burst_capacity(), 1);
        quota.tidy_up();
        assert_eq!(quota.take(&(), 2).unwrap().remaining_burst_capacity(), 0);
        assert!(quota.take(&(), 2).is_err());
        assert_eq!(quota.take(&(), 3).unwrap().remaining_burst_capacity(), 2);
        assert!(quota.take(&(), 1).is_ok() && quota.take(&(), 1).is_err());
    }
}
