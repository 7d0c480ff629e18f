//! When to try again.

use std::time::Duration;

use postern_kit::backoff;

/// How attempts are spread. The last delay repeats until the message expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The delays after the first, second, … failed attempt.
    pub delays: Vec<Duration>,
    /// How far a delay may vary, in percent, so that mail deferred together does not come back
    /// together.
    pub jitter_percent: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let minutes = [1, 5, 15, 30, 60, 120, 240];
        let delays = minutes.map(|m| Duration::from_secs(60 * m)).to_vec();
        Self { delays, jitter_percent: 10 }
    }
}

impl RetryPolicy {
    /// When the attempt after the `attempt`th (from 1) is due; none when that would be at or after
    /// `expire_ms`. `random` is in 0..1.
    pub fn next(&self, attempt: u32, now_ms: i64, expire_ms: i64, random: f64) -> Option<i64> {
        let position = (attempt.max(1) as usize - 1).min(self.delays.len().saturating_sub(1));
        let delay = self.delays.get(position).copied().unwrap_or(Duration::from_secs(60));
        let delay = backoff::jitter(delay, self.jitter_percent, random);
        let due_ms = now_ms + delay.as_millis() as i64;
        (due_ms < expire_ms).then_some(due_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_the_last_repeats() {
        let policy = RetryPolicy { jitter_percent: 0, ..RetryPolicy::default() };
        let minutes = |attempt| policy.next(attempt, 0, i64::MAX, 0.5).map(|due| due / 60_000);
        assert_eq!(
            [minutes(1), minutes(2), minutes(7), minutes(50)].map(Option::unwrap),
            [1, 5, 240, 240]
        );
    }

    #[test]
    fn nothing_is_due_after_the_message_expires() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.next(1, 0, 30_000, 0.5), None);
        assert!(policy.next(1, 0, 70_000, 0.0).is_some());
    }
}
