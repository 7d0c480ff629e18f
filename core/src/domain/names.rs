//! Questions to the DNS about a sender domain, each bounded in time and in what is taken of the answer.
//! Nothing is remembered, so a crash has nothing to lose.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType};
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{MessageAuthenticator, SpfResult};
use tokio::time::timeout;

use super::judge::{self, Asked};
use super::references::{Reference, references};
use crate::transport::SetupError;
use crate::transport::config::TransportConfig;
use crate::transport::dns::{DnsError, MxRecord, Resolver, explain, mx_record};

/// The longest that one question may take.
const ASK: Duration = Duration::from_secs(5);
/// The longest that an SPF record and all it refers to may take.
const EVALUATE: Duration = Duration::from_secs(8);
/// As many records of one answer are looked at.
const RECORDS_MAX: usize = 64;
/// Names that an SPF record may refer to, and these in turn: receivers stop at ten.
const REFERENCES_MAX: usize = 32;
/// As many octets of one text are looked at; the longest key is far shorter.
const TEXT_MAX: usize = 4096;

/// The resolver.
pub(super) struct Names {
    resolver: TokioResolver,
    spf: MessageAuthenticator,
}

impl Names {
    pub(super) fn new(config: &TransportConfig) -> Result<Self, SetupError> {
        let resolver = Resolver::without_cache(config)?;
        Ok(Self { spf: MessageAuthenticator(resolver.clone()), resolver })
    }

    /// TXT records, the strings of each put together.
    pub(super) async fn txt(&self, name: &str) -> Asked<String> {
        self.ask(name, RecordType::TXT, |data| match data {
            RData::TXT(txt) => {
                let mut octets = txt.txt_data.concat();
                octets.truncate(TEXT_MAX);
                Some(String::from_utf8_lossy(&octets).into_owned())
            }
            _ => None,
        })
        .await
    }

    /// MX records, the most preferred first.
    pub(super) async fn mx(&self, name: &str) -> Asked<MxRecord> {
        let mut records = self.ask(name, RecordType::MX, mx_record).await?;
        records.sort_by_key(|record| record.preference);
        Ok(records)
    }

    /// What the name is an alias of.
    pub(super) async fn cname(&self, name: &str) -> Asked<String> {
        self.ask(name, RecordType::CNAME, |data| match data {
            RData::CNAME(alias) => Some(plain(&alias.0.to_ascii())),
            _ => None,
        })
        .await
    }

    /// IPv4 and IPv6 addresses, through aliases.
    pub(super) async fn addresses(&self, name: &str) -> Asked<IpAddr> {
        let asked = self.resolver.lookup_ip(format!("{name}."));
        match within(asked).await? {
            Some(found) => Ok(found.iter().take(RECORDS_MAX).collect()),
            None => Ok(Vec::new()),
        }
    }

    /// The names of an address.
    pub(super) async fn ptr(&self, address: IpAddr) -> Asked<String> {
        let found = within(self.resolver.reverse_lookup(address)).await?;
        Ok(taken(found, |data| match data {
            RData::PTR(name) => Some(plain(&name.0.to_ascii())),
            _ => None,
        }))
    }

    /// What a receiver says to mail of the domain that comes from the address (RFC 7208 §4).
    pub(super) async fn spf(&self, address: IpAddr, domain: &str, helo: &str) -> SpfResult {
        let sender = format!("postmaster@{domain}");
        let asked = SpfParameters::verify_mail_from(address, helo, helo, &sender);
        match timeout(EVALUATE, self.spf.verify_spf(asked)).await {
            Ok(output) => output.result(),
            Err(_) => SpfResult::TempError,
        }
    }

    /// Asks for everything that the SPF record of a domain refers to. To the evaluation above a name whose
    /// servers fail is one that does not exist; here it is an error.
    pub(super) async fn follow(&self, records: &[String], domain: &str) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut next = references_of(records, domain);
        let walk = async {
            while !next.is_empty() && seen.len() < REFERENCES_MAX {
                next.retain(|one| seen.insert(one.clone()));
                next.truncate(REFERENCES_MAX);
                let asked = join_all(next.iter().map(|one| self.refer(one))).await;
                let found = asked.into_iter().collect::<Result<Vec<_>, String>>()?;
                next = found.into_iter().flatten().collect();
            }
            Ok(())
        };
        timeout(EVALUATE, walk).await.unwrap_or_else(|_| Err(too_late(EVALUATE)))
    }

    /// Asks for one of them; what it refers to in turn.
    async fn refer(&self, reference: &Reference) -> Asked<Reference> {
        match reference {
            Reference::Policy(name) => Ok(references_of(&self.txt(name).await?, name)),
            Reference::Addresses(name) => self.addresses(name).await.map(|_| Vec::new()),
            Reference::Mail(name) => {
                let hosts = self.mx(name).await?.into_iter().map(|mx| mx.host);
                let hosts = hosts.filter(|host| !host.is_empty());
                Ok(hosts.map(Reference::Addresses).collect())
            }
        }
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        take: impl Fn(&RData) -> Option<T>,
    ) -> Asked<T> {
        // The trailing dot keeps search domains out.
        let found = within(self.resolver.lookup(format!("{name}."), kind)).await?;
        Ok(taken(found, take))
    }
}

fn references_of(records: &[String], domain: &str) -> Vec<Reference> {
    let policies = judge::of_version(records, "v=spf1");
    policies.into_iter().flat_map(|policy| references(policy, domain)).collect()
}

fn too_late(limit: Duration) -> String {
    format!("no answer within {} seconds", limit.as_secs())
}

fn taken<T>(found: Option<Lookup>, take: impl Fn(&RData) -> Option<T>) -> Vec<T> {
    let Some(found) = found else { return Vec::new() };
    found.answers().iter().filter_map(|record| take(&record.data)).take(RECORDS_MAX).collect()
}

/// The answer, none when there is no such name or record.
async fn within<T>(asked: impl Future<Output = Result<T, NetError>>) -> Result<Option<T>, String> {
    match timeout(ASK, asked).await {
        Err(_) => Err(too_late(ASK)),
        Ok(Ok(found)) => Ok(Some(found)),
        Ok(Err(error)) => match explain(error) {
            DnsError::NoDomain | DnsError::NoRecords => Ok(None),
            DnsError::Temporary(why) => Err(why.chars().take(200).collect()),
        },
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
