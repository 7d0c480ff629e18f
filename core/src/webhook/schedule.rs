//! When a delivery is tried again, and when an endpoint is left alone. Pure: time and chance are
//! handed in.

use std::time::Duration;

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

/// Failures in a row after which an endpoint is left alone.
const FAILURES_MAX: u32 = 5;
const OPEN_MIN: Duration = Duration::from_secs(10);
const OPEN_MAX: Duration = Duration::from_secs(300);

/// Leaves an endpoint alone that fails again and again: closed while it does well, open for a while
/// after [`FAILURES_MAX`] failures, then one try decides.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    open_until_ms: i64,
    success_ms: i64,
}

/// What may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// As much as otherwise allowed.
    Any,
    /// One.
    One,
    /// Nothing before this time.
    NoneBefore(i64),
}

impl Breaker {
    /// What may be tried now.
    pub fn permit(&self, now_ms: i64) -> Permit {
        match self.open_until_ms {
            until if until > now_ms => Permit::NoneBefore(until),
            _ if self.failures >= FAILURES_MAX => Permit::One,
            _ => Permit::Any,
        }
    }

    /// A try succeeded.
    pub fn succeeded(&mut self, now_ms: i64) {
        *self = Self { success_ms: now_ms, ..Self::default() };
    }

    /// Whether the newest try succeeded, and not before a time.
    pub fn is_well_since(&self, since_ms: i64) -> bool {
        self.failures == 0 && self.success_ms >= since_ms
    }

    /// A try failed; `asked` is how long the endpoint wants to be left alone. `percent` scales our
    /// own pauses.
    pub fn failed(&mut self, now_ms: i64, asked: Option<Duration>, percent: i64) {
        self.failures = self.failures.saturating_add(1);
        let beyond = self.failures.checked_sub(FAILURES_MAX);
        let own = beyond.map(|beyond| {
            let pause = OPEN_MIN.saturating_mul(1 << beyond.min(16)).min(OPEN_MAX);
            pause.mul_f64(percent.max(0) as f64 / 100.0)
        });
        // What it asks for holds for this one delivery in full, and for all others within reason.
        let asked = asked.map(|asked| asked.min(OPEN_MAX));
        let pause = own.into_iter().chain(asked).max().unwrap_or_default();
        let until = now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        self.open_until_ms = self.open_until_ms.max(until);
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
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.failed(0, None, 100);
        }
        assert_eq!(breaker.permit(0), Permit::Any);
        breaker.failed(0, None, 100);
        assert_eq!(breaker.permit(0), Permit::NoneBefore(10_000));
        assert_eq!(breaker.permit(10_000), Permit::One);
        breaker.failed(10_000, None, 100);
        assert_eq!(breaker.permit(10_000), Permit::NoneBefore(30_000));
        breaker.succeeded(20_000);
        assert!(breaker.is_well_since(20_000) && !breaker.is_well_since(20_001));
        assert_eq!(breaker.permit(10_000), Permit::Any);
        breaker.failed(10_000, Some(60 * SECOND), 100);
        assert_eq!(breaker.permit(10_000), Permit::NoneBefore(70_000), "as it asked");
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
