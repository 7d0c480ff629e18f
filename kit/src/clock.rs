//! The time of day, so that code which depends on it can be tested with a time of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where a component takes the time from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The time of the machine.
    System,
    /// A time that only moves when told, in milliseconds since 1970.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `millis` until it is moved.
    pub fn manual(millis: i64) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(millis)))
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::System => jiff::Timestamp::now().as_millisecond(),
            Self::Manual(millis) => millis.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock; a system clock is left alone.
    pub fn advance(&self, by_ms: i64) {
        if let Self::Manual(millis) = self {
            millis.fetch_add(by_ms, Ordering::SeqCst);
        }
    }
}
