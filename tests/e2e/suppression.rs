//! Who was suppressed while a message waited does not get it.

use std::time::{Duration, SystemTime};

use postern_proto::v1::SendMessageRequest;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, outgoing};
use serde_json::json;

/// Long enough to suppress somebody in before it is over.
const WAIT: Duration = Duration::from_secs(5);

async fn suppress(stack: &Stack, email: &str, campaign: &str) {
    let entry = json!({"email": email, "campaign_id": campaign, "reason": "unsubscribe"});
    let answer = stack.post("/v1/suppressions", &entry).await.unwrap();
    assert!((200..300).contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn a_scheduled_message_spares_who_was_suppressed_meanwhile() {
    let stack = Stack::start(&[]).await.unwrap();
    let mut ids = Vec::new();
    for (recipient, campaign) in [("ann@good.test", ""), ("bob@good.test", "spring")] {
        let mut message = outgoing(recipient);
        message.campaign_id = "spring".to_owned();
        message.send_time = Some((SystemTime::now() + WAIT).into());
        let request =
            SendMessageRequest { message: Some(message), ..SendMessageRequest::default() };
        let request = stack.request(request).unwrap();
        let sent = stack.messages().send_message(request).await.unwrap().into_inner();
        ids.push(sent.message.unwrap().id);
        suppress(&stack, recipient, campaign).await;
    }
    for id in ids {
        let message = stack.wait_state(&id, "suppressed").await.unwrap();
        let recipient = &message["recipients"][0];
        assert_eq!(recipient["reason"], "unsubscribe", "{message}");
        assert_eq!(recipient["attempts"].as_i64().unwrap_or(0), 0, "{message}");
        let events = stack.events(&id).await.unwrap();
        let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["message.scheduled", "message.suppressed"]);
    }
    let inbox = stack.get("/v1/sink/messages").await.unwrap();
    assert_eq!(inbox.body["messages"], json!([]), "{inbox:?}");
}

#[tokio::test]
async fn a_deferred_message_is_not_tried_again_for_who_was_suppressed_meanwhile() {
    let receiver = Receiver::start().await.unwrap();
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_RETRY_DELAYS", "5s"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let id = stack.send_to("defer@good.test").await.unwrap();
    stack.wait_state(&id, "deferred").await.unwrap();
    suppress(&stack, "defer@good.test", "").await;
    let message = stack.wait_state(&id, "suppressed").await.unwrap();
    assert_eq!(message["recipients"][0]["attempts"], 1, "{message}");
    assert!(receiver.mails().unwrap().is_empty());
}
