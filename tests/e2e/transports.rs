//! Sender domains that leave by different ways.

use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, mail_to};
use serde_json::json;

#[tokio::test]
async fn one_sender_domain_goes_to_the_inbox_and_another_to_the_relay() {
    let receiver = Receiver::start().await.unwrap();
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT_DOMAINS", "news.test=relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let mut news = mail_to("ann@good.test");
    news["from"] = json!("hi@news.test");
    news["subject"] = json!("By relay");
    let (relayed, kept) = (stack.send(&news).await.unwrap(), mail_to("ann@good.test"));
    let kept = stack.send(&kept).await.unwrap();
    let relayed = stack.wait_state(&relayed, "delivered").await.unwrap();
    let kept = stack.wait_state(&kept, "delivered").await.unwrap();
    let host = |message: &serde_json::Value| message["recipients"][0]["last_reply"]["host"].clone();
    assert_eq!(host(&kept), "local inbox", "{kept}");
    assert_eq!(host(&relayed), "127.0.0.1 [127.0.0.1]", "{relayed}");
    let mails = receiver.mails().unwrap();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].text().contains("\r\nSubject: By relay\r\n"));
    let inbox = stack.get("/v1/sink/messages").await.unwrap();
    let caught = inbox.body["messages"].as_array().unwrap();
    assert_eq!(caught.len(), 1, "{inbox:?}");
    assert_eq!(caught[0]["subject"], "Hello", "{inbox:?}");
}

#[tokio::test]
async fn once_a_domain_leaves_the_machine_strangers_may_not_send() {
    let vars = [
        ("POSTERN_TRANSPORT_DOMAINS", "news.test=relay"),
        ("POSTERN_RELAY_URL", "smtp://127.0.0.1:9?tls=off"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let refused = stack.post("/v1/messages", &mail_to("ann@good.test")).await.unwrap();
    assert_eq!((refused.status, refused.text("code")), (403, "sender_not_allowed"), "{refused:?}");
}
