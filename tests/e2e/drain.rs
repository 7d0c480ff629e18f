//! A polite stop finishes what it began.

use std::time::Duration;

use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;

const DRAIN: Duration = Duration::from_secs(25);
/// More than are attempted at once.
const MESSAGES: usize = 60;

async fn relaying(receiver: &Receiver) -> Stack {
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_DRAIN", "25s"),
    ];
    Stack::start(&vars).await.unwrap()
}

#[tokio::test]
async fn sigterm_waits_for_the_attempt_under_way_and_exits_with_success() {
    let receiver = Receiver::start().await.unwrap();
    let mut stack = relaying(&receiver).await;
    let id = stack.send_to("slow@good.test").await.unwrap();
    receiver.wait_until_held("slow@good.test").await.unwrap();
    stack.sigterm().await.unwrap();
    receiver.release().unwrap();
    let exit = stack.wait_exit(DRAIN).await.unwrap();
    assert_eq!(exit.code(), Some(0), "{exit}");
    stack.restart().await.unwrap();
    let message = stack.message(&id).await.unwrap();
    assert_eq!(message["recipients"][0]["state"], "delivered", "{message}");
    let queue = stack.get("/v1/queue").await.unwrap();
    assert_eq!(queue.body["sending"], 0, "{queue:?}");
    let events = stack.events(&id).await.unwrap();
    assert!(events.iter().all(|e| e["type"] != "message.recovered"), "{events:?}");
    assert_eq!(receiver.mails().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idle_system_stops_at_once_with_success() {
    let mut stack = Stack::start(&[]).await.unwrap();
    stack.sigterm().await.unwrap();
    let exit = stack.wait_exit(Duration::from_secs(10)).await.unwrap();
    assert_eq!(exit.code(), Some(0), "{exit}");
}

#[tokio::test]
async fn a_stop_under_load_leaves_nothing_half_done_and_the_rest_is_sent_later() {
    let receiver = Receiver::start().await.unwrap();
    let mut stack = relaying(&receiver).await;
    let mut ids = Vec::new();
    for number in 0..MESSAGES {
        let id = stack.send_to(&format!("slow+{number}@good.test")).await;
        ids.push(id.unwrap());
    }
    receiver.wait_until_held("slow+0@good.test").await.unwrap();
    stack.sigterm().await.unwrap();
    receiver.release().unwrap();
    let exit = stack.wait_exit(DRAIN).await.unwrap();
    assert_eq!(exit.code(), Some(0), "{exit}");
    stack.restart().await.unwrap();
    for id in &ids {
        stack.wait_state(id, "delivered").await.unwrap();
        let events = stack.events(id).await.unwrap();
        assert!(events.iter().all(|e| e["type"] != "message.recovered"), "{events:?}");
    }
    assert_eq!(receiver.mails().unwrap().len(), MESSAGES, "no duplicate");
}
