//! Keeping house: saying that this node lives, freeing what dead nodes held, dropping what is no
//! longer needed.
//!
//! Each round is idempotent and takes no input, so a crash in the middle only delays it.

use std::sync::Arc;
use std::time::Duration;

use postern_kit::clock::Clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{Database, Error, Queue, inbox};

/// How often a node says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// A node that has not been heard of for this long is dead: its leases go to others.
pub const NODE_TTL: Duration = Duration::from_secs(30);
/// A reaper's batch; a full one means there is more.
const FULL_BATCH: usize = 1000;
/// Every how many heartbeats old things are dropped.
const PURGE_EVERY: u32 = 12;

/// What is kept for how long.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Contents, after acceptance, once the last delivery has ended.
    pub content: Duration,
    /// How many mails the local inbox holds.
    pub inbox: usize,
}

/// Keeps house for one node.
pub struct Keeper {
    /// Leases and contents.
    pub queue: Arc<dyn Queue>,
    /// The inbox.
    pub db: Arc<dyn Database>,
    /// This node.
    pub node: Uuid,
    /// The time.
    pub clock: Clock,
    /// What is kept for how long.
    pub retention: Retention,
}

impl Keeper {
    /// Says that this node lives. Before it, nothing may be accepted with a lease of this node.
    pub async fn register(&self) -> Result<(), Error> {
        self.queue.heartbeat(self.node, self.clock.now_ms()).await
    }

    /// Frees what nodes held that were not heard of for `ttl`. Returns how many deliveries.
    pub async fn reap(&self, ttl: Duration) -> Result<usize, Error> {
        let mut total = 0;
        loop {
            let now_ms = self.clock.now_ms();
            let freed = self.queue.reap(now_ms - ttl.as_millis() as i64, now_ms).await?;
            total += freed;
            if freed < FULL_BATCH {
                return Ok(total);
            }
        }
    }

    /// Drops contents, idempotency keys and caught mails that have had their time.
    pub async fn purge(&self) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        let before_ms = now_ms - self.retention.content.as_millis() as i64;
        while self.queue.purge(before_ms, now_ms).await? > 0 {}
        inbox::trim(&*self.db, self.retention.inbox).await
    }

    /// Keeps house until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0u32;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            round = round.wrapping_add(1);
            let result = self.round(round.is_multiple_of(PURGE_EVERY)).await;
            if let Err(error) = result {
                tracing::warn!(%error, "keeping house failed; the next round tries again");
            }
        }
    }

    async fn round(&self, with_purge: bool) -> Result<(), Error> {
        self.register().await?;
        let freed = self.reap(NODE_TTL).await?;
        if freed > 0 {
            tracing::warn!(count = freed, "freed deliveries of a node that is gone");
        }
        if with_purge { self.purge().await } else { Ok(()) }
    }
}
