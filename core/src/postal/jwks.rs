//! All keys that are trusted: those of the configuration, and those that Postal publishes.
//!
//! Published keys are fetched when one is wanted that is not known, and no more often than once per
//! interval, whether that succeeds or not: nobody can make us call Postal by sending webhooks. They are
//! in memory only; a crash fetches them again.
//!
//! The url is the operator's, read from the environment, so it may lead into our own network.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::config::HookConfig;
use super::keys::{self, Key};
use crate::outgoing;

/// How long fetching the keys may take: Postal waits 5 s for the answer to a webhook.
const FETCH_TIME_MAX: Duration = Duration::from_secs(3);
/// A set of keys is small.
const SET_BYTES_MAX: usize = 64 << 10;

/// The keys.
pub struct Keyring {
    fixed: Vec<Key>,
    published: Option<Published>,
}

struct Published {
    url: Url,
    interval: Duration,
    keys: ArcSwap<Vec<Key>>,
    /// When they were last asked for.
    asked: Mutex<Option<Instant>>,
}

impl Keyring {
    /// The keys of a configuration. Fetches nothing yet.
    pub fn new(config: &HookConfig) -> Self {
        let published = config.jwks_url.clone().map(|url| Published {
            url,
            interval: config.jwks_interval,
            keys: ArcSwap::default(),
            asked: Mutex::default(),
        });
        Self { fixed: config.keys.clone(), published }
    }

    /// Whether a webhook could ever be verified.
    pub fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.published.is_none()
    }

    /// The keys among which the one with this id is, if it can be had; an empty id wants all.
    pub async fn keys(&self, id: &str) -> Vec<Key> {
        let mut keys = self.fixed.clone();
        let has = |keys: &[Key]| keys.iter().any(|key| key.id.eq_ignore_ascii_case(id));
        if let Some(published) = &self.published
            && !has(&keys)
        {
            let known = published.keys.load_full();
            let suffices = if id.is_empty() { !known.is_empty() } else { has(&known) };
            if !suffices {
                published.fetch().await;
            }
            keys.extend(published.keys.load().iter().cloned());
        }
        keys
    }
}

impl Published {
    /// Fetches the keys, unless that was done or tried a short time ago.
    async fn fetch(&self) {
        // Whoever waits here finds that it has just been done.
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < self.interval) {
            return;
        }
        *asked = Some(Instant::now());
        match self.ask().await {
            Ok(keys) => {
                tracing::info!(count = keys.len(), "keys of Postal fetched");
                self.keys.store(Arc::new(keys));
            }
            Err(problem) => {
                tracing::warn!(problem, "keys of Postal not fetched; those known stay in use");
            }
        }
    }

    async fn ask(&self) -> Result<Vec<Key>, String> {
        let client = outgoing::builder()
            .timeout(FETCH_TIME_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        let text = |error: reqwest::Error| error.without_url().to_string();
        let mut response = client.get(self.url.clone()).send().await.map_err(text)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("HTTP {}", response.status().as_u16()));
        }
        let body = outgoing::body(&mut response, SET_BYTES_MAX).await.map_err(text)?;
        let body = body.ok_or_else(|| format!("has more than {SET_BYTES_MAX} octets"))?;
        keys::parse_jwks(&body).map_err(|bad| bad.to_string())
    }
}
