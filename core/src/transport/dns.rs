//! The two questions delivery asks the DNS, and the resolver that answers them. The resolver caches
//! by TTL in memory.

use std::net::IpAddr;
use std::time::Instant;

use async_trait::async_trait;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as NetDnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::SetupError;
use super::config::TransportConfig;

/// As many records of one answer are looked at.
const RECORDS_MAX: usize = 64;

/// Mail routing needs only this much of the DNS. Tests answer from a table.
#[async_trait]
pub trait Dns: Send + Sync {
    /// The MX records of a domain, in any order.
    async fn mx(&self, domain: &str) -> Result<MxAnswer, DnsError>;

    /// The addresses of a host, those to be tried first in front.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError>;
}

/// The MX records of a domain.
#[derive(Debug, Clone)]
pub struct MxAnswer {
    /// The records; at least one.
    pub records: Vec<MxRecord>,
    /// When they are to be asked for again.
    pub valid_until: Instant,
}

/// One MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxRecord {
    /// Lower is tried first.
    pub preference: u16,
    /// The host in lower case without trailing dot; empty for the null MX (RFC 7505).
    pub host: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name does not exist.
    #[error("the name does not exist")]
    NoDomain,
    /// The name exists and has no records of this kind.
    #[error("there are no such records")]
    NoRecords,
    /// No usable answer; it may work later.
    #[error("the lookup failed: {0}")]
    Temporary(String),
}

/// The resolver of the running system.
pub struct Resolver {
    inner: TokioResolver,
}

impl Resolver {
    /// Asks the configured servers, or those of the system.
    pub fn new(config: &TransportConfig) -> Result<Self, SetupError> {
        Ok(Self { inner: Self::builder(config)?.build().map_err(failed)? })
    }

    /// The same for questions whose answers must be as fresh as the servers have them.
    pub(crate) fn without_cache(config: &TransportConfig) -> Result<TokioResolver, SetupError> {
        let mut builder = Self::builder(config)?;
        builder.options_mut().cache_size = 0;
        builder.build().map_err(failed)
    }

    fn builder(
        config: &TransportConfig,
    ) -> Result<ResolverBuilder<TokioRuntimeProvider>, SetupError> {
        let mut builder = if config.dns_servers.is_empty() {
            TokioResolver::builder_tokio().map_err(failed)?
        } else {
            let servers = config.dns_servers.iter().map(|server| {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                connections.iter_mut().for_each(|connection| connection.port = server.port());
                NameServerConfig::new(server.ip(), true, connections)
            });
            let servers = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
        };
        // IPv4 first: receivers trust it more, and not every host has a route for the other.
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(builder)
    }
}

fn failed(error: NetError) -> SetupError {
    SetupError::Dns(error.to_string())
}

#[async_trait]
impl Dns for Resolver {
    async fn mx(&self, domain: &str) -> Result<MxAnswer, DnsError> {
        // The trailing dot keeps search domains out.
        let lookup = self.inner.mx_lookup(format!("{domain}.")).await.map_err(explain)?;
        let records: Vec<MxRecord> = lookup
            .answers()
            .iter()
            .filter_map(|record| mx_record(&record.data))
            .take(RECORDS_MAX)
            .collect();
        if records.is_empty() {
            return Err(DnsError::NoRecords);
        }
        Ok(MxAnswer { records, valid_until: lookup.valid_until() })
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let lookup = self.inner.lookup_ip(format!("{host}.")).await.map_err(explain)?;
        let addresses: Vec<IpAddr> = lookup.iter().take(RECORDS_MAX).collect();
        if addresses.is_empty() { Err(DnsError::NoRecords) } else { Ok(addresses) }
    }
}

/// An MX record out of an answer.
pub(crate) fn mx_record(data: &RData) -> Option<MxRecord> {
    match data {
        RData::MX(mx) => Some(MxRecord {
            preference: mx.preference,
            host: mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase(),
        }),
        _ => None,
    }
}

/// Which answers are final and which are not.
pub(crate) fn explain(error: NetError) -> DnsError {
    match &error {
        NetError::Dns(NetDnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => DnsError::NoDomain,
            ResponseCode::NoError => DnsError::NoRecords,
            other => DnsError::Temporary(other.to_string()),
        },
        // A name that cannot be asked for does not exist.
        NetError::Proto(_) => DnsError::NoDomain,
        _ => DnsError::Temporary(error.to_string()),
    }
}
