//! Directly to the recipients' servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::time::Instant;

use super::config::{TlsPolicy, TransportConfig};
use super::connect::{Connector, Target};
use super::dns::{Dns, Resolver};
use super::judge::{Peer, better};
use super::pool::{Attempt, Pool};
use super::route::{Router, mix};
use super::{SetupError, Transport, tls};
use crate::in_force::InForce;
use crate::model::content::domain_of;
use crate::model::delivery::{Category, Mail, Outcome, Phase};

/// Finds the servers of the recipient's domain and hands the mail to the first that takes it.
pub struct Mx {
    router: Router,
    pool: Pool,
    port: u16,
    /// Decides between servers of equal preference.
    seed: AtomicU64,
}

impl Mx {
    /// Sets up delivery with the DNS of the configuration. `seed` shuffles equal servers; give each
    /// process its own.
    pub fn new(config: &TransportConfig, settings: InForce, seed: u64) -> Result<Self, SetupError> {
        Ok(Self::with_dns(config, settings, Arc::new(Resolver::new(config)?), seed))
    }

    /// The same with another source of DNS answers.
    pub fn with_dns(
        config: &TransportConfig,
        settings: InForce,
        dns: Arc<dyn Dns>,
        seed: u64,
    ) -> Self {
        let unverified = tls::unverified();
        let connector = Connector {
            helo_name: config.helo_name.clone(),
            settings,
            // Nothing is verified on this path: without DANE or MTA-STS an MX name proves nothing.
            verified: unverified.clone(),
            unverified,
        };
        Self {
            router: Router::new(dns, &config.helo_name, config.mx_allow_private),
            pool: Pool::new(connector),
            port: config.mx_port,
            seed: AtomicU64::new(seed),
        }
    }
}

#[async_trait]
impl Transport for Mx {
    async fn deliver(&self, mail: Mail) -> Outcome {
        let domain = domain_of(&mail.to);
        if domain.is_empty() || domain.starts_with('[') {
            let peer = Peer { host: domain, tls: "" };
            let text = "the recipient's domain is not a domain name";
            return peer.refuse(Category::DnsFailure, "5.1.2", text, Phase::Dns);
        }
        let route = match self.router.route(&domain).await {
            Ok(route) => route,
            Err(outcome) => return outcome,
        };
        let seed = mix(self.seed.fetch_add(1, Ordering::Relaxed));
        let until = Instant::now() + self.pool.reach();
        let mut failure = None;
        for host in route.hosts(seed) {
            let outcome = match self.router.addresses(host).await {
                Ok(addresses) => {
                    let target = Target {
                        host: host.to_owned(),
                        port: self.port,
                        tls: TlsPolicy::Opportunistic,
                        login: None,
                        addresses: Some(addresses),
                    };
                    match self.pool.deliver(&target, &mail, until).await {
                        Attempt::Answered(outcome) => return outcome,
                        Attempt::Unreached(outcome) => outcome,
                    }
                }
                Err(outcome) => outcome,
            };
            failure = Some(better(failure, outcome));
            if Instant::now() >= until {
                break;
            }
        }
        failure.expect("a route has at least one host")
    }

    fn lane(&self, recipient_domain: &str) -> String {
        let domain = recipient_domain.to_ascii_lowercase();
        self.router.known(&domain).map_or(domain, |route| route.lane.clone())
    }
}
