//! Held campaigns wait and lose nothing; AMS is told by one node, behind a cursor that never skips.

use postern_proto::ids::RecipientId;
use postern_proto::v1::Verdict;
use uuid::Uuid;

use super::build::{NOW, accept, begun, events, finish, message, node};
use super::promises;
use super::tracking::{accepted, hit};
use crate::model::campaign::{Action, AmsState, LogEntry, Outcomes};
use crate::model::delivery::State;
use crate::model::event::{EventFilter, EventType};
use crate::store::ams::{self, Parked};
use crate::store::campaigns::HOLD_MS;
use crate::store::{Stores, campaigns};

promises![
    a_held_campaign_waits_and_goes_on,
    the_rules_hold_a_campaign_once_and_an_operator_always,
    what_is_parked_too_late_is_found,
    outcomes_are_counted_by_campaign_and_time,
    one_node_tells_ams,
    what_ams_refuses_is_kept,
];

fn entry(action: Action, create_ms: i64) -> LogEntry {
    LogEntry {
        campaign_id: "spring".to_owned(),
        action,
        actor: "auto-stop".to_owned(),
        note: format!("because of {create_ms}"),
        create_ms,
    }
}

async fn hold(stores: &Stores, at_ms: i64, automatic: bool) -> bool {
    let (entry, ams) = (entry(Action::Held, at_ms), AmsState::ToBeTold);
    campaigns::start(&*stores.db, &entry, automatic, ams).await.unwrap()
}

async fn resume(stores: &Stores, at_ms: i64) -> bool {
    campaigns::resume(&*stores.db, &entry(Action::Resumed, at_ms)).await.unwrap()
}

async fn claimed(stores: &Stores, node: Uuid, at_ms: i64) -> Vec<RecipientId> {
    let claimed = stores.queue.claim(node, at_ms, 10).await.unwrap();
    claimed.into_iter().map(|claimed| claimed.id).collect()
}

async fn a_held_campaign_waits_and_goes_on(stores: Stores) {
    let node = node(&stores).await;
    let asked = message(&["ann@example.net"]);
    let id = asked.recipients[0].id;
    accept(&stores, asked, Some(node)).await;
    assert!(hold(&stores, NOW, true).await);
    assert_eq!(campaigns::held(&*stores.db).await.unwrap(), ["spring"]);
    stores.queue.postpone(node, &[(id, NOW + HOLD_MS)]).await.unwrap();
    // Not even in a hundred years.
    assert!(claimed(&stores, node, NOW + 100 * 365 * 24 * 3_600_000).await.is_empty());
    assert_eq!(stores.queue.depth().await.unwrap().queued, 1);
    assert!(resume(&stores, NOW + 1).await && !resume(&stores, NOW + 2).await);
    assert!(campaigns::held(&*stores.db).await.unwrap().is_empty());
    assert_eq!(claimed(&stores, node, NOW).await, [id], "due as it was before");
}

async fn the_rules_hold_a_campaign_once_and_an_operator_always(stores: Stores) {
    assert!(hold(&stores, NOW, true).await);
    assert!(!hold(&stores, NOW + 1, true).await && !hold(&stores, NOW + 2, false).await);
    let told = campaigns::to_tell(&*stores.db, 10).await.unwrap();
    assert_eq!((told.len(), told[0].automatic), (1, true));
    campaigns::told(&*stores.db, &entry(Action::AmsTold, NOW + 3)).await.unwrap();
    assert!(campaigns::to_tell(&*stores.db, 10).await.unwrap().is_empty());
    assert!(resume(&stores, NOW + 4).await);
    assert!(!hold(&stores, NOW + 5, true).await, "who resumed it has the last word");
    assert!(hold(&stores, NOW + 6, false).await);
    let stands = campaigns::hold_of(&*stores.db, "spring").await.unwrap().unwrap();
    assert!(stands.is_held && stands.automatic && stands.change_ms == NOW + 6);
    assert_eq!(campaigns::holds(&*stores.db, "", 10).await.unwrap(), [stands]);
    assert!(campaigns::holds(&*stores.db, "spring", 10).await.unwrap().is_empty());
    let log = campaigns::log(&*stores.db, "spring", 10).await.unwrap();
    let log: Vec<_> = log.into_iter().map(|entry| (entry.action, entry.create_ms - NOW)).collect();
    let expected =
        [(Action::Held, 6), (Action::Resumed, 4), (Action::AmsTold, 3), (Action::Held, 0)];
    assert_eq!(log, expected, "an entry for each change and for nothing else");
    assert_eq!(campaigns::hold_of(&*stores.db, "autumn").await.unwrap(), None);
}

async fn what_is_parked_too_late_is_found(stores: Stores) {
    let node = node(&stores).await;
    let asked = message(&["ann@example.net"]);
    let id = asked.recipients[0].id;
    accept(&stores, asked, Some(node)).await;
    hold(&stores, NOW, true).await;
    assert_eq!(campaigns::sweep(&*stores.db, NOW).await.unwrap(), 0);
    resume(&stores, NOW + 1).await;
    stores.queue.postpone(node, &[(id, NOW + 2 + HOLD_MS)]).await.unwrap();
    assert!(claimed(&stores, node, NOW + 3).await.is_empty());
    assert_eq!(campaigns::sweep(&*stores.db, NOW + 4).await.unwrap(), 1);
    assert_eq!(claimed(&stores, node, NOW + 5).await, [id]);
}

async fn outcomes_are_counted_by_campaign_and_time(stores: Stores) {
    let node = node(&stores).await;
    for (kind, reason) in [
        (EventType::Delivered, ""),
        (EventType::Bounced, "unknown_user"),
        (EventType::Bounced, "spam_content"),
        (EventType::Failed, "rate_limited"),
        (EventType::Deferred, "rate_limited"),
    ] {
        let (id, begun) = begun(&stores, node).await;
        let state = match kind {
            EventType::Delivered => State::Delivered,
            EventType::Bounced => State::Bounced,
            EventType::Failed => State::Failed,
            _ => State::Deferred,
        };
        let mut result = finish(id, begun, state, kind);
        result.event.reason = reason.to_owned();
        assert_eq!(stores.queue.finish(node, &[result], NOW).await.unwrap(), [true]);
    }
    let expected = Outcomes { delivered: 1, refused: 3, rate_limited: 2, spam: 1, unknown_user: 1 };
    let db = &*stores.db;
    assert_eq!(campaigns::outcomes(db, "spring", NOW).await.unwrap(), expected);
    let none = Outcomes::default();
    assert_eq!(campaigns::outcomes(db, "spring", NOW + 2).await.unwrap(), none);
    assert_eq!(campaigns::outcomes(db, "autumn", NOW).await.unwrap(), none);
    assert_eq!(campaigns::busy(db, NOW, 4, 10).await.unwrap(), ["spring"]);
    assert!(campaigns::busy(db, NOW, 5, 10).await.unwrap().is_empty());
    assert!(campaigns::busy(db, NOW + 3_600_000, 1, 10).await.unwrap().is_empty());
    hold(&stores, NOW, true).await;
    resume(&stores, NOW + 1).await;
    assert!(campaigns::busy(db, NOW, 4, 10).await.unwrap().is_empty(), "it was held before");
}

fn opens() -> EventFilter {
    EventFilter { kinds: vec![EventType::Opened], ..EventFilter::default() }
}

async fn one_node_tells_ams(stores: Stores) {
    let db = &*stores.db;
    let (one, other) = (node(&stores).await, node(&stores).await);
    let (_, recipient) = accepted(&stores).await;
    stores
        .tracking
        .record(vec![hit(recipient, EventType::Opened, 0, Verdict::Human)])
        .await
        .unwrap();
    let before = events(&stores, &opens(), 1).await[0].sequence;
    let start = ams::take_turn(db, one, NOW, NOW + 100).await.unwrap().unwrap();
    assert!(start >= before, "what was before the first time is not told");
    assert_eq!(ams::take_turn(db, other, NOW + 50, NOW + 150).await.unwrap(), None);
    assert_eq!(ams::take_turn(db, one, NOW + 50, NOW + 150).await.unwrap(), Some(start));
    stores
        .tracking
        .record(vec![hit(recipient, EventType::Opened, 0, Verdict::Human)])
        .await
        .unwrap();
    let next = events(&stores, &opens(), 2).await[1].sequence;
    let (page, known) = ams::page(db, &opens(), start, 10).await.unwrap();
    assert_eq!((page.len(), page[0].sequence), (1, next));
    assert!(known >= next);
    let (page, known) = ams::page(db, &opens(), start, 1).await.unwrap();
    assert_eq!((page.len(), known), (1, next), "a full page says nothing of what is behind it");
    ams::advance(db, other, next, &[], NOW).await.unwrap();
    ams::advance(db, one, next, &[], NOW).await.unwrap();
    ams::advance(db, one, start, &[], NOW).await.unwrap();
    // It is late; its turn is over. A dead one's is over at once.
    assert_eq!(ams::take_turn(db, other, NOW + 151, NOW + 300).await.unwrap(), Some(next));
    stores.queue.reap(NOW + 1, NOW + 160).await.unwrap();
    assert_eq!(ams::take_turn(db, one, NOW + 161, NOW + 300).await.unwrap(), Some(next));
}

async fn what_ams_refuses_is_kept(stores: Stores) {
    let db = &*stores.db;
    let node = Uuid::now_v7();
    ams::take_turn(db, node, NOW, NOW + 100).await.unwrap();
    let (_, recipient) = accepted(&stores).await;
    let hits = (0..3).map(|_| hit(recipient, EventType::Opened, 0, Verdict::Human)).collect();
    stores.tracking.record(hits).await.unwrap();
    let rows = events(&stores, &opens(), 3).await;
    let sequences: Vec<_> = rows.iter().map(|row| row.sequence).collect();
    let parked = |sequences: &[i64], due_ms| Parked {
        campaign_id: "77".to_owned(),
        sequences: sequences.to_vec(),
        due_ms,
        problem: "no such mailing".to_owned(),
    };
    let first = parked(&sequences[..2], NOW + 60);
    ams::advance(db, node, sequences[1], std::slice::from_ref(&first), NOW).await.unwrap();
    // Told again after a crash: nothing is there twice, and the time stays.
    let later = parked(&sequences, NOW + 900);
    ams::advance(db, node, sequences[2], &[first, later], NOW + 10).await.unwrap();
    let waiting = ams::waiting(db).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].due_ms, waiting[0].since_ms, waiting[0].tries), (NOW + 60, NOW, 1));
    let kept = ams::parked(db, "77", 10).await.unwrap();
    assert_eq!(kept.iter().map(|row| row.sequence).collect::<Vec<_>>(), sequences);
    assert_eq!(kept[0].recipient, "Ann@example.net");
    ams::postpone(db, "77", NOW + 120, "still none").await.unwrap();
    let waiting = ams::waiting(db).await.unwrap().remove(0);
    assert_eq!((waiting.tries, waiting.problem.as_str()), (2, "still none"));
    ams::unpark(db, "77", sequences[1], NOW + 130).await.unwrap();
    let waiting = ams::waiting(db).await.unwrap().remove(0);
    assert_eq!((waiting.tries, waiting.due_ms), (0, NOW + 130));
    ams::unpark(db, "77", sequences[2], NOW + 130).await.unwrap();
    assert!(ams::waiting(db).await.unwrap().is_empty());
    assert!(ams::parked(db, "77", 10).await.unwrap().is_empty());
}
