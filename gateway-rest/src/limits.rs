//! Rate limits: per API key, per address for requests without one, and per address for refused
//! credentials. The quotas are `tower_governor` configurations with extractors of our own; the
//! check itself is called from the edge, because the answers have our shape.
//!
//! State: token buckets in memory, bounded by `retain_recent`. A crash forgets them, which forgives
//! at most one minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::response::Response;
use governor::clock::{Clock as _, QuantaClock, QuantaInstant};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use http::{HeaderValue, Request};
use postern_kit::net::customer;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use sha2::{Digest as _, Sha256};
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use crate::config::RestConfig;
use crate::edge::Context;

const MINUTE: Duration = Duration::from_secs(60);
/// The names of the limits in answers.
const POLICIES: [&str; 3] = ["key", "ip", "failures"];

/// Recognises a credential without keeping it.
#[derive(Debug, Clone, Copy)]
struct ByKey;

impl KeyExtractor for ByKey {
    type Key = [u8; 32];

    fn extract<T>(&self, request: &Request<T>) -> Result<[u8; 32], GovernorError> {
        let context = request.extensions().get::<Context>();
        let credential = context.map(|context| context.caller.authorization.as_str());
        let credential = credential.filter(|text| !text.is_empty());
        let credential = credential.ok_or(GovernorError::UnableToExtractKey)?;
        Ok(Sha256::digest(credential.as_bytes()).into())
    }
}

/// The address that the edge found out, proxies considered.
#[derive(Debug, Clone, Copy)]
struct ByIp;

impl KeyExtractor for ByIp {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        let context = request.extensions().get::<Context>();
        let ip = context.and_then(|context| context.caller.client_ip);
        ip.map(customer).ok_or(GovernorError::UnableToExtractKey)
    }
}

type Quota<K> = GovernorConfig<K, StateInformationMiddleware>;

/// How much of a limit is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    policy: &'static str,
    limit: u32,
    remaining: u32,
    reset_seconds: u64,
}

/// The limits of one gateway.
pub(crate) struct Limits {
    keys: Quota<ByKey>,
    ips: Quota<ByIp>,
    failures: Quota<ByIp>,
    blocked: Mutex<HashMap<IpAddr, Instant>>,
    clock: QuantaClock,
    key_per_minute: u32,
    ip_per_minute: u32,
    failures_per_minute: u32,
}

impl Limits {
    pub(crate) fn new(config: &RestConfig) -> Self {
        Self {
            keys: quota(ByKey, config.key_per_minute),
            ips: quota(ByIp, config.ip_per_minute),
            failures: quota(ByIp, config.failures_per_minute),
            blocked: Mutex::default(),
            clock: QuantaClock::default(),
            key_per_minute: config.key_per_minute,
            ip_per_minute: config.ip_per_minute,
            failures_per_minute: config.failures_per_minute,
        }
    }

    /// Takes one request from the caller's budget.
    pub(crate) fn take<T>(&self, request: &Request<T>) -> Result<Option<Standing>, Failure> {
        let ip = ByIp.extract(request);
        if let Ok(ip) = &ip
            && let Some(until) = self.blocked().get(ip)
        {
            let wait = until.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return Err(refused("failures", self.failures_per_minute, wait));
            }
        }
        if let Ok(key) = ByKey.extract(request) {
            return self.taken("key", self.key_per_minute, self.keys.limiter().check_key(&key));
        }
        match ip {
            Ok(ip) => self.taken("ip", self.ip_per_minute, self.ips.limiter().check_key(&ip)),
            // Without an address, as inside one process, there is nobody to limit.
            Err(_) => Ok(None),
        }
    }

    /// Counts a refused credential; past the limit the address has to wait.
    pub(crate) fn count_failure(&self, ip: Option<IpAddr>) {
        let Some(ip) = ip.map(customer) else { return };
        if let Err(later) = self.failures.limiter().check_key(&ip) {
            let wait = later.wait_time_from(self.clock.now()).max(Duration::from_secs(1));
            self.blocked().insert(ip, Instant::now() + wait);
        }
    }

    /// Forgets those who have their full budget again.
    pub(crate) fn tidy_up(&self) {
        self.keys.limiter().retain_recent();
        self.ips.limiter().retain_recent();
        self.failures.limiter().retain_recent();
        let now = Instant::now();
        self.blocked().retain(|_, until| *until > now);
    }

    fn taken(
        &self,
        policy: &'static str,
        limit: u32,
        outcome: Result<StateSnapshot, governor::NotUntil<QuantaInstant>>,
    ) -> Result<Option<Standing>, Failure> {
        match outcome {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = u64::from(limit.saturating_sub(remaining));
                let reset_seconds = (used * MINUTE.as_secs()).div_ceil(u64::from(limit));
                Ok(Some(Standing { policy, limit, remaining, reset_seconds }))
            }
            Err(later) => Err(refused(policy, limit, later.wait_time_from(self.clock.now()))),
        }
    }

    fn blocked(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        // The map is whole even if a thread panicked while it held the lock.
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Writes the standing into an answer, in the current form and in the older one.
    pub(crate) fn write(self, response: &mut Response) {
        let Self { policy, limit, remaining, reset_seconds } = self;
        let headers = response.headers_mut();
        let mut put = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        put("ratelimit-policy", format!("\"{policy}\";q={limit};w={}", MINUTE.as_secs()));
        put("ratelimit", format!("\"{policy}\";r={remaining};t={reset_seconds}"));
        put("x-ratelimit-limit", limit.to_string());
        put("x-ratelimit-remaining", remaining.to_string());
        put("x-ratelimit-reset", reset_seconds.to_string());
    }

    /// The standing of someone who was refused, for the same headers.
    pub(crate) fn exhausted(failure: &Failure) -> Option<Self> {
        let value = |name: &str| failure.metadata.iter().find(|(key, _)| key == name);
        let (_, policy) = value("policy")?;
        let policy = POLICIES.into_iter().find(|known| known == policy)?;
        let limit = value("limit")?.1.parse().ok()?;
        let reset_seconds = whole_seconds(failure.retry_after.unwrap_or_default());
        Some(Self { policy, limit, remaining: 0, reset_seconds })
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1) as u64
}

fn refused(policy: &str, limit: u32, wait: Duration) -> Failure {
    let text = format!("too many requests; try again in {} s", whole_seconds(wait));
    let failure = Failure::new(Reason::RateLimited, text).retry_after(wait);
    failure.with("policy", policy).with("limit", limit.to_string())
}

fn quota<K: KeyExtractor>(extractor: K, per_minute: u32) -> Quota<K> {
    GovernorConfigBuilder::default()
        .period(MINUTE / per_minute)
        .burst_size(per_minute)
        .key_extractor(extractor)
        .use_headers()
        .finish()
        .expect("limits are at least 1 per minute, checked when they were read")
}
