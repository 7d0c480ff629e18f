//! How many requests one caller has under way.
//!
//! State: a count per caller, gone with the caller's last request; a crash ends both.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// The holder of a credential, of which this is the SHA-256.
    Key([u8; 32]),
    /// An address without a credential.
    Ip(IpAddr),
}

type Counts = Mutex<HashMap<Who, u32>>;

/// The counts of all callers.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Arc<Counts>,
}

/// Counts while it lives.
#[derive(Debug)]
pub(crate) struct Seat {
    who: Who,
    taken: Arc<Counts>,
}

impl Seats {
    /// One of `max` seats, and how many are left after it; none when all are taken.
    pub(super) fn take(&self, who: Who, max: u32) -> Option<(Seat, u32)> {
        let mut counts = locked(&self.taken);
        let count = counts.entry(who).or_default();
        let left = max.checked_sub(*count + 1)?;
        *count += 1;
        Some((Seat { who, taken: self.taken.clone() }, left))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = locked(&self.taken);
        if let Some(count) = counts.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.who);
            }
        }
    }
}

fn locked(counts: &Counts) -> MutexGuard<'_, HashMap<Who, u32>> {
    // The map is whole even if a thread panicked while it held the lock.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_per_caller_and_given_back() {
        let seats = Seats::default();
        let (ann, bob) = (Who::Key([1; 32]), Who::Ip([192, 0, 2, 1].into()));
        let (first, left) = seats.take(ann, 2).unwrap();
        assert_eq!(left, 1);
        let second = seats.take(ann, 2).unwrap();
        assert!(seats.take(ann, 2).is_none() && seats.take(bob, 2).is_some());
        drop(first);
        assert_eq!(seats.take(ann, 2).map(|(_, left)| left), Some(0));
        drop(second);
        assert!(locked(&seats.taken).is_empty(), "nobody is remembered for nothing");
    }
}
