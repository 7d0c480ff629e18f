//! What an endpoint is told: the types and campaigns it asked for, and, if it was one of the old
//! system's, everything that system told about mail that a Postal had.

use std::collections::BTreeSet;

use postern_tests::hook_receiver::HookReceiver;
use postern_tests::postal::{Postal, Signer, Taken};
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use serde_json::{Value, json};

use super::postal::{attempt, handing, report, webhook};
use super::webhooks::create;

const PRIVATE: (&str, &str) = ("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow");

/// Waits until an ordered endpoint took the last of these, given as `type campaign`, and says whether
/// the others came before it and nothing else.
async fn told(receiver: &HookReceiver, name: &str, expected: &[&str]) {
    let told = wait::until("the endpoint is told the last", async || {
        let told: Vec<_> = receiver.taken(name)?.iter().map(line).collect();
        Ok((told.last().map(String::as_str) == expected.last().copied()).then_some(told))
    });
    assert_eq!(told.await.unwrap(), expected, "{name}");
}

fn line(body: &Value) -> String {
    let campaign = body["data"]["campaign_id"].as_str().unwrap_or_default();
    format!("{} {campaign}", body["type"].as_str().unwrap())
}

#[tokio::test]
async fn an_endpoint_is_told_the_types_and_campaigns_it_asked_for_and_nothing_else() {
    let receiver = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&[PRIVATE]).await.unwrap();
    for (name, types, campaigns) in [
        ("accepted", json!(["message.accepted"]), json!([])),
        ("ends", json!(["message.bounced", "message.delivered"]), json!([])),
        ("autumn", json!(["message.*"]), json!(["autumn", "end"])),
        ("all", json!([]), json!([])),
    ] {
        let wishes = json!({"ordered": true, "event_types": types, "campaign_ids": campaigns});
        create(&stack, &receiver.url(name), wishes).await;
    }
    for campaign in ["spring", "autumn", "end"] {
        let mut mail = mail_to("ann@good.test");
        mail["campaign_id"] = campaign.into();
        let sent = stack.post("/v1/messages", &mail).await.unwrap();
        stack.wait_state(sent.text("id"), "delivered").await.unwrap();
    }
    let accepted = ["message.accepted spring", "message.accepted autumn", "message.accepted end"];
    let delivered =
        ["message.delivered spring", "message.delivered autumn", "message.delivered end"];
    told(&receiver, "accepted", &accepted).await;
    told(&receiver, "ends", &delivered).await;
    let both = |n: usize| [accepted[n], delivered[n]];
    told(&receiver, "autumn", &[both(1), both(2)].concat()).await;
    told(&receiver, "all", &[both(0), both(1), both(2)].concat()).await;
}

/// The `data` of the event of this old name, once the endpoint has it.
async fn data_of(receiver: &HookReceiver, word: &str) -> Value {
    let of_word = async || {
        let taken = receiver.taken("ams")?;
        Ok(taken.into_iter().find(|body| body["event_type"] == word))
    };
    let body = wait::until(word, of_word).await.unwrap();
    assert_eq!(body["data"]["status"], word, "{body}");
    body["data"].clone()
}

#[tokio::test]
async fn a_receiver_of_the_old_system_is_told_of_mail_that_postal_had_as_before() {
    let receiver = HookReceiver::start().await.unwrap();
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(2048).unwrap());
    let stack = handing(&postal.addr, &signer, &[PRIVATE]).await;
    create(&stack, &receiver.url("ams"), json!({"format": "legacy", "event_types": []})).await;
    let mut mails = Vec::new();
    for name in ["delivered", "bounced", "failed"] {
        let to = format!("{name}@good.test");
        let mut mail = mail_to(&to);
        mail["campaign_id"] = "4711".into();
        mail["external_id"] = format!("ord-{name}").into();
        let sent = stack.post("/v1/messages", &mail).await.unwrap();
        let id = sent.text("id").to_owned();
        stack.wait_state(&id, "sent").await.unwrap();
        let taken = postal.taken().into_iter().rfind(|taken| taken.to == to).unwrap();
        mails.push((id, taken));
    }
    let [(id, delivered), (_, bounced), (_, failed)] = &mails[..] else { panic!("three mails") };
    let seen = json!({"message": delivered.shown(), "ip_address": "203.0.113.9",
        "user_agent": "Mozilla/5.0", "url": "https://shop.example/a", "token": "l"});
    for (event, payload) in [
        ("MessageSent", attempt(delivered, "250 OK")),
        ("MessageDeliveryFailed", attempt(bounced, "550 5.1.1 no such user")),
        ("MessageHeld", attempt(failed, "")),
        ("MessageLoaded", seen.clone()),
        ("MessageLinkClicked", seen),
    ] {
        report(&stack, &signer, &webhook(event, event, &payload)).await;
    }
    let base = |taken: &Taken, name: &str, data: &Value| {
        assert_eq!(data["message_id"], format!("ord-{name}"), "{data}");
        assert_eq!(data["campaign_id"], "4711", "{data}");
        assert_eq!(data["postal_message_id"], taken.shown()["id"].to_string(), "{data}");
        let recipient = data["recipient"].as_str().unwrap();
        assert!(recipient.contains("***") && recipient.ends_with("@good.test"), "{data}");
        assert!(data["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{data}");
    };
    let data = data_of(&receiver, "delivered").await;
    base(delivered, "delivered", &data);
    assert_eq!(data["local_message_id"], id.as_str());
    let data = data_of(&receiver, "bounced").await;
    base(bounced, "bounced", &data);
    assert_eq!(data["bounce_category"], "user_not_found", "{data}");
    assert_eq!((&data["smtp_code"], &data["should_add_to_bounce"]), (&json!("550"), &json!(true)));
    let data = data_of(&receiver, "failed").await;
    base(failed, "failed", &data);
    assert!(!data["error"].as_str().unwrap().is_empty(), "{data}");
    for word in ["opened", "clicked"] {
        let data = data_of(&receiver, word).await;
        base(delivered, "delivered", &data);
        assert_eq!(data["ip"], "203.0.113.9", "{data}");
        assert_eq!(data["user_agent"], "Mozilla/5.0", "{data}");
    }
    assert_eq!(data_of(&receiver, "clicked").await["url"], "https://shop.example/a");
    let data = data_of(&receiver, "sent").await;
    assert_eq!((&data["campaign_id"], &data["postal_message_id"]), (&json!("4711"), &Value::Null));
    let words: BTreeSet<_> = receiver.taken("ams").unwrap().iter().map(word).collect();
    let known = ["bounced", "clicked", "delivered", "failed", "opened", "sent"];
    assert_eq!(words, known.map(str::to_owned).into(), "and nothing it never heard of");
}

fn word(body: &Value) -> String {
    body["event_type"].as_str().unwrap_or_default().to_owned()
}
