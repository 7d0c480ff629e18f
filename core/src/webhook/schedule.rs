//! When a delivery is tried again, and when an endpoint is left alone. Pure: time and chance are
//! handed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::{Breaker, Condition, Limits};

/// Pauses behind the first try, the second, and so on; behind the last one there is none.
const PAUSES_S: [u64; 9] =
    [5, 300, 1800, 7200, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];
const JITTER_PERCENT: u32 = 10;
/// The longest time an endpoint may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long to wait behind try number `tries`, in `percent` of the schedule; none when that was the
/// last. `asked` is what the endpoint asked for: it is never asked again sooner.
pub fn pause(tries: i64, percent: i64, asked: Option<Duration>, random: f64) -> Option<Duration> {
    let index = usize::try_from(tries).ok()?.checked_sub(1)?;
    let pause = Duration::from_secs(*PAUSES_S.get(index)?);
    let pause = pause.mul_f64(percent.max(0) as f64 / 100.0);
    let pause = postern_kit::backoff::jitter(pause, JITTER_PERCENT, random);
    Some(asked.map_or(pause, |asked| pause.max(asked.min(RETRY_AFTER_MAX))))
}

/// Failures in a row after which an endpoint is left alone for a while.
const FAILURES_MAX: u32 = 5;
const OPEN_MIN: Duration = Duration::from_secs(10);
const OPEN_MAX: Duration = Duration::from_secs(300);

/// How an endpoint does: a breaker, and what it asks for itself.
#[derive(Debug)]
pub struct Health {
    breaker: Breaker,
    quiet_until: Instant,
    last_success_ms: Option<i64>,
}

/// What may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// As much as otherwise allowed.
    Any,
    /// One, which decides for all.
    One,
    /// Nothing for this time.
    NoneFor(Duration),
}

impl Health {
    /// Nothing is known to be wrong.
    pub fn new(now: Instant) -> Self {
        Self { breaker: Breaker::default(), quiet_until: now, last_success_ms: None }
    }

    /// What may be tried now.
    pub fn permit(&self, now: Instant) -> Permit {
        let quiet = self.quiet_until.saturating_duration_since(now);
        match self.breaker.open_for(now).unwrap_or_default().max(quiet) {
            Duration::ZERO if self.breaker.condition(now) == Condition::Closed => Permit::Any,
            Duration::ZERO => Permit::One,
            left => Permit::NoneFor(left),
        }
    }

    /// A try succeeded.
    pub fn succeeded(&mut self, now: Instant, now_ms: i64) {
        self.breaker.succeeded();
        (self.quiet_until, self.last_success_ms) = (now, Some(now_ms));
    }

    /// A try failed; `asked` is how long the endpoint wants to be left alone. `percent` scales our
    /// own pauses.
    pub fn failed(&mut self, now: Instant, asked: Option<Duration>, percent: i64) {
        let scaled = |pause: Duration| pause.mul_f64(percent.max(0) as f64 / 100.0);
        let limits = Limits {
            failures: FAILURES_MAX,
            open_time: scaled(OPEN_MIN),
            open_time_max: scaled(OPEN_MAX),
            // There is one runner, which waits for its one try.
            trial_time: Duration::ZERO,
        };
        self.breaker.failed(now, limits);
        self.last_success_ms = None;
        // What it asks for holds for this one delivery in full, and for all others within reason.
        let asked = asked.unwrap_or_default().min(OPEN_MAX);
        self.quiet_until = self.quiet_until.max(now + asked);
    }

    /// Whether the newest try succeeded, and not before a time.
    pub fn is_well_since(&self, since_ms: i64) -> bool {
        self.last_success_ms.is_some_and(|success_ms| success_ms >= since_ms)
    }
}

/// Spreads deliveries over time: so many a second, without a burst.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    next_ms: f64,
}

impl Pace {
    /// How many of `wanted` may start now; all of them without a limit.
    pub fn take(&mut self, wanted: usize, per_second: i64, now_ms: i64) -> usize {
        if per_second <= 0 {
            return wanted;
        }
        let (now, gap) = (now_ms as f64, 1000.0 / per_second as f64);
        // What was not used is lost, but for one and a tenth of a second's worth: looks are not that
        // exact.
        self.next_ms = self.next_ms.max(now - gap - 100.0);
        let room = ((now - self.next_ms) / gap).floor().max(0.0) as usize;
        let taken = wanted.min(room);
        self.next_ms += gap * taken as f64;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_schedule_is_the_documented_one_and_ends() {
        let seconds = |tries| pause(tries, 100, None, 0.5).map(|pause| pause.as_secs());
        assert_eq!([seconds(1), seconds(2), seconds(9)], [Some(5), Some(300), Some(86_400)]);
        assert_eq!([seconds(0), seconds(10), seconds(-1)], [None; 3]);
        let total: u64 = (1..=9).filter_map(seconds).sum();
        assert_eq!(total, 75 * 3600 + 35 * 60 + 5);
        assert_eq!(pause(1, 100, None, 0.0), Some(Duration::from_millis(4500)));
        assert_eq!(pause(1, 0, None, 1.0), Some(Duration::ZERO));
        assert_eq!(pause(1, 100, Some(60 * SECOND), 0.5), Some(60 * SECOND));
        assert_eq!(pause(2, 100, Some(SECOND), 0.5), Some(300 * SECOND), "never sooner");
        assert_eq!(pause(1, 100, Some(48 * 3600 * SECOND), 0.5), Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn an_endpoint_that_fails_is_left_alone_and_one_try_decides() {
        let start = Instant::now();
        let at = |seconds: u32| start + seconds * SECOND;
        let mut health = Health::new(start);
        for _ in 0..4 {
            health.failed(start, None, 100);
        }
        assert_eq!(health.permit(start), Permit::Any);
        health.failed(start, None, 100);
        assert_eq!(health.permit(start), Permit::NoneFor(10 * SECOND));
        // Tries that were under way meanwhile say nothing new.
        health.failed(at(1), None, 100);
        assert_eq!(health.permit(at(1)), Permit::NoneFor(9 * SECOND));
        assert_eq!(health.permit(at(10)), Permit::One);
        health.failed(at(10), None, 100);
        assert_eq!(health.permit(at(10)), Permit::NoneFor(20 * SECOND));
        assert!(!health.is_well_since(0));
        health.succeeded(at(20), 20_000);
        assert!(health.is_well_since(20_000) && !health.is_well_since(20_001));
        assert_eq!(health.permit(at(20)), Permit::Any);
        health.failed(at(20), Some(60 * SECOND), 100);
        assert_eq!(health.permit(at(20)), Permit::NoneFor(60 * SECOND), "as it asked");
    }

    #[test]
    fn a_pace_is_kept() {
        let mut pace = Pace::default();
        assert_eq!(pace.take(100, 0, 1_000_000), 100);
        let taken: usize = (0..100).map(|n| pace.take(50, 20, 1_000_000 + n * 50)).sum();
        // Five seconds at twenty a second, and the tenth it begins with.
        assert!((99..=104).contains(&taken), "{taken}");
        assert!(pace.take(50, 20, 2_000_000) <= 3, "nothing is saved up");
        for per_second in [1, 2, 5, 9, 11] {
            let mut pace = Pace::default();
            let turn = |n: i64| pace.take(50, per_second, 1_000_000 + n * 20);
            let taken = (0..500).map(turn).sum::<usize>() as i64;
            assert!((per_second * 10 - 1..=per_second * 10 + 3).contains(&taken), "{taken}");
        }
    }
}
