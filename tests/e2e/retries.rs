//! What a remote server's answer does to a delivery.

use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use serde_json::Value;

async fn retrying(receiver: &Receiver) -> Stack {
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_RETRY_DELAYS", "1s"),
    ];
    Stack::start(&vars).await.unwrap()
}

fn types(events: &[Value]) -> Vec<&str> {
    let types = events.iter().map(|event| event["type"].as_str().unwrap());
    types.collect()
}

#[tokio::test]
async fn a_temporary_refusal_is_deferred_and_then_delivered() {
    let receiver = Receiver::start().await.unwrap();
    let stack = retrying(&receiver).await;
    let id = stack.send_to("defer@good.test").await.unwrap();
    let message = stack.wait_state(&id, "delivered").await.unwrap();
    assert_eq!(message["recipients"][0]["attempts"], 2, "{message}");
    let events = stack.events(&id).await.unwrap();
    let expected = ["message.accepted", "message.deferred", "message.delivered"];
    assert_eq!(types(&events), expected);
    assert_eq!(events[1]["reply"]["code"], 451);
    assert_eq!(events[1]["reply"]["enhanced_code"], "4.7.1");
    assert_eq!(receiver.mails_to("defer@good.test").unwrap().len(), 1);
}

#[tokio::test]
async fn a_final_refusal_bounces_at_once_and_names_the_reason() {
    let receiver = Receiver::start().await.unwrap();
    let stack = retrying(&receiver).await;
    let id = stack.send_to("refuse@good.test").await.unwrap();
    let message = stack.wait_state(&id, "bounced").await.unwrap();
    let recipient = &message["recipients"][0];
    assert_eq!(recipient["reason"], "unknown_user", "{message}");
    assert_eq!(recipient["attempts"], 1, "{message}");
    assert_eq!(recipient["last_reply"]["code"], 550, "{message}");
    let events = stack.events(&id).await.unwrap();
    assert_eq!(types(&events), ["message.accepted", "message.bounced"]);
    assert!(receiver.mails().unwrap().is_empty());
}

#[tokio::test]
async fn a_connection_lost_after_the_content_is_tried_again_and_marked() {
    let receiver = Receiver::start().await.unwrap();
    let stack = retrying(&receiver).await;
    let id = stack.send_to("drop@good.test").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let events = stack.events(&id).await.unwrap();
    let expected = ["message.accepted", "message.deferred", "message.delivered"];
    assert_eq!(types(&events), expected);
    assert_eq!(events[1]["possible_duplicate"], true, "{events:?}");
    assert_eq!(receiver.mails_to("drop@good.test").unwrap().len(), 1);
}
