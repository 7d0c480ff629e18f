//! Live settings seen from outside: the environment gives defaults, a change holds everywhere at once.

use std::time::{Duration, Instant};

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1::audit_service_client::AuditServiceClient;
use postern_proto::v1::{ListAuditEntriesRequest, ListMessagesRequest};
use postern_tests::answer::Answer;
use postern_tests::postgres::Schema;
use postern_tests::role::TOKEN;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Changes settings, one after the other.
pub(super) async fn set(stack: &Stack, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        stack.operate(&["settings", "set", name, value]).await.unwrap();
    }
}

async fn get(stack: &Stack, path: &str, key: &str) -> Answer {
    let request = stack.raw(reqwest::Method::GET, path);
    let request = if key.is_empty() { request } else { request.bearer_auth(key) };
    Answer::read(request.send().await.unwrap()).await.unwrap()
}

/// How many a limit of the first key allows; 0 without it.
async fn quota(stack: &Stack, policy: &str) -> i64 {
    let limits = stack.get("/v1/limits").await.unwrap();
    let limits = limits.body["rate_limits"].as_array().cloned().unwrap_or_default();
    let found = limits.iter().find(|limit| limit["policy"] == policy);
    found.and_then(|limit| limit["quota"].as_i64()).unwrap_or(0)
}

async fn until_quota(stack: &Stack, policy: &str, expected: i64) {
    let seen = async || Ok((quota(stack, policy).await == expected).then_some(()));
    wait::until(policy, seen).await.unwrap();
}

/// The first line of the answer to a request whose body never ends.
async fn unfinished(stack: &Stack, media_type: &str) -> String {
    let mut stream = TcpStream::connect(stack.rest.trim_start_matches("http://")).await.unwrap();
    let (key, path) = match media_type {
        "application/json" => (&stack.key, "/v1/messages"),
        _ => (&stack.key, "/v1/messages/batch"),
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: {media_type}\r\nContent-Length: 1000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let read = tokio::time::timeout(wait::LIMIT, stream.read_exact(&mut answer));
    read.await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_environment_gives_defaults_only() {
    let vars = [("POSTERN_REST_LIMIT_KEY_PER_MINUTE", "5000"), ("POSTERN_DAILY_LIMIT", "70")];
    let mut stack = Stack::start(&vars).await.unwrap();
    assert_eq!((quota(&stack, "api").await, quota(&stack, "send-total").await), (5000, 70));
    let shown = async |stack: &Stack| {
        let path = "/v1/settings?prefix=rest.limit_key_per_minute";
        let setting = stack.get(path).await.unwrap().body["settings"][0].clone();
        let text = |name: &str| setting[name].as_str().unwrap_or_default().to_owned();
        (text("value"), text("default_value"), setting["changed"] == true, text("kind"))
    };
    let (value, default) = ("5000".to_owned(), "5000".to_owned());
    assert_eq!(shown(&stack).await, (value, default.clone(), false, "count".to_owned()));
    set(&stack, &[("rest.limit_key_per_minute", "6000")]).await;
    until_quota(&stack, "api", 6000).await;
    let (value, kind) = ("6000".to_owned(), "count".to_owned());
    assert_eq!(shown(&stack).await, (value, default, true, kind), "that is the built-in default");
    stack.sigterm().await.unwrap();
    stack.wait_exit(wait::LIMIT).await.unwrap();
    stack.restart().await.unwrap();
    until_quota(&stack, "api", 6000).await;
    stack.operate(&["settings", "reset", "rest.limit_key_per_minute"]).await.unwrap();
    until_quota(&stack, "api", 5000).await;
    let mut audit = AuditServiceClient::new(stack.channel.clone());
    let list = stack.request(ListAuditEntriesRequest::default()).unwrap();
    let entries = audit.list_audit_entries(list).await.unwrap().into_inner().entries;
    let noted: Vec<_> = entries.iter().filter(|entry| entry.action == "setting.update").collect();
    assert_eq!(noted.len(), 2, "{entries:?}");
    assert_eq!(noted[1].target, "rest.limit_key_per_minute");
    assert_eq!((&*noted[1].detail, &*noted[0].detail), ("5000 → 6000", "6000 → 5000"));
}

#[tokio::test]
async fn the_rest_door_goes_by_its_settings() {
    let stack = Stack::start(&[]).await.unwrap();
    set(
        &stack,
        &[
            ("rest.body_max", "2000"),
            ("rest.timeout", "300ms"),
            ("rest.bulk_timeout", "300ms"),
            ("rest.limit_concurrent", "7"),
            ("rest.limit_ip_per_minute", "100"),
            ("rest.limit_webhooks_per_minute", "90"),
            ("rest.limit_key_per_minute", "2000"),
        ],
    )
    .await;
    until_quota(&stack, "api", 2000).await;
    assert_eq!(quota(&stack, "conc").await, 7);
    let policy = get(&stack, "/v1/limits", "").await.header("ratelimit-policy").to_owned();
    assert!(policy.starts_with("\"ip\";q=100;w=60, \"conc\";q=7"), "{policy}");
    let webhook = stack.raw_post("/api/v1/webhook").body("{}").send().await.unwrap();
    let policy = Answer::read(webhook).await.unwrap().header("ratelimit-policy").to_owned();
    assert!(policy.starts_with("\"webhooks\";q=90;w=60"), "{policy}");
    let mut large = mail_to("ann@good.test");
    large["text"] = json!("x".repeat(3000));
    assert_eq!(stack.post("/v1/messages", &large).await.unwrap().status, 413);
    let begin = Instant::now();
    assert_eq!(unfinished(&stack, "application/json").await, "HTTP/1.1 504");
    assert_eq!(unfinished(&stack, "application/x-ndjson").await.len(), 12);
    assert!(begin.elapsed() < Duration::from_secs(25), "the defaults are 30 s and 10 m");
    set(&stack, &[("rest.limit_failures_per_minute", "1"), ("rest.limit_concurrent", "8")]).await;
    until_quota(&stack, "conc", 8).await;
    for expected in [401, 401, 429] {
        let refused = get(&stack, "/v1/limits", "pst_wrong").await;
        assert_eq!(refused.status, expected, "{refused:?}");
    }
}

#[tokio::test]
async fn calls_straight_to_the_core_have_a_limit_of_their_own() {
    let stack = Stack::start(&[("POSTERN_GRPC_LIMIT_KEY_PER_MINUTE", "2")]).await.unwrap();
    let list = async || {
        let request = stack.request(ListMessagesRequest::default()).unwrap();
        stack.messages().list_messages(request).await
    };
    assert!(list().await.is_ok() && list().await.is_ok());
    let refused = Failure::from_status(&list().await.unwrap_err());
    assert_eq!(refused.reason, Reason::RateLimited, "{refused:?}");
    assert!(refused.retry_after.is_some_and(|wait| wait <= Duration::from_secs(60)), "{refused:?}");
    assert!(refused.metadata.contains(&("limit".to_owned(), "2".to_owned())), "{refused:?}");
    assert_eq!(stack.get("/v1/messages").await.unwrap().status, 200, "through a gateway");
    let put = stack.raw(reqwest::Method::PUT, "/v1/settings/grpc.limit_key_per_minute");
    let put = put.bearer_auth(&stack.key).json(&json!({"value": "0"}));
    assert_eq!(put.send().await.unwrap().status(), 200);
    for _ in 0..5 {
        assert!(list().await.is_ok(), "the core that made the change goes by it at once");
    }
}

#[tokio::test]
async fn acceptance_goes_by_its_settings() {
    let stack = Stack::start(&[]).await.unwrap();
    let two = json!({"from": "hi@shop.test", "to": ["a@good.test", "b@good.test"],
        "subject": "s", "text": "x".repeat(2000)});
    let send = async |key: &str| {
        stack.post_with("/v1/messages", &two, &[("Idempotency-Key", key)]).await.unwrap()
    };
    set(&stack, &[("max.age", "1h"), ("idempotency.ttl", "5h")]).await;
    let sent = send("one").await;
    assert_eq!(sent.status, 202, "{sent:?}");
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let left = time(sent.header("idempotency-expire-time")).duration_since(jiff::Timestamp::now());
    assert!((17_900..=18_000).contains(&left.as_secs()), "{left}");
    let message = stack.message(sent.text("id")).await.unwrap();
    let of = |name: &str| time(message[name].as_str().unwrap());
    assert_eq!(of("expire_time").duration_since(of("create_time")).as_secs(), 3600, "{message}");
    set(&stack, &[("message.bytes", "1024")]).await;
    let refused = send("two").await;
    assert_eq!((refused.status, refused.text("code")), (413, "message_too_large"), "{refused:?}");
    let limits = stack.get("/v1/limits").await.unwrap();
    assert_eq!(limits.body["message_bytes_max"], 1024, "{limits:?}");
    assert_eq!(limits.body["idempotency_ttl"], "18000s", "{limits:?}");
    stack.operate(&["settings", "reset", "message.bytes"]).await.unwrap();
    set(&stack, &[("daily.limit_per_key", "3")]).await;
    assert_eq!(quota(&stack, "send").await, 3);
    assert_eq!(send("three").await.status, 202);
    let refused = send("four").await;
    assert_eq!((refused.status, refused.text("code")), (429, "quota_exceeded"), "{refused:?}");
    assert_eq!(refused.body["violated-policies"], json!(["send"]));
    set(&stack, &[("daily.limit_per_key", "0"), ("daily.limit", "1")]).await;
    let refused = send("five").await;
    assert_eq!(refused.body["violated-policies"], json!(["send-total"]), "{refused:?}");
    set(&stack, &[("daily.limit", "0")]).await;
    assert_eq!(send("six").await.status, 202);
}

#[tokio::test]
async fn a_change_holds_on_every_core_and_gateway_within_two_seconds() {
    let schema = Schema::make("settings").await.unwrap();
    let url = schema.url(&schema.host);
    let vars = [
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema.name),
        ("POSTERN_GATEWAY_TOKEN", TOKEN),
    ];
    let one = Stack::start(&vars).await.unwrap();
    let other = Stack::join(&vars, &one.key).await.unwrap();
    set(&one, &[("message.bytes", "4096"), ("rest.limit_key_per_minute", "1234")]).await;
    let changed = Instant::now();
    until_quota(&other, "api", 1234).await;
    let limits = other.get("/v1/limits").await.unwrap();
    assert_eq!(limits.body["message_bytes_max"], 4096, "{limits:?}");
    until_quota(&one, "api", 1234).await;
    assert!(changed.elapsed() < Duration::from_secs(2), "{:?}", changed.elapsed());
}
