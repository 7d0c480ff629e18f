//! Which share of the mail that ended has failed for good, over the last ten minutes. Counts are kept by
//! the hour in the store; what was there at each look is remembered. Pure but for that memory, which a
//! crash forgets: the share is then of the time since the start.

use std::collections::{BTreeMap, VecDeque};

use crate::model::event::{Counter, EventType};
use crate::store::ledger::Counted;

/// The time over which the share is taken.
pub(super) const WINDOW_MS: i64 = 10 * 60_000;
/// Less mail than this says nothing: one in ten seconds.
const ENDED_MIN: i64 = 60;
/// Looks that are kept, whatever the interval.
const LOOKS_MAX: usize = 1200;

/// What ended, and what of it failed for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ended {
    all: i64,
    failed: i64,
}

/// What was counted at the looks so far.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    looks: VecDeque<(i64, BTreeMap<i64, Ended>)>,
}

impl Rate {
    /// Takes a look. Returns the share in percent and of how many, if it is more than `percent` and of
    /// enough to say anything.
    pub(super) fn look(
        &mut self,
        now_ms: i64,
        counts: &[Counted],
        percent: i64,
    ) -> Option<(i64, i64)> {
        let now = by_hour(counts);
        let is_old = |at_ms: i64| now_ms - at_ms >= WINDOW_MS;
        // The youngest of the old ones is where the window begins.
        while self.looks.get(1).is_some_and(|(at_ms, _)| is_old(*at_ms))
            || self.looks.len() >= LOOKS_MAX
        {
            self.looks.pop_front();
        }
        let then = self.looks.front().map_or(&now, |(_, counts)| counts);
        let mut ended = Ended::default();
        for (hour, counted) in &now {
            let before = then.get(hour).copied().unwrap_or_default();
            ended.all += (counted.all - before.all).max(0);
            ended.failed += (counted.failed - before.failed).max(0);
        }
        self.looks.push_back((now_ms, now));
        let is_bad =
            percent > 0 && ended.all >= ENDED_MIN && ended.failed * 100 > ended.all * percent;
        is_bad.then(|| (ended.failed * 100 / ended.all, ended.all))
    }
}

fn by_hour(counts: &[Counted]) -> BTreeMap<i64, Ended> {
    let mut hours = BTreeMap::<i64, Ended>::new();
    for counted in counts {
        let Counter::Events(kind) = counted.counter else { continue };
        let hour = hours.entry(counted.hour_ms).or_default();
        match kind {
            EventType::Delivered => hour.all += counted.count,
            EventType::Bounced | EventType::Failed | EventType::Expired => {
                hour.all += counted.count;
                hour.failed += counted.count;
            }
            _ => {}
        }
    }
    hours
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn counts(hour_ms: i64, delivered: i64, bounced: i64) -> Vec<Counted> {
        let of = |kind, count| Counted { hour_ms, counter: Counter::Events(kind), count };
        vec![
            of(EventType::Delivered, delivered),
            of(EventType::Bounced, bounced),
            of(EventType::Deferred, 10_000),
            Counted { hour_ms, counter: Counter::BotOpens, count: 10_000 },
        ]
    }

    #[test]
    fn only_what_ended_since_counts_and_only_when_it_is_enough() {
        let mut rate = Rate::default();
        assert_eq!(rate.look(0, &counts(0, 0, 900), 10), None, "that was before the first look");
        assert_eq!(rate.look(1, &counts(0, 0, 959), 10), None, "59 are not enough");
        assert_eq!(rate.look(2, &counts(0, 540, 960), 10), None, "10 % are not more than 10 %");
        assert_eq!(rate.look(3, &counts(0, 540, 961), 10), Some((10, 601)));
        assert_eq!(rate.look(4, &counts(0, 540, 961), 0), None, "it is switched off");
    }

    #[test]
    fn what_was_before_the_window_is_forgotten_and_a_new_hour_goes_on() {
        let mut rate = Rate::default();
        rate.look(0, &counts(0, 0, 0), 10);
        assert_eq!(rate.look(MINUTE, &counts(0, 0, 100), 10), Some((100, 100)));
        let both = |delivered| [counts(0, 0, 100), counts(60 * MINUTE, delivered, 0)].concat();
        assert_eq!(rate.look(9 * MINUTE, &both(100), 10), Some((50, 200)));
        assert_eq!(rate.look(11 * MINUTE, &both(100), 10), None, "the failures are too long ago");
    }
}
