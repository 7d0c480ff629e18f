//! Keeping house: saying that this node lives, freeing what dead nodes held, dropping what is no
//! longer needed, writing when credentials were used.
//!
//! Each round is idempotent and takes no input, so a crash in the middle only delays it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use postern_kit::clock::Clock;
use postern_proto::ids::RecipientId;
use postern_proto::settings::{
    AUDIT_RETENTION, CONTENT_RETENTION, INBOX_KEEP, MESSAGE_RETENTION, TRACKING_HIT_RETENTION,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::directory::Directory;
use crate::store::queue::FOLD_MAX;
use crate::store::{Database, Error, Queue, addressees, audit, domains, inbox, leases, retention};
use crate::uses::Uses;

use super::Handle;

/// How often a node says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// A node that has not been heard of for this long is dead: its leases go to others.
pub const NODE_TTL: Duration = Duration::from_secs(30);
/// A reaper's batch; a full one means there is more.
const FULL_BATCH: usize = 1000;
/// Every how many heartbeats old things are dropped.
const PURGE_EVERY: u32 = 12;
/// Every how many heartbeats leases are compared with the memory.
const DISOWN_EVERY: u32 = 6;
/// Every how many heartbeats is written when credentials were used.
const USES_EVERY: u32 = 6;

/// Counters of hours that began so long ago are folded: hardly anything is counted in them any more.
const FOLD_AFTER_MS: i64 = 2 * 3_600_000;

/// Keeps house for one node.
pub struct Keeper {
    /// Leases and contents.
    pub queue: Arc<dyn Queue>,
    /// The inbox.
    pub db: Arc<dyn Database>,
    /// What is kept for how long.
    pub directory: Arc<Directory>,
    /// This node.
    pub node: Uuid,
    /// The time.
    pub clock: Clock,
    /// What this node has in memory.
    pub worker: Handle,
    /// When credentials were used.
    pub uses: Arc<Uses>,
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

    /// Folds counters, and drops contents, messages, idempotency keys, ids of hits, retired DKIM keys
    /// and caught mails that have had their time.
    pub async fn purge(&self) -> Result<(), Error> {
        let (now_ms, known) = (self.clock.now_ms(), self.directory.now());
        let settings = known.settings();
        let before_ms = now_ms - settings.get(&CONTENT_RETENTION);
        let progress = &self.worker.metrics.house;
        while self.queue.purge(before_ms, now_ms).await? > 0 {
            progress.step();
        }
        while self.queue.fold_counts(now_ms - FOLD_AFTER_MS).await? >= FOLD_MAX {
            progress.step();
        }
        let kept_for = settings.get(&MESSAGE_RETENTION);
        if kept_for > 0 {
            while retention::remove_messages(&*self.db, now_ms - kept_for).await? {
                progress.step();
            }
            retention::remove_affairs(&*self.db, now_ms - kept_for).await?;
        }
        let known_for = settings.get(&TRACKING_HIT_RETENTION);
        addressees::forget_hits(&*self.db, now_ms - known_for).await?;
        let kept_for = settings.get(&AUDIT_RETENTION);
        audit::purge(&*self.db, now_ms - kept_for, FULL_BATCH).await?;
        let removed = domains::remove_retired(&*self.db, now_ms).await?;
        if removed > 0 {
            tracing::info!(count = removed, "removed DKIM keys that were retired");
        }
        inbox::trim(&*self.db, settings.count(&INBOX_KEEP)).await
    }

    /// Says that this node lives, until told to stop. Apart from the housekeeping, so that a long
    /// round of it does not make this node look dead.
    pub async fn beat(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = ticks();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let beating = self.worker.metrics.heartbeat.during(self.register());
            if let Err(error) = beating.await {
                tracing::warn!(%error, "heartbeat not written; the next one tries again");
            }
        }
    }

    /// Keeps house until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = ticks();
        let (mut round, mut suspects, mut quiet_until_ms) = (0u32, HashSet::new(), 0);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            round = round.wrapping_add(1);
            let working = self.round(round, &mut suspects, quiet_until_ms);
            if let Err(error) = self.worker.metrics.house.during(working).await {
                tracing::warn!(%error, "keeping house failed; the next round tries again");
                // After an outage the others need time to say that they live, too.
                quiet_until_ms = self.clock.now_ms() + NODE_TTL.as_millis() as i64;
            }
        }
    }

    async fn round(
        &self,
        round: u32,
        suspects: &mut HashSet<RecipientId>,
        quiet_until_ms: i64,
    ) -> Result<(), Error> {
        if self.clock.now_ms() >= quiet_until_ms {
            let freed = self.reap(NODE_TTL).await?;
            if freed > 0 {
                tracing::warn!(count = freed, "freed deliveries that nobody worked on");
            }
        }
        if round.is_multiple_of(USES_EVERY) {
            self.uses.flush(&*self.db).await?;
        }
        if round.is_multiple_of(DISOWN_EVERY) {
            self.disown(suspects).await?;
        }
        if round.is_multiple_of(PURGE_EVERY) { self.purge().await } else { Ok(()) }
    }

    /// Gives leases of this node away that are not in its memory: the store had granted them, but
    /// its answer was lost. A lease is looked at twice, because one may be on its way into memory.
    async fn disown(&self, suspects: &mut HashSet<RecipientId>) -> Result<(), Error> {
        let leased = leases::held_by(&*self.db, self.node).await?;
        let unknown: HashSet<_> = leased.into_iter().filter(|id| !self.worker.knows(id)).collect();
        let orphans: Vec<_> = unknown.intersection(suspects).copied().collect();
        *suspects = unknown;
        if orphans.is_empty() {
            return Ok(());
        }
        tracing::warn!(count = orphans.len(), "gave leases away that were in nobody's memory");
        leases::disown(&*self.db, self.node, &orphans).await
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use postern_proto::ids::DomainId;
    use postern_proto::settings::Settings;

    use super::*;
    use crate::domain::keys;
    use crate::model::domain::{Domain, KeyState};
    use crate::store::embedded::Embedded;

    const NOW: i64 = 1_795_651_200_000;

    #[tokio::test(flavor = "multi_thread")]
    async fn retired_dkim_keys_go_when_their_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Embedded::open(folder.path()).unwrap();
        let directory = Directory::load(stores.db.clone(), Settings::default()).await.unwrap();
        let (clock, db) = (Clock::manual(NOW), &*stores.db);
        let keeper = Keeper {
            queue: stores.queue.clone(),
            db: stores.db.clone(),
            directory: Arc::new(directory),
            node: Uuid::now_v7(),
            clock: clock.clone(),
            worker: crate::worker::handle().0,
            uses: Arc::default(),
        };
        let mut retired = keys::pair("old", KeyState::Retired, 0, NOW).unwrap();
        retired.iter_mut().for_each(|key| key.remove_ms = Some(NOW + 1000));
        let active = keys::pair("new", KeyState::Active, 0, NOW).unwrap();
        let domain = Domain {
            id: DomainId::generate(),
            name: "shop.example".to_owned(),
            keys: [active, retired].concat(),
            create_ms: NOW,
            change_id: Uuid::now_v7(),
            checks: Vec::new(),
            check_ms: None,
        };
        domains::create(db, &domain).await.unwrap();
        let left = async || {
            let found = domains::find(db, "", Some(domain.id)).await.unwrap().unwrap();
            found.keys.into_iter().map(|key| key.selector).collect::<Vec<_>>()
        };
        keeper.purge().await.unwrap();
        assert_eq!(left().await, ["newe", "newr", "olde", "oldr"]);
        clock.advance(1000);
        keeper.purge().await.unwrap();
        assert_eq!(left().await, ["newe", "newr"]);
    }
}
