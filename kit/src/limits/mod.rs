//! Rate limits that hold across processes: counted in Redis when there is one, in this process
//! otherwise.
//!
//! A Redis that does not answer is passed over for a moment and this process counts alone, so a limit
//! is never off and mail is never refused because of it. A crash forgets what this process counted,
//! which forgives at most one window.

mod gcra;
mod local;
mod shared;

use std::time::Duration;

use crate::env::{Env, EnvError};

use self::local::Local;
use self::shared::Shared;

/// So many within such a time. Used up at once or bit by bit; comes back evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many; at least 1.
    pub limit: u64,
    /// Within which time.
    pub window: Duration,
}

/// What became of a request for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is room.
    Granted {
        /// How much of the quota is used, this one included.
        used: u64,
    },
    /// There is none.
    Refused {
        /// When there will be.
        retry_after: Duration,
    },
}

impl Verdict {
    /// The time to wait, when refused.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Granted { .. } => None,
            Self::Refused { retry_after } => Some(retry_after),
        }
    }
}

/// Counts against quotas.
#[derive(Debug)]
pub struct Limiter {
    local: Local,
    shared: Option<Shared>,
}

impl Limiter {
    /// Counts in this process only.
    pub fn local() -> Self {
        Self { local: Local::default(), shared: None }
    }

    /// Counts in the Redis at `REDIS_URL`, which is connected to in the background and again
    /// whenever it was lost; without one, in this process.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let timeout = env.duration("POSTERN_REDIS_TIMEOUT", Duration::from_millis(200))?;
        let shared = env.get("REDIS_URL").map(|url| Shared::connect(url, timeout)).transpose()?;
        Ok(Self { local: Local::default(), shared })
    }

    /// Takes one of the quota under this name.
    pub async fn take(&self, name: &str, quota: Quota) -> Verdict {
        self.ask(name, quota, true).await
    }

    /// Whether one could be taken; takes nothing.
    pub async fn look(&self, name: &str, quota: Quota) -> Verdict {
        self.ask(name, quota, false).await
    }

    /// Whether Redis answers; none where there is no Redis.
    pub async fn reaches_redis(&self) -> Option<bool> {
        Some(self.shared.as_ref()?.answers().await)
    }

    async fn ask(&self, name: &str, quota: Quota, take: bool) -> Verdict {
        if let Some(shared) = &self.shared
            && let Some(verdict) = shared.ask(name, quota, take).await
        {
            return verdict;
        }
        self.local.ask(name, quota, take)
    }
}
