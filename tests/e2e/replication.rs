//! Two real PostgreSQL servers, one streaming from the other: lists are read from the replica while it
//! is fresh, and when the primary dies under load the replica takes over.

use std::collections::BTreeSet;
use std::time::Duration;

use postern_tests::cluster::Server;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use serde_json::Value;

/// Connecting to either server, whichever takes writes.
fn either(one: &Server, other: &Server) -> String {
    let (one, other) = (one.port, other.port);
    format!(
        "postgres://postern@127.0.0.1:{one},127.0.0.1:{other}/postgres?target_session_attrs=read-write"
    )
}

async fn listed(stack: &Stack, filter: &str) -> anyhow::Result<usize> {
    let list = stack.get(&format!("/v1/messages?{filter}")).await?;
    anyhow::ensure!(list.status == 200, "{list:?}");
    Ok(list.body["messages"].as_array().map_or(0, Vec::len))
}

async fn part(stack: &Stack, name: &str) -> anyhow::Result<Value> {
    let overview = stack.get("/v1/system").await?;
    let parts = overview.body["parts"].as_array().cloned().unwrap_or_default();
    Ok(parts.into_iter().find(|part| part["name"] == name).unwrap_or(Value::Null))
}

async fn until_replica(stack: &Stack, condition: &str) {
    let look =
        async || Ok((part(stack, "store.replica").await?["condition"] == condition).then_some(()));
    wait::until(condition, look).await.unwrap();
}

#[tokio::test]
async fn lists_are_read_from_the_replica_while_it_is_fresh_and_from_the_primary_otherwise() {
    let primary = Server::primary("").unwrap();
    let replica = Server::replica_of(&primary, "replica").unwrap();
    let (url, replica_url) = (primary.url(), replica.url());
    let vars = |lag_max| {
        [
            ("DATABASE_URL", url.as_str()),
            ("DATABASE_REPLICA_URL", replica_url.as_str()),
            ("POSTERN_REPLICA_LAG_MAX", lag_max),
        ]
    };
    // One that puts up with an hour, and one that wants it fresh.
    let patient = Stack::start(&vars("1h")).await.unwrap();
    until_replica(&patient, "up").await;
    let stack = Stack::join(&vars("3s"), &patient.key).await.unwrap();
    until_replica(&stack, "up").await;
    let on_replica = replica.client().await.unwrap();
    on_replica.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    let mut mail = mail_to("ann@good.test");
    mail["external_id"] = "order-7".into();
    let id = patient.send(&mail).await.unwrap();
    patient.wait_state(&id, "delivered").await.unwrap();
    assert_eq!(listed(&patient, "recipient=ann@good.test").await.unwrap(), 0, "not there yet");
    let own = "external_id=order-7";
    assert_eq!(listed(&patient, own).await.unwrap(), 1, "who has just sent it finds it");
    until_replica(&stack, "degraded").await;
    assert_eq!(listed(&stack, "recipient=ann@good.test").await.unwrap(), 1);
    on_replica.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    until_replica(&stack, "up").await;
    assert_eq!(listed(&patient, "recipient=ann@good.test").await.unwrap(), 1);
    // It hangs: what waits for it is answered by the primary, within the time for an answer.
    drop(on_replica);
    replica.signal("STOP").unwrap();
    assert_eq!(listed(&patient, "recipient=ann@good.test").await.unwrap(), 1);
    until_replica(&stack, "down").await;
    replica.signal("CONT").unwrap();
    until_replica(&stack, "up").await;
    replica.crash().unwrap();
    assert_eq!(listed(&stack, "recipient=ann@good.test").await.unwrap(), 1, "nobody notices");
    until_replica(&stack, "down").await;
    replica.start("").unwrap();
    until_replica(&stack, "up").await;
}

/// Sends until told to stop, and returns what was accepted.
async fn load(stack: &Stack, stop: &tokio::sync::Notify, name: &str) -> Vec<String> {
    let mut accepted = Vec::new();
    let mut number = 0;
    let stopped = stop.notified();
    tokio::pin!(stopped);
    loop {
        let mail = mail_to(&format!("{name}{number}@good.test"));
        number += 1;
        tokio::select! {
            biased;
            () = &mut stopped => return accepted,
            answer = stack.post("/v1/messages", &mail) => {
                let answer = answer.unwrap();
                assert!([202, 503, 504].contains(&answer.status), "{answer:?}");
                if answer.status == 202 {
                    accepted.push(answer.text("id").to_owned());
                }
            }
        }
    }
}

async fn stored(server: &Server) -> BTreeSet<String> {
    let client = server.client().await.unwrap();
    let rows = client.query("SELECT id FROM messages", &[]).await.unwrap();
    let ids = rows.iter().map(|row| row.get::<_, uuid::Uuid>(0));
    ids.map(|id| postern_proto::ids::MessageId::from_uuid(id).to_string()).collect()
}

#[tokio::test]
async fn a_primary_that_dies_under_load_loses_nothing_where_replication_is_synchronous() {
    let primary = Server::primary("").unwrap();
    let replica = Server::replica_of(&primary, "one").unwrap();
    let set = "ALTER SYSTEM SET synchronous_standby_names = 'one'; ";
    let client = primary.client().await.unwrap();
    for sql in [set, "SELECT pg_reload_conf()"] {
        client.batch_execute(sql).await.unwrap();
    }
    let url = either(&primary, &replica);
    let vars = [("DATABASE_URL", url.as_str()), ("POSTERN_DATABASE_TIMEOUT", "2s")];
    let stack = Stack::start(&vars).await.unwrap();
    let synced = async || {
        let sql = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        Ok((client.query(sql, &[]).await?.len() == 1).then_some(()))
    };
    wait::until("the replica is waited for", synced).await.unwrap();

    let stop = tokio::sync::Notify::new();
    let disaster = async {
        let busy = async || Ok((stored(&replica).await.len() >= 50).then_some(()));
        wait::until("mail is under way", busy).await.unwrap();
        primary.crash().unwrap();
        replica.promote().unwrap();
        let before = stored(&replica).await.len();
        let more = async || Ok((stored(&replica).await.len() >= before + 20).then_some(()));
        wait::until("mail is accepted by the new primary", more).await.unwrap();
        stop.notify_waiters();
    };
    let (ann, bob, ()) =
        tokio::join!(load(&stack, &stop, "ann"), load(&stack, &stop, "bob"), disaster);
    let accepted: BTreeSet<String> = ann.into_iter().chain(bob).collect();
    let kept = stored(&replica).await;
    let lost: Vec<_> = accepted.difference(&kept).collect();
    assert!(lost.is_empty() && accepted.len() >= 60, "{} of {} lost", lost.len(), accepted.len());
    for id in accepted.iter().rev().take(5) {
        stack.wait_state(id, "delivered").await.unwrap();
    }
}

#[tokio::test]
async fn without_synchronous_replication_what_had_not_reached_the_replica_is_lost_and_no_more() {
    let primary = Server::primary("").unwrap();
    let replica = Server::replica_of(&primary, "one").unwrap();
    let url = either(&primary, &replica);
    let vars = [("DATABASE_URL", url.as_str()), ("POSTERN_DATABASE_TIMEOUT", "2s")];
    let stack = Stack::start(&vars).await.unwrap();
    let mut reached = BTreeSet::new();
    for n in 0..20 {
        reached.insert(stack.send_to(&format!("early{n}@good.test")).await.unwrap());
    }
    let arrived = async || Ok(reached.is_subset(&stored(&replica).await).then_some(()));
    wait::until("they have reached the replica", arrived).await.unwrap();
    // The line between the two breaks, and nobody waits for it.
    let cut = "ALTER SYSTEM SET primary_conninfo = ''";
    let on_replica = replica.client().await.unwrap();
    for sql in [cut, "SELECT pg_reload_conf()"] {
        on_replica.batch_execute(sql).await.unwrap();
    }
    let sender = primary.client().await.unwrap();
    let gone = async || {
        let rows = sender.query("SELECT 1 FROM pg_stat_replication", &[]).await?;
        Ok(rows.is_empty().then_some(()))
    };
    wait::until("the line is broken", gone).await.unwrap();
    let mut window = BTreeSet::new();
    for n in 0..5 {
        window.insert(stack.send_to(&format!("late{n}@good.test")).await.unwrap());
    }
    primary.crash().unwrap();
    replica.promote().unwrap();
    let after = wait::until("the new primary accepts", async || {
        let answer = stack.post("/v1/messages", &mail_to("after@good.test")).await?;
        Ok((answer.status == 202).then(|| answer.text("id").to_owned()))
    });
    let after = after.await.unwrap();
    let kept = stored(&replica).await;
    assert!(reached.is_subset(&kept) && kept.contains(&after));
    assert!(window.is_disjoint(&kept), "these are the window: accepted, and not on the replica");
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(60), stack.wait_state(&after, "delivered"))
            .await
            .unwrap()
            .unwrap()["id"],
        after.as_str()
    );
}
