//! A dump restored into a PostgreSQL whose transaction ids are younger than the dump's.

use super::build::{accept, events, message};
use super::in_schema;
use crate::model::event::EventFilter;
use crate::store::db::Statement;
use crate::store::ledger;
use crate::store::postgres::Postgres;

#[tokio::test(flavor = "multi_thread")]
async fn sequences_go_on_behind_those_of_the_dump() {
    in_schema(async |config| {
        let before = Postgres::open(&config).await.unwrap();
        accept(&before, message(&["ann@example.net"]), None).await;
        // As if the events had been written a million transactions later than this cluster is now.
        let age = "UPDATE events SET sequence = sequence + 4096000000";
        before.db.write(vec![Statement::new(age, Vec::new())]).await.unwrap();
        drop(before);
        for count in [2, 3] {
            let restored = Postgres::open(&config).await.unwrap();
            accept(&restored, message(&["bob@example.net"]), None).await;
            let rows = events(&restored, &EventFilter::default(), count).await;
            assert_eq!(rows.len(), count);
            assert!(rows.is_sorted_by(|a, b| a.sequence < b.sequence), "{rows:?}");
            let emails: Vec<_> = rows.iter().map(|row| row.recipient.as_str()).collect();
            assert_eq!((emails[0], emails[1]), ("ann@example.net", "bob@example.net"));
            // A follower that had read all of the dump sees only what is new.
            let (db, all) = (&*restored.db, EventFilter::default());
            let new = ledger::events(db, &all, rows[0].sequence, 100).await.unwrap();
            assert_eq!(new.len(), count - 1);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_raised_without_need() {
    in_schema(async |config| {
        let mut bases = Vec::new();
        for _ in 0..2 {
            let stores = Postgres::open(&config).await.unwrap();
            accept(&stores, message(&["ann@example.net"]), None).await;
            let base = Statement::new("SELECT base FROM event_clock", Vec::new());
            bases.push(stores.db.read(base).await.unwrap()[0].int(0).unwrap());
        }
        assert_eq!(bases, [0, 0]);
    })
    .await;
}
