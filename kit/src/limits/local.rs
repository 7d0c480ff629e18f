//! Counting in this process, in bounded memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::{Quota, Verdict, gcra};

/// No more names are counted at a time. Above it the names that are nearest to their full quota are
/// forgotten first, so whoever is at a limit stays there.
const NAMES_MAX: usize = 100_000;
/// How much room forgetting makes.
const ROOM: usize = NAMES_MAX / 10;

/// Counters by name.
#[derive(Debug)]
pub(super) struct Local {
    began: Instant,
    full_us: Mutex<HashMap<String, u64>>,
}

impl Default for Local {
    fn default() -> Self {
        Self { began: Instant::now(), full_us: Mutex::default() }
    }
}

impl Local {
    pub(super) fn ask(&self, name: &str, quota: Quota, take: bool) -> Verdict {
        let now_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX / 4);
        // The map is whole even if a thread panicked while it held the lock.
        let mut counters = self.full_us.lock().unwrap_or_else(PoisonError::into_inner);
        let full_us = counters.get(name).copied().unwrap_or(0);
        let (next, verdict) = gcra::ask(full_us, now_us, quota);
        if take && matches!(verdict, Verdict::Granted { .. }) {
            if counters.len() >= NAMES_MAX && !counters.contains_key(name) {
                make_room(&mut counters, now_us);
            }
            match counters.get_mut(name) {
                Some(counter) => *counter = next,
                None => drop(counters.insert(name.to_owned(), next)),
            }
        }
        verdict
    }
}

fn make_room(counters: &mut HashMap<String, u64>, now_us: u64) {
    counters.retain(|_, full_us| *full_us > now_us);
    if counters.len() + ROOM <= NAMES_MAX {
        return;
    }
    let mut times: Vec<u64> = counters.values().copied().collect();
    let at = ROOM.min(times.len() - 1);
    let (_, limit, _) = times.select_nth_unstable(at);
    let limit = *limit;
    counters.retain(|_, full_us| *full_us > limit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn memory_is_bounded_and_who_is_at_a_limit_stays_there() {
        let local = Local::default();
        let hour = Duration::from_secs(3600);
        let strict = Quota { limit: 2, window: hour };
        for _ in 0..3 {
            local.ask("attacker", strict, true);
        }
        let lenient = Quota { limit: 1000, window: hour };
        for n in 0..NAMES_MAX + 1000 {
            local.ask(&format!("visitor {n}"), lenient, true);
        }
        assert!(local.full_us.lock().unwrap().len() <= NAMES_MAX);
        assert!(matches!(local.ask("attacker", strict, true), Verdict::Refused { .. }));
    }

    #[test]
    fn looking_takes_nothing() {
        let local = Local::default();
        let quota = Quota { limit: 1, window: Duration::from_secs(3600) };
        for _ in 0..3 {
            assert_eq!(local.ask("x", quota, false), Verdict::Granted { used: 1 });
        }
        assert_eq!(local.ask("x", quota, true), Verdict::Granted { used: 1 });
        assert!(local.ask("x", quota, false).retry_after().is_some());
    }
}
