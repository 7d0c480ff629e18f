//! What REST refuses, how it says so, and that nothing of it is kept.

use postern_tests::answer::Answer;
use postern_tests::stack::{Stack, mail_to};
use serde_json::{Value, json};

/// A change to a good mail, the status and the code it must be refused with.
type Case = (&'static str, Value, u16, &'static str);

fn injections() -> Vec<Case> {
    let forbidden = "forbidden_character";
    let named = |name: &str| json!({"email": "ann@good.test", "display_name": name});
    vec![
        ("subject", json!("a\r\nBcc: x@evil.test"), 422, forbidden),
        ("subject", json!("a\nb"), 422, forbidden),
        ("subject", json!("a\rb"), 422, forbidden),
        ("subject", json!("a\u{0}b"), 422, forbidden),
        ("from", named("A\r\nBcc: x@evil.test"), 422, forbidden),
        ("to", json!([named("A\nB")]), 422, forbidden),
        ("to", json!([named("A\u{0}B")]), 422, forbidden),
        ("headers", json!({"X-A": "b\r\nBcc: x@evil.test"}), 422, forbidden),
        ("headers", json!({"X-A": "b\u{0}"}), 422, forbidden),
        ("to", json!("ann@good.test\r\nBcc: x@evil.test"), 422, "invalid_address"),
        ("to", json!("ann@good.test\u{0}"), 422, forbidden),
        ("from", json!("hi@shop.test\r\nRCPT"), 422, "invalid_address"),
        ("from", json!("hi@shop.test\r\nTo:<x@evil.test>"), 422, forbidden),
        ("text", json!("a\u{0}b"), 422, forbidden),
    ]
}

fn shapes() -> Vec<Case> {
    let many: Vec<_> = (0..1001).map(|n| format!("r{n}@good.test")).collect();
    let file = json!({"filename": "a.txt", "content": "YQ=="});
    let path = json!([{"filename": "../a.txt", "content": "YQ=="}]);
    vec![
        ("subjekt", json!("x"), 400, "unknown_field"),
        ("subject", json!(5), 400, "wrong_type"),
        ("tags", json!("one"), 400, "wrong_type"),
        ("to", json!([]), 422, "missing_field"),
        ("subject", json!(""), 422, "missing_field"),
        ("to", json!("nobody"), 422, "invalid_address"),
        ("from", json!(""), 422, "invalid_address"),
        ("headers", json!({"DKIM-Signature": "x"}), 422, "header_not_allowed"),
        ("subject", json!("s".repeat(999)), 422, "value_out_of_range"),
        ("to", json!(many), 422, "too_many_recipients"),
        ("attachments", path, 422, "forbidden_character"),
        ("attachments", json!(vec![file; 51]), 422, "value_out_of_range"),
        ("text", json!("x".repeat(70_000)), 413, "message_too_large"),
        ("tags", json!(["t".repeat(129)]), 422, "value_out_of_range"),
        ("send_time", json!("2999-01-01T00:00:00Z"), 422, "schedule_too_far"),
    ]
}

async fn stack() -> Stack {
    Stack::start(&[("POSTERN_MESSAGE_BYTES", "65536")]).await.unwrap()
}

async fn refuses_all(stack: &Stack, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for (field, value, status, code) in cases {
        let mut mail = mail_to("ann@good.test");
        mail[field] = value;
        let answer = stack.post("/v1/messages", &mail).await.unwrap();
        if (answer.status, answer.text("code")) != (status, code) {
            let shown: String = mail[field].to_string().chars().take(60).collect();
            wrong.push(format!("{field}={shown}: wanted {code}, got {}", answer.body));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    keeps_nothing(stack).await;
}

async fn keeps_nothing(stack: &Stack) {
    let list = stack.get("/v1/messages").await.unwrap();
    assert_eq!(list.body["messages"], json!([]));
    let events = stack.get("/v1/events").await.unwrap();
    assert_eq!(events.body["events"], json!([]));
    let inbox = stack.get("/v1/sink/messages").await.unwrap();
    assert_eq!(inbox.body["messages"], json!([]));
}

fn check(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.text("code"), code, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn line_breaks_and_nul_are_refused_wherever_they_could_inject() {
    refuses_all(&stack().await, injections()).await;
}

#[tokio::test]
async fn unknown_wrong_and_oversized_values_are_refused_by_name() {
    refuses_all(&stack().await, shapes()).await;
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    let stack = stack().await;
    let post = stack.raw_post("/v1/messages").bearer_auth(&stack.key);
    let post = post.header("content-type", "application/json");
    let answer = Answer::read(post.body("{\"from\": ").send().await.unwrap());
    check(&answer.await.unwrap(), 400, "malformed_json");
    let post = stack.raw_post("/v1/messages").bearer_auth(&stack.key);
    let post = post.header("content-type", "text/plain").body("hello");
    let answer = Answer::read(post.send().await.unwrap()).await;
    check(&answer.unwrap(), 415, "unsupported_media_type");
    keeps_nothing(&stack).await;
}

#[tokio::test]
async fn a_wrong_page_token_is_refused() {
    let stack = stack().await;
    for path in ["/v1/messages", "/v1/events", "/v1/keys"] {
        let answer = stack.get(&format!("{path}?page_token=nonsense")).await;
        check(&answer.unwrap(), 400, "bad_page_token");
    }
    let answer = stack.get("/v1/messages?pagetoken=x").await.unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_refused() {
    let stack = stack().await;
    let mail = mail_to("ann@good.test");
    let bare = stack.raw_post("/v1/messages").json(&mail).send().await;
    let answer = Answer::read(bare.unwrap()).await.unwrap();
    check(&answer, 401, "missing_credentials");
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    let post = stack.raw_post("/v1/messages").json(&mail);
    let wrong = post.bearer_auth("pst_wrong").send().await.unwrap();
    let answer = Answer::read(wrong).await.unwrap();
    check(&answer, 401, "invalid_key");
    keeps_nothing(&stack).await;
}
