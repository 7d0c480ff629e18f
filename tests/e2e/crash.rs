//! A power cut loses nothing that was accepted.

use std::collections::BTreeSet;

use postern_tests::answer::Answer;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;

const MESSAGES: usize = 200;

async fn crashing(receiver: &Receiver) -> Stack {
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_RETRY_DELAYS", "1s"),
    ];
    Stack::start(&vars).await.unwrap()
}

#[tokio::test]
async fn every_message_accepted_before_a_kill_is_delivered_after_it() {
    let receiver = Receiver::start().await.unwrap();
    let mut stack = crashing(&receiver).await;
    let mut sends = tokio::task::JoinSet::new();
    for number in 0..MESSAGES {
        let mail = mail_to(&format!("slow+{number}@good.test"));
        let send = stack.raw_post("/v1/messages").bearer_auth(&stack.key);
        sends.spawn(send.json(&mail).send());
    }
    let mut accepted = 0;
    while let Some(answer) = sends.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), 202);
        accepted += 1;
    }
    assert_eq!(accepted, MESSAGES);
    stack.kill_9().await.unwrap();
    assert!(receiver.mails().unwrap().is_empty(), "all were held back");
    receiver.release().unwrap();
    stack.restart().await.unwrap();
    let delivered = wait::until("all are delivered", async || {
        let page = "/v1/messages?state=delivered&page_size=1000";
        let list = stack.get(page).await?;
        let found = list.body["messages"].as_array().map_or(0, Vec::len);
        Ok((found == MESSAGES).then_some(list.body))
    });
    let delivered = delivered.await.unwrap();
    assert_eq!(delivered["messages"].as_array().unwrap().len(), MESSAGES);
    let mails = receiver.mails().unwrap();
    let to: BTreeSet<_> = mails.iter().flat_map(|mail| &mail.to).collect();
    assert_eq!(to.len(), MESSAGES, "every recipient got the mail");
}

#[tokio::test]
async fn an_attempt_cut_off_by_a_kill_is_recovered_marked_and_delivered() {
    let receiver = Receiver::start().await.unwrap();
    let mut stack = crashing(&receiver).await;
    let id = stack.send_to("slow@good.test").await.unwrap();
    receiver.wait_until_held("slow@good.test").await.unwrap();
    stack.kill_9().await.unwrap();
    receiver.release().unwrap();
    stack.restart().await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let events = stack.events(&id).await.unwrap();
    let recovered = events.iter().find(|e| e["type"] == "message.recovered");
    let recovered = recovered.unwrap_or_else(|| panic!("not recovered: {events:?}"));
    assert_eq!(recovered["possible_duplicate"], true, "{recovered}");
    assert!(!receiver.mails_to("slow@good.test").unwrap().is_empty());
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_burst_loses_nothing_that_was_answered() {
    let receiver = Receiver::start().await.unwrap();
    let mut stack = crashing(&receiver).await;
    let mut sends = tokio::task::JoinSet::new();
    for number in 0..MESSAGES {
        let mail = mail_to(&format!("ok+{number}@good.test"));
        let send = stack.raw_post("/v1/messages").bearer_auth(&stack.key);
        let send = send.json(&mail).send();
        sends.spawn(async { Answer::read(send.await?).await });
    }
    let mut accepted = Vec::new();
    while let Some(answer) = sends.join_next().await {
        // Those cut off have no answer; nothing was promised to them.
        let Ok(answer) = answer.unwrap() else {
            continue;
        };
        assert_eq!(answer.status, 202, "{answer:?}");
        accepted.push(answer.text("id").to_owned());
        if accepted.len() == MESSAGES / 4 {
            stack.kill_9().await.unwrap();
        }
    }
    assert!(accepted.len() >= MESSAGES / 4);
    stack.restart().await.unwrap();
    for id in &accepted {
        stack.wait_state(id, "delivered").await.unwrap();
    }
    assert!(receiver.mails().unwrap().len() >= accepted.len());
}
