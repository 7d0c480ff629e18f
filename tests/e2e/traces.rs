//! Traces: from a gateway to the reply of the remote server and to the webhook under one id, over
//! processes and restarts; and `postern trace`, which needs no collector.

use postern_tests::answer::Answer;
use postern_tests::collector::{Collector, Span};
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::role::{Role, TOKEN};
use postern_tests::smtp_client::SmtpClient;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, mail_to};
use serde_json::json;

use crate::webhooks::create;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PRIVATE: (&str, &str) = ("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow");
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SEND: &str = "postern.v1.MessageService/SendMessage";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-{flags}")
}

async fn post(stack: &Stack, rest: &str, traceparent: &str) -> Answer {
    let client = reqwest::Client::new().post(format!("{rest}/v1/messages"));
    let request = client.bearer_auth(&stack.key).header("traceparent", traceparent);
    let answer = request.json(&mail_to("ann@good.test")).send().await.unwrap();
    Answer::read(answer).await.unwrap()
}

fn told(span: &Span, name: &str) -> String {
    span.attributes.get(name).cloned().unwrap_or_default()
}

#[tokio::test]
async fn one_trace_leads_from_the_gateway_to_the_remote_server_and_the_webhook() {
    let (collector, receiver) =
        (Collector::start().await.unwrap(), Receiver::start().await.unwrap());
    let (hooks, relay) = (HookReceiver::start().await.unwrap(), receiver.relay_url());
    let vars = [
        (ENDPOINT, collector.url.as_str()),
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", &relay),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_GATEWAY_TOKEN", TOKEN),
        PRIVATE,
    ];
    let stack = Stack::start(&vars).await.unwrap();
    create(&stack, &hooks.url("a"), json!({})).await;
    // A gateway in a process of its own.
    let gateway = Role::rest(&stack.grpc, &vars[..1]).await.unwrap();
    let rest = format!("http://127.0.0.1:{}", gateway.port);
    let sent = post(&stack, &rest, &parent("01")).await;
    let id = sent.text("id").to_owned();
    assert_eq!(sent.text("trace_id"), TRACE, "{sent:?}");
    assert_eq!(stack.message(&id).await.unwrap()["trace_id"], TRACE);

    let http = collector.wait(TRACE, "POST /v1/messages").await.unwrap();
    assert_eq!(
        (http.service.as_str(), http.parent_id.as_str()),
        ("postern-rest", "00f067aa0ba902b7")
    );
    assert_eq!(told(&http, "http.response.status_code"), "202");
    assert_eq!(told(&http, "postern.request.id"), sent.header("request-id"));
    let call = collector.wait(TRACE, SEND).await.unwrap();
    assert_eq!((call.service.as_str(), &call.parent_id), ("postern-core", &http.id));
    assert_eq!(told(&call, "rpc.response.status_code"), "OK");
    let delivery = collector.wait(TRACE, "deliver").await.unwrap();
    assert_eq!(delivery.parent_id, call.id);
    assert_eq!(told(&delivery, "postern.smtp.reply_code"), "250");
    assert_eq!(told(&delivery, "postern.message.id"), id);
    assert_eq!(delivery.error, "");
    let hook = collector.wait(TRACE, "POST webhook").await.unwrap();
    assert_eq!(
        (&hook.parent_id, told(&hook, "http.response.status_code").as_str()),
        (&call.id, "200")
    );
    let posted = hooks.wait("a", 200, 1).await.unwrap().remove(0);
    assert_eq!(posted["headers"]["traceparent"], format!("00-{TRACE}-{}-01", hook.id));
    for span in collector.spans() {
        assert!(span.took < 60_000_000_000, "{span:?}");
        assert!(!format!("{span:?}").contains("ann@"), "addresses stay here: {span:?}");
    }

    let shown = stack.operator(&["trace", &id]).await.unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    for part in
        [TRACE, "delivered", "ann@good.test", "C: RCPT TO:<ann@good.test>", "webhook", "200"]
    {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let all = stack.operate(&["trace", &id]).await.unwrap();
    let steps = all["steps"].as_array().unwrap();
    let kinds: Vec<_> = steps.iter().map(|step| step["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message.accepted", "message.delivered", "webhook"]);
    assert_eq!(all["missing"], json!([]));
}

#[tokio::test]
async fn a_mail_by_smtp_begins_a_trace_and_keeps_it_over_a_crash() {
    let collector = Collector::start().await.unwrap();
    let vars = [
        (ENDPOINT, collector.url.as_str()),
        ("POSTERN_TRANSPORT", "relay"),
        // Nobody listens there.
        ("POSTERN_RELAY_URL", "smtp://127.0.0.1:1"),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_SMTP_PLAIN_AUTH", "on"),
    ];
    let mut stack = Stack::start(&vars).await.unwrap();
    let mut client = SmtpClient::login(stack.smtp.starttls, "api", &stack.key).await.unwrap();
    let mail = "From: shop@example.com\r\nTo: ann@good.test\r\nSubject: Hi\r\n\r\nHello\r\n";
    let reply = client.mail(mail).await.unwrap();
    let id = reply.split_whitespace().last().unwrap().to_owned();
    let trace_id = stack.message(&id).await.unwrap()["trace_id"].as_str().unwrap().to_owned();
    let door = collector.wait(&trace_id, "SMTP message").await.unwrap();
    assert_eq!((door.service.as_str(), door.parent_id.as_str()), ("postern-smtp", ""));
    assert_eq!(told(&door, "postern.smtp.reply_code"), "250");
    let failed = collector.wait(&trace_id, "deliver").await.unwrap();
    assert_eq!(
        (failed.error.as_str(), told(&failed, "postern.attempt")),
        ("connection", "1".into())
    );

    stack.kill_9().await.unwrap();
    stack.restart().await.unwrap();
    let retry = stack.operator(&["queue", "retry", "good.test"]).await.unwrap();
    assert!(retry.status.success(), "{retry:?}");
    let again = postern_tests::wait::until("the second attempt", async || {
        let second =
            |span: &Span| span.trace_id == trace_id && told(span, "postern.attempt") == "2";
        Ok(collector.spans().into_iter().find(second))
    });
    let again = again.await.unwrap();
    assert_eq!((again.parent_id, again.name), (failed.parent_id, failed.name));
}

#[tokio::test]
async fn what_its_caller_does_not_record_is_not_exported() {
    let collector = Collector::start().await.unwrap();
    let stack = Stack::start(&[(ENDPOINT, collector.url.as_str())]).await.unwrap();
    let quiet = post(&stack, &stack.rest, &parent("00")).await;
    stack.wait_state(quiet.text("id"), "delivered").await.unwrap();
    let other = stack.send_to("bea@good.test").await.unwrap();
    let trace_id = stack.message(&other).await.unwrap()["trace_id"].as_str().unwrap().to_owned();
    collector.wait(&trace_id, "deliver").await.unwrap();
    assert!(collector.spans().iter().all(|span| span.trace_id != TRACE));
}

#[tokio::test]
async fn a_collector_that_is_away_or_hangs_delays_no_mail_and_no_stop() {
    // Connections to it are made, and never answered.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hung = format!("http://{}", listener.local_addr().unwrap());
    for collector in ["http://127.0.0.1:1", hung.as_str()] {
        let mut stack = Stack::start(&[(ENDPOINT, collector)]).await.unwrap();
        let id = stack.send_to("ann@good.test").await.unwrap();
        stack.wait_state(&id, "delivered").await.unwrap();
        let said = postern_tests::wait::until("the word about the collector", async || {
            let log = stack.log()?;
            let lines = log.lines().filter(|line| line.contains("the collector takes no traces"));
            Ok(Some(lines.count()).filter(|count| *count > 0))
        });
        // Once per part of the all-in-one, not per batch.
        assert!(said.await.unwrap() <= 3);
        stack.sigterm().await.unwrap();
        assert!(stack.wait_exit(std::time::Duration::from_secs(30)).await.unwrap().success());
    }
}

#[tokio::test]
async fn without_a_collector_receivers_are_told_no_span() {
    let hooks = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&[PRIVATE]).await.unwrap();
    create(&stack, &hooks.url("a"), json!({})).await;
    post(&stack, &stack.rest, &parent("01")).await;
    let posted = hooks.wait("a", 200, 1).await.unwrap().remove(0);
    assert!(posted["headers"]["webhook-id"].is_string(), "{posted}");
    assert!(posted["headers"]["traceparent"].is_null(), "{posted}");
}
