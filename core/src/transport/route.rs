//! Which servers take the mail of a domain (RFC 5321 §5.1, RFC 7505), remembered by TTL.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postern_proto::link::target::is_public;

use super::dns::{Dns, DnsError, MxRecord};
use super::judge::Peer;
use crate::model::delivery::{Category, Outcome, Phase};

/// The most hosts of one domain that are tried.
pub(super) const HOSTS_MAX: usize = 8;
/// Routes that are remembered at once.
const ROUTES_MAX: usize = 100_000;
/// A route is asked for again after this at the latest.
const ROUTE_AGE_MAX: Duration = Duration::from_secs(3600);
/// Very short times to live would mean a question per mail.
const ROUTE_AGE_MIN: Duration = Duration::from_secs(30);
const LANE_BYTES_MAX: usize = 200;

/// The servers of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// Sorted by preference; never empty.
    pub(super) records: Vec<MxRecord>,
    /// Names the site: the most preferred hosts.
    pub(super) lane: String,
}

pub(super) struct Router {
    dns: Arc<dyn Dns>,
    helo_name: String,
    allow_private: bool,
    routes: Mutex<HashMap<String, (Arc<Route>, Instant)>>,
}

impl Router {
    pub(super) fn new(dns: Arc<dyn Dns>, helo_name: &str, allow_private: bool) -> Self {
        let helo_name = helo_name.trim_end_matches('.').to_ascii_lowercase();
        Self { dns, helo_name, allow_private, routes: Mutex::default() }
    }

    /// The servers of a domain, or what to answer when there are none.
    pub(super) async fn route(&self, domain: &str) -> Result<Arc<Route>, Outcome> {
        if let Some(route) = self.known(domain) {
            return Ok(route);
        }
        let now = Instant::now();
        let (records, valid_until) = match self.dns.mx(domain).await {
            Ok(answer) => (answer.records, answer.valid_until),
            // The domain itself is its server then (RFC 5321 §5.1).
            Err(DnsError::NoRecords) => {
                let itself = MxRecord { preference: 0, host: domain.to_owned() };
                (vec![itself], now + ROUTE_AGE_MIN)
            }
            Err(error) => return Err(failed(domain, &error)),
        };
        let route = choose(records, &self.helo_name).map_err(|DeadEnd(code, text)| {
            peer(domain).refuse(Category::DnsFailure, code, text, Phase::Dns)
        })?;
        let route = Arc::new(route);
        let until = valid_until.clamp(now + ROUTE_AGE_MIN, now + ROUTE_AGE_MAX);
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.len() >= ROUTES_MAX {
            routes.retain(|_, (_, until)| *until > now);
            // All of them are fresh: any may go, they only cost a question.
            if routes.len() >= ROUTES_MAX {
                routes.clear();
            }
        }
        routes.insert(domain.to_owned(), (route.clone(), until));
        Ok(route)
    }

    /// The route if it is remembered.
    pub(super) fn known(&self, domain: &str) -> Option<Arc<Route>> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let (route, until) = routes.get(domain)?;
        (*until > Instant::now()).then(|| route.clone())
    }

    /// The addresses of a host that may be connected to.
    pub(super) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Outcome> {
        let mut addresses = match self.dns.addresses(host).await {
            Ok(addresses) => addresses,
            Err(error) => return Err(failed(host, &error)),
        };
        // Whoever controls a domain chooses its addresses, and must not make us talk to our own network.
        if !self.allow_private {
            addresses.retain(|address| is_public(*address));
        }
        if addresses.is_empty() {
            let text = "the server has no address on the public Internet";
            return Err(peer(host).refuse(Category::DnsFailure, "5.4.4", text, Phase::Dns));
        }
        Ok(addresses)
    }
}

/// The records lead to no server: enhanced code and text.
#[derive(Debug, PartialEq, Eq)]
struct DeadEnd(&'static str, &'static str);

/// Sorts the records and leaves out those that lead nowhere.
fn choose(mut records: Vec<MxRecord>, own: &str) -> Result<Route, DeadEnd> {
    records.retain(|record| !record.host.is_empty());
    if records.is_empty() {
        return Err(DeadEnd("5.1.10", "the domain takes no mail (null MX)"));
    }
    records.sort_by(|a, b| (a.preference, &a.host).cmp(&(b.preference, &b.host)));
    records.dedup_by(|a, b| a.host == b.host);
    // We are one of its servers: only better ones may get the mail, or it goes round in circles.
    if let Some(ours) = records.iter().find(|record| record.host == own) {
        let ours = ours.preference;
        records.retain(|record| record.preference < ours);
        if records.is_empty() {
            return Err(DeadEnd("5.4.6", "the mail would come back to this server"));
        }
    }
    let best = records[0].preference;
    let hosts = records.iter().filter(|record| record.preference == best);
    let mut lane = hosts.map(|record| record.host.as_str()).collect::<Vec<_>>().join("+");
    if lane.len() > LANE_BYTES_MAX {
        lane.clone_from(&records[0].host);
    }
    Ok(Route { records, lane })
}

impl Route {
    /// The hosts in the order they are to be tried; equals are shuffled by the seed.
    pub(super) fn hosts(&self, mut seed: u64) -> Vec<&str> {
        let mut keyed: Vec<(u16, u64, &str)> = Vec::with_capacity(self.records.len());
        for record in &self.records {
            seed = mix(seed);
            keyed.push((record.preference, seed, &record.host));
        }
        keyed.sort_unstable();
        keyed.into_iter().take(HOSTS_MAX).map(|(_, _, host)| host).collect()
    }
}

/// One step of SplitMix64: spreads consecutive seeds over all numbers.
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn failed(name: &str, error: &DnsError) -> Outcome {
    let (peer, text, category) = (peer(name), error.to_string(), Category::DnsFailure);
    match error {
        DnsError::NoDomain => peer.refuse(category, "5.1.2", &text, Phase::Dns),
        DnsError::NoRecords => {
            peer.refuse(category, "5.4.4", "the server has no address", Phase::Dns)
        }
        DnsError::Temporary(_) => peer.defer(category, "4.4.3", &text, Phase::Dns),
    }
}

fn peer(host: &str) -> Peer {
    Peer { host: host.to_owned(), tls: "" }
}
