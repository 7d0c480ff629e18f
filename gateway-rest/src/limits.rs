//! Limits: requests per minute and under way, per API key or per address for requests without one,
//! webhooks per address, and refused credentials per address. The numbers are live settings, the quotas
//! `tower_governor` configurations with extractors of our own; the check itself is called from the edge,
//! because the answers have our shape.
//!
//! State: token buckets in memory, bounded by `retain_recent`. A crash forgets them, which forgives
//! at most one minute.

mod quota;
mod seats;
mod standing;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, QuantaClock, QuantaInstant};
use governor::middleware::StateSnapshot;
use http::Request;
use postern_kit::net::customer;
use postern_proto::reason::Reason;
use postern_proto::settings::{
    REST_LIMIT_CONCURRENT, REST_LIMIT_FAILURES_PER_MINUTE, REST_LIMIT_IP_PER_MINUTE,
    REST_LIMIT_KEY_PER_MINUTE, REST_LIMIT_WEBHOOKS_PER_MINUTE, Settings,
};
use postern_proto::status::Failure;
use sha2::{Digest as _, Sha256};
use tower_governor::GovernorError;
use tower_governor::key_extractor::KeyExtractor;

use crate::edge::Context;
use crate::postal;

use self::quota::Quota;
use self::seats::{Seats, Who};
use self::standing::{API, CONC, FAILURES, IP, Policy, WEBHOOKS, whole_seconds};

pub(crate) use self::seats::Seat;
pub(crate) use self::standing::{Standing, Standings};

const MINUTE: Duration = Duration::from_secs(60);

/// Recognises a credential without keeping it.
#[derive(Debug, Clone, Copy, Default)]
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
#[derive(Debug, Clone, Copy, Default)]
struct ByIp;

impl KeyExtractor for ByIp {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        let context = request.extensions().get::<Context>();
        let ip = context.and_then(|context| context.caller.client_ip);
        ip.map(customer).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// The limits of one gateway. How much each allows is said by the settings of the moment.
#[derive(Default)]
pub(crate) struct Limits {
    keys: Quota<ByKey>,
    ips: Quota<ByIp>,
    webhooks: Quota<ByIp>,
    failures: Quota<ByIp>,
    blocked: Mutex<HashMap<IpAddr, Instant>>,
    seats: Seats,
    clock: QuantaClock,
}

impl Limits {
    /// Takes one request from the caller's budget and a seat for it; there is none for who cannot be
    /// told apart. Adds to `standings` what is left after it; a refusal names its limit itself.
    pub(crate) fn take<T>(
        &self,
        settings: &Settings,
        request: &Request<T>,
        standings: &mut Standings,
    ) -> Result<Option<Seat>, Failure> {
        let ip = ByIp.extract(request);
        if let Ok(ip) = &ip
            && let Some(until) = self.blocked().get(ip)
        {
            let wait = until.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return Err(refused(
                    FAILURES,
                    settings.small_count(&REST_LIMIT_FAILURES_PER_MINUTE),
                    wait,
                ));
            }
        }
        let who = match (ByKey.extract(request), ip) {
            // Webhooks have no caller, whatever credential comes with them.
            (Ok(key), _) if !postal::is_webhook(request.uri().path()) => Who::Key(key),
            (_, Ok(ip)) => Who::Ip(ip),
            // Without an address, as inside one process, there is nobody to limit.
            (_, Err(_)) => return Ok(None),
        };
        standings.add(self.take_turn(settings, &who, request.uri().path())?);
        let concurrent = settings.small_count(&REST_LIMIT_CONCURRENT);
        let Some((seat, remaining)) = self.seats.take(who, concurrent) else {
            let text = "too many requests of yours are under way; wait for one to end";
            let failure = Failure::new(Reason::ConcurrencyExceeded, text);
            return Err(CONC.name_in(failure, concurrent));
        };
        let (quota, remaining) = (concurrent.into(), remaining.into());
        standings.add(Standing { policy: CONC, quota, remaining, reset_seconds: None });
        Ok(Some(seat))
    }

    /// Takes one of the requests per minute.
    fn take_turn(&self, settings: &Settings, who: &Who, path: &str) -> Result<Standing, Failure> {
        let (policy, limit) = match who {
            Who::Key(_) => (API, REST_LIMIT_KEY_PER_MINUTE),
            Who::Ip(_) if postal::is_webhook(path) => (WEBHOOKS, REST_LIMIT_WEBHOOKS_PER_MINUTE),
            Who::Ip(_) => (IP, REST_LIMIT_IP_PER_MINUTE),
        };
        let per_minute = settings.small_count(&limit);
        let outcome = match who {
            Who::Key(key) => self.keys.take(key, per_minute),
            Who::Ip(ip) if policy == WEBHOOKS => self.webhooks.take(ip, per_minute),
            Who::Ip(ip) => self.ips.take(ip, per_minute),
        };
        self.taken(policy, per_minute, outcome)
    }

    /// Counts a refused credential; past the limit the address has to wait.
    pub(crate) fn count_failure(&self, settings: &Settings, ip: Option<IpAddr>) {
        let Some(ip) = ip.map(customer) else { return };
        let per_minute = settings.small_count(&REST_LIMIT_FAILURES_PER_MINUTE);
        if let Err(later) = self.failures.take(&ip, per_minute) {
            let wait = later.wait_time_from(self.clock.now()).max(Duration::from_secs(1));
            self.blocked().insert(ip, Instant::now() + wait);
        }
    }

    /// Forgets those who have their full budget again.
    pub(crate) fn tidy_up(&self) {
        self.keys.tidy_up();
        self.ips.tidy_up();
        self.webhooks.tidy_up();
        self.failures.tidy_up();
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
