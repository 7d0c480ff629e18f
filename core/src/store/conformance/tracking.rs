//! What recipients do: counted once, first or repeated, human or bot; unsubscribing and back.

use std::sync::Arc;

use postern_proto::ids::{EventId, HitId, RecipientId, SuppressionId};
use postern_proto::v1::Verdict;

use super::build::{NOW, accept, events, message, new, node};
use super::promises;
use crate::model::delivery::State;
use crate::model::directory::{Suppression, SuppressionReason};
use crate::model::event::{Counter, Engagement, EventFilter, EventType, NewEvent};
use crate::model::message::NewMessage;
use crate::store::addressees::{self, Claim, LegacyLink};
use crate::store::tracking::{NewHit, Recorded, Wish};
use crate::store::{Stores, directory, ledger};

promises![
    a_hit_that_is_reported_twice_counts_once,
    the_first_hit_of_a_link_is_told_from_repeated_ones,
    of_many_at_once_one_is_the_first,
    a_bot_takes_no_place_of_a_person,
    an_unsubscription_is_made_once_and_holds,
    resubscribing_takes_back_only_what_the_recipient_said,
    recipients_are_found_by_what_old_links_say,
    old_links_are_imported_once,
    hits_are_forgotten_by_age,
];

pub(super) fn hit(delivery: RecipientId, kind: EventType, link: i64, verdict: Verdict) -> NewHit {
    NewHit {
        id: HitId::generate(),
        delivery,
        kind,
        link,
        create_ms: NOW + 5,
        engagement: Engagement {
            verdict: verdict.into(),
            reasons: vec!["because".to_owned()],
            url: "https://a.example/".to_owned(),
            client_ip: "192.0.2.1".to_owned(),
            user_agent: "reader".to_owned(),
            ..Engagement::default()
        },
    }
}

fn click(delivery: RecipientId, link: i64) -> NewHit {
    hit(delivery, EventType::Clicked, link, Verdict::Human)
}

pub(super) async fn accepted(stores: &Stores) -> (NewMessage, RecipientId) {
    let message = message(&["Ann@example.net"]);
    let recipient = message.recipients[0].id;
    new(accept(stores, message.clone(), None).await);
    (message, recipient)
}

fn of(kinds: &[EventType]) -> EventFilter {
    EventFilter { kinds: kinds.to_vec(), ..EventFilter::default() }
}

async fn counted(stores: &Stores, counter: Counter) -> i64 {
    let counts = ledger::stats(&*stores.db, NOW, NOW + 10, "spring").await.unwrap();
    counts.iter().filter(|count| count.counter == counter).map(|count| count.count).sum()
}

async fn a_hit_that_is_reported_twice_counts_once(stores: Stores) {
    let (sent, recipient) = accepted(&stores).await;
    let open = hit(recipient, EventType::Opened, 0, Verdict::Human);
    let stranger = hit(RecipientId::generate(), EventType::Opened, 0, Verdict::Human);
    let batch = vec![open.clone(), stranger, open.clone()];
    let first = stores.tracking.record(batch.clone()).await.unwrap();
    assert_eq!(first, Recorded { new: 1, repeated: 1, unknown: 1 });
    let again = stores.tracking.record(batch).await.unwrap();
    assert_eq!(again, Recorded { new: 0, repeated: 2, unknown: 1 });
    let rows = events(&stores, &of(&[EventType::Opened]), 1).await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(row.event.id, EventId::from_uuid(open.id.uuid()));
    assert_eq!((row.event.message_id, row.event.delivery_id), (sent.row.id, recipient));
    assert_eq!((row.event.create_ms, row.event.campaign_id.as_str()), (NOW + 5, "spring"));
    let expected = Engagement { first: true, ..open.engagement };
    assert_eq!(row.engagement.as_ref(), Some(&expected));
    assert_eq!(row.recipient, "Ann@example.net");
    assert_eq!(counted(&stores, Counter::Events(EventType::Opened)).await, 1);
    assert_eq!(counted(&stores, Counter::UniqueOpens).await, 1);
}

async fn the_first_hit_of_a_link_is_told_from_repeated_ones(stores: Stores) {
    let (_, recipient) = accepted(&stores).await;
    let early = NewHit { create_ms: NOW + 1, ..click(recipient, 0) };
    let batch = vec![click(recipient, 0), early.clone(), click(recipient, 1)];
    stores.tracking.record(batch).await.unwrap();
    stores.tracking.record(vec![click(recipient, 1)]).await.unwrap();
    let rows = events(&stores, &of(&[EventType::Clicked]), 4).await;
    let firsts: Vec<_> = rows.iter().map(|row| row.engagement.as_ref().unwrap().first).collect();
    assert_eq!(firsts, [true, false, true, false]);
    assert_eq!(rows[0].event.id.uuid(), early.id.uuid(), "the earliest takes the place");
    assert_eq!(counted(&stores, Counter::Events(EventType::Clicked)).await, 4);
    assert_eq!(counted(&stores, Counter::UniqueClicks).await, 1, "one recipient clicked");
}

async fn of_many_at_once_one_is_the_first(stores: Stores) {
    let (_, recipient) = accepted(&stores).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let tracking = Arc::clone(&stores.tracking);
            let hits: Vec<_> = (0..3).map(|link| click(recipient, link)).collect();
            tokio::spawn(async move { tracking.record(hits).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().new, 3);
    }
    let rows = events(&stores, &of(&[EventType::Clicked]), 24).await;
    let firsts = rows.iter().filter(|row| row.engagement.as_ref().unwrap().first).count();
    assert_eq!((rows.len(), firsts), (24, 3));
    assert_eq!(counted(&stores, Counter::UniqueClicks).await, 1);
}

async fn a_bot_takes_no_place_of_a_person(stores: Stores) {
    let (_, recipient) = accepted(&stores).await;
    for verdict in [Verdict::Bot, Verdict::Bot, Verdict::Unknown, Verdict::Human] {
        let hits = vec![hit(recipient, EventType::Opened, 0, verdict)];
        stores.tracking.record(hits).await.unwrap();
    }
    let rows = events(&stores, &of(&[EventType::Opened]), 4).await;
    let firsts: Vec<_> = rows.iter().map(|row| row.engagement.as_ref().unwrap().first).collect();
    assert_eq!(firsts, [true, false, true, false]);
    assert_eq!(counted(&stores, Counter::Events(EventType::Opened)).await, 4);
    assert_eq!(counted(&stores, Counter::BotOpens).await, 2);
    assert_eq!(counted(&stores, Counter::UniqueOpens).await, 1);
}

fn suppression(campaign: &str, reason: SuppressionReason) -> Suppression {
    Suppression {
        id: SuppressionId::generate(),
        email: "ann@example.net".to_owned(),
        reason,
        campaign_id: campaign.to_owned(),
        note: String::new(),
        create_ms: NOW,
    }
}

fn event(sent: &NewMessage, kind: EventType) -> Option<(NewEvent, Engagement)> {
    let event = NewEvent {
        id: EventId::generate(),
        kind,
        create_ms: NOW,
        message_id: sent.row.id,
        delivery_id: sent.recipients[0].id,
        campaign_id: "spring".to_owned(),
        attempt: 0,
        reason: String::new(),
        reply: None,
        possible_duplicate: false,
        next_ms: None,
    };
    Some((event, Engagement { source: "page".to_owned(), ..Engagement::default() }))
}

async fn an_unsubscription_is_made_once_and_holds(stores: Stores) {
    let (sent, _) = accepted(&stores).await;
    let wish = || Wish {
        add: vec![suppression("spring", SuppressionReason::Unsubscribe)],
        remove: Vec::new(),
        event: event(&sent, EventType::Unsubscribed),
    };
    assert!(stores.tracking.wish(wish()).await.unwrap());
    assert!(!stores.tracking.wish(wish()).await.unwrap());
    let rows = events(&stores, &of(&[EventType::Unsubscribed]), 1).await;
    assert_eq!(rows.len(), 1, "a repetition makes no event");
    assert_eq!(rows[0].engagement.as_ref().unwrap().source, "page");
    assert_eq!(counted(&stores, Counter::Events(EventType::Unsubscribed)).await, 1);
    let of_ann = |campaign| addressees::unsubscribed(&*stores.db, "ann@example.net", campaign);
    assert_eq!(of_ann("spring").await.unwrap(), (false, true));
    assert_eq!(of_ann("autumn").await.unwrap(), (false, false));
    // What was accepted before is not sent, and what comes is not accepted for sending.
    let claimed = stores.queue.claim(node(&stores).await, NOW, 10).await.unwrap();
    assert_eq!(claimed[0].suppressed, Some(SuppressionReason::Unsubscribe));
    let next = new(accept(&stores, message(&["ann@example.net"]), None).await);
    assert_eq!(next.recipients[0].state, State::Suppressed as u32);
    let mut other = message(&["ann@example.net"]);
    other.row.campaign_id = "autumn".to_owned();
    let other = new(accept(&stores, other, None).await);
    assert_eq!(other.recipients[0].state, State::Queued as u32);
    // What tidies up leaves it alone, however old it is.
    let later = NOW + 100 * 365 * 24 * 3_600_000;
    stores.queue.purge(later, later).await.unwrap();
    addressees::forget_hits(&*stores.db, later).await.unwrap();
    assert_eq!(of_ann("spring").await.unwrap(), (false, true));
}

async fn resubscribing_takes_back_only_what_the_recipient_said(stores: Stores) {
    let (sent, _) = accepted(&stores).await;
    let bounced = suppression("", SuppressionReason::HardBounce);
    directory::create_suppression(&*stores.db, &bounced).await.unwrap();
    let add = vec![suppression("spring", SuppressionReason::Unsubscribe)];
    let wish = Wish { add, remove: Vec::new(), event: None };
    assert!(stores.tracking.wish(wish).await.unwrap());
    let back = || Wish {
        add: Vec::new(),
        remove: ["", "spring"].map(|one| ("ann@example.net".to_owned(), one.to_owned())).to_vec(),
        event: event(&sent, EventType::Resubscribed),
    };
    assert!(stores.tracking.wish(back()).await.unwrap());
    assert!(!stores.tracking.wish(back()).await.unwrap());
    let filter = directory::SuppressionFilter::default();
    let left = directory::suppressions(&*stores.db, &filter, 10).await.unwrap();
    assert_eq!(left, [bounced]);
    assert_eq!(events(&stores, &of(&[EventType::Resubscribed]), 1).await.len(), 1);
}

async fn recipients_are_found_by_what_old_links_say(stores: Stores) {
    let db = &*stores.db;
    let (older, _) = accepted(&stores).await;
    let (newer, recipient) = accepted(&stores).await;
    let found = addressees::by_id(db, recipient).await.unwrap().unwrap();
    assert_eq!((found.message, found.email.as_str()), (newer.row.id, "Ann@example.net"));
    assert_eq!((found.campaign_id.as_str(), found.content_id), ("spring", newer.row.content_id));
    assert_eq!(addressees::by_id(db, RecipientId::generate()).await.unwrap(), None);
    let claim = |email: &str, campaign: &str, message: &str| Claim {
        email: email.to_owned(),
        campaign_id: campaign.to_owned(),
        message_id: message.to_owned(),
    };
    let rfc_id = format!("<{}>", older.row.rfc_message_id);
    for (campaign, id, expected) in [
        ("spring", "", Some(newer.row.id)),
        ("", "order-1", Some(newer.row.id)),
        ("spring", older.row.id.to_string().as_str(), Some(older.row.id)),
        ("spring", rfc_id.as_str(), Some(older.row.id)),
        ("autumn", "order-1", None),
        ("spring", "order-2", None),
    ] {
        let found = addressees::newest(db, &claim("Ann@example.net", campaign, id)).await.unwrap();
        assert_eq!(found.map(|found| found.message), expected, "{campaign} {id}");
    }
    let stranger = addressees::newest(db, &claim("bob@example.net", "spring", "")).await.unwrap();
    assert_eq!(stranger, None);
}

async fn old_links_are_imported_once(stores: Stores) {
    let db = &*stores.db;
    let claim = Claim {
        email: "ann@example.net".to_owned(),
        campaign_id: "77".to_owned(),
        message_id: "order-9".to_owned(),
    };
    let link = |token: &str, url: &str| LegacyLink {
        token: token.to_owned(),
        url: url.to_owned(),
        claim: claim.clone(),
    };
    let links = [link("abcdefghijklmnop-rest", "https://a.example/"), link("abcdefghijklmnop", "")];
    assert_eq!(addressees::import(db, &links).await.unwrap(), 2);
    let other = [link("abcdefghijklmnop", "https://b.example/"), link("short", "")];
    assert_eq!(addressees::import(db, &other).await.unwrap(), 1);
    let whole = addressees::links_by_token(db, "abcdefghijklmnop").await.unwrap();
    assert_eq!(whole, [links[1].clone()], "a whole token comes before the beginning of one");
    let found = addressees::links_by_token(db, &links[0].token).await.unwrap();
    assert_eq!(found, links[..1]);
    assert!(addressees::links_by_token(db, "abcdefghijklmno").await.unwrap().is_empty());
    assert_eq!(addressees::links_of(db, &claim).await.unwrap().len(), 3);
    let elsewhere = Claim { campaign_id: "78".to_owned(), ..claim };
    assert!(addressees::links_of(db, &elsewhere).await.unwrap().is_empty());
}

async fn hits_are_forgotten_by_age(stores: Stores) {
    let (_, recipient) = accepted(&stores).await;
    let hits = vec![click(recipient, 0)];
    stores.tracking.record(hits.clone()).await.unwrap();
    let made_ms = (hits[0].id.uuid().as_u128() >> 80) as i64;
    addressees::forget_hits(&*stores.db, made_ms - 2000).await.unwrap();
    assert_eq!(stores.tracking.record(hits.clone()).await.unwrap().repeated, 1);
    addressees::forget_hits(&*stores.db, made_ms + 2000).await.unwrap();
    assert_eq!(stores.tracking.record(hits).await.unwrap().new, 1);
}
