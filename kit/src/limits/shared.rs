//! Counting in Redis, so that all gateways count together.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::interfaces::{ClientLike as _, LuaInterface as _};
use fred::types::Builder;
use fred::types::config::{Config, ReconnectPolicy};

use crate::env::EnvError;

use super::{Quota, Verdict, gcra};

/// For how long a Redis that did not answer is passed over.
const PASS_OVER: Duration = Duration::from_secs(1);
/// How long a Redis may take at least to say that it is there.
const PING_TIME_MIN: Duration = Duration::from_secs(2);
/// Distinguishes our names from those of others.
const PREFIX: &str = "postern:limit:";

/// A connection to Redis.
#[derive(Debug)]
pub(super) struct Shared {
    client: Client,
    timeout: Duration,
    /// Until when Redis is passed over; none while it answers.
    away_until: Mutex<Option<Instant>>,
}

impl Shared {
    /// Connects in the background.
    pub(super) fn connect(url: &str, timeout: Duration) -> Result<Self, EnvError> {
        let bad = |error: fred::error::Error| {
            // The URL may hold a password.
            EnvError::new("REDIS_URL", format!("cannot be used: {}", error.details()))
        };
        let mut config = Config::from_url(url).map_err(bad)?;
        // Or a Redis that is not there yet at the start would never be tried again.
        config.fail_fast = false;
        let mut builder = Builder::from_config(config);
        builder.set_policy(ReconnectPolicy::new_exponential(0, 100, 5000, 2));
        builder.with_performance_config(|performance| {
            performance.default_command_timeout = timeout;
        });
        builder.with_connection_config(|connection| {
            connection.max_command_attempts = 1;
            // What waits for a connection is worthless soon.
            connection.max_command_buffer_len = 1000;
            connection.connection_timeout = Duration::from_secs(5);
        });
        let client = builder.build().map_err(bad)?;
        let connecting = client.clone();
        tokio::spawn(async move {
            if let Err(error) = connecting.init().await {
                tracing::warn!(%error, "redis not reached yet; limits are counted in this process");
            }
        });
        Ok(Self { client, timeout, away_until: Mutex::default() })
    }

    /// Asks Redis; none when it does not answer.
    pub(super) async fn ask(&self, name: &str, quota: Quota, take: bool) -> Option<Verdict> {
        let away_until = *self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        if away_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let key = format!("{PREFIX}{name}");
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let interval = number(gcra::interval_us(quota));
        let window = number(gcra::window_us(quota));
        let script = include_str!("gcra.lua");
        let call = self.client.eval::<(i64, i64), _, _, _>(
            script,
            key,
            vec![interval, window, i64::from(take)],
        );
        // The client keeps commands back while it has no connection; the limit may not wait for it.
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok((granted, value))) => {
                self.answered(away_until.is_some());
                let value = u64::try_from(value).unwrap_or(0);
                Some(match granted {
                    1 => Verdict::Granted { used: value },
                    _ => Verdict::Refused { retry_after: Duration::from_micros(value) },
                })
            }
            Ok(Err(error)) => self.away(away_until.is_none(), &error.to_string()),
            Err(_) => self.away(away_until.is_none(), "it did not answer in time"),
        }
    }

    /// Whether it answers, within a time that is not a matter of one call.
    pub(super) async fn answers(&self) -> bool {
        let limit = self.timeout.max(PING_TIME_MIN);
        let ping = self.client.ping::<String>(None);
        matches!(tokio::time::timeout(limit, ping).await, Ok(Ok(_)))
    }

    fn answered(&self, was_away: bool) {
        if was_away {
            *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
            tracing::info!("redis answers again; limits are shared");
        }
    }

    fn away(&self, news: bool, error: &str) -> Option<Verdict> {
        let until = Instant::now() + PASS_OVER;
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        if news {
            tracing::warn!(error, "redis does not answer; limits are counted in this process");
        }
        None
    }
}
