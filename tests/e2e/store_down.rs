//! The store goes away and comes back, or, on PostgreSQL, the node dies and another takes over.

use postern_tests::postgres::Schema;
use postern_tests::proxy::Proxy;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;

#[tokio::test]
async fn nothing_is_accepted_while_the_store_is_away_and_all_is_well_when_it_is_back() {
    let schema = Schema::make("store_down").await.unwrap();
    let proxy = Proxy::start(&schema.host).await.unwrap();
    let url = schema.url(&proxy.addr.to_string());
    let vars = [
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema.name),
        ("POSTERN_DATABASE_TIMEOUT", "2s"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let before = stack.send_to("before@good.test").await.unwrap();
    stack.wait_state(&before, "delivered").await.unwrap();

    proxy.cut();
    accepts_nothing(&stack).await;
    proxy.restore();
    accepts_again(&stack, &before).await;
}

#[tokio::test]
async fn a_full_disk_stops_acceptance_and_an_emptied_one_needs_no_restart() {
    let stack = Stack::start(&[]).await.unwrap();
    let before = stack.send_to("before@good.test").await.unwrap();
    stack.wait_state(&before, "delivered").await.unwrap();
    stack.fill_disk(true).await.unwrap();
    accepts_nothing(&stack).await;
    stack.fill_disk(false).await.unwrap();
    accepts_again(&stack, &before).await;
}

async fn accepts_nothing(stack: &Stack) {
    for number in 0..3 {
        let mail = mail_to(&format!("during{number}@good.test"));
        let answer = stack.post("/v1/messages", &mail).await.unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.text("code"), "store_unavailable", "{answer:?}");
    }
    let error = stack.grpc_send_to("during@good.test").await.unwrap_err();
    let status = error.downcast::<tonic::Status>().unwrap();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
}

/// Mail is taken and delivered again, and what was refused left nothing behind.
async fn accepts_again(stack: &Stack, before: &str) {
    let after = wait::until("the store is back", async || {
        let mail = mail_to("after@good.test");
        let answer = stack.post("/v1/messages", &mail).await?;
        assert!([202, 503].contains(&answer.status), "{answer:?}");
        Ok((answer.status == 202).then(|| answer.text("id").to_owned()))
    });
    let after = after.await.unwrap();
    stack.wait_state(&after, "delivered").await.unwrap();
    let list = stack.get("/v1/messages?page_size=1000").await.unwrap();
    let listed = list.body["messages"].as_array().unwrap().iter();
    let ids: Vec<_> = listed.map(|message| message["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [after.as_str(), before], "only what was accepted");
}

#[tokio::test]
async fn a_result_that_cannot_be_recorded_waits_for_the_store() {
    let schema = Schema::make("late_result").await.unwrap();
    let proxy = Proxy::start(&schema.host).await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    let (url, relay) = (schema.url(&proxy.addr.to_string()), receiver.relay_url());
    let vars = [
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema.name),
        ("POSTERN_DATABASE_TIMEOUT", "2s"),
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", &relay),
        ("POSTERN_SENDER_POLICY", "any"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let id = stack.send_to("slow@good.test").await.unwrap();
    receiver.wait_until_held("slow@good.test").await.unwrap();
    proxy.cut();
    receiver.release().unwrap();
    wait::until("a result that is not recorded", async || {
        Ok(stack.log()?.contains("result not recorded yet").then_some(()))
    })
    .await
    .unwrap();
    proxy.restore();
    let message = stack.wait_state(&id, "delivered").await.unwrap();
    assert_eq!(message["recipients"][0]["attempts"], 1, "{message}");
    assert_eq!(receiver.mails().unwrap().len(), 1, "no duplicate");
}

#[tokio::test]
async fn what_a_killed_node_had_under_way_is_taken_over_by_the_next_and_marked() {
    let schema = Schema::make("killed_node").await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    let (url, relay) = (schema.url(&schema.host), receiver.relay_url());
    let vars = [
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema.name),
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", &relay),
        ("POSTERN_SENDER_POLICY", "any"),
    ];
    let mut stack = Stack::start(&vars).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..40 {
        let id = stack.send_to(&format!("slow+{number}@good.test")).await;
        ids.push(id.unwrap());
    }
    receiver.wait_until_held("slow+0@good.test").await.unwrap();
    stack.kill_9().await.unwrap();
    receiver.release().unwrap();
    stack.restart().await.unwrap();
    for id in &ids {
        stack.wait_state(id, "delivered").await.unwrap();
    }
    let events = stack.events(&ids[0]).await.unwrap();
    let recovered = events.iter().find(|e| e["type"] == "message.recovered");
    let recovered = recovered.unwrap_or_else(|| panic!("not recovered: {events:?}"));
    assert_eq!(recovered["possible_duplicate"], true, "{recovered}");
    assert!(receiver.mails().unwrap().len() >= ids.len());
}
