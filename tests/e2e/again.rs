//! What an operator does with mail that was sent before, and with addresses that get none.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use serde_json::{Value, json};

fn personal() -> Value {
    json!({
        "from": "Shop <hi@shop.test>",
        "to": [
            {"email": "ok@good.test", "variables": {"name": "Ann"}},
            {"email": "ok@other.test", "variables": {"name": "Bob"}},
        ],
        "subject": "Hello {{ name }}",
        "text": "Dear {{ name }}, it works.",
        "liquid": true,
        "campaign_id": "spring",
    })
}

async fn relaying(receiver: &Receiver) -> Stack {
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
    ];
    Stack::start(&vars).await.unwrap()
}

async fn all_delivered(stack: &Stack, id: &str) -> Value {
    let done = postern_tests::wait::until("all are delivered", async || {
        let message = stack.message(id).await?;
        let recipients = message["recipients"].as_array().cloned().unwrap_or_default();
        let done = recipients.iter().all(|one| one["state"] == "delivered");
        Ok((done && !recipients.is_empty()).then_some(message))
    });
    done.await.unwrap()
}

#[tokio::test]
async fn a_message_is_sent_once_more_to_whom_one_says() {
    let receiver = Receiver::start().await.unwrap();
    let stack = relaying(&receiver).await;
    let id = stack.send(&personal()).await.unwrap();
    let first = all_delivered(&stack, &id).await;
    let path = format!("/v1/messages/{id}/resend");
    let dry = stack.post(&format!("{path}?validate_only=true"), &json!({})).await.unwrap();
    assert_eq!(dry.status, 202, "{dry:?}");
    let bob = first["recipients"][1]["id"].as_str().unwrap();
    let again = stack.post(&path, &json!({"recipient_ids": [bob]})).await.unwrap();
    assert_eq!(again.status, 202, "{again:?}");
    assert_ne!(again.text("id"), id);
    let message = all_delivered(&stack, again.text("id")).await;
    assert_eq!(message["campaign_id"], "spring", "{message}");
    let mails = receiver.mails_to("ok@other.test").unwrap();
    assert_eq!((mails.len(), receiver.mails_to("ok@good.test").unwrap().len()), (2, 1));
    let field = |mail: &str, name: &str| -> String {
        mail.lines().find(|line| line.starts_with(name)).unwrap().to_owned()
    };
    let (one, other) = (mails[0].text(), mails[1].text());
    assert!(
        one.contains("Dear Bob, it works.") && other.contains("Dear Bob, it works."),
        "{other}"
    );
    assert_eq!(field(&one, "Subject:"), field(&other, "Subject:"));
    assert_ne!(field(&one, "Message-ID:"), field(&other, "Message-ID:"), "it is another mail");
    let said = stack.operate(&["messages", "resend", &id]).await.unwrap();
    assert_eq!(said["recipients"].as_array().unwrap().len(), 2, "{said}");
    all_delivered(&stack, said["id"].as_str().unwrap()).await;
    for (path, body, code) in [
        (
            path.as_str(),
            json!({"recipient_ids": ["rcp_01h2xcejqtf2nbrexx3vqjhp41"]}),
            "recipient_id",
        ),
        ("/v1/messages/msg_01h2xcejqtf2nbrexx3vqjhp41/resend", json!({}), "message_not_found"),
    ] {
        let refused = stack.post(path, &body).await.unwrap();
        assert!(refused.status >= 400 && refused.body.to_string().contains(code), "{refused:?}");
    }
    let keyed = json!({"recipient_ids": [bob], "request_id": "once"});
    let once = stack.post(&path, &keyed).await.unwrap();
    let twice = stack.post(&path, &keyed).await.unwrap();
    assert_eq!((twice.status, twice.text("id")), (202, once.text("id")), "{twice:?}");
    let other = stack.post(&path, &json!({"request_id": "once"})).await.unwrap();
    assert_eq!((other.status, other.text("code")), (422, "idempotency_key_reused"), "{other:?}");
    all_delivered(&stack, once.text("id")).await;
    assert_eq!(receiver.mails_to("ok@other.test").unwrap().len(), 4);
    let campaigns = stack.get("/v1/campaigns").await.unwrap();
    assert_eq!(campaigns.body["campaigns"][0]["campaign_id"], "spring", "{campaigns:?}");
}

#[tokio::test]
async fn the_content_is_shown_as_each_recipient_got_it() {
    let receiver = Receiver::start().await.unwrap();
    let stack = relaying(&receiver).await;
    let id = stack.send(&personal()).await.unwrap();
    let message = all_delivered(&stack, &id).await;
    let path = format!("/v1/messages/{id}/content");
    let first =
        stack.raw(reqwest::Method::GET, &path).bearer_auth(&stack.key).send().await.unwrap();
    assert_eq!(first.headers()["content-type"], "message/rfc822");
    assert!(first.text().await.unwrap().contains("Dear Ann, it works."));
    let bob = message["recipients"][1]["id"].as_str().unwrap();
    let second = stack.get_text(&format!("{path}?recipient_id={bob}")).await.unwrap();
    assert!(second.contains("Subject: Hello Bob\r\n"), "{second}");
    let args = ["messages", "content", &id, "--recipient", bob];
    let printed = stack.operator(&args).await.unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), second);
    let raw = stack.operate(&args).await.unwrap();
    assert_eq!(STANDARD.decode(raw["raw"].as_str().unwrap()).unwrap(), second.as_bytes());
    let none = stack.get("/v1/messages/msg_01h2xcejqtf2nbrexx3vqjhp41/content").await.unwrap();
    assert_eq!((none.status, none.text("code")), (404, "message_not_found"), "{none:?}");
}

#[tokio::test]
async fn a_list_of_addresses_is_taken_in_and_may_be_again() {
    let stack = Stack::start(&[]).await.unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "email,reason,campaign_id,note").unwrap();
    for n in 0..1500 {
        writeln!(file, "r{n}@good.test,unsubscribe,,\"by post, {n}\"").unwrap();
    }
    writeln!(file, "no address,manual,,").unwrap();
    writeln!(file, "late@good.test,boredom,,").unwrap();
    let path = file.path().to_str().unwrap();
    let run = async |more: &[&str]| {
        let args = [&["suppressions", "import", path, "--json"], more].concat();
        let output = stack.operator(&args).await.unwrap();
        assert_eq!(output.status.code(), Some(1), "some were refused: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let dry = run(&["--dry-run"]).await;
    assert_eq!((&dry["created"], &dry["refused"]), (&json!(0), &json!(2)), "{dry}");
    let first = run(&[]).await;
    assert_eq!((&first["created"], &first["existing"]), (&json!(1500), &json!(0)), "{first}");
    let lines: Vec<_> =
        first["faults"].as_array().unwrap().iter().map(|one| &one["line"]).collect();
    assert!(lines.contains(&&json!(1502)) && lines.contains(&&json!(1503)), "{first}");
    let second = run(&[]).await;
    assert_eq!((&second["created"], &second["existing"]), (&json!(0), &json!(1500)), "{second}");
    let kept = stack.get("/v1/suppressions?email=r7@good.test").await.unwrap();
    let kept = &kept.body["suppressions"][0];
    assert_eq!((&kept["reason"], &kept["note"]), (&json!("unsubscribe"), &json!("by post, 7")));
    let sent = stack.send_to("r7@good.test").await.unwrap();
    stack.wait_state(&sent, "suppressed").await.unwrap();
    let log = stack.get("/v1/audit?action=suppression.import").await.unwrap();
    assert_eq!(
        log.body["entries"].as_array().unwrap().len(),
        2,
        "of four tries two added: {log:?}"
    );
    let absent = stack.operator(&["suppressions", "import", "/nowhere"]).await.unwrap();
    assert!(String::from_utf8_lossy(&absent.stderr).contains("cannot read /nowhere"), "{absent:?}");
}
