//! The same request twice is one message, through every door.

use postern_proto::v1::SendMessageRequest;
use postern_tests::stack::{Stack, mail_to, outgoing};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

#[tokio::test]
async fn the_same_idempotency_key_over_rest_gives_the_same_message() {
    let stack = Stack::start(&[]).await.unwrap();
    let key = [("Idempotency-Key", "order-1")];
    let mail = mail_to("a@good.test");
    let first = stack.post_with("/v1/messages", &mail, &key).await.unwrap();
    let again = stack.post_with("/v1/messages", &mail, &key).await.unwrap();
    assert_eq!((first.status, again.status), (202, 202), "{again:?}");
    assert!(first.text("id").starts_with("msg_"), "{first:?}");
    assert_eq!(first.text("id"), again.text("id"));
    assert_ne!(first.header("idempotency-replayed"), "true");
    assert_eq!(again.header("idempotency-replayed"), "true");
    let list = stack.get("/v1/messages").await.unwrap();
    assert_eq!(list.body["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_used_for_another_message_is_refused() {
    let stack = Stack::start(&[]).await.unwrap();
    let key = [("Idempotency-Key", "order-2")];
    let mail = mail_to("a@good.test");
    let first = stack.post_with("/v1/messages", &mail, &key).await.unwrap();
    assert_eq!(first.status, 202, "{first:?}");
    let mut other = mail;
    other["subject"] = json!("Something else");
    let refused = stack.post_with("/v1/messages", &other, &key).await.unwrap();
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(refused.text("code"), "idempotency_key_reused");
    let list = stack.get("/v1/messages").await.unwrap();
    assert_eq!(list.body["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_same_request_id_over_grpc_gives_the_same_message() {
    let stack = Stack::start(&[]).await.unwrap();
    let request = |subject: &str| {
        let mut message = outgoing("a@good.test");
        message.subject = subject.to_owned();
        let request = SendMessageRequest {
            message: Some(message),
            request_id: "order-3".to_owned(),
            validate_only: false,
        };
        stack.request(request).unwrap()
    };
    let mut client = stack.messages();
    let first = client.send_message(request("One")).await.unwrap();
    let again = client.send_message(request("One")).await.unwrap();
    let (first, again) = (first.into_inner(), again.into_inner());
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.message.unwrap().id, again.message.unwrap().id);
    let refused = client.send_message(request("Two")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let info = refused.get_details_error_info().unwrap();
    assert_eq!(info.reason, "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn a_key_used_over_grpc_is_known_over_rest_and_after_a_crash() {
    let mut stack = Stack::start(&[]).await.unwrap();
    let request = SendMessageRequest {
        message: Some(outgoing("a@good.test")),
        request_id: "order-4".to_owned(),
        validate_only: false,
    };
    let id = send(&stack, request).await;
    stack.kill_9().await.unwrap();
    stack.restart().await.unwrap();
    let key = [("Idempotency-Key", "order-4")];
    let mail = mail_to("a@good.test");
    let again = stack.post_with("/v1/messages", &mail, &key).await.unwrap();
    assert_eq!(again.status, 202, "{again:?}");
    assert_eq!(again.text("id"), id);
}

async fn send(stack: &Stack, request: SendMessageRequest) -> String {
    let request = stack.request(request).unwrap();
    let sent = stack.messages().send_message(request).await.unwrap();
    sent.into_inner().message.unwrap().id
}

#[tokio::test]
async fn the_same_key_on_the_old_contract_gives_the_same_message() {
    let stack = Stack::start(&[]).await.unwrap();
    let key = [("Idempotency-Key", "order-5")];
    let body = json!({
        "from_email": "hi@shop.test",
        "recipient": "ann@good.test",
        "subject": "Once",
        "html_body": "<p>Once</p>",
        "tracking": {"message_id": "order-5"},
    });
    let first = stack.post_with("/api/v1/send", &body, &key).await.unwrap();
    let again = stack.post_with("/api/v1/send", &body, &key).await.unwrap();
    assert_eq!((first.status, again.status), (202, 202), "{again:?}");
    assert_eq!(first.text("message_id"), again.text("message_id"));
}
