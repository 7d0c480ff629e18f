//! A reader in a real Chromium: the pixel loads, the link leads to its target, the button unsubscribes.

use std::path::Path;

use postern_kit::env::Env;
use postern_tests::wait;
use serde_json::{Value, json};
use tokio::process::Command;

use super::tracking_edge::{engagements, mail, start, tracked};

#[tokio::test]
async fn a_person_reads_clicks_and_unsubscribes_in_a_browser() {
    let modules = Env::process().text("POSTERN_TEST_NODE_MODULES", "");
    assert!(Path::new(&modules).join("puppeteer-core").exists(), "run this under tests/run");
    let stack = start(&[]).await;
    let (id, link) = tracked(&stack, "ann@good.test").await;
    let caught = stack.get("/v1/sink/messages?recipient=ann@good.test").await.unwrap();
    let inbox = caught.body["messages"][0]["id"].as_str().unwrap();
    // As a mail program shows it; the inbox itself loads no remote images.
    let whole = stack.caught("ann@good.test").await.unwrap();
    let (_, body) = whole.split_once("\r\n\r\n").unwrap();
    let shown = body.replace("=\r\n", "").replace("=3D", "=");
    // The screenshots stay where they can be looked at.
    let folder = std::env::temp_dir().join("postern-screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let html = folder.join(format!("{inbox}.html"));
    std::fs::write(&html, shown).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/js/reader.cjs");
    let mut node = Command::new("node");
    node.env("NODE_PATH", &modules).arg(script);
    node.arg(format!("{}/inbox/{inbox}", stack.rest)).arg(&html);
    node.arg(format!("{}{}", stack.tracker, link("/u/"))).arg(&folder).kill_on_drop(true);
    let output = tokio::time::timeout(wait::LIMIT, node.output()).await.unwrap().unwrap();
    std::fs::remove_file(&html).unwrap();
    assert!(output.status.success(), "{output:?}");
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["pixel"], 1, "{seen}");
    assert_eq!(seen["target"], "https://shop.example/?a=1&b=2");
    assert_eq!(
        (&seen["question"], &seen["done"]),
        (&json!("Unsubscribe"), &json!("You are unsubscribed"))
    );
    for (kind, count) in [("message.opened", 1), ("message.clicked", 1)] {
        let told = engagements(&stack, &id, kind, count).await;
        assert_eq!((told.len(), &told[0]["verdict"]), (count, &json!("human")), "{told:?}");
    }
    let next = stack.send(&mail("ann@good.test")).await.unwrap();
    stack.wait_state(&next, "suppressed").await.unwrap();
}
