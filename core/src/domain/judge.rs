//! What to make of records that were found. Pure: records in, verdict out.

use std::net::{IpAddr, Ipv4Addr};

use mail_auth::SpfResult;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::dmarc::{Dmarc, Policy};
use mail_auth::mta_sts::{MtaSts, TlsRpt};

use crate::model::domain::{Check, CheckStatus};
use crate::transport::dns::MxRecord;

/// An address that nobody sends from (RFC 5737): a record that lets it send lets anybody.
pub const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Characters of what was found that are kept.
const FOUND_MAX: usize = 1024;

/// What the DNS said: what was found, nothing being an answer too; or why it gave none.
pub type Asked<T> = Result<Vec<T>, String>;

/// What a check comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In a word.
    pub status: CheckStatus,
    /// What is there, shortened.
    pub found: String,
    /// What to do next; empty for nothing.
    pub hint: String,
    /// Why the DNS gave no answer; empty when it did.
    pub error: String,
}

impl Verdict {
    /// As it should be.
    pub fn ok(found: String) -> Self {
        Self::new(CheckStatus::Ok, found, "")
    }

    /// The DNS did not answer.
    pub fn unknown(error: impl Into<String>) -> Self {
        let hint = "Check again later, or look after the DNS servers that Postern asks.";
        Self { error: error.into(), ..Self::new(CheckStatus::Unknown, String::new(), hint) }
    }

    fn new(status: CheckStatus, found: String, hint: impl Into<String>) -> Self {
        Self { status, found, hint: hint.into(), error: String::new() }
    }

    fn missing(hint: impl Into<String>) -> Self {
        Self::new(CheckStatus::Missing, String::new(), hint)
    }

    fn wrong(found: String, hint: impl Into<String>) -> Self {
        Self::new(CheckStatus::Wrong, found, hint)
    }

    fn warning(found: String, hint: impl Into<String>) -> Self {
        Self::new(CheckStatus::Warning, found, hint)
    }
}

/// What a receiver would say to mail of the domain from some addresses.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// From [`STRANGER`].
    pub stranger: Option<SpfResult>,
    /// From each of ours.
    pub ours: Vec<(IpAddr, SpfResult)>,
}

impl Evaluation {
    /// Nothing was refused for which silence of the DNS might be to blame.
    pub fn is_clear(&self) -> bool {
        self.ours.iter().all(|(_, result)| *result == SpfResult::Pass)
            && self.stranger != Some(SpfResult::PermError)
    }
}

/// Whether an evaluation makes sense.
pub fn has_one_spf(records: &[String]) -> bool {
    of_version(records, "v=spf1").len() == 1
}

/// SPF (RFC 7208).
pub fn spf(records: &[String], evaluation: &Evaluation, expected: &str) -> Verdict {
    let policies = of_version(records, "v=spf1");
    let found = shown(&policies);
    match policies.len() {
        0 => return Verdict::missing(format!("Publish the TXT record \"{expected}\".")),
        1 => {}
        n => {
            let hint = format!("Merge the {n} SPF records into one: receivers refuse several.");
            return Verdict::wrong(found, hint);
        }
    }
    let results = evaluation.ours.iter().map(|(_, result)| *result).chain(evaluation.stranger);
    let results: Vec<SpfResult> = results.collect();
    if results.contains(&SpfResult::PermError) {
        let hint = "Correct the record: it has a syntax error, includes a domain without SPF record, \
                    or needs more than ten lookups (include, a, mx, ptr, exists, redirect).";
        return Verdict::wrong(found, hint);
    }
    if results.iter().any(|result| matches!(result, SpfResult::TempError | SpfResult::None)) {
        return Verdict::unknown("a record that the SPF record refers to could not be looked up");
    }
    let refused = evaluation.ours.iter().filter(|(_, result)| *result != SpfResult::Pass);
    let refused: Vec<_> = refused.map(|(address, _)| address.to_string()).collect();
    if !refused.is_empty() {
        let list = refused.join(" and ");
        let hint = format!("Authorise {list} in the record, before its `all` (ip4:… or ip6:…).");
        return Verdict::wrong(found, hint);
    }
    if evaluation.stranger == Some(SpfResult::Pass) {
        let hint =
            "Let the record end in ~all or -all: as it stands, anybody may send for the domain.";
        return Verdict::warning(found, hint);
    }
    if evaluation.ours.is_empty() {
        let hint = "Set POSTERN_SENDING_ADDRESSES to the addresses that mail leaves from, so that they \
                    can be checked, too.";
        return Verdict::warning(found, hint);
    }
    Verdict::ok(found)
}

/// A DKIM key (RFC 6376 §3.6.1, RFC 8463) against the record that should be there.
pub fn dkim(records: &[String], expected: &str) -> Verdict {
    let found = shown(records);
    let record = match records {
        [] => return Verdict::missing("Publish the key as a TXT record of this name."),
        [record] => record,
        _ => {
            let hint = "Leave only the key's own TXT record at this name: receivers may take any.";
            return Verdict::wrong(found, hint);
        }
    };
    let Some(key) = tag(record, "p") else {
        let hint = "Replace the record by the one expected: it holds no key.";
        return Verdict::wrong(found, hint);
    };
    if key.is_empty() {
        let hint =
            "Publish the key again, or rotate the keys: an empty p= says that it is revoked.";
        return Verdict::wrong(found, hint);
    }
    let kind = |record| tag(record, "k").unwrap_or_else(|| "rsa".to_owned());
    let version = tag(record, "v").unwrap_or_else(|| "DKIM1".to_owned());
    let hash = tag(record, "h").is_none_or(|list| list.split(':').any(|one| one == "sha256"));
    let service = tag(record, "s").is_none_or(|list| {
        list.split(':').any(|one| one == "*" || one.eq_ignore_ascii_case("email"))
    });
    if Some(&key) != tag(expected, "p").as_ref() {
        let hint =
            "Replace the record by the one expected: it holds another key, or a part of this one.";
        return Verdict::wrong(found, hint);
    }
    if version != "DKIM1" || kind(record) != kind(expected) || !hash || !service {
        let hint =
            "Replace the record by the one expected: its v=, k=, h= or s= does not fit the key.";
        return Verdict::wrong(found, hint);
    }
    if tag(record, "t").is_some_and(|flags| flags.split(':').any(|flag| flag == "y")) {
        let hint = "Remove t=y from the record: it tells receivers not to rely on signatures yet.";
        return Verdict::warning(found, hint);
    }
    Verdict::ok(found)
}

/// DMARC (RFC 7489): what the domain, or else the nearest one above it, says. The names go upwards.
pub fn dmarc(asked: &[(String, Asked<String>)]) -> Verdict {
    for (n, (name, answer)) in asked.iter().enumerate() {
        let records = match answer {
            Ok(records) => records,
            Err(error) => return Verdict::unknown(error),
        };
        let policies = of_version(records, "v=DMARC1");
        if policies.is_empty() {
            continue;
        }
        let found = bounded(&format!("{name}: {}", shown(&policies)));
        if policies.len() > 1 {
            let hint = "Leave one DMARC record: receivers pass over several.";
            return Verdict::wrong(found, hint);
        }
        return match Dmarc::parse(policies[0].as_bytes()) {
            Err(_) => Verdict::wrong(
                found,
                "Correct the record: it needs v=DMARC1 and p=none, \
                                             quarantine or reject, in this order.",
            ),
            Ok(dmarc) => {
                // Below the domain that publishes it, sp= counts when it is there.
                let inherited = n > 0 && dmarc.sp != Policy::Unspecified;
                let policy = if inherited { dmarc.sp } else { dmarc.p };
                dmarc_policy(policy, found)
            }
        };
    }
    Verdict::missing(
        "Publish a DMARC record; p=none only asks for reports and changes no delivery.",
    )
}

fn dmarc_policy(policy: Policy, found: String) -> Verdict {
    match policy {
        Policy::Unspecified => {
            Verdict::wrong(found, "Add p=none, p=quarantine or p=reject to the record.")
        }
        Policy::None => Verdict {
            hint: "Read the reports, and go on to p=quarantine once all mail of the domain passes."
                .to_owned(),
            ..Verdict::ok(found)
        },
        Policy::Quarantine | Policy::Reject => Verdict::ok(found),
    }
}

/// MX (RFC 5321 §5.1): somebody takes mail for the domain.
pub fn mx(records: &[MxRecord]) -> Verdict {
    let one = |mx: &MxRecord| format!("{} {}.", mx.preference, mx.host);
    let found = shown(&records.iter().map(one).collect::<Vec<_>>());
    if records.is_empty() {
        return Verdict::warning(
            found,
            "Publish an MX record: without a server that takes mail, replies and bounces are lost.",
        );
    }
    if records.iter().all(|mx| mx.host.is_empty()) {
        let hint = "Replace the null MX: it says that the domain takes no mail, and receivers refuse \
                    mail from such domains.";
        return Verdict::warning(found, hint);
    }
    Verdict::ok(found)
}

/// Bounces of mail from the domain reach a server: these hosts take its mail.
pub fn return_path(hosts: &[(String, Asked<IpAddr>)]) -> Verdict {
    let reached = hosts.iter().filter_map(|(host, answer)| {
        let first = answer.as_ref().ok()?.first()?;
        Some(format!("{host} [{first}]"))
    });
    let reached: Vec<String> = reached.collect();
    if !reached.is_empty() {
        return Verdict::ok(shown(&reached));
    }
    if let Some(Err(error)) = hosts.iter().map(|(_, answer)| answer).find(|one| one.is_err()) {
        return Verdict::unknown(error);
    }
    let names: Vec<_> = hosts.iter().map(|(host, _)| host.clone()).collect();
    let hint = "Let MX name a server that has an address: bounces of the domain's mail are lost, and \
                receivers refuse senders that cannot be answered.";
    Verdict::warning(shown(&names), hint)
}

/// A tracking name: an alias of the edge, or at least at its addresses.
pub fn tracking(target: &str, alias: &[String], own: &[IpAddr], edge: &[IpAddr]) -> Verdict {
    let texts = alias.iter().cloned().chain(own.iter().map(IpAddr::to_string));
    let found = shown(&texts.collect::<Vec<_>>());
    if own.is_empty() && alias.is_empty() {
        let hint =
            format!("Publish this name as an alias of {target}: links in mail lead nowhere.");
        return Verdict::missing(hint);
    }
    if own.is_empty() {
        let hint = format!("Give {target} an address: the name leads to one that has none.");
        return Verdict::wrong(found, hint);
    }
    let is_alias = alias.iter().any(|name| name.eq_ignore_ascii_case(target));
    if is_alias || own.iter().any(|address| edge.contains(address)) {
        return Verdict::ok(found);
    }
    let hint = format!(
        "Make sure that a proxy passes these links on to {target}, or publish the name as its alias."
    );
    Verdict::warning(found, hint)
}

/// The names of a sending address, each with its own addresses, against our name in EHLO.
pub fn ptr(address: IpAddr, helo: &str, names: &[(String, Asked<IpAddr>)]) -> Verdict {
    let found = shown(&names.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    if names.is_empty() {
        let hint = format!("Have the provider of {address} set its reverse name to {helo}.");
        return Verdict::missing(hint);
    }
    let leads_back = |answer: &Asked<IpAddr>| {
        answer.as_ref().is_ok_and(|addresses| addresses.contains(&address))
    };
    let confirmed: Vec<_> = names.iter().filter(|(_, answer)| leads_back(answer)).collect();
    if confirmed.iter().any(|(name, _)| name.eq_ignore_ascii_case(helo)) {
        return Verdict::ok(found);
    }
    if let Some((_, Err(error))) = names.iter().find(|(_, answer)| answer.is_err()) {
        return Verdict::unknown(error);
    }
    if confirmed.is_empty() {
        let hint =
            format!("Publish {address} as an address of {found}: the name must lead back to it.");
        return Verdict::wrong(found, hint);
    }
    let hint = format!(
        "Set POSTERN_HELO_NAME to {} or the reverse name to {helo}: receivers want them equal.",
        confirmed[0].0
    );
    Verdict::warning(found, hint)
}

/// MTA-STS (RFC 8461 §3.1); the policy file is not fetched.
pub fn mta_sts(records: &[String]) -> Verdict {
    let hint = "Optional: publish it once the policy file is served.";
    optional(records, "v=STSv1", hint, |record| MtaSts::parse(record).is_ok())
}

/// Reports about TLS (RFC 8460 §3).
pub fn tls_rpt(records: &[String]) -> Verdict {
    let hint = "Optional: publish it to hear of mail that could not be sent to you over TLS.";
    optional(records, "v=TLSRPTv1", hint, |record| TlsRpt::parse(record).is_ok())
}

fn optional(
    records: &[String],
    version: &str,
    missing: &str,
    is_valid: impl Fn(&[u8]) -> bool,
) -> Verdict {
    let policies = of_version(records, version);
    let found = shown(&policies);
    match policies.as_slice() {
        [] => Verdict::missing(missing),
        [policy] if is_valid(policy.as_bytes()) => Verdict::ok(found),
        [_] => Verdict::wrong(found, "Correct the record: it cannot be read."),
        _ => Verdict::wrong(found, "Leave one such record: senders pass over several."),
    }
}

/// The new checks; where the DNS did not answer, a good earlier result of the same question stays, and
/// says since when.
pub fn remember(earlier: &[Check], checks: Vec<Check>) -> Vec<Check> {
    let good = |check: &&Check| matches!(check.status, CheckStatus::Ok | CheckStatus::Warning);
    let mut checks = checks;
    for check in checks.iter_mut().filter(|check| check.status == CheckStatus::Unknown) {
        let same = |old: &&Check| {
            let question =
                |check: &Check| (check.purpose, check.name.clone(), check.expected.clone());
            question(old) == question(check)
        };
        if let Some(old) = earlier.iter().filter(good).find(same) {
            let error = std::mem::take(&mut check.error);
            *check = Check { error, need: check.need, ..old.clone() };
        }
    }
    checks
}

/// The records of this version, as `v=spf1` says: alone or before a space or semicolon.
pub(super) fn of_version<'a>(records: &'a [String], version: &str) -> Vec<&'a str> {
    let is = |record: &&str| {
        let head =
            record.get(..version.len()).is_some_and(|head| head.eq_ignore_ascii_case(version));
        let next = record.get(version.len()..).and_then(|rest| rest.chars().next());
        head && next.is_none_or(|c| c == ';' || c.is_ascii_whitespace())
    };
    records.iter().map(|record| record.trim_start()).filter(is).collect()
}

/// A tag of a list `a=b; c=d` (RFC 6376 §3.2), without white space.
fn tag(record: &str, name: &str) -> Option<String> {
    let tags = record.split(';').filter_map(|tag| tag.split_once('='));
    let value = tags.filter(|(key, _)| key.trim() == name).map(|(_, value)| value).next()?;
    Some(value.chars().filter(|c| !c.is_ascii_whitespace()).collect())
}

fn shown<T: AsRef<str>>(records: &[T]) -> String {
    let texts: Vec<&str> = records.iter().map(AsRef::as_ref).collect();
    bounded(&texts.join(" | "))
}

fn bounded(text: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    if text.chars().count() <= FOUND_MAX {
        return text.chars().map(printable).collect();
    }
    text.chars().take(FOUND_MAX - 1).map(printable).chain(['…']).collect()
}
