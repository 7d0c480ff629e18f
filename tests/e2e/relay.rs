//! From an HTTP request to the bytes at a smart host that is not ours.

use std::process::Stdio;

use postern_tests::peer;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

async fn relaying(receiver: &Receiver) -> Stack {
    let url = receiver.relay_url();
    let vars = [("POSTERN_TRANSPORT", "relay"), ("POSTERN_RELAY_URL", url.as_str())];
    Stack::start(&vars).await.unwrap()
}

fn full_mail() -> Value {
    json!({
        "from": "Shop <hi@shop.test>",
        "to": "Ann <ok@good.test>",
        "subject": "Your order 4711",
        "html": "<p>Thank you for <b>4711</b>.</p>",
        "text": "Thank you for 4711.",
        "attachments": [{
            "filename": "note.txt",
            "content_type": "text/plain",
            "content": "YSBub3RlIGZvciB5b3U=",
        }],
    })
}

#[tokio::test]
async fn a_mail_accepted_over_rest_arrives_whole_and_signed_twice() {
    let receiver = Receiver::start().await.unwrap();
    let stack = relaying(&receiver).await;
    let name = json!({"name": "shop.test"});
    let domain = stack.post("/v1/domains", &name).await.unwrap();
    assert!((200..300).contains(&domain.status), "{domain:?}");
    let id = stack.send(&full_mail()).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let mails = receiver.mails_to("ok@good.test").unwrap();
    assert_eq!(mails.len(), 1);
    let mail = mails[0].text();
    assert!(mail.contains("\r\nSubject: Your order 4711\r\n"), "{mail}");
    assert!(mail.contains("Thank you for 4711."), "{mail}");
    assert!(mail.contains("<p>Thank you for <b>4711</b>.</p>"), "{mail}");
    assert!(mail.contains("note.txt"), "{mail}");
    assert!(mail.contains("YSBub3RlIGZvciB5b3U="), "{mail}");
    assert!(mail.contains("hi@shop.test") && mail.contains("Ann"), "{mail}");
    let records = dkim_records(&domain.body);
    assert_eq!(records.len(), 2, "{domain:?}");
    let verdict = verify(&records, &mails[0].raw).await;
    assert!(verdict.contains("a=rsa-sha256"), "{verdict}");
    assert!(verdict.contains("a=ed25519-sha256"), "{verdict}");
}

pub(crate) fn dkim_records(domain: &Value) -> Vec<String> {
    let records = domain["dns_records"].as_array().unwrap().iter();
    let records = records.filter(|record| record["purpose"] == "dkim");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    records.map(|record| format!("{}={}", text(&record["name"]), text(&record["value"]))).collect()
}

/// What dkimpy says; it must accept every signature.
pub(crate) async fn verify(records: &[String], mail: &[u8]) -> String {
    let mut child = Command::new("/usr/bin/python3")
        .arg(peer::path("dkim_verify.py"))
        .args(records)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(mail).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn a_sender_domain_that_is_not_registered_is_refused_and_nothing_leaves() {
    let receiver = Receiver::start().await.unwrap();
    let stack = relaying(&receiver).await;
    let refused = stack.post("/v1/messages", &full_mail()).await.unwrap();
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(refused.text("code"), "sender_not_allowed");
    let list = stack.get("/v1/messages").await.unwrap();
    assert_eq!(list.body["messages"], json!([]));
    assert!(receiver.mails().unwrap().is_empty());
}
