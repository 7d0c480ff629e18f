//! The campaign manager is told what recipients did, and its campaigns are stopped when they go badly.

use std::collections::BTreeSet;

use postern_tests::ams::Ams;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::{Value, json};

use super::tracking_edge::{browser, get, links, mail, start};

const POST: &str = "postMailingOpenClicksData";
const OPEN: &str = "open_trace";
const CLICK: &str = "https://shop.example/?a=1&b=2";
const UNSUBSCRIBE: &str = "Unsubscribe_Click:DC,AE{|;";

async fn beside(ams: &Ams, more: &[(&str, &str)]) -> Stack {
    let url = ams.url();
    let vars = [
        ("POSTERN_AMS_URL", url.as_str()),
        ("POSTERN_AMS_KEY", "an-ams-key"),
        ("POSTERN_AMS_CERT_SHA256", &ams.pin),
        ("POSTERN_AMS_INTERVAL", "100ms"),
        ("POSTERN_AMS_RETRY_INTERVAL", "100ms"),
    ];
    start(&[&vars[..], more].concat()).await
}

/// A tracked mail of a campaign, delivered; the paths of its links by their first letter.
async fn mailed(stack: &Stack, to: &str, campaign: &str) -> impl Fn(&str) -> String + use<> {
    let mut message = mail(to);
    message["campaign_id"] = campaign.into();
    let id = stack.send(&message).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    links(&stack.caught(to).await.unwrap())
}

async fn visit(stack: &Stack, path: String) -> u16 {
    get(&format!("{}{path}", stack.tracker)).await.status().as_u16()
}

fn told(items: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    items.iter().map(|(email, url)| ((*email).to_owned(), (*url).to_owned())).collect()
}

async fn until_told(ams: &Ams, mailing: i64, items: &[(&str, &str)]) {
    let expected = told(items);
    let mut last = BTreeSet::new();
    let look = async || {
        last = ams.taken(mailing)?;
        Ok((last == expected).then_some(()))
    };
    let found = wait::until("AMS is told", look).await;
    found.unwrap_or_else(|error| panic!("{error}: {last:?}"));
}

async fn until_asked(ams: &Ams, mode: &str) {
    let look = async || {
        let calls = ams.calls(POST)?;
        Ok(calls.iter().any(|call| call["mode"] == mode).then_some(()))
    };
    wait::until("AMS is asked", look).await.unwrap();
}

#[tokio::test]
async fn ams_is_told_what_people_did_and_nothing_is_lost_while_it_is_away() {
    let ams = Ams::start("down").await.unwrap();
    let mut stack = beside(&ams, &[]).await;
    let ann = mailed(&stack, "Ann@good.test", "77").await;
    let bob = mailed(&stack, "bob@good.test", "77").await;
    let other = mailed(&stack, "cy@good.test", "no-number").await;
    // A machine; and a campaign that is none of AMS's.
    browser().head(format!("{}{}", stack.tracker, bob("/c/"))).send().await.unwrap();
    visit(&stack, other("/c/")).await;
    for _twice in 0..2 {
        visit(&stack, ann("/o/")).await;
        assert_eq!(visit(&stack, ann("/c/")).await, 302);
    }
    until_asked(&ams, "down").await;
    for mode in ["500", "429", "410", "hang"] {
        ams.set_mode(mode).unwrap();
        until_asked(&ams, mode).await;
    }
    // In the middle of a call.
    stack.kill_9().await.unwrap();
    stack.restart().await.unwrap();
    let (leave, form) = (ann("/u/"), [("List-Unsubscribe", "One-Click")]);
    let leave = format!("{}{leave}", stack.tracker);
    let left = wait::until("the edge is ready", async || {
        let answer = browser().post(&leave).form(&form).send().await?;
        Ok((answer.status() == 200).then_some(()))
    });
    left.await.unwrap();
    ams.set_mode("flap").unwrap();
    let ann = "Ann@good.test";
    until_told(&ams, 77, &[(ann, OPEN), (ann, CLICK), (ann, UNSUBSCRIBE)]).await;
    let calls = ams.calls(POST).unwrap();
    assert!(calls.iter().all(|call| call["params"]["apiKey"] == "an-ams-key"));
    assert!(calls.iter().all(|call| call["params"]["mailingID"] == 77), "{calls:?}");
}

#[tokio::test]
async fn a_campaign_that_ams_refuses_holds_up_nobody_and_is_told_when_it_is_known() {
    let ams = Ams::start("refuse 77").await.unwrap();
    let stack = beside(&ams, &[]).await;
    let unknown = mailed(&stack, "ann@good.test", "77").await;
    visit(&stack, unknown("/o/")).await;
    until_asked(&ams, "refuse 77").await;
    let known = mailed(&stack, "bob@good.test", "78").await;
    visit(&stack, known("/o/")).await;
    visit(&stack, unknown("/c/")).await;
    until_told(&ams, 78, &[("bob@good.test", OPEN)]).await;
    assert!(ams.taken(77).unwrap().is_empty());
    ams.set_mode("ok").unwrap();
    until_told(&ams, 77, &[("ann@good.test", OPEN), ("ann@good.test", CLICK)]).await;
}

async fn held(stack: &Stack, campaign: &str, held: bool) -> Value {
    let look = async || {
        let answer = stack.get(&format!("/v1/campaigns/{campaign}/hold")).await?;
        Ok((answer.body["hold"]["held"] == held).then_some(answer.body))
    };
    wait::until("the campaign is held or not", look).await.unwrap()
}

async fn send(stack: &Stack, to: &str, campaign: &str) -> String {
    let message = json!({"from": "hi@shop.test", "to": to, "subject": "News", "text": "x", "campaign_id": campaign});
    stack.send(&message).await.unwrap()
}

#[tokio::test]
async fn a_campaign_that_goes_badly_is_held_and_stopped_in_ams_until_somebody_resumes_it() {
    let receiver = Receiver::start().await.unwrap();
    let ams = Ams::start("ok").await.unwrap();
    ams.set_mailings(&json!([
        {"id": 7, "name": "Spring 77", "type": "mailing", "state": "idle"},
        {"id": 77, "name": "Autumn", "type": "mailing", "state": "working"},
    ]))
    .unwrap();
    let relay = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", relay.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_AUTOSTOP_ENABLED", "on"),
        ("POSTERN_AUTOSTOP_INTERVAL", "100ms"),
        ("POSTERN_AUTOSTOP_MINIMUM", "5"),
    ];
    let stack = beside(&ams, &vars).await;
    for n in 0..4 {
        let fine = send(&stack, &format!("ok+{n}@good.test"), "77").await;
        stack.wait_state(&fine, "delivered").await.unwrap();
    }
    let bad = send(&stack, "refuse@good.test", "77").await;
    stack.wait_state(&bad, "bounced").await.unwrap();
    let hold = held(&stack, "77", true).await["hold"].clone();
    assert_eq!(hold["automatic"], true);
    assert_eq!(hold["note"], "1 of 5 mails were refused, more than 10 %");
    // What comes now is accepted and waits; others go on.
    let waiting = send(&stack, "ok+late@good.test", "77").await;
    let other = send(&stack, "ok+other@good.test", "78").await;
    stack.wait_state(&other, "delivered").await.unwrap();
    let shown = wait::until("it is put away", async || {
        let recipient = stack.message(&waiting).await?["recipients"][0].clone();
        Ok((recipient["reason"] == "campaign_held").then_some(recipient))
    });
    let shown = shown.await.unwrap();
    assert_eq!((&shown["state"], &shown["next_attempt_time"]), (&json!("queued"), &Value::Null));
    let stopped = wait::until("AMS stops it", async || {
        let answer = stack.get("/v1/campaigns/77/hold").await?;
        Ok((answer.body["log"].as_array().unwrap().len() == 2).then_some(answer.body))
    });
    let note = &stopped.await.unwrap()["log"][0]["note"];
    assert_eq!(note, "AMS stops mailing 77 'Autumn'");
    assert_eq!(ams.calls("stopMailing").unwrap()[0]["params"]["id"], 77);
    let list = stack.get("/v1/campaigns/holds").await.unwrap();
    assert_eq!(list.body["holds"][0]["campaign_id"], "77");
    let resume = ["campaigns", "resume", "77", "--note", "list cleaned"];
    let resumed = stack.operator(&resume).await.unwrap();
    assert!(resumed.status.success(), "{resumed:?}");
    stack.wait_state(&waiting, "delivered").await.unwrap();
    let log = held(&stack, "77", false).await["log"].clone();
    let log: Vec<_> = log.as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(log, ["resumed", "ams_told", "held"]);
    assert_eq!(ams.calls("stopMailing").unwrap().len(), 1);
}

#[tokio::test]
async fn an_operator_holds_a_campaign_and_wrong_requests_are_named() {
    let stack = Stack::start(&[]).await.unwrap();
    let note = json!({"note": "wrong price"});
    let answer = stack.post("/v1/campaigns/spring/hold", &note).await.unwrap();
    assert_eq!((answer.status, &answer.body["held"]), (200, &json!(true)), "{answer:?}");
    assert_eq!(answer.body["automatic"], false);
    let never = stack.get("/v1/campaigns/autumn/hold").await.unwrap();
    assert_eq!((never.status, &never.body["hold"]["held"]), (200, &json!(false)), "{never:?}");
    for (campaign, note) in [("x".repeat(257), ""), ("spring".to_owned(), "a\nb")] {
        let path = format!("/v1/campaigns/{campaign}/resume");
        let answer = stack.post(&path, &json!({"note": note})).await.unwrap();
        assert_eq!(answer.status, 422, "{answer:?}");
    }
    let shown = stack.operator(&["campaigns", "show", "spring"]).await.unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("spring  held  wrong price") && shown.contains("key_"), "{shown}");
    let dry = json!({"note": "", "validate_only": true});
    let answer = stack.post("/v1/campaigns/spring/resume", &dry).await.unwrap();
    assert_eq!(answer.body["held"], true, "{answer:?}");
}
