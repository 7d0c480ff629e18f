//! The generic cell rate algorithm: one number per name says when the quota will be full again.
//! Pure. The script in `gcra.lua` is the same computation.

use super::{Quota, Verdict};

/// The time that one unit of the quota takes to come back, in microseconds.
pub(super) fn interval_us(quota: Quota) -> u64 {
    (window_us(quota) / quota.limit.max(1)).max(1)
}

/// The window in microseconds.
pub(super) fn window_us(quota: Quota) -> u64 {
    u64::try_from(quota.window.as_micros()).unwrap_or(u64::MAX / 4)
}

/// Asks for one more at `now_us`; `full_us` is when the quota will be full again. Returns the new
/// one with the verdict.
pub(super) fn ask(full_us: u64, now_us: u64, quota: Quota) -> (u64, Verdict) {
    let (interval, window) = (interval_us(quota), window_us(quota));
    let full = full_us.max(now_us) + interval;
    let ahead = full - now_us;
    if ahead > window {
        let retry_after = std::time::Duration::from_micros(ahead - window);
        return (full_us, Verdict::Refused { retry_after });
    }
    (full, Verdict::Granted { used: ahead.div_ceil(interval) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_quota_is_used_up_and_comes_back_evenly() {
        let quota = Quota { limit: 4, window: Duration::from_secs(4) };
        let mut full = 0;
        let mut now = 1_000_000_000;
        for used in 1..=4 {
            let (next, verdict) = ask(full, now, quota);
            assert_eq!(verdict, Verdict::Granted { used });
            full = next;
        }
        let (same, verdict) = ask(full, now, quota);
        assert_eq!(same, full);
        assert_eq!(verdict, Verdict::Refused { retry_after: Duration::from_secs(1) });
        now += 1_000_000;
        assert_eq!(ask(full, now, quota).1, Verdict::Granted { used: 4 });
        now += 60_000_000;
        assert_eq!(ask(full, now, quota).1, Verdict::Granted { used: 1 });
    }

    #[test]
    fn a_quota_of_one_is_one() {
        let quota = Quota { limit: 1, window: Duration::from_secs(10) };
        let (full, verdict) = ask(0, 5, quota);
        assert_eq!(verdict, Verdict::Granted { used: 1 });
        assert!(matches!(ask(full, 5, quota).1, Verdict::Refused { .. }));
    }
}
