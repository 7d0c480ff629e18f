//! Destinations that are paused, go on and are tried at once, with a mail server that is not ours; and
//! what an operator sees of what went wrong.

use postern_tests::role::{Role, TOKEN};
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::{Value, json};

async fn relaying(receiver: &Receiver) -> Stack {
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_RETRY_DELAYS", "1h"),
    ];
    Stack::start(&vars).await.unwrap()
}

/// The destination as the queue lists it; null when it does not.
async fn destination(stack: &Stack, domain: &str) -> Value {
    let answer = stack.get("/v1/queue/destinations").await.unwrap();
    let list = answer.body["destinations"].as_array().unwrap();
    list.iter().find(|one| one["domain"] == domain).cloned().unwrap_or_default()
}

#[tokio::test]
async fn mail_for_a_paused_destination_waits_until_it_is_resumed() {
    let receiver = Receiver::start().await.unwrap();
    let stack = relaying(&receiver).await;
    let pause = json!({"domain": "Held.TEST", "note": "their servers move"});
    let dry = stack.post("/v1/queue/pause?validate_only=true", &pause).await.unwrap();
    assert_eq!((dry.status, destination(&stack, "held.test").await), (204, Value::Null));
    assert_eq!(stack.post("/v1/queue/pause", &pause).await.unwrap().status, 204);
    let held = stack.send_to("ok@held.test").await.unwrap();
    let free = stack.send_to("ok@good.test").await.unwrap();
    stack.wait_state(&free, "delivered").await.unwrap();
    let waits = wait::until("the mail is parked", async || {
        let message = stack.message(&held).await?;
        let recipient = message["recipients"][0].clone();
        Ok((recipient["reason"] == "destination_paused").then_some(recipient))
    });
    let waits = waits.await.unwrap();
    assert_eq!((&waits["state"], &waits["attempts"]), (&json!("queued"), &json!(0)), "{waits}");
    let listed = destination(&stack, "held.test").await;
    assert_eq!((&listed["paused"], &listed["queued"]), (&json!(true), &json!(1)), "{listed}");
    assert_eq!(listed["note"], "their servers move");
    assert!(receiver.mails_to("ok@held.test").unwrap().is_empty(), "no attempt was begun");
    let shown = stack.operate(&["queue", "list"]).await.unwrap();
    assert_eq!((&shown["domain"], &shown["paused"]), (&json!("held.test"), &json!(true)));
    let resumed = stack.post("/v1/queue/resume", &json!({"domain": "held.test"})).await.unwrap();
    assert_eq!(resumed.status, 204, "{resumed:?}");
    stack.wait_state(&held, "delivered").await.unwrap();
    assert_eq!(receiver.mails_to("ok@held.test").unwrap().len(), 1);
    assert_eq!(destination(&stack, "held.test").await, Value::Null);
    let wrong = stack.post("/v1/queue/pause", &json!({"domain": "no domain"})).await.unwrap();
    assert_eq!((wrong.status, wrong.text("code")), (422, "invalid_value"), "{wrong:?}");
}

#[tokio::test]
async fn a_pause_outlives_the_process() {
    let receiver = Receiver::start().await.unwrap();
    let mut stack = relaying(&receiver).await;
    stack.operate(&["queue", "pause", "held.test", "--note", "later"]).await.unwrap();
    stack.kill_9().await.unwrap();
    stack.restart().await.unwrap();
    let held = stack.send_to("ok@held.test").await.unwrap();
    wait::until("the mail is parked", async || {
        let message = stack.message(&held).await?;
        let reason = &message["recipients"][0]["reason"];
        Ok((reason == "destination_paused").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(destination(&stack, "held.test").await["note"], "later");
    stack.operate(&["queue", "resume", "held.test"]).await.unwrap();
    stack.wait_state(&held, "delivered").await.unwrap();
}

#[tokio::test]
async fn deferred_mail_is_tried_at_once_when_asked() {
    let receiver = Receiver::start().await.unwrap();
    let stack = relaying(&receiver).await;
    let id = stack.send_to("defer@good.test").await.unwrap();
    stack.wait_state(&id, "deferred").await.unwrap();
    let domain = json!({"domain": "good.test"});
    let count = async |path: &str, domain: &Value| {
        let answer = stack.post(path, domain).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["count"].as_i64().unwrap()
    };
    assert_eq!(count("/v1/queue/retry", &json!({"domain": "other.test"})).await, 0);
    assert_eq!(count("/v1/queue/retry?validate_only=true", &domain).await, 1);
    assert_eq!(destination(&stack, "good.test").await["deferred"], 1);
    assert_eq!(count("/v1/queue/retry", &domain).await, 1);
    let message = stack.wait_state(&id, "delivered").await.unwrap();
    assert_eq!(message["recipients"][0]["attempts"], 2, "{message}");
}

#[tokio::test]
async fn what_went_wrong_is_counted_by_category_and_destination() {
    let receiver = Receiver::start().await.unwrap();
    let stack = relaying(&receiver).await;
    let mut ids = Vec::new();
    for to in ["refuse@good.test", "refuse@other.test", "defer@good.test"] {
        ids.push(stack.send_to(to).await.unwrap());
    }
    for (id, state) in ids.iter().zip(["bounced", "bounced", "deferred"]) {
        stack.wait_state(id, state).await.unwrap();
    }
    let errors = stack.get("/v1/errors").await.unwrap().body;
    let sums = |list: &str| -> Vec<(String, i64, i64)> {
        let list = errors[list].as_array().unwrap().iter();
        let number = |one: &Value, name: &str| one[name].as_i64().unwrap();
        let text = |one: &Value| one["name"].as_str().unwrap().to_owned();
        list.map(|one| (text(one), number(one, "deferred"), number(one, "failed"))).collect()
    };
    let expected = [("good.test".to_owned(), 1, 1), ("other.test".to_owned(), 0, 1)];
    assert_eq!(sums("destinations"), expected, "{errors}");
    assert_eq!(sums("categories")[0], ("unknown_user".to_owned(), 0, 2), "{errors}");
    let newest = errors["errors"].as_array().unwrap();
    assert_eq!(newest.len(), 3, "{errors}");
    let refused = newest.iter().find(|one| one["email"] == "refuse@other.test").unwrap();
    assert_eq!(refused["message_id"], ids[1].as_str());
    assert_eq!(
        (&refused["type"], &refused["category"]),
        (&json!("bounced"), &json!("unknown_user"))
    );
    assert!(refused["reply"].as_str().unwrap().starts_with("550 5.1.1"), "{refused}");
    let args = ["errors", "list", "--domain", "other.test"];
    let one = stack.operate(&args).await.unwrap();
    assert_eq!(one["errors"].as_array().unwrap().len(), 1, "{one}");
    let text = String::from_utf8(stack.operator(&args).await.unwrap().stdout).unwrap();
    assert!(text.contains("unknown_user") && text.contains(&ids[1]), "{text}");
    let old = stack.get("/v1/errors?since=2020-01-01T00:00:00Z").await.unwrap();
    assert_eq!((old.status, old.text("code")), (422, "value_out_of_range"), "{old:?}");
    let system = stack.get("/v1/system").await.unwrap().body;
    let parts = system["parts"].as_array().unwrap();
    let store = parts.iter().find(|part| part["name"] == "store").unwrap();
    assert_eq!(
        (&store["condition"], &system["store"]),
        (&json!("up"), &json!("sqlite")),
        "{system}"
    );
    assert!(store["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{store}");
    let first = stack.get("/v1/errors?page_size=2").await.unwrap().body;
    let path = format!("/v1/errors?page_token={}", first["next_page_token"].as_str().unwrap());
    let second = stack.get(&path).await.unwrap().body;
    let list = |body: &Value| body["errors"].as_array().unwrap().clone();
    let made_up = stack.get("/v1/errors?page_token=5").await.unwrap();
    assert_eq!((made_up.status, made_up.text("code")), (400, "bad_page_token"), "{made_up:?}");
    assert_eq!([list(&first), list(&second)].concat(), *newest, "the pages are the list");
    assert_eq!((list(&first).len(), &second["next_page_token"]), (2, &json!("")), "{second}");
}

#[tokio::test]
async fn gateways_are_parts_of_the_system_until_they_stop() {
    let stack = Stack::start(&[("POSTERN_GATEWAY_TOKEN", TOKEN)]).await.unwrap();
    let count = async |name: &str| {
        let system = stack.get("/v1/system").await?.body;
        let parts = system["parts"].as_array().cloned().unwrap_or_default();
        let good = parts.iter().filter(|part| part["name"] == name && part["condition"] == "up");
        anyhow::Ok(good.count())
    };
    for name in ["gateway.rest", "gateway.smtp", "gateway.tracking"] {
        let known = async || Ok((count(name).await? == 1).then_some(()));
        wait::until("the own gateways are known", known).await.unwrap();
    }
    let second = Role::smtp(&stack.grpc, &[]).await.unwrap();
    let both = async || Ok((count("gateway.smtp").await? == 2).then_some(()));
    wait::until("another gateway is known", both).await.unwrap();
    second.stop().await.unwrap();
    assert_eq!(count("gateway.smtp").await.unwrap(), 1, "it said that it leaves");
}
