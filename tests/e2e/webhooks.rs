//! Events are posted, signed, tried again and accounted for.

use std::collections::BTreeSet;

use postern_tests::hook_receiver::{HookReceiver, verify};
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::{Value, json};

const PRIVATE: (&str, &str) = ("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow");
const AT_ONCE: (&str, &str) = ("POSTERN_WEBHOOKS_RETRY_PERCENT", "0");

pub(crate) async fn create(stack: &Stack, url: &str, more: Value) -> (String, String) {
    let mut webhook = json!({"url": url, "event_types": ["message.delivered"]});
    for (name, value) in more.as_object().unwrap() {
        webhook[name] = value.clone();
    }
    let made = stack.post("/v1/webhooks", &webhook).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    let secret = made.body["secret"].as_str().unwrap_or_default().to_owned();
    (made.text("id").to_owned(), secret)
}

/// Sends so many mails and returns the ids of the events of their delivery.
async fn deliver(stack: &Stack, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    for n in 0..count {
        let id = stack.send_to(&format!("ann{n}@good.test")).await.unwrap();
        stack.wait_state(&id, "delivered").await.unwrap();
        let of_message = stack.events(&id).await.unwrap();
        let delivered = of_message.iter().find(|event| event["type"] == "message.delivered");
        events.push(delivered.unwrap()["id"].as_str().unwrap().to_owned());
    }
    events
}

fn ids(bodies: &[Value]) -> BTreeSet<String> {
    bodies.iter().map(|body| body["id"].as_str().unwrap().to_owned()).collect()
}

async fn delivery(stack: &Stack, webhook: &str, event: &str) -> Value {
    let path = format!("/v1/webhooks/{webhook}/delivery?event_id={event}");
    let shown = wait::until("the event is collected", async || {
        let answer = stack.get(&path).await?;
        Ok((answer.status == 200).then_some(answer.body))
    });
    shown.await.unwrap()
}

async fn until_all_taken(receiver: &HookReceiver, name: &str, events: &[String]) {
    let expected: BTreeSet<_> = events.iter().cloned().collect();
    wait::until("every event is taken", async || {
        Ok((ids(&receiver.taken(name)?) == expected).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_standards_own_library_takes_what_is_posted_also_while_secrets_change() {
    let receiver = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&[PRIVATE]).await.unwrap();
    let headers = json!({"headers": {"X-Tenant": "seven"}});
    let (id, old) = create(&stack, &receiver.url("a"), headers).await;
    deliver(&stack, 1).await;
    let first = receiver.wait("a", 200, 1).await.unwrap().remove(0);
    assert_eq!(verify("standard", &old, &first).await.unwrap(), "verified");
    let mut forged = first.clone();
    forged["body"] = first["body"].as_str().unwrap().replace("ann0", "eve").into();
    assert!(verify("standard", &old, &forged).await.unwrap().starts_with("refused"));
    let fields = &first["headers"];
    assert_eq!((&fields["x-tenant"], &fields["webhook-attempt"]), (&json!("seven"), &json!("1")));
    let body: Value = serde_json::from_str(first["body"].as_str().unwrap()).unwrap();
    assert_eq!((&body["id"], &body["type"]), (&fields["webhook-id"], &json!("message.delivered")));
    assert_eq!(body["data"]["recipient"], "ann0@good.test");

    let rotated =
        stack.post(&format!("/v1/webhooks/{id}/rotate_secret"), &json!({})).await.unwrap();
    let new = rotated.body["secret"].as_str().unwrap().to_owned();
    deliver(&stack, 1).await;
    let second = receiver.wait("a", 200, 2).await.unwrap().remove(1);
    for secret in [&old, &new] {
        assert_eq!(verify("standard", secret, &second).await.unwrap(), "verified");
    }
    let now = json!({"overlap": "0s"});
    let rotated = stack.post(&format!("/v1/webhooks/{id}/rotate_secret"), &now).await.unwrap();
    let newest = rotated.body["secret"].as_str().unwrap();
    let tested = stack.operator(&["webhooks", "test", &id]).await.unwrap();
    assert!(tested.status.success(), "{tested:?}");
    let ping = receiver.wait("a", 200, 3).await.unwrap().remove(2);
    assert!(ping["body"].as_str().unwrap().contains("test.ping"), "{ping}");
    assert_eq!(verify("standard", newest, &ping).await.unwrap(), "verified");
    assert!(verify("standard", &new, &ping).await.unwrap().starts_with("refused"));
}

#[tokio::test]
async fn receivers_of_the_old_system_need_not_change() {
    let receiver = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&[PRIVATE]).await.unwrap();
    let secret = "an old secret of 32 characters!!";
    let url = receiver.url("old");
    let args = ["webhooks", "create", &url, "--format", "legacy", "--secret", secret];
    let made = stack.operator(&args).await.unwrap();
    assert!(made.status.success(), "{made:?}");
    deliver(&stack, 1).await;
    let mut requests = receiver.wait("old", 200, 2).await.unwrap();
    for request in &mut requests {
        request["url"] = url.as_str().into();
        assert_eq!(request["headers"]["user-agent"], "EmailSender-Webhook/1.0");
        assert!(request["headers"]["x-server-id"].is_string(), "{request}");
        assert_eq!(verify("legacy", secret, request).await.unwrap(), "verified", "{request}");
    }
    let mut bodies = receiver.taken("old").unwrap();
    bodies.sort_by_key(|body| body["event_type"].as_str().unwrap().to_owned());
    let words: Vec<_> = bodies.iter().map(|body| body["event_type"].as_str().unwrap()).collect();
    assert_eq!(words, ["delivered", "sent"]);
    assert_eq!(bodies[0]["data"]["recipient"], "a***0@good.test");
}

#[tokio::test]
async fn an_endpoint_that_is_down_holds_up_nobody_and_misses_nothing() {
    let receiver = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&[PRIVATE, AT_ONCE]).await.unwrap();
    receiver.set_mode("down", "500").unwrap();
    receiver.set_mode("slow", "hang").unwrap();
    let (down, _) = create(&stack, &receiver.url("down"), json!({})).await;
    create(&stack, &receiver.url("slow"), json!({})).await;
    create(&stack, &receiver.url("well"), json!({})).await;
    let events = deliver(&stack, 20).await;
    until_all_taken(&receiver, "well", &events).await;
    receiver.wait("down", 500, 5).await.unwrap();
    let failing = stack.get(&format!("/v1/webhooks/{down}")).await.unwrap();
    assert!(failing.body["failing_time"].is_string(), "{failing:?}");
    receiver.set_mode("down", "flap").unwrap();
    receiver.set_mode("slow", "200").unwrap();
    for event in &events {
        // The schedule has an end: who was away for longer is served again when asked for.
        let path = format!("/v1/webhooks/{down}/resend");
        let resent = stack.post(&path, &json!({"event_id": event})).await.unwrap();
        assert_eq!(resent.status, 200, "{resent:?}");
    }
    until_all_taken(&receiver, "down", &events).await;
    until_all_taken(&receiver, "slow", &events).await;
    // Every try is kept, and as many reached the endpoint.
    let mut tries = 0;
    for event in &events {
        let shown = wait::until("the delivery is over", async || {
            let shown = delivery(&stack, &down, event).await;
            Ok((shown["state"] == "delivered").then_some(shown))
        });
        let shown = shown.await.unwrap();
        let posted = shown["tries"].as_array().unwrap().iter().filter(|one| one["status"] != 0);
        let posted: Vec<_> = posted.collect();
        assert_eq!(posted.last().unwrap()["status"], 200);
        assert_eq!(posted.last().unwrap()["response"], "this is 200");
        tries += posted.len();
    }
    assert_eq!(tries, receiver.requests("down").unwrap().len());
    wait::until("it is known to be well", async || {
        let shown = stack.get(&format!("/v1/webhooks/{down}")).await?;
        Ok(shown.body["failing_time"].is_null().then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_ordered_endpoint_takes_events_in_order_whatever_fails() {
    let receiver = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&[PRIVATE, AT_ONCE]).await.unwrap();
    receiver.set_mode("a", "flap").unwrap();
    create(&stack, &receiver.url("a"), json!({"ordered": true, "event_types": []})).await;
    deliver(&stack, 10).await;
    let taken = wait::until("all events are taken", async || {
        let taken = receiver.taken("a")?;
        Ok((taken.len() >= 20).then_some(taken))
    });
    let sequences: Vec<_> =
        taken.await.unwrap().iter().map(|body| body["sequence"].as_i64().unwrap()).collect();
    assert!(sequences.is_sorted() && sequences.len() == 20, "{sequences:?}");
}

#[tokio::test]
async fn what_an_endpoint_asks_for_is_done() {
    let receiver = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&[PRIVATE, AT_ONCE]).await.unwrap();
    let (id, _) = create(&stack, &receiver.url("a"), json!({})).await;
    receiver.set_mode("a", "429 3600").unwrap();
    let event = deliver(&stack, 1).await.remove(0);
    let later = wait::until("it waits as it was asked to", async || {
        let shown = delivery(&stack, &id, &event).await;
        Ok((shown["tries"][0]["status"] == 429).then_some(shown))
    });
    let later = later.await.unwrap();
    let due: jiff::Timestamp = later["next_attempt_time"].as_str().unwrap().parse().unwrap();
    let wait = due.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3000..=3600).contains(&wait), "{later}");

    let (id, _) = create(&stack, &receiver.url("b"), json!({})).await;
    receiver.set_mode("b", "abort").unwrap();
    let event = deliver(&stack, 1).await.remove(0);
    let failed = wait::until("it is given up", async || {
        let shown = delivery(&stack, &id, &event).await;
        Ok((shown["state"] == "failed").then_some(shown))
    });
    assert_eq!(failed.await.unwrap()["attempts"], 1);

    receiver.set_mode("b", "410").unwrap();
    let event = deliver(&stack, 1).await.remove(0);
    let disabled = wait::until("it is disabled", async || {
        let shown = stack.get(&format!("/v1/webhooks/{id}")).await?.body;
        Ok((shown["disabled"] == true).then_some(shown))
    });
    assert_eq!(disabled.await.unwrap()["disable_reason"], "the endpoint answered 410 Gone");
    let told = stack.get("/v1/events?types=webhook.disabled").await.unwrap().body;
    let [notice] = &told["events"].as_array().unwrap()[..] else { panic!("told once: {told}") };
    assert_eq!(notice["reason"], "the endpoint answered 410 Gone");
    assert_eq!((&notice["subject"]["id"], &notice["message_id"]), (&json!(id), &Value::Null));
    receiver.set_mode("b", "200").unwrap();
    let missed = deliver(&stack, 1).await.remove(0);
    let since = json!({"recover_since": "2026-01-01T00:00:00Z"});
    let enabled = stack.post(&format!("/v1/webhooks/{id}/enable"), &since).await.unwrap();
    assert_eq!(enabled.body["disabled"], false, "{enabled:?}");
    wait::until("what was missed is taken", async || {
        let taken = ids(&receiver.taken("b")?);
        Ok((taken.contains(&missed) && taken.contains(&event)).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn events_are_replayed_with_the_ids_they_always_had() {
    let receiver = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&[PRIVATE]).await.unwrap();
    let mut events = deliver(&stack, 2).await;
    let (id, _) = create(&stack, &receiver.url("a"), json!({})).await;
    events.extend(deliver(&stack, 1).await);
    receiver.wait("a", 200, 1).await.unwrap();
    let replay = ["webhooks", "replay", &id, "--since", "2026-01-01T00:00:00Z"];
    let replayed = stack.operator(&replay).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&replayed.stdout), "3 events are posted\n", "{replayed:?}");
    let requests = receiver.wait("a", 200, 4).await.unwrap();
    assert_eq!(ids(&receiver.taken("a").unwrap()), events.iter().cloned().collect());
    let of_last = requests.iter().filter(|one| one["headers"]["webhook-id"] == events[2].as_str());
    let bodies: BTreeSet<_> = of_last.map(|one| one["body"].as_str().unwrap()).collect();
    assert_eq!(bodies.len(), 1, "the same octets again");
    let list = stack.operator(&["webhooks", "deliveries", &id]).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&list.stdout).lines().count(), 3, "{list:?}");
}

#[tokio::test]
async fn a_core_that_dies_while_it_posts_posts_again_and_says_so() {
    let receiver = HookReceiver::start().await.unwrap();
    let mut stack = Stack::start(&[PRIVATE]).await.unwrap();
    receiver.set_mode("a", "hang").unwrap();
    let (id, _) = create(&stack, &receiver.url("a"), json!({})).await;
    let events = deliver(&stack, 12).await;
    receiver.wait("a", 0, 8).await.unwrap();
    stack.kill_9().await.unwrap();
    receiver.set_mode("a", "200").unwrap();
    stack.restart().await.unwrap();
    until_all_taken(&receiver, "a", &events).await;
    let mut interrupted = 0;
    for event in &events {
        let shown = wait::until("the delivery is over", async || {
            let shown = delivery(&stack, &id, event).await;
            Ok((shown["state"] == "delivered").then_some(shown))
        });
        let shown = shown.await.unwrap();
        let tries = shown["tries"].as_array().unwrap().clone();
        interrupted += tries.iter().filter(|one| one["error"] == "interrupted").count();
        assert_eq!(json!(tries.len()), shown["attempts"]);
    }
    assert!(interrupted >= 8, "{interrupted}");
}
