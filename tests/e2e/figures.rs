//! Figures that move: what is refused, taken in, told and seen is counted where it happens, and once.

use std::time::Duration;

use postern_proto::v1::SendMessageRequest;
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::postal::{Postal, Signer};
use postern_tests::smtp_client::SmtpClient;
use postern_tests::stack::{Stack, mail_to, outgoing, request_with};
use postern_tests::wait;
use serde_json::json;

use super::ops::{figures, ops};
use super::postal::{attempt, handing, report, webhook};
use super::tracking_edge::{browser, get, start, tracked};
use super::webhooks::create;

const JSON: (&str, &str) = ("POSTERN_LOG_FORMAT", "json");
const PLAIN_AUTH: (&str, &str) = ("POSTERN_SMTP_PLAIN_AUTH", "on");
const MAIL: &str = "From: hi@shop.test\r\nSubject: hello\r\n\r\nhello";

/// Waits until a figure is this; says what it was last when it does not get there.
async fn until(stack: &Stack, sample: &str, value: f64) {
    let (ops, mut last) = (ops(stack), None);
    let look = async || {
        last = figures(&ops).await.get(sample).copied();
        Ok((last == Some(value)).then_some(()))
    };
    let found = wait::until(sample, look).await;
    found.unwrap_or_else(|error| panic!("{error}: {last:?}"));
}

/// What these figures add up to.
async fn sum(stack: &Stack, start: &str) -> f64 {
    let all = figures(&ops(stack)).await;
    all.iter().filter(|(name, _)| name.starts_with(start)).map(|(_, value)| value).sum()
}

#[tokio::test]
async fn refusals_are_counted_by_door_and_reason() {
    let stack = Stack::start(&[JSON, PLAIN_AUTH]).await.unwrap();
    assert_eq!(sum(&stack, "postern_auth_failures_total{").await, 0.0);
    let ask = reqwest::Client::new().get(format!("{}/v1/messages", stack.rest));
    assert_eq!(ask.bearer_auth("pst_wrong").send().await.unwrap().status(), 401);
    let rest = "postern_auth_failures_total{door=\"rest\",reason=\"INVALID_KEY\"}";
    until(&stack, rest, 1.0).await;
    let send =
        || SendMessageRequest { message: Some(outgoing("a@good.test")), ..Default::default() };
    let wrong = request_with(send(), "pst_wrong").unwrap();
    stack.messages().send_message(wrong).await.unwrap_err();
    // Who only says that a gateway sent them came by no gateway.
    let mut claimed = request_with(send(), "pst_wrong").unwrap();
    claimed.metadata_mut().insert("x-postern-door", "rest".parse().unwrap());
    stack.messages().send_message(claimed).await.unwrap_err();
    let grpc = "postern_auth_failures_total{door=\"grpc\",reason=\"INVALID_KEY\"}";
    until(&stack, grpc, 2.0).await;
    let mut client = SmtpClient::connect(stack.smtp.starttls).await.unwrap();
    client.ask("EHLO test\r\n").await.unwrap();
    assert!(client.auth("nobody", "wrong").await.unwrap().starts_with("535 "));
    until(&stack, "postern_smtp_logins_total{result=\"refused\"}", 1.0).await;
    until(&stack, "postern_smtp_replies_total{class=\"5xx\"}", 1.0).await;
    let smtp = "postern_auth_failures_total{door=\"smtp\",reason=\"INVALID_KEY\"}";
    until(&stack, smtp, 1.0).await;
    assert!(client.auth("key", &stack.key).await.unwrap().starts_with("235 "));
    until(&stack, "postern_smtp_logins_total{result=\"welcome\"}", 1.0).await;
    // The greeting, the answer to EHLO, which has many lines, and this one.
    until(&stack, "postern_smtp_replies_total{class=\"2xx\"}", 3.0).await;
    // A refusal for another reason says nothing about credentials.
    let refused = stack.post("/v1/messages", &mail_to("no address")).await.unwrap();
    assert_eq!((refused.status, refused.text("code")), (422, "invalid_address"), "{refused:?}");
    let address = "postern_grpc_refusals_total{door=\"rest\",reason=\"INVALID_ADDRESS\"}";
    until(&stack, address, 1.0).await;
    assert_eq!(sum(&stack, "postern_auth_failures_total{").await, 4.0);
}

#[tokio::test]
async fn mail_is_counted_by_where_it_came_in() {
    let stack = Stack::start(&[JSON, PLAIN_AUTH]).await.unwrap();
    stack.send_to("ann@good.test").await.unwrap();
    stack.grpc_send_to("bob@good.test").await.unwrap();
    let mut client = SmtpClient::login(stack.smtp.starttls, "key", &stack.key).await.unwrap();
    assert!(client.mail(MAIL).await.unwrap().starts_with("250 2.0.0 "));
    let batch = json!({
        "message": {"from": "hi@shop.test", "subject": "Hello", "text": "It works."},
        "items": [{"to": "cy@good.test"}, {"to": "dee@good.test"}],
    });
    let sent = stack.post("/v1/messages/batch", &batch).await.unwrap();
    assert!(sent.status < 300, "{sent:?}");
    let only_asked = json!({"validate_only": true, "from": "hi@shop.test", "to": "x@good.test",
        "subject": "Hello", "text": "It works."});
    stack.post("/v1/messages", &only_asked).await.unwrap();
    for (door, kind, count) in [
        ("rest", "single", 1.0),
        ("grpc", "single", 1.0),
        ("smtp", "single", 1.0),
        ("rest", "batch", 2.0),
    ] {
        let name = format!("postern_messages_accepted_total{{door=\"{door}\",kind=\"{kind}\"}}");
        until(&stack, &name, count).await;
    }
    assert_eq!(sum(&stack, "postern_messages_accepted_total{").await, 5.0);
    assert_eq!(sum(&stack, "postern_recipients_accepted_total").await, 5.0);
}

#[tokio::test]
async fn refusals_by_a_limit_are_counted_by_its_name() {
    let vars = [
        PLAIN_AUTH,
        JSON,
        ("POSTERN_REST_LIMIT_IP_PER_MINUTE", "3"),
        ("POSTERN_GRPC_LIMIT_KEY_PER_MINUTE", "2"),
        ("POSTERN_TRACKING_REQUESTS_PER_ADDRESS", "5"),
        ("POSTERN_TRACKING_REQUESTS_WINDOW", "1h"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let refused = async |url: String| {
        let mut refused = 0.0;
        for _ in 0..50 {
            if get(&url).await.status() == 429 {
                refused += 1.0;
            }
        }
        assert!(refused > 0.0, "{url}");
        refused
    };
    let by_rest = refused(format!("{}/v1/messages", stack.rest)).await;
    until(&stack, "postern_http_rate_limited_total{limit=\"ip\"}", by_rest).await;
    let by_tracker = refused(format!("{}/robots.txt", stack.tracker)).await;
    let name = "postern_tracking_rate_limited_total{limit=\"requests_per_address\"}";
    until(&stack, name, by_tracker).await;
    for _ in 0..2 {
        stack.grpc_send_to("ann@good.test").await.unwrap();
    }
    stack.grpc_send_to("ann@good.test").await.unwrap_err();
    until(&stack, "postern_grpc_rate_limited_total{limit=\"grpc\"}", 1.0).await;
    let body = json!({"display_name": "app", "scopes": ["messages:send"], "daily_limit": 1});
    let made = stack.post("/v1/keys", &body).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    let send = || stack.raw_post("/v1/messages").bearer_auth(made.text("secret"));
    assert_eq!(send().json(&mail_to("a@good.test")).send().await.unwrap().status(), 202);
    assert_eq!(send().json(&mail_to("b@good.test")).send().await.unwrap().status(), 429);
    until(&stack, "postern_grpc_rate_limited_total{limit=\"send\"}", 1.0).await;
    until(&stack, "postern_http_rate_limited_total{limit=\"send\"}", 1.0).await;
}

#[tokio::test]
async fn a_limit_of_smtp_is_counted() {
    let stack = Stack::start(&[PLAIN_AUTH, JSON]).await.unwrap();
    let create = ["smtp-credentials", "create", "limited", "--rate-limit=1"];
    let made = stack.operate(&create).await.unwrap();
    let (user, password) = (made["username"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let mut client = SmtpClient::login(stack.smtp.starttls, user, password).await.unwrap();
    assert!(client.mail(MAIL).await.unwrap().starts_with("250 2.0.0 "));
    let reply = client.ask("MAIL FROM:<hi@shop.test>\r\n").await.unwrap();
    assert!(reply.starts_with("451 4.7.1 "), "{reply}");
    until(&stack, "postern_smtp_rate_limited_total{limit=\"messages\"}", 1.0).await;
    until(&stack, "postern_smtp_replies_total{class=\"4xx\"}", 1.0).await;
    until(&stack, "postern_smtp_replies_total{class=\"3xx\"}", 1.0).await;
}

#[tokio::test]
async fn tries_of_webhooks_are_counted_by_what_came_of_them() {
    let receiver = HookReceiver::start().await.unwrap();
    let vars = [
        JSON,
        ("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow"),
        ("POSTERN_WEBHOOKS_RETRY_PERCENT", "0"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    receiver.set_mode("flaps", "flap").unwrap();
    receiver.set_mode("aborts", "abort").unwrap();
    create(&stack, &receiver.url("flaps"), json!({})).await;
    create(&stack, &receiver.url("aborts"), json!({})).await;
    let id = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    for outcome in ["deferred", "delivered", "failed"] {
        let name = format!("postern_webhook_posts_total{{outcome=\"{outcome}\"}}");
        until(&stack, &name, 1.0).await;
    }
}

#[tokio::test]
async fn what_recipients_do_is_counted_by_kind() {
    let stack = start(&[JSON]).await;
    let (_, link) = tracked(&stack, "ann@good.test").await;
    let at = |path: &str| format!("{}{}", stack.tracker, link(path));
    get(&at("/o/")).await;
    get(&at("/o/")).await;
    get(&at("/c/")).await;
    // A forged link is nobody's.
    get(&format!("{}/c/forged", stack.tracker)).await;
    let form = [("List-Unsubscribe", "One-Click")];
    let done = browser().post(at("/u/")).form(&form).send().await.unwrap();
    assert_eq!(done.status(), 200);
    for (kind, count) in [("open", 2.0), ("click", 1.0), ("unsubscribe", 1.0)] {
        until(&stack, &format!("postern_tracking_hits_total{{kind=\"{kind}\"}}"), count).await;
    }
    assert_eq!(sum(&stack, "postern_tracking_hits_total{").await, 4.0);
}

#[tokio::test]
async fn what_postal_reports_is_counted_once() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let stack = handing(&postal.addr, &signer, &[JSON]).await;
    let id = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&id, "sent").await.unwrap();
    let taken = postal.taken().remove(0);
    let bounced = attempt(&taken, "550 5.1.1 no");
    let body = webhook("MessageDeliveryFailed", "u-1", &bounced);
    report(&stack, &signer, &body).await;
    report(&stack, &signer, &body).await;
    // Of what has ended nothing is news.
    report(&stack, &signer, &webhook("MessageSent", "u-2", &attempt(&taken, "250 OK"))).await;
    stack.wait_state(&id, "bounced").await.unwrap();
    let name = "postern_attempts_total{event=\"message.bounced\",reason=\"unknown_user\"}";
    until(&stack, name, 1.0).await;
    until(&stack, "postern_attempts_total{event=\"message.sent\",reason=\"\"}", 1.0).await;
    assert_eq!(sum(&stack, "postern_attempts_total{").await, 2.0);
}

#[tokio::test]
async fn what_expires_is_counted() {
    let stack = Stack::start(&[JSON]).await.unwrap();
    let held = stack.post("/v1/campaigns/spring/hold", &json!({})).await.unwrap();
    assert!(held.status < 300, "{held:?}");
    let mut mail = mail_to("ann@good.test");
    mail["campaign_id"] = "spring".into();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    mail["expire_time"] = soon.to_string().into();
    let id = stack.send(&mail).await.unwrap();
    let past = async || Ok((jiff::Timestamp::now() > soon).then_some(()));
    wait::until("its end", past).await.unwrap();
    let resumed = stack.post("/v1/campaigns/spring/resume", &json!({})).await.unwrap();
    assert!(resumed.status < 300, "{resumed:?}");
    stack.wait_state(&id, "expired").await.unwrap();
    until(&stack, "postern_attempts_total{event=\"message.expired\",reason=\"\"}", 1.0).await;
}

#[tokio::test]
async fn who_goes_away_before_the_answer_is_counted() {
    let stack = Stack::start(&[JSON]).await.unwrap();
    let route = "postern_http_requests_total{method=\"GET\",route=\"/v1/sink/wait\",status=";
    let call =
        "postern_grpc_requests_total{method=\"postern.v1.SinkService/WaitForSinkMessage\",code=";
    let counted = wait::until("both doors have counted somebody", async || {
        let patience = Duration::from_millis(100);
        let nobody = stack.get("/v1/sink/wait?recipient=nobody@good.test&timeout=60s");
        assert!(tokio::time::timeout(patience, nobody).await.is_err(), "there is no such mail");
        let gone = sum(&stack, &format!("{route}\"canceled\"}}")).await;
        let canceled = sum(&stack, &format!("{call}\"Cancelled\"}}")).await;
        Ok((gone > 0.0 && canceled > 0.0).then_some(()))
    });
    counted.await.unwrap();
    assert_eq!(sum(&stack, &format!("{route}\"2xx\"}}")).await, 0.0, "nobody was answered");
}
