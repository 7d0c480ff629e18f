//! The event feed: ordered, complete, resumable, also while many write at once.

use super::build::{PATIENCE, accept, events, message};
use super::promises;
use crate::model::event::EventFilter;
use crate::store::{Stores, ledger};

promises![pages_join_without_gap_or_overlap, a_reader_never_misses_an_event_of_concurrent_writers];

async fn pages_join_without_gap_or_overlap(stores: Stores) {
    for _ in 0..7 {
        accept(&stores, message(&["ann@example.net"]), None).await;
    }
    let all = events(&stores, &EventFilter::default(), 7).await;
    assert_eq!(all.len(), 7);
    assert!(all.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map_or(0, |row: &crate::model::event::EventRow| row.sequence);
        let page = ledger::events(&*stores.db, &EventFilter::default(), after, 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(ledger::tail(&*stores.db).await.unwrap(), all[6].sequence);
}

async fn a_reader_never_misses_an_event_of_concurrent_writers(stores: Stores) {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let stores = stores.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    accept(&stores, message(&["ann@example.net"]), None).await;
                }
            })
        })
        .collect();
    let mut seen: Vec<i64> = Vec::new();
    // Reads as fast as it can while the writers write, always behind what it has seen.
    let read = async {
        while seen.len() < WRITERS * EACH {
            let after = seen.last().copied().unwrap_or(0);
            let rows = ledger::events(&*stores.db, &EventFilter::default(), after, 50).await;
            seen.extend(rows.unwrap().iter().map(|row| row.sequence));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("every event becomes visible");
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(seen.len(), WRITERS * EACH);
}
