//! Daily limits, per key and in total.
//!
//! A node reserves recipients in the store in small lots and spends them from memory, so that a
//! limit holds across nodes and restarts without a write per message. A crash loses at most one lot
//! per limit and day; a limit is never passed.

use std::collections::HashMap;
use std::time::Duration;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use tokio::sync::Mutex;

use crate::store::{Database, Error, directory};

/// The length of a day, in which the limits count.
pub const DAY_MS: i64 = 86_400_000;
/// The scope of the limit over all keys; the others are the ids of keys.
pub const TOTAL: &str = "total";
/// A lot is this part of the limit, but never more than [`LOT_MAX`].
const LOTS_PER_LIMIT: i64 = 100;
const LOT_MAX: i64 = 500;

/// What a limit is called in answers.
pub fn policy_of(scope: &str) -> &'static str {
    if scope == TOTAL { "send-total" } else { "send" }
}

/// What this node has reserved and not spent.
#[derive(Default)]
pub struct Quota {
    reserved: Mutex<HashMap<(i64, String), i64>>,
}

impl Quota {
    /// Spends `count` recipients of each of the limits; a limit of 0 is none. Either all of them are
    /// spent or none.
    pub async fn spend(
        &self,
        db: &dyn Database,
        limits: &[(String, i64)],
        count: i64,
        now_ms: i64,
    ) -> Result<(), Failure> {
        let limits: Vec<_> = limits.iter().filter(|(_, limit)| *limit > 0).collect();
        if limits.is_empty() {
            return Ok(());
        }
        let day = now_ms.div_euclid(DAY_MS);
        // Held across the store on purpose: callers of one node take their turns.
        let mut reserved = self.reserved.lock().await;
        reserved.retain(|(of_day, _), _| *of_day == day);
        for (scope, limit) in &limits {
            let left = reserved.entry((day, scope.clone())).or_default();
            if *left >= count {
                continue;
            }
            let missing = count - *left;
            let lot = missing.max((limit / LOTS_PER_LIMIT).min(LOT_MAX));
            if directory::reserve(db, day, scope, lot, *limit).await? {
                *left += lot;
            } else if directory::reserve(db, day, scope, missing, *limit).await? {
                *left += missing;
            } else {
                let until_tomorrow = (day + 1) * DAY_MS - now_ms;
                let text = format!("the daily limit of {limit} recipients is used up");
                return Err(Failure::new(Reason::QuotaExceeded, text)
                    .with("policy", policy_of(scope))
                    .with("limit", limit.to_string())
                    .retry_after(Duration::from_millis(until_tomorrow as u64)));
            }
        }
        for (scope, _) in limits {
            if let Some(left) = reserved.get_mut(&(day, scope.clone())) {
                *left -= count;
            }
        }
        Ok(())
    }

    /// How many recipients of a limit are left today at least: other nodes may have reserved some that
    /// they do not spend.
    pub async fn left(
        &self,
        db: &dyn Database,
        scope: &str,
        limit: i64,
        now_ms: i64,
    ) -> Result<i64, Error> {
        let day = now_ms.div_euclid(DAY_MS);
        // Held across the store, so that nothing is reserved between the two looks.
        let own = self.reserved.lock().await;
        let reserved = directory::reserved(db, day, scope).await?;
        let unspent = own.get(&(day, scope.to_owned())).copied().unwrap_or_default();
        Ok((limit - reserved + unspent).clamp(0, limit))
    }

    /// Gives back what was spent on a request that stored nothing.
    pub async fn refund(&self, limits: &[(String, i64)], count: i64, now_ms: i64) {
        let day = now_ms.div_euclid(DAY_MS);
        let mut reserved = self.reserved.lock().await;
        for (scope, _) in limits.iter().filter(|(_, limit)| *limit > 0) {
            *reserved.entry((day, scope.clone())).or_default() += count;
        }
    }
}
