//! The system says by mail and by event when it is not well, once, and when it is well again.

use std::collections::BTreeSet;

use postern_kit::env::Env;
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::postgres::Schema;
use postern_tests::proxy::Proxy;
use postern_tests::role::{Role, TOKEN};
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use serde_json::{Value, json};

/// Notices go to `ops@good.test`, at once.
const VARS: [(&str, &str); 5] = [
    ("POSTERN_NOTICE_TO", "ops@good.test"),
    ("POSTERN_NOTICE_FROM", "postern@shop.test"),
    ("POSTERN_NOTICE_AFTER", "300ms"),
    ("POSTERN_NOTICE_INTERVAL", "100ms"),
    ("POSTERN_GATEWAY_TOKEN", TOKEN),
];

/// The subjects of the mail that was caught for the operators, oldest first.
async fn subjects(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let list = stack.get("/v1/sink/messages?recipient=ops@good.test&page_size=100").await?;
    let mails = list.body["messages"].as_array().cloned().unwrap_or_default();
    let subject = |mail: &Value| mail["subject"].as_str().unwrap_or_default().to_owned();
    Ok(mails.iter().rev().map(subject).collect())
}

/// Subjects of this mail only.
async fn about(stack: &Stack, what: &str) -> anyhow::Result<Vec<String>> {
    let all = subjects(stack).await?;
    Ok(all.into_iter().filter(|subject| subject.contains(what)).collect())
}

async fn until_about(stack: &Stack, what: &str, count: usize) -> Vec<String> {
    let looked = wait::until(what, async || {
        let found = about(stack, what).await?;
        Ok((found.len() >= count).then_some(found))
    });
    looked.await.unwrap()
}

/// What the feed tells of a kind of trouble, oldest first.
async fn events(stack: &Stack, kind: &str) -> Vec<(String, String)> {
    let types = "/v1/events?types=system.trouble,system.resolved&page_size=100";
    let page = stack.get(types).await.unwrap().body;
    let all = page["events"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_kind = all.iter().filter(|event| event["reason"] == kind);
    of_kind.map(|event| (text(&event["type"]), text(&event["subject"]["id"]))).collect()
}

async fn set(stack: &Stack, name: &str, value: &str) {
    stack.operate(&["settings", "set", name, value]).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_is_gone_is_told_once_and_so_is_its_return_across_two_cores_and_restarts() {
    let url = Env::process().text("POSTERN_TEST_REDIS_URL", "");
    let host = url.strip_prefix("redis://").expect("run this under tests/with-postgres");
    let redis = Proxy::start(host).await.unwrap();
    let redis_url = format!("redis://{}", redis.addr);
    let schema = Schema::make("notifications").await.unwrap();
    let database = schema.url(&schema.host);
    let mut vars = VARS.to_vec();
    vars.extend([
        ("REDIS_URL", redis_url.as_str()),
        ("DATABASE_URL", database.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema.name),
    ]);
    let mut first = Stack::start(&vars).await.unwrap();
    let second = Stack::join(&vars, &first.key).await.unwrap();
    redis.cut();
    assert_eq!(until_about(&first, "Redis", 1).await, ["Trouble: Redis does not answer"]);
    first.kill_9().await.unwrap();
    first.restart().await.unwrap();
    // Whatever is told next is told after many looks of both cores.
    redis.restore();
    let told = until_about(&second, "Redis", 2).await;
    assert_eq!(told, ["Trouble: Redis does not answer", "Resolved: Redis does not answer"]);
    redis.cut();
    let told = until_about(&second, "Redis", 3).await;
    assert_eq!(told[2], "Trouble: Redis does not answer");
    let redis_events = events(&second, "redis").await;
    let kinds: Vec<&str> = redis_events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["system.trouble", "system.resolved", "system.trouble"]);
    assert!(redis_events.iter().all(|(_, id)| id == "redis"), "{redis_events:?}");
}

#[tokio::test]
async fn a_full_disk_and_an_old_backup_are_told_once_each_and_stop_being_true() {
    let folder = tempfile::tempdir().unwrap();
    let status = folder.path().join("last-backup");
    let mut vars = VARS.to_vec();
    vars.push(("POSTERN_NOTICE_DISK_FREE", "1125899906842624"));
    vars.push(("POSTERN_BACKUP_STATUS", status.to_str().unwrap()));
    let stack = Stack::start(&vars).await.unwrap();
    let disk = until_about(&stack, "disk", 1).await;
    assert!(disk[0].starts_with("Trouble: little disk space is left ("), "{disk:?}");
    let backup = until_about(&stack, "backup", 1).await;
    assert!(backup[0].starts_with("Trouble: there is no recent backup ("), "{backup:?}");
    let now = jiff::Timestamp::now().as_second();
    let made = format!("postern_backup_last_success_timestamp_seconds {now}\n");
    std::fs::write(&status, &made).unwrap();
    let backup = until_about(&stack, "backup", 2).await;
    assert!(backup[1].starts_with("Resolved: there is no recent backup ("), "{backup:?}");
    let failed = format!("{made}postern_backup_last_failure_timestamp_seconds {}\n", now + 1);
    std::fs::write(&status, failed).unwrap();
    assert_eq!(until_about(&stack, "backup", 3).await.len(), 3);
    assert_eq!(about(&stack, "disk").await.unwrap(), disk, "nothing was told again");
    set(&stack, "notice.disk_free", "0").await;
    let over = until_about(&stack, "disk", 2).await;
    assert!(over[1].starts_with("Resolved: little disk space is left ("), "{over:?}");
    let text = stack.caught("ops@good.test").await.unwrap();
    assert!(text.contains("From: Postern <postern@shop.test>"), "{text}");
    let told: Vec<_> = events(&stack, "disk_low").await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), 1, "{told:?}");
}

#[tokio::test]
async fn a_database_that_was_away_is_told_afterwards() {
    let schema = Schema::make("notifications_away").await.unwrap();
    let proxy = Proxy::start(&schema.host).await.unwrap();
    let database = schema.url(&proxy.addr.to_string());
    let mut vars = VARS.to_vec();
    vars.extend([
        ("DATABASE_URL", database.as_str()),
        ("POSTERN_DATABASE_SCHEMA", schema.name.as_str()),
        ("POSTERN_DATABASE_TIMEOUT", "500ms"),
        ("POSTERN_LOG_FORMAT", "json"),
    ]);
    let stack = Stack::start(&vars).await.unwrap();
    proxy.cut();
    wait::until("it has been away for long enough", async || {
        let log = stack.log()?;
        Ok((log.matches("troubles not looked after").count() >= 5).then_some(()))
    })
    .await
    .unwrap();
    proxy.restore();
    let told = until_about(&stack, "database", 2).await;
    let expected =
        ["Trouble: the database did not answer", "Resolved: the database did not answer"];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn webhooks_are_told_what_is_wrong() {
    let receiver = HookReceiver::start().await.unwrap();
    let mut vars = VARS.to_vec();
    vars.push(("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow"));
    let stack = Stack::start(&vars).await.unwrap();
    let hook = json!({"url": receiver.url("a"), "event_types": ["system.trouble"]});
    let made = stack.post("/v1/webhooks", &hook).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    set(&stack, "notice.disk_free", "1125899906842624").await;
    let taken = wait::until("the webhook", async || {
        let taken = receiver.taken("a")?;
        Ok((!taken.is_empty()).then_some(taken))
    });
    let text = format!("{:?}", taken.await.unwrap());
    assert!(text.contains("system.trouble") && text.contains("disk_low"), "{text}");
}

#[tokio::test]
async fn a_relay_that_is_gone_and_mail_that_fails_are_told_until_it_is_better() {
    let receiver = Receiver::start().await.unwrap();
    let proxy = Proxy::start(&format!("127.0.0.1:{}", receiver.port())).await.unwrap();
    let relay = format!("smtp://{}?tls=off", proxy.addr);
    // It is tried until the relay is back, however long that takes.
    let delays = ["500ms"; 200].join(",");
    let mut vars = VARS.to_vec();
    vars.extend([
        // Notices do not go the way that they tell about.
        ("POSTERN_NOTICE_FROM", "postern@ops.test"),
        ("POSTERN_TRANSPORT_DOMAINS", "shop.test=relay"),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_RELAY_URL", relay.as_str()),
        ("POSTERN_RETRY_DELAYS", delays.as_str()),
        ("POSTERN_DESTINATION_DEAD", "0ms"),
        ("POSTERN_CONNECTION_MESSAGES", "1"),
        ("POSTERN_NOTICE_ERROR_PERCENT", "0"),
        ("POSTERN_NOTICE_DISK_FREE", "1125899906842624"),
    ]);
    let stack = Stack::start(&vars).await.unwrap();
    // Only what ends after the first look counts.
    until_about(&stack, "disk", 1).await;
    let to: Vec<String> = (0..60).map(|n| format!("refuse+{n}@good.test")).collect();
    for to in &to {
        stack.send(&mail_to(to)).await.unwrap();
    }
    wait::until("all have bounced", async || {
        let page = stack.get("/v1/events?types=message.bounced&page_size=100").await?.body;
        Ok((page["events"].as_array().map_or(0, Vec::len) == to.len()).then_some(()))
    })
    .await
    .unwrap();
    proxy.cut();
    let id = stack.send(&mail_to("ok@good.test")).await.unwrap();
    let told = until_about(&stack, "relay", 1).await;
    assert_eq!(told, ["Trouble: the relay cannot be reached"]);
    assert!(about(&stack, "much mail fails").await.unwrap().is_empty(), "it is switched off");
    set(&stack, "notice.error_percent", "50").await;
    until_about(&stack, "much mail fails", 1).await;
    proxy.restore();
    stack.wait_state(&id, "delivered").await.unwrap();
    let told = until_about(&stack, "relay", 2).await;
    let expected =
        ["Trouble: the relay cannot be reached", "Resolved: the relay cannot be reached"];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_gateway_that_died_on_another_machine_is_missed_and_one_that_stops_is_not() {
    let stack = Stack::start(&VARS).await.unwrap();
    let stopped = Role::smtp_on("edge-7", &stack.grpc, &[]).await.unwrap();
    let died = Role::smtp_on("edge-8", &stack.grpc, &[]).await.unwrap();
    let hosts = async || {
        let page = stack.get("/v1/system").await?.body.to_string();
        Ok((page.contains("on edge-7") && page.contains("on edge-8")).then_some(()))
    };
    wait::until("both are heard of", hosts).await.unwrap();
    stopped.stop().await.unwrap();
    died.kill_9().await.unwrap();
    let told = wait::until("it is missed", async || {
        let found = about(&stack, "a gateway").await?;
        Ok((!found.is_empty()).then_some(found))
    });
    assert_eq!(told.await.unwrap(), ["Trouble: a gateway is not heard of (smtp@edge-8)"]);
    let back = Role::smtp_on("edge-8", &stack.grpc, &[]).await.unwrap();
    let told = until_about(&stack, "a gateway", 2).await;
    assert_eq!(told[1], "Resolved: a gateway is not heard of (smtp@edge-8)");
    back.stop().await.unwrap();
}
