//! Growing delays with jitter, for reconnecting and for retries.

use std::time::Duration;

/// A delay that doubles from `base` up to `max`, with ±`jitter_percent`. Pure: `random` is a number
/// in 0..1 that the caller draws.
pub fn delay(
    attempt: u32,
    base: Duration,
    max: Duration,
    jitter_percent: u32,
    random: f64,
) -> Duration {
    let factor = 2u32.saturating_pow(attempt.min(30));
    jitter(base.saturating_mul(factor).min(max), jitter_percent, random)
}

/// Spreads a delay by ±`percent`; `random` is in 0..1.
pub fn jitter(delay: Duration, percent: u32, random: f64) -> Duration {
    let spread = f64::from(percent) / 100.0;
    delay.mul_f64(1.0 + spread * (2.0 * random.clamp(0.0, 1.0) - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let at =
            |n| delay(n, Duration::from_millis(100), Duration::from_secs(1), 0, 0.5).as_millis();
        assert_eq!([at(0), at(1), at(2), at(3), at(4), at(99)], [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn jitter_stays_within_its_percentage() {
        let second = Duration::from_secs(1);
        assert_eq!(jitter(second, 20, 0.0), Duration::from_millis(800));
        assert_eq!(jitter(second, 20, 1.0), Duration::from_millis(1200));
    }
}
