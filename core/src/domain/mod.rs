//! Sender domains and the DNS: what to publish for one ([`records`]), what is published (`names`), and
//! what to make of it ([`judge`]).
//!
//! Records and judgements are pure. A check holds nothing: one that a crash cuts off is made again.

pub mod judge;
pub mod keys;
mod names;
mod references;
pub mod records;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use futures_util::future::{BoxFuture, join_all};

use self::judge::{Asked, Verdict};
use self::names::Names;
use self::records::{Record, Setup};
use crate::model::domain::{Check, CheckStatus, Domain, KeyState, Need, Purpose};
use crate::transport::SetupError;
use crate::transport::config::TransportConfig;

/// Mail servers of a domain whose addresses are looked up.
const MAIL_HOSTS_MAX: usize = 10;
/// Names of one address that are looked up.
const PTR_NAMES_MAX: usize = 4;
/// Names that a DMARC policy is looked for under: the domain and what is above it.
const DMARC_NAMES_MAX: usize = 5;

/// Looks up what should be published. Asks anew each time: what an operator has just published must not
/// hide behind what a cache remembers.
pub struct Checker {
    names: Names,
    setup: Setup,
}

impl Checker {
    /// Asks the servers of the configuration.
    pub fn new(config: &TransportConfig, setup: Setup) -> Result<Self, SetupError> {
        Ok(Self { names: Names::new(config)?, setup })
    }

    /// What records follow from.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Looks everything up at once. Good results of the check before stay where the DNS does not answer.
    pub async fn check(&self, domain: &Domain, now_ms: i64) -> Vec<Check> {
        let records = records::all(domain, &self.setup);
        let mut asked: Vec<BoxFuture<'_, Check>> = Vec::new();
        for record in records {
            asked.push(Box::pin(self.published(domain, record)));
        }
        asked.push(Box::pin(self.mx(domain)));
        asked.push(Box::pin(self.return_path(domain)));
        let mut checks = join_all(asked).await;
        checks.iter_mut().for_each(|check| check.check_ms = now_ms);
        judge::remember(&domain.checks, checks)
    }

    /// Whether the DNS shows the records of these keys: the checks that are not OK.
    pub async fn unpublished(&self, domain: &Domain, pair: &str) -> Vec<Check> {
        let records = records::dkim(domain).into_iter();
        let of_pair = |selector: &str| {
            domain.keys.iter().any(|key| key.selector == selector && key.pair() == pair)
        };
        let records = records.filter(|record| of_pair(&record.selector));
        let checks = join_all(records.map(|record| self.published(domain, record))).await;
        checks.into_iter().filter(|check| !is_usable(check.status)).collect()
    }

    async fn published(&self, domain: &Domain, record: Record) -> Check {
        let verdict = match record.purpose {
            Purpose::Spf => self.spf(domain, &record).await,
            Purpose::Dkim => {
                let asked = self.names.txt(&record.name).await;
                judged(asked, |found| judge::dkim(&found, &record.value))
            }
            Purpose::Dmarc => self.dmarc(domain).await,
            Purpose::Tracking => self.tracking(&record).await,
            Purpose::Ptr => self.ptr(&record).await,
            Purpose::MtaSts => {
                judged(self.names.txt(&record.name).await, |found| judge::mta_sts(&found))
            }
            Purpose::TlsRpt => {
                judged(self.names.txt(&record.name).await, |found| judge::tls_rpt(&found))
            }
            // The owner's own affair, judged below.
            Purpose::Mx | Purpose::ReturnPath => Verdict::unknown("there is no such record"),
        };
        check(record.purpose, record.selector, record.name, record.need, record.value, verdict)
    }

    async fn spf(&self, domain: &Domain, record: &Record) -> Verdict {
        let found = match self.names.txt(&domain.name).await {
            Ok(found) => found,
            Err(error) => return Verdict::unknown(error),
        };
        if !judge::has_one_spf(&found) {
            return judge::spf(&found, &judge::Evaluation::default(), &record.value);
        }
        let helo = &self.setup.helo_name;
        let of = async |address| (address, self.names.spf(address, &domain.name, helo).await);
        let addresses = self.setup.sending_addresses.iter().copied();
        let stranger = of(judge::STRANGER);
        let (stranger, ours) = tokio::join!(stranger, join_all(addresses.map(of)));
        let evaluation = judge::Evaluation { stranger: Some(stranger.1), ours };
        if !evaluation.is_clear()
            && let Err(error) = self.names.follow(&found, &domain.name).await
        {
            return Verdict::unknown(error);
        }
        judge::spf(&found, &evaluation, &record.value)
    }

    /// Asks for the domain itself and for what is above it (the tree walk of DMARCbis, which needs no
    /// list of public suffixes).
    async fn dmarc(&self, domain: &Domain) -> Verdict {
        let names = dmarc_names(&domain.name);
        let asked = names.iter().map(async |name| (name.clone(), self.names.txt(name).await));
        judge::dmarc(&join_all(asked).await)
    }

    async fn mx(&self, domain: &Domain) -> Check {
        let verdict = judged(self.names.mx(&domain.name).await, |found| judge::mx(&found));
        let expected = "a server that takes mail for the domain".to_owned();
        let name = domain.name.clone();
        check(Purpose::Mx, String::new(), name, Need::Recommended, expected, verdict)
    }

    /// Bounces go to the sender's domain, to the server that MX names or else to the domain's own address.
    async fn return_path(&self, domain: &Domain) -> Check {
        let verdict = match self.names.mx(&domain.name).await {
            Err(error) => Verdict::unknown(error),
            Ok(hosts) => {
                let mut hosts: Vec<String> = hosts.into_iter().map(|mx| mx.host).collect();
                if hosts.is_empty() {
                    hosts.push(domain.name.clone());
                }
                hosts.truncate(MAIL_HOSTS_MAX);
                let asked = hosts.iter().filter(|host| !host.is_empty());
                let asked =
                    asked.map(async |host| (host.clone(), self.names.addresses(host).await));
                judge::return_path(&join_all(asked).await)
            }
        };
        let expected = "a mail server that has an address".to_owned();
        let name = domain.name.clone();
        check(Purpose::ReturnPath, String::new(), name, Need::Recommended, expected, verdict)
    }

    async fn tracking(&self, record: &Record) -> Verdict {
        let target = async {
            match record.value.parse::<IpAddr>() {
                Ok(address) => Ok(vec![address]),
                Err(_) => self.names.addresses(&record.value).await,
            }
        };
        let (alias, own, target) = tokio::join!(
            self.names.cname(&record.name),
            self.names.addresses(&record.name),
            target
        );
        match (alias, own, target) {
            (Ok(alias), Ok(own), Ok(target)) => {
                judge::tracking(&record.value, &alias, &own, &target)
            }
            (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => Verdict::unknown(error),
        }
    }

    async fn ptr(&self, record: &Record) -> Verdict {
        let Some(address) = record.address else {
            return Verdict::unknown("the record belongs to no address");
        };
        let mut names = match self.names.ptr(address).await {
            Ok(names) => names,
            Err(error) => return Verdict::unknown(error),
        };
        names.truncate(PTR_NAMES_MAX);
        let asked = names.iter().map(async |name| (name.clone(), self.names.addresses(name).await));
        judge::ptr(address, &record.value, &join_all(asked).await)
    }
}

/// The key may be signed with: receivers find it.
fn is_usable(status: CheckStatus) -> bool {
    matches!(status, CheckStatus::Ok | CheckStatus::Warning)
}

fn judged<T>(asked: Asked<T>, judge: impl FnOnce(Vec<T>) -> Verdict) -> Verdict {
    match asked {
        Ok(found) => judge(found),
        Err(error) => Verdict::unknown(error),
    }
}

fn check(
    purpose: Purpose,
    selector: String,
    name: String,
    need: Need,
    expected: String,
    verdict: Verdict,
) -> Check {
    let Verdict { status, found, hint, error } = verdict;
    Check { purpose, selector, name, need, status, expected, found, hint, check_ms: 0, error }
}

fn dmarc_names(domain: &str) -> Vec<String> {
    let labels: Vec<&str> = domain.split('.').collect();
    // A policy of a whole top-level domain is not the owner's.
    let starts = 0..labels.len().saturating_sub(1).max(1);
    let names = starts.map(|start| format!("_dmarc.{}", labels[start..].join(".")));
    names.take(DMARC_NAMES_MAX).collect()
}

/// The state of keys decides how much their records are needed.
fn need_of(state: KeyState) -> Need {
    match state {
        KeyState::Active => Need::Required,
        KeyState::Pending | KeyState::Retired => Need::Recommended,
    }
}
