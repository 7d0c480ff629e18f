//! What must be so after any fault, as pure functions over what was seen: the ledger, the feed of
//! events, the mails at the receiver and the requests at the webhooks' receiver.

use std::collections::{BTreeMap, BTreeSet};

/// Events after which nothing happens to a delivery but engagement.
const ENDS: [&str; 6] = [
    "message.delivered",
    "message.bounced",
    "message.failed",
    "message.expired",
    "message.canceled",
    "message.suppressed",
];
/// What recipients do, which may come at any time.
const ENGAGEMENTS: [&str; 3] = ["message.opened", "message.clicked", "message.unsubscribed"];

/// One event of the feed.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) recipient: String,
    pub(crate) possible_duplicate: bool,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// The id of each acknowledged message by address.
    pub(crate) acknowledged: BTreeMap<String, String>,
    /// The feed, in its order.
    pub(crate) feed: Vec<Event>,
    /// How often each address got its mail.
    pub(crate) arrived: BTreeMap<String, usize>,
    /// The ids of events that the unordered endpoint took, as they came.
    pub(crate) posted: Vec<String>,
    /// The same of the ordered endpoint, which wants the ends only.
    pub(crate) posted_in_order: Vec<String>,
}

/// What is wrong, and what is counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Acknowledged, and neither delivered nor explained.
    pub(crate) lost: Vec<String>,
    /// Everything else that must not be.
    pub(crate) wrong: Vec<String>,
    /// Acknowledged and delivered.
    pub(crate) delivered: usize,
    /// Mails that arrived once more than they should.
    pub(crate) duplicates: usize,
    /// Deliveries that were recovered after a crash.
    pub(crate) recovered: usize,
}

/// Whether every acknowledged message has come to its end.
pub(crate) fn all_ended(acknowledged: &BTreeMap<String, String>, feed: &[Event]) -> bool {
    let ended: BTreeSet<_> = feed.iter().filter(|e| is_end(&e.kind)).map(|e| &e.message).collect();
    acknowledged.values().all(|id| ended.contains(id))
}

/// Judges what was seen.
pub(crate) fn judge(seen: &Seen) -> Verdict {
    let mut verdict = Verdict::default();
    let mut timelines: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in &seen.feed {
        timelines.entry(&event.recipient).or_default().push(event);
    }
    let recovered = seen.feed.iter().filter(|event| event.kind == "message.recovered");
    verdict.recovered = recovered.count();
    for (address, id) in &seen.acknowledged {
        let timeline = timelines.get(address.as_str()).map_or(&[][..], Vec::as_slice);
        follow_up(address, id, timeline, seen, &mut verdict);
    }
    for (address, timeline) in &timelines {
        let told = well_told(timeline).map(|why| format!("{address}: {why}: {timeline:?}"));
        verdict.wrong.extend(told);
    }
    duplicates(seen, &timelines, &mut verdict);
    webhooks(seen, &mut verdict.wrong);
    verdict
}

/// An acknowledged message is delivered, or its timeline says why not.
fn follow_up(address: &str, id: &str, timeline: &[&Event], seen: &Seen, verdict: &mut Verdict) {
    let end = timeline.iter().find(|event| event.message == id && is_end(&event.kind));
    match end.map(|event| event.kind.as_str()) {
        None => verdict.lost.push(format!("{address} {id} has no end: {timeline:?}")),
        Some("message.delivered") if !seen.arrived.contains_key(address) => {
            verdict.lost.push(format!("{address} {id} is called delivered and never arrived"));
        }
        Some("message.delivered") => verdict.delivered += 1,
        // Everything goes to a receiver that takes it in the end, and has days for that.
        Some(end) => verdict.lost.push(format!("{address} {id} has ended as {end}: {timeline:?}")),
    }
}

/// A timeline begins with the acceptance, which is there once, and nothing follows its end.
fn well_told(timeline: &[&Event]) -> Option<&'static str> {
    let mail: Vec<_> = timeline.iter().filter(|e| !ENGAGEMENTS.contains(&&*e.kind)).collect();
    let accepted = mail.iter().filter(|event| event.kind == "message.accepted").count();
    let ended = mail.iter().position(|event| is_end(&event.kind));
    match (mail.first(), ended) {
        _ if accepted != 1 => Some("not accepted exactly once"),
        (Some(first), _) if first.kind != "message.accepted" => Some("does not begin at its start"),
        (_, Some(end)) if end + 1 != mail.len() => Some("goes on after its end"),
        _ => None,
    }
}

/// What arrived more than once says in its timeline, as often, that it might.
fn duplicates(seen: &Seen, timelines: &BTreeMap<&str, Vec<&Event>>, verdict: &mut Verdict) {
    for (address, count) in &seen.arrived {
        let Some(timeline) = timelines.get(address.as_str()) else {
            verdict.wrong.push(format!("{address} got a mail the feed does not know"));
            continue;
        };
        let marked = timeline.iter().filter(|event| event.possible_duplicate).count();
        verdict.duplicates += count - 1;
        if count - 1 > marked {
            verdict.wrong.push(format!("{address} got {count} mails, unmarked: {timeline:?}"));
        }
    }
}

/// Every event was posted to the one endpoint, and the ends to the other in the order of the feed.
fn webhooks(seen: &Seen, wrong: &mut Vec<String>) {
    let posted: BTreeSet<_> = seen.posted.iter().collect();
    let missing = seen.feed.iter().filter(|event| !posted.contains(&event.id));
    wrong.extend(missing.map(|event| format!("never posted: {event:?}")));
    let mut known = BTreeSet::new();
    let in_order: Vec<_> = seen.posted_in_order.iter().filter(|id| known.insert(*id)).collect();
    let ends: Vec<_> =
        seen.feed.iter().filter(|e| e.kind == "message.delivered").map(|e| &e.id).collect();
    if in_order != ends {
        let differs = ends.iter().zip(&in_order).position(|(end, posted)| end != posted);
        wrong.push(format!(
            "the ordered endpoint took {} of {} events, the first other one at {differs:?}",
            in_order.len(),
            ends.len()
        ));
    }
}

fn is_end(kind: &str) -> bool {
    ENDS.contains(&kind)
}

fn event(id: &str, kind: &str, recipient: &str) -> Event {
    Event {
        id: id.to_owned(),
        kind: format!("message.{kind}"),
        message: format!("msg_{recipient}"),
        recipient: recipient.to_owned(),
        possible_duplicate: kind == "recovered",
    }
}

/// Two mails, one of them recovered after a crash, that went as they should.
fn as_it_should_be() -> Seen {
    let (ann, bob) = ("ann".to_owned(), "bob".to_owned());
    Seen {
        acknowledged: [(ann.clone(), "msg_ann".to_owned()), (bob.clone(), "msg_bob".to_owned())]
            .into(),
        feed: vec![
            event("1", "accepted", "ann"),
            event("2", "accepted", "bob"),
            event("3", "recovered", "ann"),
            event("4", "delivered", "bob"),
            event("5", "delivered", "ann"),
            event("6", "opened", "ann"),
        ],
        arrived: [(ann, 2), (bob, 1)].into(),
        posted: ["2", "1", "3", "5", "4", "6", "4"].map(str::to_owned).to_vec(),
        posted_in_order: ["4", "4", "5"].map(str::to_owned).to_vec(),
    }
}

#[test]
fn what_is_as_it_should_be_is_not_complained_about() {
    let verdict = judge(&as_it_should_be());
    let expected = Verdict { delivered: 2, duplicates: 1, recovered: 1, ..Verdict::default() };
    assert_eq!(verdict, expected);
}

#[test]
fn every_breach_is_seen() {
    type Breach = (&'static str, fn(&mut Seen));
    let lost: [Breach; 3] = [
        ("has ended as message.bounced", |seen| seen.feed[4].kind = "message.bounced".to_owned()),
        ("has no end", |seen| seen.feed.retain(|event| event.id != "5")),
        ("never arrived", |seen| seen.arrived.retain(|to, _| to != "ann")),
    ];
    for (what, breach) in lost {
        let mut seen = as_it_should_be();
        breach(&mut seen);
        let verdict = judge(&seen);
        assert!(verdict.lost.iter().any(|one| one.contains(what)), "{what}: {verdict:?}");
    }
    let wrong: [Breach; 7] = [
        ("does not begin at its start", |seen| seen.feed.swap(0, 2)),
        ("not accepted exactly once", |seen| seen.feed.push(event("7", "accepted", "ann"))),
        ("goes on after its end", |seen| seen.feed.push(event("7", "deferred", "ann"))),
        ("unmarked", |seen| seen.feed[2].possible_duplicate = false),
        ("the feed does not know", |seen| seen.arrived.extend([("eve".to_owned(), 1)])),
        ("never posted", |seen| seen.posted.retain(|id| id != "3")),
        ("the ordered endpoint", |seen| seen.posted_in_order.reverse()),
    ];
    for (what, breach) in wrong {
        let mut seen = as_it_should_be();
        breach(&mut seen);
        let verdict = judge(&seen);
        assert!(verdict.wrong.iter().any(|one| one.contains(what)), "{what}: {verdict:?}");
    }
}
