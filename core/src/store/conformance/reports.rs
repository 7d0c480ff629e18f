//! Mail that another system took over: its reports find it, count once, and change nothing that is over.

use std::sync::Arc;

use postern_proto::ids::{MessageId, RecipientId, SuppressionId};
use uuid::Uuid;

use super::build::{NOW, accept, begun, events, finish, message, new, node, state};
use super::promises;
use crate::model::delivery::{Category, Phase, Reply, State, Ticket};
use crate::model::directory::{Suppression, SuppressionReason};
use crate::model::event::{EventFilter, EventType};
use crate::store::directory::{self, SuppressionFilter};
use crate::store::handovers::{self, KeptFrom, Orphan};
use crate::store::queue::{Begun, Finish, NewHandOver};
use crate::store::reports::{News, Report, Reported, Subject};
use crate::store::{Stores, bounce_patterns, messages};

promises![
    a_report_finds_its_mail_and_counts_once,
    the_id_alone_is_not_enough,
    a_mail_of_unknown_fate_is_found_by_its_message_id,
    a_report_during_a_repeated_attempt_ends_it,
    nothing_reported_moves_what_is_over,
    a_bounce_message_is_heard_after_delivery_and_changes_no_state,
    reports_at_the_same_time_count_once,
    early_reports_are_kept_until_their_mail_is_known,
    silent_mail_is_named_once_per_interval,
    old_things_are_forgotten_and_open_mail_is_not,
    what_is_handed_over_is_not_claimed_nor_canceled,
    a_dead_address_is_suppressed_with_its_bounce,
    a_postponed_delivery_waits_without_an_attempt,
    bounce_patterns_are_exchanged_as_a_whole_and_in_order,
];

fn ticket(id: i64) -> Ticket {
    Ticket { id, token: format!("token{id}") }
}

fn subject(message: MessageId, id: i64) -> Subject {
    Subject {
        ticket: ticket(id),
        rfc_message_id: format!("{message}@example.com"),
        email: "ann@example.net".to_owned(),
    }
}

fn report(key: &str, subject: Subject, event: EventType, state: Option<State>) -> Report {
    let phase = Phase::Data.name().to_owned();
    let reply = Reply { code: 250, text: "said".to_owned(), phase, ..Reply::default() };
    let reply = Some(reply);
    let news = News { event, state, reason: "", reply, suppress: None };
    Report { key: key.to_owned(), subject, news, create_ms: NOW + 9, ask_ms: NOW + 5000 }
}

fn delivered(key: &str, subject: Subject) -> Report {
    report(key, subject, EventType::Delivered, Some(State::Delivered))
}

/// The end of an attempt to hand a mail over; without a ticket its outcome is unknown.
fn handed(message: MessageId, begun: Begun, ticket: Option<Ticket>) -> Finish {
    let (state, kind) = match ticket {
        Some(_) => (State::Sent, EventType::Sent),
        None => (State::Deferred, EventType::Deferred),
    };
    let hand_over = NewHandOver {
        ask_ms: ticket.as_ref().map(|_| NOW + 1000),
        ticket,
        rfc_message_id: format!("{message}@example.com"),
        email: "ann@example.net".to_owned(),
    };
    Finish { hand_over: Some(hand_over), ..finish(message, begun, state, kind) }
}

/// A mail that was handed over; returns the node, too.
async fn sent(stores: &Stores, id: i64) -> (MessageId, RecipientId, Uuid) {
    let node = node(stores).await;
    let (message, begun) = begun(stores, node).await;
    let finish = handed(message, begun, Some(ticket(id)));
    assert_eq!(stores.queue.finish(node, &[finish], NOW).await.unwrap(), [true]);
    (message, begun.id, node)
}

fn of(kind: EventType) -> EventFilter {
    EventFilter { kinds: vec![kind], ..EventFilter::default() }
}

async fn a_report_finds_its_mail_and_counts_once(stores: Stores) {
    let (message, recipient, _) = sent(&stores, 1).await;
    assert_eq!(state(&stores, message).await, State::Sent);
    let report = delivered("one", subject(message, 1));
    assert_eq!(stores.reports.report(report.clone()).await.unwrap(), Reported::Applied);
    assert_eq!(stores.reports.report(report).await.unwrap(), Reported::Repeated);
    assert_eq!(state(&stores, message).await, State::Delivered);
    let rows = events(&stores, &of(EventType::Delivered), 1).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].event.delivery_id, rows[0].event.attempt), (recipient, 1));
    assert_eq!(rows[0].event.campaign_id, "spring");
    let (_, recipients) = messages::message(&*stores.db, message).await.unwrap().unwrap();
    assert_eq!(recipients[0].reply.as_ref().unwrap().text, "said");
}

async fn the_id_alone_is_not_enough(stores: Stores) {
    let (message, ..) = sent(&stores, 1).await;
    let other_token = Ticket { id: 1, token: "other".to_owned() };
    let other_id = Ticket { id: 2, token: "token1".to_owned() };
    for ticket in [other_token, other_id] {
        let subject = Subject { ticket, ..subject(message, 1) };
        let answer = stores.reports.report(delivered("k", subject)).await.unwrap();
        assert_eq!(answer, Reported::Unknown, "also with the right Message-ID");
    }
    assert_eq!(state(&stores, message).await, State::Sent);
    let found = handovers::delivery(&*stores.db, &ticket(2)).await.unwrap();
    assert_eq!(found, None);
}

async fn a_mail_of_unknown_fate_is_found_by_its_message_id(stores: Stores) {
    let node = node(&stores).await;
    let (message, begun) = begun(&stores, node).await;
    stores.queue.finish(node, &[handed(message, begun, None)], NOW).await.unwrap();
    let stranger = Subject { email: "bob@example.net".to_owned(), ..subject(message, 7) };
    let nameless = Subject { rfc_message_id: String::new(), ..subject(message, 7) };
    for subject in [stranger, nameless] {
        let answer = stores.reports.report(delivered("k", subject)).await.unwrap();
        assert_eq!(answer, Reported::Unknown);
    }
    let delayed = report("one", subject(message, 7), EventType::Deferred, Some(State::Sent));
    assert_eq!(stores.reports.report(delayed).await.unwrap(), Reported::Applied);
    assert_eq!(state(&stores, message).await, State::Sent, "it was taken: no second attempt");
    assert!(stores.queue.claim(node, NOW + 900_000, 10).await.unwrap().is_empty());
    // From now on it goes by the ticket that came with the report.
    assert_eq!(handovers::delivery(&*stores.db, &ticket(7)).await.unwrap(), Some(begun.id));
    let nameless = Subject { rfc_message_id: String::new(), ..subject(message, 7) };
    let answer = stores.reports.report(delivered("two", nameless)).await.unwrap();
    assert_eq!(answer, Reported::Applied);
    assert_eq!(state(&stores, message).await, State::Delivered);
}

async fn a_report_during_a_repeated_attempt_ends_it(stores: Stores) {
    let node = node(&stores).await;
    let (message, first) = begun(&stores, node).await;
    stores.queue.finish(node, &[handed(message, first, None)], NOW).await.unwrap();
    let claimed = stores.queue.claim(node, NOW + 60_000, 10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let second = stores.queue.begin(node, &[first.id], NOW + 60_000).await.unwrap()[0];
    let answer = stores.reports.report(delivered("k", subject(message, 3))).await.unwrap();
    assert_eq!(answer, Reported::Applied);
    let late = handed(message, second, Some(ticket(4)));
    assert_eq!(stores.queue.finish(node, &[late], NOW).await.unwrap(), [false]);
    assert_eq!(state(&stores, message).await, State::Delivered);
}

async fn nothing_reported_moves_what_is_over(stores: Stores) {
    let (message, ..) = sent(&stores, 1).await;
    let bounced = report("b", subject(message, 1), EventType::Bounced, Some(State::Bounced));
    assert_eq!(stores.reports.report(bounced).await.unwrap(), Reported::Applied);
    for (key, event, to) in [
        ("1", EventType::Delivered, State::Delivered),
        ("2", EventType::Deferred, State::Sent),
        ("3", EventType::Failed, State::Failed),
    ] {
        let report = report(key, subject(message, 1), event, Some(to));
        assert_eq!(stores.reports.report(report.clone()).await.unwrap(), Reported::Late);
        assert_eq!(stores.reports.report(report).await.unwrap(), Reported::Repeated);
    }
    assert_eq!(state(&stores, message).await, State::Bounced);
    let filter = EventFilter { message_id: Some(message), ..EventFilter::default() };
    let kinds: Vec<_> =
        events(&stores, &filter, 3).await.iter().map(|row| row.event.kind).collect();
    assert_eq!(kinds, [EventType::Accepted, EventType::Sent, EventType::Bounced]);
}

async fn a_bounce_message_is_heard_after_delivery_and_changes_no_state(stores: Stores) {
    let (message, ..) = sent(&stores, 1).await;
    stores.reports.report(delivered("d", subject(message, 1))).await.unwrap();
    let mut bounce = report("b", subject(message, 1), EventType::Bounced, Some(State::Bounced));
    bounce.news.suppress = Some(SuppressionReason::HardBounce);
    if let Some(reply) = &mut bounce.news.reply {
        reply.phase = Phase::OutOfBand.name().to_owned();
    }
    assert_eq!(stores.reports.report(bounce).await.unwrap(), Reported::Applied);
    assert_eq!(state(&stores, message).await, State::Delivered);
    assert_eq!(events(&stores, &of(EventType::Bounced), 1).await.len(), 1);
    assert_eq!(suppressed(&stores).await, ["ann@example.net"]);
}

async fn suppressed(stores: &Stores) -> Vec<String> {
    let filter = SuppressionFilter::default();
    let found = directory::suppressions(&*stores.db, &filter, 10).await.unwrap();
    found.into_iter().map(|entry| entry.email).collect()
}

async fn reports_at_the_same_time_count_once(stores: Stores) {
    let (message, ..) = sent(&stores, 1).await;
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let reports = Arc::clone(&stores.reports);
            // Eight say the same twice each.
            let report = delivered(&format!("k{}", n % 8), subject(message, 1));
            tokio::spawn(async move { reports.report(report).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    let count = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
    assert_eq!(
        (count(Reported::Applied), count(Reported::Late), count(Reported::Repeated)),
        (1, 7, 8)
    );
    assert_eq!(events(&stores, &of(EventType::Delivered), 1).await.len(), 1);
}

async fn early_reports_are_kept_until_their_mail_is_known(stores: Stores) {
    let db = &*stores.db;
    let node = node(&stores).await;
    let (message, begun) = begun(&stores, node).await;
    let orphan =
        |key: &str, subject| Orphan { key: key.to_owned(), subject, body: "{}".to_owned() };
    let early = orphan("early", subject(message, 1));
    for at in [NOW, NOW + 1] {
        assert!(handovers::keep_orphan(db, &early, at).await.unwrap());
    }
    let foreign = orphan("foreign", subject(MessageId::generate(), 2));
    assert!(handovers::keep_orphan(db, &foreign, NOW).await.unwrap());
    assert!(handovers::found_orphans(db, 10).await.unwrap().is_empty());
    // Found by Message-ID while the fate is unknown, and by the ticket once it is.
    stores.queue.finish(node, &[handed(message, begun, None)], NOW).await.unwrap();
    let found = handovers::found_orphans(db, 10).await.unwrap();
    assert_eq!(found, [("early".to_owned(), "{}".to_owned())]);
    handovers::drop_orphan(db, "early").await.unwrap();
    assert!(handovers::found_orphans(db, 10).await.unwrap().is_empty());
    let (other, ..) = sent(&stores, 5).await;
    let late = Subject { rfc_message_id: String::new(), ..subject(other, 5) };
    handovers::keep_orphan(db, &orphan("late", late), NOW).await.unwrap();
    assert_eq!(handovers::found_orphans(db, 10).await.unwrap().len(), 1);
}

async fn silent_mail_is_named_once_per_interval(stores: Stores) {
    let db = &*stores.db;
    let (first, ..) = sent(&stores, 1).await;
    let (second, ..) = sent(&stores, 2).await;
    stores.reports.report(delivered("d", subject(second, 2))).await.unwrap();
    let ask = |now_ms| handovers::silent(db, now_ms, now_ms + 500, 10);
    assert!(ask(NOW + 999).await.unwrap().is_empty());
    let silent = ask(NOW + 1000).await.unwrap();
    assert_eq!(silent.len(), 1, "what has ended is not asked about");
    assert_eq!((&silent[0].subject, silent[0].create_ms), (&subject(first, 1), NOW + 1));
    assert!(ask(NOW + 1000).await.unwrap().is_empty());
    assert_eq!(ask(NOW + 1500).await.unwrap().len(), 1);
}

async fn old_things_are_forgotten_and_open_mail_is_not(stores: Stores) {
    let db = &*stores.db;
    let (open, ..) = sent(&stores, 1).await;
    let (ended, ..) = sent(&stores, 2).await;
    stores.reports.report(delivered("d", subject(ended, 2))).await.unwrap();
    let orphan = Orphan {
        key: "o".to_owned(),
        subject: subject(MessageId::generate(), 9),
        body: "{}".to_owned(),
    };
    handovers::keep_orphan(db, &orphan, NOW).await.unwrap();
    let kept = |at| KeptFrom { reports_ms: at, orphans_ms: at };
    assert_eq!(handovers::forget(db, kept(NOW)).await.unwrap(), 0);
    let again = stores.reports.report(delivered("d", subject(ended, 2))).await.unwrap();
    assert_eq!(again, Reported::Repeated, "nothing was old");
    assert_eq!(handovers::forget(db, kept(NOW + 100)).await.unwrap(), 1);
    assert_eq!(handovers::delivery(db, &ticket(2)).await.unwrap(), None);
    let answer = stores.reports.report(delivered("late", subject(open, 1))).await.unwrap();
    assert_eq!(answer, Reported::Applied);
}

async fn what_is_handed_over_is_not_claimed_nor_canceled(stores: Stores) {
    let (message, _, node) = sent(&stores, 1).await;
    assert!(stores.queue.claim(node, NOW + 900_000, 10).await.unwrap().is_empty());
    assert_eq!(stores.queue.cancel(message, NOW).await.unwrap(), 0);
    assert_eq!(stores.queue.reap(NOW + 1, NOW).await.unwrap(), 0);
    assert_eq!(state(&stores, message).await, State::Sent);
    // Its content is at the other system now.
    assert_eq!(stores.queue.purge(NOW + 1, NOW).await.unwrap(), 1);
}

async fn a_dead_address_is_suppressed_with_its_bounce(stores: Stores) {
    let node = node(&stores).await;
    let (message_id, begun) = begun(&stores, node).await;
    let entry = || Suppression {
        id: SuppressionId::generate(),
        email: "ann@example.net".to_owned(),
        reason: SuppressionReason::HardBounce,
        campaign_id: String::new(),
        note: String::new(),
        create_ms: NOW,
    };
    let bounced = || Finish {
        suppress: Some(entry()),
        ..finish(message_id, begun, State::Bounced, EventType::Bounced)
    };
    assert_eq!(stores.queue.finish(node, &[bounced()], NOW).await.unwrap(), [true]);
    assert_eq!(suppressed(&stores).await, ["ann@example.net"]);
    let next = new(accept(&stores, message(&["Ann@example.net"]), None).await);
    assert_eq!(next.recipients[0].state, State::Suppressed as u32);
    // Neither a result without a lease nor a second one adds anything.
    let filter = SuppressionFilter::default();
    let entries = directory::suppressions(&*stores.db, &filter, 10).await.unwrap();
    directory::delete_suppression(&*stores.db, entries[0].id).await.unwrap();
    assert_eq!(stores.queue.finish(node, &[bounced()], NOW).await.unwrap(), [false]);
    assert!(suppressed(&stores).await.is_empty());
}

async fn a_postponed_delivery_waits_without_an_attempt(stores: Stores) {
    let (node, other) = (node(&stores).await, node(&stores).await);
    let asked = message(&["ann@example.net"]);
    let (id, recipient) = (asked.row.id, asked.recipients[0].id);
    accept(&stores, asked, Some(node)).await;
    stores.queue.postpone(other, &[(recipient, NOW + 9)]).await.unwrap();
    assert!(stores.queue.claim(other, NOW, 10).await.unwrap().is_empty(), "it was not the owner");
    stores.queue.postpone(node, &[(recipient, NOW + 5000)]).await.unwrap();
    assert!(stores.queue.claim(other, NOW + 4999, 10).await.unwrap().is_empty());
    let claimed = stores.queue.claim(other, NOW + 5000, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].attempts), (1, 0));
    assert_eq!(state(&stores, id).await, State::Queued);
    // What has begun is not postponed.
    stores.queue.begin(other, &[recipient], NOW).await.unwrap();
    stores.queue.postpone(other, &[(recipient, NOW)]).await.unwrap();
    assert_eq!(state(&stores, id).await, State::Sending);
    assert!(stores.queue.claim(node, NOW + 5000, 10).await.unwrap().is_empty());
}

async fn bounce_patterns_are_exchanged_as_a_whole_and_in_order(stores: Stores) {
    let db = &*stores.db;
    let of = |list: &[(Category, &str)]| -> Vec<(Category, String)> {
        list.iter().map(|(category, phrase)| (*category, (*phrase).to_owned())).collect()
    };
    let first = of(&[
        (Category::UnknownUser, "unbekannt"),
        (Category::SpamContent, "a b"),
        (Category::Other, "a"),
    ]);
    let before = directory::version(db).await.unwrap();
    bounce_patterns::replace(db, &first).await.unwrap();
    assert_eq!(bounce_patterns::list(db).await.unwrap(), first);
    assert_ne!(directory::version(db).await.unwrap(), before, "other nodes notice it");
    let second = of(&[(Category::Policy, "z")]);
    bounce_patterns::replace(db, &second).await.unwrap();
    assert_eq!(bounce_patterns::list(db).await.unwrap(), second);
    bounce_patterns::replace(db, &[]).await.unwrap();
    assert!(bounce_patterns::list(db).await.unwrap().is_empty());
}
