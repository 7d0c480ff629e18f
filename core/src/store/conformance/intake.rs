//! Acceptance: all or nothing, once per idempotency key, never to the suppressed.

use futures_util::future::join_all;

use super::build::{NOW, accept, events, keyed, message, new, node, state, submission, suppress};
use super::promises;
use crate::model::delivery::State;
use crate::model::event::{EventFilter, EventType};
use crate::model::message::{Accepted, Receipt};
use crate::store::group::{Group, GroupLimits};
use crate::store::messages::{self, MessageFilter};
use crate::store::{Error, Stores};

promises![
    what_is_accepted_is_read_back,
    the_same_key_gives_the_same_answer,
    a_key_is_for_one_request,
    a_key_counts_within_one_group,
    an_expired_key_is_forgotten,
    concurrent_requests_with_one_key_store_one_message,
    suppressed_recipients_are_not_queued,
    scheduled_messages_wait,
    a_long_list_is_stored_whole,
    a_poisoned_submission_fails_alone,
];

async fn what_is_accepted_is_read_back(stores: Stores) {
    let asked = message(&["ann@example.net", "bob@example.net"]);
    let row = asked.row.clone();
    let receipt = new(accept(&stores, asked, None).await);
    assert_eq!(receipt.recipients.len(), 2);
    let (stored, recipients) = messages::message(&*stores.db, row.id).await.unwrap().unwrap();
    assert_eq!(stored, row);
    let emails: Vec<_> = recipients.iter().map(|r| r.mailbox.email.as_str()).collect();
    assert_eq!(emails, ["ann@example.net", "bob@example.net"]);
    assert_eq!(stores.queue.content(row.content_id).await.unwrap().unwrap(), "content");
    let filters = [
        MessageFilter { recipient: "bob@example.net".to_owned(), ..Default::default() },
        MessageFilter { tag: "новый".to_owned(), ..Default::default() },
        MessageFilter { campaign_id: "spring".to_owned(), ..Default::default() },
        MessageFilter { external_id: "order-1".to_owned(), ..Default::default() },
        MessageFilter { state: Some(State::Queued), since_ms: Some(NOW), ..Default::default() },
    ];
    for filter in filters {
        let found = messages::list(&*stores.db, &filter, None, 10).await.unwrap().0;
        assert_eq!(found.len(), 1, "{filter:?}");
    }
    let other = MessageFilter { recipient: "eve@example.net".to_owned(), ..Default::default() };
    assert!(messages::list(&*stores.db, &other, None, 10).await.unwrap().0.is_empty());
    assert!(
        messages::list(&*stores.db, &Default::default(), Some(row.id), 10)
            .await
            .unwrap()
            .0
            .is_empty()
    );
}

/// The answer under a key of [`keyed`], given again.
fn replayed(receipt: Receipt) -> Accepted {
    Accepted::Replayed { receipt, expire_ms: NOW + 60_000 }
}

async fn the_same_key_gives_the_same_answer(stores: Stores) {
    let first = new(accept(&stores, keyed("k", 1), None).await);
    let second = accept(&stores, keyed("k", 1), None).await;
    assert_eq!(second, replayed(first));
    assert_eq!(
        messages::list(&*stores.db, &Default::default(), None, 10).await.unwrap().0.len(),
        1
    );
}

async fn a_key_is_for_one_request(stores: Stores) {
    new(accept(&stores, keyed("k", 1), None).await);
    assert_eq!(accept(&stores, keyed("k", 2), None).await, Accepted::KeyReused);
}

async fn a_key_counts_within_one_group(stores: Stores) {
    let group = vec![submission(keyed("k", 1), None), submission(keyed("k", 1), None)];
    let answers = stores.intake.accept(group.into(), NOW).await.unwrap();
    let first = new(answers[0][0].clone());
    assert_eq!(answers[1][0], replayed(first));
    assert_eq!(
        messages::list(&*stores.db, &Default::default(), None, 10).await.unwrap().0.len(),
        1
    );
}

async fn an_expired_key_is_forgotten(stores: Stores) {
    new(accept(&stores, keyed("k", 1), None).await);
    let again = vec![submission(keyed("k", 2), None)];
    let later = stores.intake.accept(again.into(), NOW + 120_000).await.unwrap();
    new(later[0][0].clone());
    stores.queue.purge(NOW, NOW + 120_000).await.unwrap();
}

async fn concurrent_requests_with_one_key_store_one_message(stores: Stores) {
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let stores = stores.clone();
            tokio::spawn(async move { accept(&stores, keyed("k", 1), None).await })
        })
        .collect();
    let mut stored = 0;
    for task in tasks {
        match task.await.unwrap() {
            Accepted::New(_) => stored += 1,
            Accepted::Replayed { .. } => {}
            Accepted::KeyReused => panic!("the requests were the same"),
        }
    }
    assert_eq!(stored, 1);
    assert_eq!(
        messages::list(&*stores.db, &Default::default(), None, 99).await.unwrap().0.len(),
        1
    );
}

async fn suppressed_recipients_are_not_queued(stores: Stores) {
    suppress(&stores, "ann@example.net", "").await;
    suppress(&stores, "bob@example.net", "spring").await;
    suppress(&stores, "eve@example.net", "autumn").await;
    let node = node(&stores).await;
    let asked = message(&["Ann@example.net", "bob@example.net", "eve@example.net"]);
    let receipt = new(accept(&stores, asked, Some(node)).await);
    let states: Vec<_> = receipt.recipients.iter().map(|r| r.state).collect();
    assert_eq!(states, [State::Suppressed as u32, State::Suppressed as u32, State::Queued as u32]);
    assert_eq!(receipt.recipients[0].reason, "unsubscribe");
    let events = events(&stores, &EventFilter::default(), 3).await;
    let kinds: Vec<_> = events.iter().map(|row| row.event.kind).collect();
    assert_eq!(kinds, [EventType::Suppressed, EventType::Suppressed, EventType::Accepted]);
}

async fn scheduled_messages_wait(stores: Stores) {
    let node = node(&stores).await;
    let mut asked = message(&["ann@example.net"]);
    asked.row.send_ms = Some(NOW + 5000);
    let id = asked.row.id;
    new(accept(&stores, asked, Some(node)).await);
    assert_eq!(state(&stores, id).await, State::Scheduled);
    assert!(stores.queue.claim(node, NOW, 10).await.unwrap().is_empty());
    assert_eq!(stores.queue.next_due().await.unwrap(), Some(NOW + 5000));
    assert_eq!(stores.queue.claim(node, NOW + 5000, 10).await.unwrap().len(), 1);
}

async fn a_long_list_is_stored_whole(stores: Stores) {
    let emails: Vec<String> = (0..1000).map(|n| format!("user{n}@example.net")).collect();
    let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
    let receipt = new(accept(&stores, message(&emails), None).await);
    assert_eq!(receipt.recipients.len(), 1000);
    assert_eq!(stores.queue.depth().await.unwrap().queued, 1000);
}

async fn a_poisoned_submission_fails_alone(stores: Stores) {
    let first = message(&["ann@example.net"]);
    new(accept(&stores, first.clone(), None).await);
    let limits = GroupLimits { weight_max: 1000, parallel: 1, waiting_max: 1000 };
    let intake = stores.intake.clone();
    let commit = move |submissions| {
        let intake = intake.clone();
        async move { intake.accept(submissions, NOW).await }
    };
    let group = Group::start(limits, |_| 1, std::sync::Arc::default(), commit);
    let good = || message(&["bob@example.net"]);
    // The third has the id of a message that is stored already.
    let asked = [good(), good(), first, good(), keyed("k", 1), keyed("k", 1)];
    let calls = asked.map(|message| group.call(submission(message, None)));
    let results = join_all(calls).await;
    assert!(matches!(results[2], Err(Error::Conflict(_))), "{:?}", results[2]);
    for n in [0, 1, 3, 4] {
        new(results[n].clone().unwrap().remove(0));
    }
    assert!(matches!(results[5].as_ref().unwrap()[0], Accepted::Replayed { .. }));
    assert_eq!(stores.queue.depth().await.unwrap().queued, 5);
}
