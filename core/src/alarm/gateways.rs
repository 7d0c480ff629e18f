//! What gateways say of themselves, or no longer say. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postern_proto::v1::PartCondition;

use super::Kind;
use super::look::Seen;
use crate::store::gateways::Gateway;
use crate::store::troubles::Trouble;
use crate::worker::keeper::NODE_TTL;

/// What is wrong with the gateways. One that died is soon no longer listed: when no other of its kind
/// serves in its place, what was known of it goes on.
pub(super) fn troubles(
    listed: &[Gateway],
    known: &[Trouble],
    certificate_left_ms: i64,
    now_ms: i64,
) -> Vec<Seen> {
    let is_heard = |gateway: &Gateway| now_ms - gateway.heartbeat_ms < NODE_TTL.as_millis() as i64;
    // Of those that followed each other on one machine the newest counts.
    let mut newest = BTreeMap::<String, &Gateway>::new();
    for gateway in listed {
        let place = newest.entry(place(gateway)).or_insert(gateway);
        if place.heartbeat_ms < gateway.heartbeat_ms {
            *place = gateway;
        }
    }
    let mut seen = Vec::new();
    for (place, gateway) in &newest {
        if !is_heard(gateway) {
            let at = Timestamp::from_millisecond(gateway.heartbeat_ms);
            let at = at.map(|at| format!("{at:.0}")).unwrap_or_default();
            let text = format!("the gateway was heard of at {at} for the last time");
            seen.push((Kind::GatewaySilent, place.clone(), text));
            continue;
        }
        if gateway.condition == i64::from(PartCondition::Degraded as i32) {
            let text = format!("the gateway says: {}", gateway.detail);
            seen.push((Kind::GatewayDegraded, place.clone(), text));
        }
        let soon = |end_ms: &i64| *end_ms - now_ms < certificate_left_ms;
        if let Some(end_ms) = gateway.certificate_ms.filter(soon) {
            let end = Timestamp::from_millisecond(end_ms);
            let end = end.map(|end| format!("{end:.0}")).unwrap_or_default();
            let text = format!("the certificate of the gateway ends at {end}");
            seen.push((Kind::Certificate, place.clone(), text));
        }
    }
    let unlisted = known.iter().filter(|trouble| {
        let kind = trouble.subject.split('@').next().unwrap_or_default();
        trouble.kind == Kind::GatewaySilent.name()
            && !newest.contains_key(&trouble.subject)
            && !listed.iter().any(|gateway| gateway.kind == kind && is_heard(gateway))
    });
    seen.extend(
        unlisted
            .map(|trouble| (Kind::GatewaySilent, trouble.subject.clone(), trouble.detail.clone())),
    );
    seen
}

fn place(gateway: &Gateway) -> String {
    format!("{}@{}", gateway.kind, gateway.host)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const DAY_MS: i64 = 86_400_000;

    fn gateway(kind: &str, host: &str, silent_ms: i64) -> Gateway {
        Gateway {
            id: Uuid::now_v7(),
            kind: kind.to_owned(),
            host: host.to_owned(),
            version: "1".to_owned(),
            condition: i64::from(PartCondition::Up as i32),
            detail: "serves".to_owned(),
            heartbeat_ms: NOW - silent_ms,
            certificate_ms: None,
        }
    }

    fn seen(listed: &[Gateway], known: &[Trouble]) -> Vec<(Kind, String)> {
        let seen = troubles(listed, known, 14 * DAY_MS, NOW);
        seen.into_iter().map(|(kind, place, _)| (kind, place)).collect()
    }

    #[test]
    fn one_that_is_silent_is_missed_unless_another_took_its_place_on_the_machine() {
        let dead = gateway("smtp", "a", 30_000);
        let missed = [(Kind::GatewaySilent, "smtp@a".to_owned())];
        assert_eq!(seen(&[dead.clone(), gateway("smtp", "b", 0)], &[]), missed);
        assert_eq!(seen(&[dead.clone(), gateway("rest", "a", 0)], &[]), missed);
        assert_eq!(seen(&[dead, gateway("smtp", "a", 29_999)], &[]), []);
    }

    #[test]
    fn one_that_is_no_longer_listed_is_missed_until_one_of_its_kind_serves() {
        let known = Trouble {
            kind: Kind::GatewaySilent.name().to_owned(),
            subject: "smtp@a".to_owned(),
            since_ms: NOW - DAY_MS,
            seen_ms: NOW - 1,
            detail: "gone".to_owned(),
            told: 1,
            told_ms: Some(NOW - DAY_MS),
        };
        let missed = [(Kind::GatewaySilent, "smtp@a".to_owned())];
        let known = [known];
        assert_eq!(seen(&[gateway("rest", "a", 0)], &known), missed);
        assert_eq!(seen(&[gateway("smtp", "b", 0)], &known), []);
    }

    #[test]
    fn it_may_say_itself_what_is_wrong() {
        let mut edge = gateway("tracking", "a", 0);
        edge.condition = i64::from(PartCondition::Degraded as i32);
        edge.certificate_ms = Some(NOW + 14 * DAY_MS - 1);
        let place = || "tracking@a".to_owned();
        let both = [(Kind::GatewayDegraded, place()), (Kind::Certificate, place())];
        assert_eq!(seen(std::slice::from_ref(&edge), &[]), both);
        edge.certificate_ms = Some(NOW + 14 * DAY_MS);
        assert_eq!(seen(&[edge], &[]), both[..1]);
    }
}
