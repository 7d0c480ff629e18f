//! The frozen contract of the old system, unchanged for its clients.

use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::json;

#[tokio::test]
async fn a_client_of_the_old_system_sends_and_asks_under_its_own_id() {
    let stack = Stack::start(&[]).await.unwrap();
    let body = json!({
        "from_email": "hi@shop.test",
        "recipient": "ann@good.test",
        "subject": "From the old client",
        "html_body": "<h1>Still works</h1>",
        "tracking": {"message_id": "test_msg_001", "campaign_id": "spring"},
    });
    let sent = stack.post("/api/v1/send", &body).await.unwrap();
    assert_eq!(sent.status, 202, "{sent:?}");
    assert_eq!(sent.text("status"), "queued");
    assert_eq!(sent.text("external_message_id"), "test_msg_001");
    let id = sent.text("message_id").to_owned();
    assert!(id.starts_with("msg_"), "{sent:?}");
    stack.wait_state(&id, "delivered").await.unwrap();
    let status = stack.get("/api/v1/status/test_msg_001").await.unwrap();
    assert_eq!(status.status, 200, "{status:?}");
    assert_eq!(status.text("message_id"), "test_msg_001");
    assert_eq!(status.text("local_id"), id);
    assert_eq!(status.text("status"), "delivered");
}

#[tokio::test]
async fn mail_of_the_old_contract_is_in_the_inbox_with_its_html() {
    let stack = Stack::start(&[]).await.unwrap();
    let body = json!({
        "from_email": "hi@shop.test",
        "recipient": "ann@good.test",
        "subject": "Into the inbox",
        "html_body": "<h1>Still works</h1>",
    });
    let sent = stack.post("/api/v1/send", &body).await.unwrap();
    assert_eq!(sent.status, 202, "{sent:?}");
    let found = wait::until("the mail is in the inbox", async || {
        let list = stack.get("/v1/sink/messages").await?;
        Ok(list.body["messages"].get(0).cloned())
    });
    let found = found.await.unwrap();
    assert_eq!(found["subject"], "Into the inbox", "{found}");
    assert_eq!(found["envelope_to"], "ann@good.test", "{found}");
    let id = found["id"].as_str().unwrap();
    let raw = stack.get_text(&format!("/v1/sink/messages/{id}/raw")).await;
    let raw = raw.unwrap();
    assert!(raw.contains("<h1>Still works</h1>"), "{raw}");
}

#[tokio::test]
async fn an_unknown_id_is_not_found_in_the_old_contract() {
    let stack = Stack::start(&[]).await.unwrap();
    let status = stack.get("/api/v1/status/never_sent").await.unwrap();
    assert_eq!(status.status, 404, "{status:?}");
}
