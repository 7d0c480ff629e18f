//! Limits: requests per minute and under way, per API key or per address for requests without one,
//! webhooks per address, and refused credentials per address. The quotas are `tower_governor`
//! configurations with extractors of our own; the check itself is called from the edge, because the
//! answers have our shape.
//!
//! State: token buckets in memory, bounded by `retain_recent`. A crash forgets them, which forgives
//! at most one minute.

mod seats;
mod standing;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, QuantaClock, QuantaInstant};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use http::Request;
use postern_kit::net::customer;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use sha2::{Digest as _, Sha256};
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use crate::config::RestConfig;
use crate::edge::Context;
use crate::postal;

use self::seats::{Seats, Who};
use self::standing::{API, CONC, FAILURES, IP, Policy, WEBHOOKS, whole_seconds};

pub(crate) use self::seats::Seat;
pub(crate) use self::standing::{Standing, Standings};

const MINUTE: Duration = Duration::from_secs(60);

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

/// The limits of one gateway.
pub(crate) struct Limits {
    keys: Quota<ByKey>,
    ips: Quota<ByIp>,
    webhooks: Quota<ByIp>,
    failures: Quota<ByIp>,
    blocked: Mutex<HashMap<IpAddr, Instant>>,
    seats: Seats,
    clock: QuantaClock,
    key_per_minute: u32,
    ip_per_minute: u32,
    webhooks_per_minute: u32,
    failures_per_minute: u32,
    concurrent: u32,
}

impl Limits {
    pub(crate) fn new(config: &RestConfig) -> Self {
        Self {
            keys: quota(ByKey, config.key_per_minute),
            ips: quota(ByIp, config.ip_per_minute),
            webhooks: quota(ByIp, config.webhooks_per_minute),
            failures: quota(ByIp, config.failures_per_minute),
            blocked: Mutex::default(),
            seats: Seats::new(config.concurrent_per_caller),
            clock: QuantaClock::default(),
            key_per_minute: config.key_per_minute,
            ip_per_minute: config.ip_per_minute,
            webhooks_per_minute: config.webhooks_per_minute,
            failures_per_minute: config.failures_per_minute,
            concurrent: config.concurrent_per_caller,
        }
    }

    /// Takes one request from the caller's budget and a seat for it; there is none for who cannot be
    /// told apart. Adds to `standings` what is left after it; a refusal names its limit itself.
    pub(crate) fn take<T>(
        &self,
        request: &Request<T>,
        standings: &mut Standings,
    ) -> Result<Option<Seat>, Failure> {
        let ip = ByIp.extract(request);
        if let Ok(ip) = &ip
            && let Some(until) = self.blocked().get(ip)
        {
            let wait = until.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return Err(refused(FAILURES, self.failures_per_minute, wait));
            }
        }
        let who = match (ByKey.extract(request), ip) {
            // Webhooks have no caller, whatever credential comes with them.
            (Ok(key), _) if !postal::is_webhook(request.uri().path()) => Who::Key(key),
            (_, Ok(ip)) => Who::Ip(ip),
            // Without an address, as inside one process, there is nobody to limit.
            (_, Err(_)) => return Ok(None),
        };
        let (policy, quota, outcome) = match &who {
            Who::Key(key) => (API, self.key_per_minute, self.keys.limiter().check_key(key)),
            Who::Ip(ip) if postal::is_webhook(request.uri().path()) => {
                (WEBHOOKS, self.webhooks_per_minute, self.webhooks.limiter().check_key(ip))
            }
            Who::Ip(ip) => (IP, self.ip_per_minute, self.ips.limiter().check_key(ip)),
        };
        standings.add(self.taken(policy, quota, outcome)?);
        let Some((seat, remaining)) = self.seats.take(who) else {
            let text = "too many requests of yours are under way; wait for one to end";
            let failure = Failure::new(Reason::ConcurrencyExceeded, text);
            return Err(CONC.name_in(failure, self.concurrent));
        };
        let (quota, remaining) = (self.concurrent.into(), remaining.into());
        standings.add(Standing { policy: CONC, quota, remaining, reset_seconds: None });
        Ok(Some(seat))
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
        self.webhooks.limiter().retain_recent();
        self.failures.limiter().retain_recent();
        let now = Instant::now();
        self.blocked().retain(|_, until| *until > now);
    }

    fn taken(
        &self,
        policy: Policy,
        quota: u32,
        outcome: Result<StateSnapshot, governor::NotUntil<QuantaInstant>>,
    ) -> Result<Standing, Failure> {
        match outcome {
            Ok(state) => {
                let (quota, remaining) = (quota.into(), state.remaining_burst_capacity().into());
                let used = u64::saturating_sub(quota, remaining);
                let reset_seconds = Some((used * MINUTE.as_secs()).div_ceil(quota));
                Ok(Standing { policy, quota, remaining, reset_seconds })
            }
            Err(later) => Err(refused(policy, quota, later.wait_time_from(self.clock.now()))),
        }
    }

    fn blocked(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        // The map is whole even if a thread panicked while it held the lock.
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(policy: Policy, quota: u32, wait: Duration) -> Failure {
    let text = format!("too many requests; try again in {} s", whole_seconds(wait));
    policy.name_in(Failure::new(Reason::RateLimited, text).retry_after(wait), quota)
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
