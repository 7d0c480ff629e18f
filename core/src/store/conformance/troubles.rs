//! What is wrong is known once, told once, and told to be over once.

use super::build::{NOW, events};
use super::promises;
use crate::model::event::{EventFilter, EventRow, EventType};
use crate::store::Stores;
use crate::store::troubles::{self, Sight, Trouble};

promises![
    a_trouble_is_told_once_and_so_is_its_end,
    a_trouble_that_nobody_was_told_begins_anew_after_a_while,
];

const GAP: i64 = 60;

fn sight(since_ms: i64, detail: &str) -> Sight {
    Sight { kind: "disk_low", subject: "a".to_owned(), since_ms, detail: detail.to_owned() }
}

async fn only(stores: &Stores) -> Trouble {
    let known = troubles::list(&*stores.db).await.unwrap();
    let [one] = &known[..] else { panic!("{known:?}") };
    one.clone()
}

/// The first so many things that the feed tells; all of them, where it tells no more.
async fn told(stores: &Stores, count: usize) -> Vec<(EventType, String, String)> {
    let shown = |row: EventRow| {
        let subject = row.subject.unwrap();
        assert_eq!(row.event.reason, "disk_low");
        (row.event.kind, subject.id, subject.display_name)
    };
    events(stores, &EventFilter::default(), count).await.into_iter().map(shown).collect()
}

async fn a_trouble_is_told_once_and_so_is_its_end(stores: Stores) {
    let db = &*stores.db;
    troubles::see(db, &[sight(NOW, "9 left"), sight(NOW, "8 left")], NOW, NOW - GAP).await.unwrap();
    let new = only(&stores).await;
    assert_eq!((new.since_ms, new.seen_ms, new.told), (NOW, NOW, 0));
    assert_eq!((new.detail.as_str(), new.told_ms), ("8 left", None));
    let both = tokio::join!(troubles::tell(db, &new, NOW + 1), troubles::tell(db, &new, NOW + 1));
    assert_ne!(both.0.unwrap(), both.1.unwrap(), "one of two is the first");
    // Another node's clock is behind; and it lasts although nobody looked for long.
    troubles::see(db, &[sight(NOW - 5, "7 left")], NOW - 5, NOW - GAP).await.unwrap();
    let later = NOW + 2 * GAP;
    troubles::see(db, &[sight(later, "6 left")], later, later - GAP).await.unwrap();
    let old = only(&stores).await;
    assert_eq!((old.since_ms, old.seen_ms, old.told), (NOW, later, 1));
    assert_eq!(old.told_ms, Some(NOW + 1));
    assert!(!troubles::end(db, &new, later).await.unwrap(), "it was told and seen since");
    assert!(troubles::tell(db, &old, later).await.unwrap());
    let last = only(&stores).await;
    let both = tokio::join!(troubles::end(db, &last, later), troubles::end(db, &last, later));
    assert_ne!(both.0.unwrap(), both.1.unwrap(), "one of two is the first");
    assert!(troubles::list(db).await.unwrap().is_empty());
    let expected = [
        (EventType::SystemTrouble, "8 left"),
        (EventType::SystemTrouble, "6 left"),
        (EventType::SystemResolved, "6 left"),
    ];
    let expected = expected.map(|(kind, text)| (kind, "disk_low:a".to_owned(), text.to_owned()));
    assert_eq!(told(&stores, 3).await, expected);
}

async fn a_trouble_that_nobody_was_told_begins_anew_after_a_while(stores: Stores) {
    let db = &*stores.db;
    troubles::see(db, &[sight(NOW, "")], NOW, NOW - GAP).await.unwrap();
    let soon = NOW + GAP - 1;
    troubles::see(db, &[sight(soon, "")], soon, soon - GAP).await.unwrap();
    assert_eq!(only(&stores).await.since_ms, NOW, "it lasts");
    let later = soon + GAP;
    troubles::see(db, &[sight(later, "")], later, later - GAP).await.unwrap();
    let again = only(&stores).await;
    assert_eq!((again.since_ms, again.seen_ms), (later, later));
    assert!(troubles::end(db, &again, later + GAP).await.unwrap());
    troubles::see(db, &[sight(later, "new")], later, later - GAP).await.unwrap();
    assert!(troubles::tell(db, &only(&stores).await, later).await.unwrap());
    let expected = (EventType::SystemTrouble, "disk_low:a".to_owned(), "new".to_owned());
    assert_eq!(told(&stores, 1).await, [expected], "nobody knew of the one before");
}
