//! What to publish for a sender domain. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use crate::dkim;
use crate::model::domain::{Domain, KeyState, Need, Purpose};
use crate::track::Tracker;

/// What the records follow from, besides the domain.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Where mail leaves from, as receivers see it; empty when nobody told.
    pub sending_addresses: Vec<IpAddr>,
    /// Our name in EHLO.
    pub helo_name: String,
    /// How tracking links are made, if they are.
    pub tracker: Option<Arc<Tracker>>,
}

/// A record to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// For example `TXT`.
    pub kind: &'static str,
    /// The owner name without trailing dot.
    pub name: String,
    /// The value; words in angle brackets are to be filled in.
    pub value: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The selector, for DKIM; empty otherwise.
    pub selector: String,
    /// The sending address, for PTR.
    pub address: Option<IpAddr>,
    /// How much it is needed.
    pub need: Need,
    /// What to know before publishing it.
    pub note: &'static str,
}

/// Everything to publish, also what only the owner of the domain can fill in.
pub fn to_publish(domain: &Domain, setup: &Setup) -> Vec<Record> {
    let mut records = all(domain, setup);
    records.extend(mail_server(domain));
    records
}

/// Everything whose value follows from what we know, the most needed kinds first.
pub fn all(domain: &Domain, setup: &Setup) -> Vec<Record> {
    let mut records = dkim(domain);
    records.push(spf(domain, setup));
    records.push(dmarc(domain));
    records.extend(tracking(domain, setup));
    records.extend(setup.sending_addresses.iter().map(|address| ptr(*address, setup)));
    records.push(mta_sts(domain));
    records.push(tls_rpt(domain));
    records
}

/// The records of the DKIM keys.
pub fn dkim(domain: &Domain) -> Vec<Record> {
    let keys = domain.keys.iter();
    let record = |key: &crate::model::domain::DkimKey| Record {
        selector: key.selector.clone(),
        need: super::need_of(key.state),
        note: match key.state {
            KeyState::Pending => "publish it before the keys are activated",
            KeyState::Active => "",
            KeyState::Retired => "leave it until the key is removed, for mail that is on its way",
        },
        ..txt(dkim::record_name(&domain.name, &key.selector), key.record.clone(), Purpose::Dkim)
    };
    keys.map(record).collect()
}

fn spf(domain: &Domain, setup: &Setup) -> Record {
    let mechanism = |address: &IpAddr| match address {
        IpAddr::V4(v4) => format!("ip4:{v4}"),
        IpAddr::V6(v6) => format!("ip6:{v6}"),
    };
    let (who, note) = if setup.sending_addresses.is_empty() {
        ("ip4:<sending address>".to_owned(), "fill in the addresses that mail leaves from")
    } else {
        let mechanisms: Vec<_> = setup.sending_addresses.iter().map(mechanism).collect();
        (mechanisms.join(" "), "a domain has one such record: add to the one that is there")
    };
    let value = format!("v=spf1 {who} ~all");
    Record { note, ..txt(domain.name.clone(), value, Purpose::Spf) }
}

fn dmarc(domain: &Domain) -> Record {
    let value = format!("v=DMARC1; p=none; rua=mailto:dmarc@{}", domain.name);
    let note = "reports go to this mailbox; a policy of the domain above counts, too";
    Record { note, ..txt(format!("_dmarc.{}", domain.name), value, Purpose::Dmarc) }
}

/// Where links lead under a name of the domain's own.
fn tracking(domain: &Domain, setup: &Setup) -> Option<Record> {
    let tracker = setup.tracker.as_ref()?;
    let host = host_of(tracker.by_sender.get(&domain.name)?)?;
    let target = host_of(&tracker.base)?;
    let under = host == domain.name || host.ends_with(&format!(".{}", domain.name));
    if !under || host == target {
        return None;
    }
    let kind = match target.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => "A",
        Ok(IpAddr::V6(_)) => "AAAA",
        Err(_) => "CNAME",
    };
    Some(Record { kind, ..txt(host, target, Purpose::Tracking) })
}

/// Where bounces and answers go: mail leaves with senders of the domain itself (RFC 5321 §4.4, §5.1).
fn mail_server(domain: &Domain) -> [Record; 2] {
    const SERVER: &str = "<server that takes mail for the domain>";
    let mx = Record {
        kind: "MX",
        need: Need::Recommended,
        note: "answers and bounces come to this server",
        ..txt(domain.name.clone(), format!("10 {SERVER}"), Purpose::Mx)
    };
    let address = Record {
        kind: "A",
        need: Need::Recommended,
        note: "bounces are lost where the server of the MX record has no address",
        ..txt(SERVER.to_owned(), "<its address>".to_owned(), Purpose::ReturnPath)
    };
    [mx, address]
}

fn ptr(address: IpAddr, setup: &Setup) -> Record {
    let note = "whoever owns the address sets it: the provider of the server";
    let (kind, address) = ("PTR", Some(address));
    let name = address.map(reverse).unwrap_or_default();
    // A name without a dot is nobody's on the Internet.
    let helo = Some(&setup.helo_name).filter(|helo| helo.contains('.'));
    let value = helo.map_or_else(|| "<name of the server>".to_owned(), String::clone);
    Record { kind, address, note, ..txt(name, value, Purpose::Ptr) }
}

fn mta_sts(domain: &Domain) -> Record {
    let value = format!("v=STSv1; id={}", domain.create_ms);
    let note = "only once the policy file of RFC 8461 is served at the name mta-sts of the domain";
    let name = format!("_mta-sts.{}", domain.name);
    Record { note, need: Need::Optional, ..txt(name, value, Purpose::MtaSts) }
}

fn tls_rpt(domain: &Domain) -> Record {
    let value = format!("v=TLSRPTv1; rua=mailto:tls-reports@{}", domain.name);
    let note = "reports go to this mailbox";
    let name = format!("_smtp._tls.{}", domain.name);
    Record { note, need: Need::Optional, ..txt(name, value, Purpose::TlsRpt) }
}

fn txt(name: String, value: String, purpose: Purpose) -> Record {
    let (selector, address) = (String::new(), None);
    Record { kind: "TXT", name, value, purpose, selector, address, need: Need::Required, note: "" }
}

/// The host of a url: a name in lower case, or an address without brackets.
fn host_of(base: &str) -> Option<String> {
    match url::Url::parse(base).ok()?.host()? {
        url::Host::Domain(name) => Some(name.trim_end_matches('.').to_owned()),
        url::Host::Ipv4(address) => Some(address.to_string()),
        url::Host::Ipv6(address) => Some(address.to_string()),
    }
}

/// The name that an address is looked up under (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let digits: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    }
}
