//! A circuit breaker (closed, open, half-open): after failures in a row nobody calls for a while, then
//! one tries, and his result decides for all.
//!
//! Pure but for its own memory, which a crash forgets: the breaker is then closed and finds out again.

use tokio::time::{Duration, Instant};

/// When it opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open the first time; each further time twice as long.
    pub open_time: Duration,
    /// It does not stay open for longer than this.
    pub open_time_max: Duration,
    /// How long the one who tries may take. Who has not been heard of by then is taken for lost.
    pub trial_time: Duration,
}

/// What others see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Everybody may call.
    Closed,
    /// Nobody may.
    Open,
    /// One may, to see whether it is over.
    HalfOpen,
}

/// The breaker.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open: Option<Opened>,
}

#[derive(Debug)]
struct Opened {
    until: Instant,
    pause: Duration,
    /// Somebody tries, and may until then.
    trial: Option<Instant>,
}

/// Those who wait for the one who tries ask again after this at the latest.
const TRIAL_PAUSE: Duration = Duration::from_secs(5);

impl Breaker {
    /// Lets a call through, or says when to ask again.
    pub fn admit(&mut self, now: Instant, limits: Limits) -> Result<(), Duration> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if now < open.until {
            return Err(open.until - now);
        }
        if let Some(trial) = open.trial.filter(|trial| now < *trial) {
            return Err((trial - now).min(TRIAL_PAUSE).min(limits.open_time));
        }
        open.trial = Some(now + limits.trial_time);
        Ok(())
    }

    /// A call got its answer. Tells whether the breaker was open.
    pub fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.open.take().is_some()
    }

    /// A call failed. Tells for how long the breaker opens, if it opens by that.
    pub fn failed(&mut self, now: Instant, limits: Limits) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if self.open.is_none() && self.failures < limits.failures {
            return None;
        }
        self.trip(now, limits)
    }

    /// A call failed in a way that every other one would. Tells for how long the breaker opens, if it
    /// opens by that.
    pub fn trip(&mut self, now: Instant, limits: Limits) -> Option<Duration> {
        let pause = match &self.open {
            // Calls that were under way when it opened say nothing new.
            Some(open) if now < open.until => return None,
            Some(open) => open.pause.saturating_mul(2).min(limits.open_time_max),
            None => limits.open_time,
        };
        let pause = pause.max(limits.open_time);
        self.open = Some(Opened { until: now + pause, pause, trial: None });
        Some(pause)
    }

    /// How long nobody may call, if nobody may.
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        let open = self.open.as_ref()?;
        Some(open.until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// What others see of it.
    pub fn condition(&self, now: Instant) -> Condition {
        match &self.open {
            None => Condition::Closed,
            Some(open) if now < open.until => Condition::Open,
            Some(_) => Condition::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits {
            failures: 3,
            open_time: 10 * SECOND,
            open_time_max: 30 * SECOND,
            trial_time: 60 * SECOND,
        }
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.failed(now, limits()), None);
        assert_eq!(breaker.failed(now, limits()), None);
        assert_eq!(breaker.failed(now, limits()), Some(10 * SECOND));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            breaker.failed(now, limits());
            breaker.failed(now, limits());
            assert!(!breaker.succeeded());
        }
        assert_eq!(breaker.condition(now), Condition::Closed);
        let mut breaker = opened(now);
        assert_eq!(breaker.condition(now), Condition::Open);
        assert_eq!(breaker.admit(now + SECOND, limits()), Err(9 * SECOND));
        assert_eq!(breaker.failed(now + SECOND, limits()), None, "that was under way before");
    }

    #[test]
    fn one_tries_and_his_success_is_for_all() {
        let begin = Instant::now();
        let mut breaker = opened(begin);
        let later = begin + 10 * SECOND;
        assert_eq!(breaker.condition(later), Condition::HalfOpen);
        assert_eq!(breaker.admit(later, limits()), Ok(()));
        assert_eq!(breaker.admit(later, limits()), Err(TRIAL_PAUSE), "the others wait");
        assert!(breaker.succeeded());
        assert_eq!(breaker.admit(later, limits()), Ok(()));
        assert_eq!(breaker.condition(later), Condition::Closed);
    }

    #[test]
    fn a_failed_trial_opens_it_for_longer_up_to_the_limit() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for pause in [20, 30, 30] {
            now += 30 * SECOND;
            assert_eq!(breaker.admit(now, limits()), Ok(()));
            assert_eq!(breaker.failed(now, limits()), Some(pause * SECOND));
        }
    }

    #[test]
    fn who_tries_and_is_lost_is_followed_by_another() {
        let begin = Instant::now();
        let mut breaker = opened(begin);
        let later = begin + 10 * SECOND;
        assert_eq!(breaker.admit(later, limits()), Ok(()));
        assert!(breaker.admit(later + 59 * SECOND, limits()).is_err());
        assert_eq!(breaker.admit(later + 60 * SECOND, limits()), Ok(()));
    }

    #[test]
    fn one_failure_of_configuration_is_enough() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        assert_eq!(breaker.trip(now, limits()), Some(10 * SECOND));
        assert_eq!(breaker.trip(now, limits()), None);
    }
}
