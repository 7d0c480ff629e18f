//! One message can be followed through the log: from the request over acceptance to its delivery.

use postern_tests::answer::Answer;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use serde_json::Value;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The line of the log with this message.
async fn line(stack: &Stack, message: &str) -> Value {
    let found = wait::until(message, async || {
        let log = stack.log()?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.into_iter().find(|line| line["fields"]["message"] == message))
    });
    found.await.unwrap()
}

#[tokio::test]
async fn request_trace_and_message_stand_on_every_step() {
    let vars = [("POSTERN_LOG", "info,postern_core=debug"), ("POSTERN_LOG_FORMAT", "json")];
    let stack = Stack::start(&vars).await.unwrap();
    let post = stack.raw_post("/v1/messages").bearer_auth(&stack.key);
    let post = post.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let sent = post.json(&mail_to("ann@good.test")).send().await.unwrap();
    let sent = Answer::read(sent).await.unwrap();
    stack.wait_state(sent.text("id"), "delivered").await.unwrap();
    for step in ["accepted", "attempt ended"] {
        let line = line(&stack, step).await;
        assert_eq!(line["fields"]["message.id"], sent.text("id"), "{line}");
        assert_eq!(line["span"]["request.id"], sent.header("request-id"), "{line}");
        assert_eq!(line["span"]["trace.id"], TRACE, "{line}");
    }
    let ended = line(&stack, "attempt ended").await;
    assert_eq!(ended["fields"]["event"], "message.delivered", "{ended}");
    assert!(!stack.log().unwrap().contains("ann@good.test"), "addresses are not logged");
}
