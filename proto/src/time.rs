//! Times on the wire and in the store: `google.protobuf.Timestamp` and milliseconds since 1970.

use prost_types::{Duration, Timestamp};

/// 9999-12-31T23:59:59.999Z, the last time RFC 3339 can write.
pub const MILLIS_MAX: i64 = 253_402_300_799_999;

/// The wire form of a time in milliseconds since 1970.
pub fn timestamp(millis: i64) -> Timestamp {
    Timestamp {
        seconds: millis.div_euclid(1000),
        nanos: (millis.rem_euclid(1000) * 1_000_000) as i32,
    }
}

/// Milliseconds since 1970, rounded down; `None` when the value is malformed or outside 1970 to
/// 9999.
pub fn millis(time: &Timestamp) -> Option<i64> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        return None;
    }
    let millis = time.seconds.checked_mul(1000)?.checked_add(i64::from(time.nanos) / 1_000_000)?;
    (0..=MILLIS_MAX).contains(&millis).then_some(millis)
}

/// A duration in milliseconds; `None` when it is malformed or negative.
pub fn duration_millis(duration: &Duration) -> Option<u64> {
    if !(0..1_000_000_000).contains(&duration.nanos) {
        return None;
    }
    let seconds = u64::try_from(duration.seconds).ok()?;
    seconds.checked_mul(1000)?.checked_add(duration.nanos as u64 / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn milliseconds_survive_the_wire(value in 0..=MILLIS_MAX) {
            prop_assert_eq!(millis(&timestamp(value)), Some(value));
        }

        #[test]
        fn no_timestamp_overflows(seconds: i64, nanos: i32) {
            let _ = millis(&Timestamp { seconds, nanos });
            let _ = duration_millis(&Duration { seconds, nanos });
        }
    }
}
