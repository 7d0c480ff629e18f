//! Live settings of tracking: what mail gets that says nothing itself, and how an edge reports hits.

use postern_tests::proxy::Proxy;
use postern_tests::role::Role;
use postern_tests::stack::Stack;
use serde_json::{Value, json};

use super::ops::{ask, ops};
use super::settings::set;
use super::tracking_edge::{engagements, get, ready, start, tracked};

/// What arrives of a mail that asks for nothing.
async fn arrived(stack: &Stack, to: &str) -> String {
    let mail = json!({
        "from": "hi@shop.test", "to": to, "subject": "News", "campaign_id": "spring",
        "html": "<body><a href=\"https://shop.example/a\">A</a> <a href=\"https://shop.example/b\">B</a></body>",
        "text": "See https://shop.example/t",
    });
    let id = stack.send(&mail).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let mail = stack.caught(to).await.unwrap();
    mail.replace("=\r\n", "").replace("=3D", "=")
}

#[tokio::test]
async fn mail_gets_what_the_settings_say() {
    let stack = start(&[]).await;
    let plain = arrived(&stack, "one@good.test").await;
    assert!(plain.contains("\r\nList-Unsubscribe-Post:"), "the default: {plain}");
    assert!(plain.contains("See https://shop.example/t") && !plain.contains("/c/"), "{plain}");
    set(&stack, &[("tracking.unsubscribe_headers", "off")]).await;
    let bare = arrived(&stack, "two@good.test").await;
    assert!(!bare.contains("List-Unsubscribe") && !bare.contains("/u/"), "{bare}");
    set(&stack, &[("tracking.footer", "on"), ("tracking.text_clicks", "on")]).await;
    let footer = arrived(&stack, "three@good.test").await;
    assert!(footer.contains("/u/") && !footer.contains("List-Unsubscribe"), "{footer}");
    assert!(!footer.contains("See https://shop.example/t"), "{footer}");
    set(&stack, &[("tracking.footer", "off"), ("tracking.text_clicks", "off")]).await;
    set(&stack, &[("tracking.clicks", "on")]).await;
    let clicks = arrived(&stack, "four@good.test").await;
    assert_eq!(clicks.matches("/c/").count(), 2, "{clicks}");
    set(&stack, &[("tracking.honeypot", "on")]).await;
    let honeypot = arrived(&stack, "five@good.test").await;
    assert_eq!(honeypot.matches("/c/").count(), 3, "{honeypot}");
    set(&stack, &[("tracking.honeypot", "off"), ("tracking.links_max", "1")]).await;
    let one = arrived(&stack, "six@good.test").await;
    assert_eq!(one.matches("/c/").count(), 1, "{one}");
    assert!(one.contains("https://shop.example/b"), "{one}");
}

async fn health(base: &str) -> Value {
    get(&format!("{base}/health/ready")).await.json().await.unwrap()
}

#[tokio::test]
async fn a_journal_that_is_as_large_as_it_may_be_costs_hits_and_no_answer() {
    let stack = start(&[("POSTERN_TRACKING_JOURNAL_OCTETS_MAX", "1048576")]).await;
    let (_, link) = tracked(&stack, "ann@good.test").await;
    let proxy = Proxy::start(&stack.grpc).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let edge = Role::tracker(&proxy.addr.to_string(), folder.path(), &[]).await.unwrap();
    let base = format!("http://127.0.0.1:{}", edge.port);
    ready(&base).await;
    proxy.cut();
    let client = super::tracking_edge::browser();
    let (open, long) = (format!("{base}{}", link("/o/")), "x".repeat(4000));
    let mut answered = 0;
    while health(&base).await["hits_lost"] == 0 {
        for _ in 0..100 {
            let hit = client.get(&open).header("user-agent", &long).send().await.unwrap();
            assert_eq!(hit.status(), 200);
            answered += 1;
        }
        assert!(answered < 20_000, "a journal of 1 MiB is not full");
    }
    let size = |entry: std::fs::DirEntry| entry.metadata().unwrap().len();
    let all: u64 =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| size(entry.unwrap())).sum();
    assert!((1 << 19..(1 << 20) + 4096).contains(&all), "{all} octets for {answered} hits");
}

/// How many batches of hits the core was called with.
async fn batches(stack: &Stack) -> u64 {
    let (_, text) = ask(&ops(stack), "/metrics").await;
    let line = text.lines().find(|line| line.contains("TrackingService/ReportHits\",code=\"Ok\""));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn hits_are_reported_as_soon_and_in_as_many_calls_as_the_settings_say() {
    // A hit waits for others for a minute, but for no more of them than make a batch.
    let vars = [
        ("POSTERN_TRACKING_SHIP_INTERVAL", "1m"),
        ("POSTERN_TRACKING_SHIP_HITS_MAX", "1"),
        ("POSTERN_LOG_FORMAT", "json"),
    ];
    let stack = start(&vars).await;
    let (id, link) = tracked(&stack, "ann@good.test").await;
    let folder = tempfile::tempdir().unwrap();
    let edge = Role::tracker(&stack.grpc, folder.path(), &[]).await.unwrap();
    let base = format!("http://127.0.0.1:{}", edge.port);
    ready(&base).await;
    for _ in 0..5 {
        get(&format!("{base}{}", link("/o/"))).await;
    }
    assert_eq!(health(&base).await["hits_shipped"], 0, "they wait for the rest of the minute");
    assert_eq!(batches(&stack).await, 0);
    // What waits is shipped at a stop; each hit is a batch and full, so none of them waits again.
    edge.stop().await.unwrap();
    assert_eq!(engagements(&stack, &id, "message.opened", 5).await.len(), 5);
    assert_eq!(batches(&stack).await, 5, "by the default all would go in one");
}
