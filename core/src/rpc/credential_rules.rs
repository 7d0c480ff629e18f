//! What API keys and SMTP credentials must keep to, both when they are made and when they change: above
//! all that nobody makes one that may do more than their own key. Pure.

use ipnet::IpNet;
use postern_kit::net;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::duration_millis;
use postern_proto::v1;
use prost_types::{Duration, FieldMask, Timestamp};

use crate::intake::address;
use crate::intake::draft::Faults;
use crate::model::content::Wishes;
use crate::model::directory::{ApiKey, CredentialField, SmtpCredential};

use super::auth::has_scope;
use super::convert;

/// Characters of a display name.
const NAME_MAX: usize = 128;
/// Domains a credential may be bound to.
const DOMAINS_MAX: usize = 100;
/// Networks a credential may be bound to.
const NETWORKS_MAX: usize = 100;
/// How long the old secret works on after a rotation, unless it is said.
const OVERLAP_MS: i64 = 24 * 3_600_000;
const OVERLAP_MS_MAX: i64 = 30 * OVERLAP_MS;

/// What an update mask may name, and what changes with it.
pub(super) type Paths = [(&'static str, CredentialField)];

/// The terms that both kinds of credentials have, by the names of their fields.
pub(super) const COMMON: [(&str, CredentialField); 7] = [
    ("display_name", CredentialField::DisplayName),
    ("sender_domains", CredentialField::SenderDomains),
    ("daily_limit", CredentialField::DailyLimit),
    ("ip_allow", CredentialField::IpAllow),
    ("expire_time", CredentialField::ExpireTime),
    ("tracking", CredentialField::Wishes),
    ("unsubscribe", CredentialField::Wishes),
];

/// The terms that both kinds of credentials have, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Terms {
    pub(super) display_name: String,
    pub(super) sender_domains: Vec<String>,
    pub(super) daily_limit: i64,
    pub(super) ip_allow: Vec<IpNet>,
    pub(super) expire_ms: Option<i64>,
    pub(super) wishes: Wishes,
}

impl From<&ApiKey> for Terms {
    fn from(key: &ApiKey) -> Self {
        Self {
            display_name: key.display_name.clone(),
            sender_domains: key.sender_domains.clone(),
            daily_limit: key.daily_limit,
            ip_allow: key.ip_allow.clone(),
            expire_ms: key.expire_ms,
            wishes: key.wishes,
        }
    }
}

impl From<&SmtpCredential> for Terms {
    fn from(credential: &SmtpCredential) -> Self {
        Self::from(&credential.as_key())
    }
}

/// The terms that both kinds of credentials have, as somebody asks for them.
pub(super) struct Asked<'a> {
    /// The field of the request that they are in.
    pub(super) place: &'static str,
    display_name: &'a str,
    sender_domains: &'a [String],
    daily_limit: i64,
    ip_allow: &'a [String],
    expire_time: Option<Timestamp>,
    tracking: Option<v1::TrackingOptions>,
    unsubscribe: Option<v1::UnsubscribeOptions>,
}

impl<'a> From<&'a v1::ApiKey> for Asked<'a> {
    fn from(key: &'a v1::ApiKey) -> Self {
        Self {
            place: "api_key",
            display_name: &key.display_name,
            sender_domains: &key.sender_domains,
            daily_limit: key.daily_limit,
            ip_allow: &key.ip_allow,
            expire_time: key.expire_time,
            tracking: key.tracking,
            unsubscribe: key.unsubscribe,
        }
    }
}

impl<'a> From<&'a v1::SmtpCredential> for Asked<'a> {
    fn from(credential: &'a v1::SmtpCredential) -> Self {
        Self {
            place: "smtp_credential",
            display_name: &credential.display_name,
            sender_domains: &credential.sender_domains,
            daily_limit: credential.daily_limit,
            ip_allow: &credential.ip_allow,
            expire_time: credential.expire_time,
            tracking: credential.tracking,
            unsubscribe: credential.unsubscribe,
        }
    }
}

impl Asked<'_> {
    /// Checks all of them.
    pub(super) fn terms(
        &self,
        caller: &ApiKey,
        now_ms: i64,
        faults: &mut Faults,
    ) -> Result<Terms, Failure> {
        let mut terms = Terms::default();
        for (path, _) in COMMON {
            self.check(path, caller, now_ms, &mut terms, faults)?;
        }
        Ok(terms)
    }

    /// Checks the one that `path` names and puts it into `terms`. Passes others over.
    pub(super) fn check(
        &self,
        path: &str,
        caller: &ApiKey,
        now_ms: i64,
        terms: &mut Terms,
        faults: &mut Faults,
    ) -> Result<(), Failure> {
        let field = format!("{}.{path}", self.place);
        match path {
            "display_name" => {
                check_name(&field, self.display_name, faults);
                self.display_name.clone_into(&mut terms.display_name);
            }
            "sender_domains" => {
                terms.sender_domains = domains(&field, caller, self.sender_domains, faults);
            }
            "daily_limit" => {
                check_daily_limit(&field, caller, self.daily_limit, faults);
                terms.daily_limit = self.daily_limit;
            }
            "ip_allow" => terms.ip_allow = networks(&field, caller, self.ip_allow, faults),
            "expire_time" => {
                terms.expire_ms = convert::time(&field, self.expire_time)?;
                if terms.expire_ms.is_some_and(|expire_ms| expire_ms <= now_ms) {
                    faults.add(Reason::ValueOutOfRange, field, "is past");
                }
            }
            "tracking" => {
                let before = format!("{}.", self.place);
                let wishes = convert::wishes(&before, self.tracking, None, faults);
                terms.wishes.tracking = wishes.tracking;
            }
            "unsubscribe" => {
                let before = format!("{}.", self.place);
                let wishes = convert::wishes(&before, None, self.unsubscribe, faults);
                terms.wishes.unsubscribe = wishes.unsubscribe;
            }
            _ => {}
        }
        Ok(())
    }
}

fn check_name(field: &str, name: &str, faults: &mut Faults) {
    if name.is_empty() || name.chars().count() > NAME_MAX {
        faults.add(Reason::InvalidValue, field, "needs 1 to 128 characters");
    }
}

fn check_daily_limit(field: &str, caller: &ApiKey, asked: i64, faults: &mut Faults) {
    if asked < 0 {
        faults.add(Reason::ValueOutOfRange, field, "is negative; 0 means no limit");
    }
    let own = caller.daily_limit;
    if own > 0 && !(1..=own).contains(&asked) {
        let text = format!("must be 1 to {own}, the limit of your own key");
        faults.add(Reason::ValueOutOfRange, field, text);
    }
}

/// The domains a credential may send from; they are never more than the caller's own.
fn domains(field: &str, caller: &ApiKey, asked: &[String], faults: &mut Faults) -> Vec<String> {
    let mut sender_domains = Vec::new();
    for (n, domain) in asked.iter().take(DOMAINS_MAX).enumerate() {
        match address::parse_domain(domain) {
            Ok(domain) => sender_domains.push(domain),
            Err(text) => faults.add(Reason::InvalidValue, format!("{field}[{n}]"), text),
        }
    }
    if asked.len() > DOMAINS_MAX {
        faults.add(Reason::ValueOutOfRange, field, "names more than 100 domains");
    }
    let own = &caller.sender_domains;
    if !own.is_empty() && sender_domains.is_empty() {
        sender_domains.clone_from(own);
    }
    if !own.is_empty() && sender_domains.iter().any(|domain| !own.contains(domain)) {
        let text = "names a domain that your own key may not send from";
        faults.add(Reason::SenderNotAllowed, field, text);
    }
    sender_domains
}

/// The networks a credential may be used from; they are never more than the caller's own.
fn networks(field: &str, caller: &ApiKey, asked: &[String], faults: &mut Faults) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (n, text) in asked.iter().take(NETWORKS_MAX).enumerate() {
        match net::network(text) {
            Some(network) => networks.push(network),
            None => {
                let text = "is no network; write 192.0.2.0/24, 2001:db8::/32 or an address";
                faults.add(Reason::InvalidValue, format!("{field}[{n}]"), text);
            }
        }
    }
    if asked.len() > NETWORKS_MAX {
        faults.add(Reason::ValueOutOfRange, field, "names more than 100 networks");
    }
    if asked.is_empty() {
        networks.clone_from(&caller.ip_allow);
    }
    if !are_within(&networks, &caller.ip_allow) {
        let text = "names a network that your own key may not be used from";
        faults.add(Reason::AddressNotAllowed, field, text);
    }
    networks
}

/// Whether each of these networks is part of one of those, of which none means all.
fn are_within(networks: &[IpNet], of: &[IpNet]) -> bool {
    let is_within = |network: &IpNet| of.iter().any(|own| own.contains(network));
    of.is_empty() || (!networks.is_empty() && networks.iter().all(is_within))
}

/// Passes a credential that may do no more than the caller's key.
pub(super) fn check_within(caller: &ApiKey, other: &ApiKey) -> Result<(), Failure> {
    let own = &caller.sender_domains;
    let more = if let Some(scope) = other.scopes.iter().find(|scope| !has_scope(caller, scope)) {
        format!("has the scope {scope}, which your own key lacks")
    } else if !own.is_empty()
        && (other.sender_domains.is_empty()
            || other.sender_domains.iter().any(|d| !own.contains(d)))
    {
        "may send from domains that your own key may not send from".to_owned()
    } else if caller.daily_limit > 0 && !(1..=caller.daily_limit).contains(&other.daily_limit) {
        "may send more per day than your own key".to_owned()
    } else if !are_within(&other.ip_allow, &caller.ip_allow) {
        "may be used from where your own key may not be used".to_owned()
    } else if caller.test && !other.test {
        "sends real mail, which your own key does not".to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::new(Reason::ScopeMissing, format!("the credential {more}")))
}

/// Which of the fields that can be changed a mask names, each once.
pub(super) fn masked(
    mask: Option<FieldMask>,
    paths: &Paths,
) -> Result<Vec<(&'static str, CredentialField)>, Failure> {
    let known = || paths.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(", ");
    let asked = mask.unwrap_or_default().paths;
    if asked.is_empty() {
        let text = format!("is empty; name what is to change: {}", known());
        return Err(Failure::field(Reason::MissingField, "update_mask", text));
    }
    if let Some(unknown) = asked.iter().find(|path| !paths.iter().any(|(known, _)| known == path)) {
        let text = format!("{unknown} cannot be changed; there are {}", known());
        return Err(Failure::field(Reason::InvalidValue, "update_mask", text));
    }
    let is_asked = |(path, _): &&(&'static str, _)| asked.iter().any(|one| one == path);
    Ok(paths.iter().filter(is_asked).copied().collect())
}

/// The fields that change, for the audit log.
pub(super) fn names(fields: &[(&'static str, CredentialField)]) -> String {
    fields.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(", ")
}

/// How long the old secret works on, in milliseconds.
pub(super) fn overlap(asked: Option<Duration>) -> Result<i64, Failure> {
    let Some(asked) = asked else { return Ok(OVERLAP_MS) };
    let given = duration_millis(&asked).and_then(|millis| i64::try_from(millis).ok());
    given.filter(|millis| *millis <= OVERLAP_MS_MAX).ok_or_else(|| {
        Failure::field(Reason::ValueOutOfRange, "overlap", "is not between 0 and 30 days")
    })
}

/// Passes what is not revoked.
pub(super) fn check_alive(field: &str, revoke_ms: Option<i64>) -> Result<(), Failure> {
    match revoke_ms {
        None => Ok(()),
        Some(_) => Err(Failure::field(Reason::InvalidValue, field, "is revoked; make a new one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::auth::inbox_key;

    fn key(scopes: &[&str], change: impl FnOnce(&mut ApiKey)) -> ApiKey {
        let mut key = inbox_key();
        key.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        key.test = false;
        change(&mut key);
        key
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| net::network(text).unwrap()).collect()
    }

    #[test]
    fn a_credential_may_do_as_much_as_the_callers_key_and_no_more() {
        let caller = key(&["keys:write", "stats:read"], |key| {
            key.sender_domains = vec!["a.test".to_owned(), "b.test".to_owned()];
            key.daily_limit = 10;
            key.ip_allow = nets(&["192.0.2.0/24", "2001:db8::/32"]);
        });
        let equal = |change: fn(&mut ApiKey)| {
            let other = ApiKey { scopes: vec!["stats:read".to_owned()], ..caller.clone() };
            key(&["stats:read"], |key| {
                *key = other;
                change(key);
            })
        };
        let within = |change| check_within(&caller, &equal(change)).is_ok();
        assert!(within(|_| ()));
        assert!(within(|key| key.sender_domains = vec!["b.test".to_owned()]));
        assert!(within(|key| key.ip_allow = nets(&["192.0.2.128/25"])));
        assert!(within(|key| key.daily_limit = 1));
        assert!(!within(|key| key.scopes = vec!["*".to_owned()]));
        assert!(!within(|key| key.scopes.push("messages:send".to_owned())));
        assert!(!within(|key| key.sender_domains.clear()));
        assert!(!within(|key| key.sender_domains.push("c.test".to_owned())));
        assert!(!within(|key| key.daily_limit = 0));
        assert!(!within(|key| key.daily_limit = 11));
        assert!(!within(|key| key.ip_allow.clear()));
        assert!(!within(|key| key.ip_allow = nets(&["192.0.2.0/23"])));
        let free = key(&["*"], |_| ());
        assert!(check_within(&free, &free).is_ok());
        assert!(check_within(&ApiKey { test: true, ..free.clone() }, &free).is_err());
    }

    #[test]
    fn networks_are_the_callers_own_unless_others_are_named_within_them() {
        let caller = key(&["*"], |key| key.ip_allow = nets(&["10.0.0.0/8"]));
        let of = |asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|text| (*text).to_owned()).collect();
            let mut faults = Faults::default();
            let networks = networks("ip_allow", &caller, &asked, &mut faults);
            faults.into_result().map(|()| networks)
        };
        assert_eq!(of(&[]).unwrap(), nets(&["10.0.0.0/8"]));
        assert_eq!(of(&["10.1.0.0/16"]).unwrap(), nets(&["10.1.0.0/16"]));
        assert_eq!(of(&["0.0.0.0/0"]).unwrap_err().reason, Reason::AddressNotAllowed);
        assert_eq!(of(&["10.1.0.0/16", "x"]).unwrap_err().reason, Reason::InvalidValue);
        assert_eq!(of(&vec!["10.1.1.1"; 101]).unwrap_err().reason, Reason::ValueOutOfRange);
    }

    #[test]
    fn a_mask_names_what_can_be_changed() {
        let of = |paths: &[&str]| {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            masked(Some(FieldMask { paths }), &COMMON)
        };
        let (named, _): (Vec<_>, Vec<_>) =
            of(&["tracking", "daily_limit", "tracking"]).unwrap().into_iter().unzip();
        assert_eq!(named, ["daily_limit", "tracking"]);
        assert!(of(&["daily_limit", "id"]).unwrap_err().message.contains("id cannot be changed"));
        assert_eq!(of(&[]).unwrap_err().reason, Reason::MissingField);
        assert_eq!(masked(None, &COMMON).unwrap_err().reason, Reason::MissingField);
    }

    #[test]
    fn an_overlap_is_a_day_or_as_long_as_is_said() {
        let of = |seconds| overlap(Some(Duration { seconds, nanos: 0 })).ok();
        assert_eq!(overlap(None), Ok(24 * 3_600_000));
        assert_eq!(of(0), Some(0));
        assert_eq!(of(30 * 86_400), Some(OVERLAP_MS_MAX));
        assert_eq!((of(30 * 86_400 + 1), of(-1), of(i64::MAX)), (None, None, None));
    }
}
