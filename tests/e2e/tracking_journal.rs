//! What the tracking edge promises about hits it has answered: kill -9, a core that is away, a lost
//! acknowledgement, a full disk.

use postern_tests::proxy::Proxy;
use postern_tests::role::Role;
use postern_tests::wait;
use serde_json::{Value, json};

use super::tracking_edge::{browser, engagements, get, mail, ready, start, tracked};

#[tokio::test]
async fn hits_survive_kill_9_of_the_edge_and_a_core_that_is_away() {
    let stack = start(&[]).await;
    let (id, link) = tracked(&stack, "ann@good.test").await;
    let proxy = Proxy::start(&stack.grpc).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let core = proxy.addr.to_string();
    let edge = Role::tracker(&core, folder.path(), &[]).await.unwrap();
    ready(&format!("http://127.0.0.1:{}", edge.port)).await;
    proxy.cut();
    let (open, page) = (link("/o/"), link("/u/"));
    for _ in 0..50 {
        let answer = get(&format!("http://127.0.0.1:{}{open}", edge.port)).await;
        assert_eq!(answer.status(), 200);
    }
    // An unsubscription is confirmed only when it is on the disk.
    let form = [("List-Unsubscribe", "One-Click")];
    let url = format!("http://127.0.0.1:{}{page}", edge.port);
    let done = browser().post(&url).form(&form).send().await.unwrap();
    assert_eq!(done.status(), 200);
    edge.kill_9().await.unwrap();
    assert!(stack.events(&id).await.unwrap().iter().all(|e| e["type"] != "message.opened"));

    proxy.restore();
    let edge = Role::tracker(&core, folder.path(), &[]).await.unwrap();
    engagements(&stack, &id, "message.opened", 50).await;
    engagements(&stack, &id, "message.unsubscribed", 1).await;
    edge.stop().await.unwrap();
    // Everything that was shipped is shipped once, also after one more start.
    let edge = Role::tracker(&core, folder.path(), &[]).await.unwrap();
    let last = get(&format!("http://127.0.0.1:{}{open}", edge.port)).await;
    assert_eq!(last.status(), 200);
    assert_eq!(engagements(&stack, &id, "message.opened", 51).await.len(), 51);
    let next = stack.send(&mail("ann@good.test")).await.unwrap();
    stack.wait_state(&next, "suppressed").await.unwrap();
    edge.stop().await.unwrap();
}

#[tokio::test]
async fn an_answer_is_lost_and_the_hit_is_counted_once() {
    let stack = start(&[]).await;
    let (id, link) = tracked(&stack, "ann@good.test").await;
    let proxy = Proxy::start(&stack.grpc).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let edge = Role::tracker(&proxy.addr.to_string(), folder.path(), &[]).await.unwrap();
    ready(&format!("http://127.0.0.1:{}", edge.port)).await;
    proxy.hold_answers();
    get(&format!("http://127.0.0.1:{}{}", edge.port, link("/o/"))).await;
    engagements(&stack, &id, "message.opened", 1).await;
    edge.kill_9().await.unwrap();
    proxy.release_answers();
    let edge = Role::tracker(&proxy.addr.to_string(), folder.path(), &[]).await.unwrap();
    let base = format!("http://127.0.0.1:{}", edge.port);
    wait::until("it is shipped again", async || {
        let health: Value = get(&format!("{base}/health/ready")).await.json().await?;
        Ok((health["hits_shipped"] == 1).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(engagements(&stack, &id, "message.opened", 1).await.len(), 1);
}

#[tokio::test]
async fn a_full_disk_costs_hits_and_never_an_answer() {
    let stack = start(&[]).await;
    let (_, link) = tracked(&stack, "ann@good.test").await;
    let proxy = Proxy::start(&stack.grpc).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let core = proxy.addr.to_string();
    let edge = Role::tracker_on_small_disk(&core, folder.path(), 32 << 10, &[]).await.unwrap();
    let base = format!("http://127.0.0.1:{}", edge.port);
    ready(&base).await;
    proxy.cut();
    let health =
        async || -> Value { get(&format!("{base}/health/ready")).await.json().await.unwrap() };
    let mut answered = 0;
    while health().await["hits_lost"] == 0 {
        assert_eq!(get(&format!("{base}{}", link("/c/"))).await.status(), 302);
        answered += 1;
        assert!(answered < 1000, "a disk of 32 KiB is not full");
    }
    let told = health().await;
    assert_eq!((&told["status"], &told["hits_lost"]), (&json!("degraded"), &json!(1)));
    // What fitted is not lost, and when there is room again it is used.
    proxy.restore();
    wait::until("the journal is shipped", async || {
        let told = health().await;
        Ok((told["hits_shipped"].as_u64() >= Some(answered - 1)).then_some(()))
    })
    .await
    .unwrap();
    wait::until("there is room again", async || {
        let before = health().await["hits_lost"].clone();
        get(&format!("{base}{}", link("/c/"))).await;
        Ok((health().await["hits_lost"] == before).then_some(()))
    })
    .await
    .unwrap();
}
