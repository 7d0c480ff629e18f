//! Live settings of sending: what changes is seen in how mail leaves.

use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::Value;

use super::settings::set;

async fn delivered(stack: &Stack, recipient: &str) -> Value {
    let id = stack.send_to(recipient).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap()
}

/// The state of the only recipient.
async fn now(stack: &Stack, id: &str) -> String {
    let message = stack.message(id).await.unwrap();
    let recipient = &message["recipients"][0];
    text_of(&recipient["state"]).to_owned()
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The reply with which a mail was deferred.
async fn deferred(stack: &Stack, recipient: &str) -> Value {
    let id = stack.send_to(recipient).await.unwrap();
    let message = stack.wait_state(&id, "deferred").await.unwrap();
    message["recipients"][0].clone()
}

#[tokio::test]
async fn the_transport_changes_with_the_next_attempt() {
    let receiver = Receiver::start().await.unwrap();
    let stack = Stack::start(&[("POSTERN_RELAY_URL", &receiver.relay_url())]).await.unwrap();
    delivered(&stack, "ann@good.test").await;
    assert!(receiver.mails().unwrap().is_empty(), "it is in the local inbox");
    let refused = stack.operator(&["settings", "set", "transport", "postal"]).await.unwrap();
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && complaint.contains("POSTERN_POSTAL_URL"), "{complaint}");
    let refused = stack.operator(&["settings", "set", "transport", "pigeon"]).await.unwrap();
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complaint.contains("sink, relay, mx, postal"), "{complaint}");
    set(&stack, &[("transport", "relay")]).await;
    let mail = postern_tests::stack::mail_to("bob@good.test");
    let refused = stack.post("/v1/messages", &mail).await.unwrap();
    assert_eq!(refused.text("code"), "sender_not_allowed", "mail leaves now: {refused:?}");
    stack.operate(&["domains", "add", "shop.test"]).await.unwrap();
    delivered(&stack, "bob@good.test").await;
    assert_eq!(receiver.mails_to("bob@good.test").unwrap().len(), 1);
    let setting = stack.get("/v1/settings?prefix=transport").await.unwrap();
    let setting = &setting.body["settings"][0];
    assert_eq!(setting["choices"], serde_json::json!(["sink", "relay", "mx", "postal"]));
    stack.operate(&["settings", "reset", "transport"]).await.unwrap();
    delivered(&stack, "cat@good.test").await;
    assert!(receiver.mails_to("cat@good.test").unwrap().is_empty());
}

#[tokio::test]
async fn attempts_at_once_and_time_limits_change_under_way() {
    let receiver = Receiver::start().await.unwrap();
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_RETRY_DELAYS", "1h"),
        ("POSTERN_LANE_CONCURRENCY", "1"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let held = stack.send_to("slow+1@good.test").await.unwrap();
    receiver.wait_until_held("slow+1@good.test").await.unwrap();
    let waiting = stack.send_to("ann@good.test").await.unwrap();
    assert_eq!(now(&stack, &waiting).await, "queued", "the relay is one destination");
    set(&stack, &[("lane.concurrency", "2"), ("concurrency", "1")]).await;
    assert_eq!(now(&stack, &waiting).await, "queued", "one attempt at all is under way");
    set(&stack, &[("concurrency", "10")]).await;
    stack.wait_state(&waiting, "delivered").await.unwrap();
    let short = [("destination.connections", "1"), ("connection.wait", "100ms")];
    set(&stack, &short).await;
    let refused = deferred(&stack, "bob@good.test").await;
    let text = refused["last_reply"]["text"].as_str().unwrap_or_default();
    assert!(text.contains("all connections to this server are busy"), "{refused}");
    set(&stack, &[("destination.connections", "5"), ("smtp.timeout_data_done", "200ms")]).await;
    let late = deferred(&stack, "slow+2@good.test").await;
    assert_eq!(
        (text_of(&late["reason"]), text_of(&late["last_reply"]["phase"])),
        ("timeout", "data"),
        "{late}"
    );
    receiver.release().unwrap();
    stack.wait_state(&held, "delivered").await.unwrap();
    wait::until("both mails have arrived", async || {
        let first = receiver.mails_to("slow+1@good.test")?.len();
        Ok((first == 1).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_call_of_the_core_takes_no_longer_than_its_setting() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = silent.local_addr().unwrap().to_string();
    let stack = Stack::start(&[("POSTERN_DNS_SERVERS", &servers)]).await.unwrap();
    let made = stack.post("/v1/domains", &serde_json::json!({"name": "shop.test"})).await.unwrap();
    set(&stack, &[("rpc.timeout", "100ms")]).await;
    let check = format!("/v1/domains/{}/check", made.text("id"));
    let late = stack.post(&check, &serde_json::json!({})).await.unwrap();
    assert_eq!((late.status, late.text("code")), (504, "deadline_exceeded"), "{late:?}");
}
