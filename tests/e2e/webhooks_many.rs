//! Two cores on one PostgreSQL post every event, and each once.

use std::collections::BTreeSet;

use postern_tests::hook_receiver::HookReceiver;
use postern_tests::postgres::Schema;
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::json;

use super::webhooks::create;

#[tokio::test]
async fn two_cores_on_one_postgresql_post_each_event_once() {
    let receiver = HookReceiver::start().await.unwrap();
    let schema = Schema::make("webhooks").await.unwrap();
    let url = schema.url(&schema.host);
    let token = postern_tests::role::TOKEN;
    let vars = [
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema.name),
        ("POSTERN_GATEWAY_TOKEN", token),
        ("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow"),
    ];
    let one = Stack::start(&vars).await.unwrap();
    let other = Stack::join(&vars, &one.key).await.unwrap();
    create(&one, &receiver.url("a"), json!({"max_concurrency": 3})).await;
    let mut expected = BTreeSet::new();
    for n in 0..20 {
        let stack = if n % 2 == 0 { &one } else { &other };
        let id = stack.send_to(&format!("ann{n}@good.test")).await.unwrap();
        stack.wait_state(&id, "delivered").await.unwrap();
        expected.insert(id);
    }
    let taken = wait::until("every event is taken", async || {
        let taken = receiver.taken("a")?;
        Ok((taken.len() >= 20).then_some(taken))
    });
    let taken = taken.await.unwrap();
    let messages: BTreeSet<_> =
        taken.iter().map(|body| body["data"]["message_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((messages, taken.len()), (expected, 20));
}
