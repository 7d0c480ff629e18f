//! What can go wrong in a store, as far as callers act on it.

use postern_proto::reason::Reason;
use postern_proto::status::Failure;

/// A store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be reached or cannot write now; the same call may work later. Nothing was stored.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// A unique value is taken.
    #[error("a unique value is taken: {0}")]
    Conflict(String),
    /// What was read makes no sense; a fault of ours.
    #[error("store holds something unreadable: {0}")]
    Corrupt(String),
}

impl Error {
    /// What a customer is told. The cause is for the log.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Unavailable(_) => {
                let text = "the store cannot be reached; nothing was stored, try again";
                Failure::new(Reason::StoreUnavailable, text)
                    .retry_after(std::time::Duration::from_secs(1))
            }
            Self::Conflict(_) => Failure::new(
                Reason::IdempotencyInFlight,
                "another request with the same idempotency key is under way; try again",
            ),
            Self::Corrupt(_) => Failure::new(Reason::Internal, "something went wrong on our side"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        tracing::warn!(error = %error, "store failed");
        error.failure()
    }
}
