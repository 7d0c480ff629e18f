//! The promise of acceptance.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::message::{Accepted, Submission};

use super::Error;

/// Accepts messages.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Stores submissions: messages, content, deliveries, events, counters and idempotency keys in
    /// one transaction for all of them. Returns, in order, what became of each message of each
    /// submission; when it returns, all of it is on stable storage. On an error nothing is stored.
    async fn accept(
        &self,
        submissions: Arc<Vec<Submission>>,
        now_ms: i64,
    ) -> Result<Vec<Vec<Accepted>>, Error>;
}
