//! Sender domains as the contract shows them.

use postern_proto::time::timestamp;
use postern_proto::v1;

use super::etag;
use crate::domain::records::{self, Record, Setup};
use crate::model::domain::{Check, DkimKey, Domain};

/// A domain changes with its keys, not with what the DNS says about it.
pub(super) fn tag(domain: &Domain) -> String {
    etag::of(&[domain.id.uuid().as_bytes(), domain.change_id.as_bytes()])
}

/// The domain with what is to be published and what was found.
pub(super) fn shown(domain: Domain, setup: &Setup) -> v1::Domain {
    v1::Domain {
        id: domain.id.to_string(),
        dkim_keys: domain.keys.iter().map(key).collect(),
        dns_records: records::to_publish(&domain, setup).into_iter().map(record).collect(),
        create_time: Some(timestamp(domain.create_ms)),
        etag: tag(&domain),
        last_check_time: domain.check_ms.map(timestamp),
        checks: domain.checks.into_iter().map(check).collect(),
        name: domain.name,
    }
}

fn key(key: &DkimKey) -> v1::DkimKey {
    v1::DkimKey {
        selector: key.selector.clone(),
        algorithm: key.algorithm as i32,
        create_time: Some(timestamp(key.create_ms)),
        state: key.state as i32,
        remove_time: key.remove_ms.map(timestamp),
    }
}

fn record(record: Record) -> v1::DnsRecord {
    v1::DnsRecord {
        r#type: record.kind.to_owned(),
        name: record.name,
        value: record.value,
        purpose: record.purpose.name().to_owned(),
        need: record.need as i32,
        note: record.note.to_owned(),
    }
}

fn check(check: Check) -> v1::DomainCheck {
    v1::DomainCheck {
        purpose: check.purpose.name().to_owned(),
        selector: check.selector,
        name: check.name,
        need: check.need as i32,
        status: check.status as i32,
        expected: check.expected,
        found: check.found,
        hint: check.hint,
        check_time: Some(timestamp(check.check_ms)),
        error: check.error,
    }
}
