//! Mail handed to a stand-in for Postal: taken, refused, of unknown fate, and while it is down.

use std::time::{Duration, Instant};

use postern_tests::postal::{API_KEY, Mood, Postal, Signer, Taken};
use postern_tests::proxy::Proxy;
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::{Value, json};

/// A system that hands its mail to the one at `addr` and believes webhooks of `signer`.
pub(crate) async fn handing(addr: &str, signer: &Signer, more: &[(&str, &str)]) -> Stack {
    let (own, key) = (Postal::variables(addr), signer.public());
    let mut vars: Vec<_> =
        own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    vars.extend([
        ("POSTERN_POSTAL_WEBHOOK_KEY_FILE", key.as_str()),
        ("POSTERN_RETRY_DELAYS", "1s"),
        ("POSTERN_POSTAL_BREAKER_OPEN_TIME", "300ms"),
        ("POSTERN_POSTAL_BREAKER_OPEN_TIME_MAX", "1s"),
    ]);
    vars.extend(more);
    Stack::start(&vars).await.unwrap()
}

/// The body of a webhook. Written out, so that its octets are the signed ones.
pub(crate) fn webhook(event: &str, uuid: &str, payload: &Value) -> String {
    json!({"event": event, "timestamp": 1_700_000_000.25, "payload": payload, "uuid": uuid})
        .to_string()
}

/// What Postal says of an attempt at a mail.
pub(crate) fn attempt(taken: &Taken, output: &str) -> Value {
    json!({"message": taken.shown(), "status": "x", "details": "what Postal says", "output": output,
           "sent_with_ssl": true, "timestamp": 1.5, "time": 0.22})
}

/// Posts a body with these fields; returns status and text.
pub(crate) async fn post(
    stack: &Stack,
    path: &str,
    body: &str,
    fields: &[(&'static str, String)],
) -> (u16, String) {
    let request = stack.raw_post(path).header("content-type", "application/json");
    let request =
        fields.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let answer = request.body(body.to_owned()).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Delivers a webhook that must be taken in.
pub(crate) async fn report(stack: &Stack, signer: &Signer, body: &str) {
    let fields = signer.fields(body.as_bytes()).unwrap();
    let answer = post(stack, "/api/v1/webhook", body, &fields).await;
    assert_eq!(answer, (200, r#"{"received":true}"#.to_owned()), "{body}");
}

pub(crate) async fn types(stack: &Stack, id: &str) -> Vec<String> {
    let events = stack.events(id).await.unwrap();
    events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

async fn health(stack: &Stack) -> (u16, String) {
    let answer = stack.get("/health/transport/postal").await.unwrap();
    (answer.status, answer.text("status").to_owned())
}

async fn wait_health(stack: &Stack, status: u16) {
    let look = async || Ok((health(stack).await.0 == status).then_some(()));
    wait::until("the health of the transport", look).await.unwrap();
}

#[tokio::test]
async fn a_mail_is_sent_when_postal_took_it_and_delivered_when_postal_says_so() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let host = ("POSTERN_POSTAL_HOST", "postal.shop.test");
    let stack = handing(&postal.addr, &signer, &[host]).await;
    let id = stack.send_to("Ann@good.test").await.unwrap();
    let message = stack.wait_state(&id, "sent").await.unwrap();
    assert_eq!(message["state"], "processing", "{message}");
    assert!(message["recipients"][0].get("next_attempt_time").is_none(), "{message}");
    let taken = postal.taken().remove(0);
    assert_eq!((taken.from.as_str(), taken.to.as_str()), ("hi@shop.test", "Ann@good.test"));
    assert_eq!(taken.headers["x-server-api-key"], API_KEY);
    assert_eq!(taken.headers["host"], "postal.shop.test");
    assert_eq!(taken.message_id(), message["rfc_message_id"].as_str().unwrap());
    assert!(taken.raw.contains("\r\nSubject: Hello\r\n"), "{}", taken.raw);

    let body = webhook("MessageSent", "u-1", &attempt(&taken, "250 2.0.0 OK queued"));
    report(&stack, &signer, &body).await;
    let message = stack.wait_state(&id, "delivered").await.unwrap();
    let reply = &message["recipients"][0]["last_reply"];
    assert_eq!((reply["code"].as_i64(), reply["text"].as_str()), (Some(250), Some("OK queued")));
    // What was replayed changes nothing.
    report(&stack, &signer, &body).await;
    let expected = ["message.accepted", "message.sent", "message.delivered"];
    assert_eq!(types(&stack, &id).await, expected);
    assert_eq!(health(&stack).await, (200, "serving".to_owned()));
    let old = stack.get(&format!("/api/v1/status/{id}")).await.unwrap();
    assert_eq!(old.text("status"), "delivered", "{old:?}");
    assert!(!stack.log().unwrap().contains(API_KEY));
}

#[tokio::test]
async fn a_200_that_is_a_refusal_fails_the_mail_and_not_the_others() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let stack = handing(&postal.addr, &signer, &[]).await;
    for mood in [Mood::Refuse("UnauthenticatedFromAddress"), Mood::ParameterError] {
        postal.set(mood);
        let id = stack.send_to("ann@good.test").await.unwrap();
        let message = stack.wait_state(&id, "failed").await.unwrap();
        let text = message["recipients"][0]["last_reply"]["text"].as_str().unwrap();
        assert!(text.starts_with("Postal refuses the message: "), "{message}");
    }
    postal.set(Mood::Take);
    let id = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&id, "sent").await.unwrap();
}

#[tokio::test]
async fn mail_waits_while_postal_refuses_the_server_and_goes_on_by_itself() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let stack = handing(&postal.addr, &signer, &[]).await;
    postal.set(Mood::Refuse("ServerSuspended"));
    let first = stack.send_to("first@good.test").await.unwrap();
    stack.wait_state(&first, "deferred").await.unwrap();
    wait_health(&stack, 503).await;
    assert_eq!(health(&stack).await.1, "waiting");
    let mut waiting = Vec::new();
    for n in 0..20 {
        waiting.push(stack.send_to(&format!("w{n}@good.test")).await.unwrap());
    }
    // Some of them try whether it is over; whoever does not has no attempt counted.
    let calls = postal.calls();
    let again = async || Ok((postal.calls() >= calls + 3).then_some(()));
    wait::until("further trials", again).await.unwrap();
    let mut untouched = 0;
    for id in &waiting {
        let message = stack.message(id).await.unwrap();
        let recipient = &message["recipients"][0];
        let state = recipient["state"].as_str().unwrap();
        assert!(["queued", "sending", "deferred"].contains(&state), "{message}");
        untouched += usize::from(recipient["attempts"].as_i64().unwrap_or(0) == 0);
    }
    assert!(untouched >= 10, "{untouched} of 20 waited");
    postal.set(Mood::Take);
    for id in waiting.iter().chain([&first]) {
        stack.wait_state(id, "sent").await.unwrap();
    }
    wait_health(&stack, 200).await;
    assert_eq!(postal.taken().len(), 21, "each once");
    let log = stack.log().unwrap();
    assert!(log.contains("Postal refuses this client") && log.contains("ServerSuspended"), "{log}");
    assert!(!log.contains(API_KEY), "Postal repeats the key in its answer");
}

#[tokio::test]
async fn mail_waits_while_postal_is_down_and_goes_on_by_itself() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let proxy = Proxy::start(&postal.addr).await.unwrap();
    let failures = ("POSTERN_POSTAL_BREAKER_FAILURES", "2");
    let stack = handing(&proxy.addr.to_string(), &signer, &[failures]).await;
    let before = stack.send_to("before@good.test").await.unwrap();
    stack.wait_state(&before, "sent").await.unwrap();
    proxy.cut();
    let mut waiting = Vec::new();
    for n in 0..10 {
        waiting.push(stack.send_to(&format!("w{n}@good.test")).await.unwrap());
    }
    wait_health(&stack, 503).await;
    // A restart of ours does not lose what waits.
    let mut stack = stack;
    stack.kill_9().await.unwrap();
    stack.restart().await.unwrap();
    proxy.restore();
    // What was cut off in the middle of a call is of unknown fate; the others are not.
    let look = async || {
        let mut open = 0;
        for id in &waiting {
            let message = stack.message(id).await?;
            let recipient = &message["recipients"][0];
            let unknown = recipient["last_reply"]["text"].as_str().unwrap_or_default();
            let sent = recipient["state"] == "sent";
            open += usize::from(!sent && !unknown.starts_with("it is not known"));
        }
        Ok((open == 0).then_some(()))
    };
    wait::until("everything that waited is sent", look).await.unwrap();
    let taken = postal.taken();
    for n in 0..10 {
        let times = taken.iter().filter(|one| one.to == format!("w{n}@good.test")).count();
        assert!(times <= 1, "w{n} was given {times} times");
    }
}

#[tokio::test]
#[ignore = "minutes; tests/run --all runs it"]
async fn mail_that_comes_while_postal_is_down_for_minutes_is_sent_when_it_is_back() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let proxy = Proxy::start(&postal.addr).await.unwrap();
    let vars = [
        ("POSTERN_POSTAL_BREAKER_OPEN_TIME", "30s"),
        ("POSTERN_POSTAL_BREAKER_OPEN_TIME_MAX", "30s"),
        // The way to it breaks in the middle of a call, whose outcome nobody will report.
        ("POSTERN_POSTAL_UNKNOWN_WAIT", "10s"),
    ];
    let stack = handing(&proxy.addr.to_string(), &signer, &vars).await;
    let before = stack.send_to("before@good.test").await.unwrap();
    stack.wait_state(&before, "sent").await.unwrap();
    proxy.cut();
    let mut waiting = Vec::new();
    let (down, mut pace) = (Instant::now(), tokio::time::interval(Duration::from_millis(500)));
    while down.elapsed() < Duration::from_secs(180) {
        pace.tick().await;
        let to = format!("w{}@good.test", waiting.len());
        waiting.push(stack.send_to(&to).await.unwrap());
    }
    wait_health(&stack, 503).await;
    proxy.restore();
    for id in &waiting {
        stack.wait_state(id, "sent").await.unwrap();
    }
    let taken = postal.taken();
    assert_eq!(taken.len(), waiting.len() + 1, "each once");
    println!("{} mails came while Postal was down for 3 minutes, all sent", waiting.len());
}

#[tokio::test]
async fn a_mail_of_unknown_fate_is_not_given_again_when_postal_reports_it() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let stack = handing(&postal.addr, &signer, &[("POSTERN_POSTAL_TIMEOUT", "500ms")]).await;
    postal.set(Mood::TakeAndHold);
    let id = stack.send_to("ann@good.test").await.unwrap();
    let message = stack.wait_state(&id, "deferred").await.unwrap();
    assert_eq!(message["recipients"][0]["reason"], "timeout", "{message}");
    let events = stack.events(&id).await.unwrap();
    assert_eq!(events.last().unwrap()["possible_duplicate"], true, "{events:?}");
    let taken = postal.taken().remove(0);
    // Somebody else's mail with another Message-ID does not end it.
    let mut other = attempt(&taken, "250 OK");
    other["message"]["message_id"] = json!("other@shop.test");
    report(&stack, &signer, &webhook("MessageSent", "u-0", &other)).await;
    assert_eq!(stack.message(&id).await.unwrap()["recipients"][0]["state"], "deferred");
    report(&stack, &signer, &webhook("MessageSent", "u-1", &attempt(&taken, "250 OK"))).await;
    stack.wait_state(&id, "delivered").await.unwrap();
    assert_eq!(postal.calls(), 1);
}

#[tokio::test]
async fn a_mail_of_unknown_fate_of_which_nothing_is_heard_is_given_again() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let wait = ("POSTERN_POSTAL_UNKNOWN_WAIT", "1s");
    let stack = handing(&postal.addr, &signer, &[wait]).await;
    postal.set(Mood::Status(500));
    let id = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&id, "deferred").await.unwrap();
    postal.set(Mood::Take);
    let message = stack.wait_state(&id, "sent").await.unwrap();
    assert_eq!(message["recipients"][0]["attempts"], 2, "{message}");
    let events = stack.events(&id).await.unwrap();
    assert_eq!(events[1]["possible_duplicate"], true, "{events:?}");
    let taken = postal.taken().remove(0);
    report(&stack, &signer, &webhook("MessageSent", "u-1", &attempt(&taken, "250 OK"))).await;
    stack.wait_state(&id, "delivered").await.unwrap();
}

#[tokio::test]
async fn postal_is_asked_about_mail_of_which_it_reports_nothing() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let vars = [("POSTERN_POSTAL_ASK_AFTER", "1s"), ("POSTERN_POSTAL_SILENCE_MAX", "1h")];
    let stack = handing(&postal.addr, &signer, &vars).await;
    let attempt =
        |id, status, output| json!({"id": id, "status": status, "details": null, "output": output});
    let soft = attempt(1, "SoftFail", "450 4.2.0 later");
    postal.tell(json!([soft]));
    let id = stack.send_to("gone@good.test").await.unwrap();
    stack.wait_state(&id, "sent").await.unwrap();
    postal.tell(json!([soft, attempt(2, "HardFail", "550 5.1.1 no such user")]));
    let message = stack.wait_state(&id, "bounced").await.unwrap();
    assert_eq!(message["recipients"][0]["reason"], "unknown_user", "{message}");
    let expected = ["message.accepted", "message.sent", "message.bounced"];
    assert_eq!(types(&stack, &id).await, expected);
    let list = stack.get("/v1/suppressions?email=gone@good.test").await.unwrap();
    assert_eq!(list.body["suppressions"][0]["reason"], "hard_bounce", "{list:?}");
}

#[tokio::test]
async fn mail_that_postal_never_ends_is_given_up() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let vars = [("POSTERN_POSTAL_ASK_AFTER", "1s"), ("POSTERN_POSTAL_SILENCE_MAX", "2s")];
    let stack = handing(&postal.addr, &signer, &vars).await;
    let id = stack.send_to("ann@good.test").await.unwrap();
    let message = stack.wait_state(&id, "failed").await.unwrap();
    let text = message["recipients"][0]["last_reply"]["text"].as_str().unwrap();
    assert!(text.contains("postal.silence_max"), "{message}");
}
