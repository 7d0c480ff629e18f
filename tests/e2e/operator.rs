//! The operator's command beside a running system: what it prints and how it ends.

use std::collections::BTreeSet;
use std::process::Output;

use postern_tests::stack::Stack;
use serde_json::{Value, json};

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complained(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs a command that must succeed; returns what it printed.
async fn run(stack: &Stack, args: &[&str]) -> String {
    let output = stack.operator(args).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    said(&output)
}

const MAIL: [&str; 7] = [
    "send",
    "--from=Shop <hi@shop.test>",
    "--to=ann@good.test",
    "--subject=Hello",
    "--text=It works.",
    "--tag=greeting",
    "--idempotency-key=once",
];

#[tokio::test]
async fn send_prints_the_id_and_status_shows_what_became_of_it() {
    let stack = Stack::start(&[]).await.unwrap();
    let id = run(&stack, &MAIL).await.trim().to_owned();
    assert!(id.starts_with("msg_") && !id.contains(' '), "{id}");
    stack.wait_state(&id, "delivered").await.unwrap();
    let status: Value = run(&stack, &["status", &id, "--json"]).await.parse().unwrap();
    assert_eq!(status["id"], id.as_str());
    assert_eq!(status["recipients"][0]["email"], "ann@good.test");
    assert_eq!(status["recipients"][0]["state"], "delivered");
    let text = run(&stack, &["status", &id]).await;
    assert!(text.contains("delivered") && text.contains("ann@good.test"), "{text}");
    let again = run(&stack, &MAIL).await;
    assert_eq!(again.trim(), format!("{id} (accepted before)"));
}

#[tokio::test]
async fn a_refused_mail_ends_with_1_and_names_the_field_and_the_reason() {
    let stack = Stack::start(&[]).await.unwrap();
    let args = ["send", "--from=hi@shop.test", "--to=nobody", "--subject=x", "--text=y"];
    let output = stack.operator(&args).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(said(&output), "");
    let complaint = complained(&output);
    assert!(complaint.contains("INVALID_ADDRESS"), "{complaint}");
    let missing = stack.operator(&["status", "never-sent"]).await.unwrap();
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(complained(&missing).contains("never-sent"), "{missing:?}");
}

#[tokio::test]
async fn a_core_that_is_away_ends_with_75_so_that_scripts_try_again() {
    let mut stack = Stack::start(&[]).await.unwrap();
    stack.kill_9().await.unwrap();
    let output = stack.operator(&MAIL).await.unwrap();
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(complained(&output).contains("CORE_UNAVAILABLE"), "{output:?}");
}

#[tokio::test]
async fn a_key_works_until_it_is_revoked_and_is_listed_as_such() {
    let stack = Stack::start(&[]).await.unwrap();
    let made: Value = run(&stack, &["keys", "create", "shop", "--json"]).await.parse().unwrap();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let mut with_key = MAIL.to_vec();
    with_key.extend(["--key", secret]);
    run(&stack, &with_key).await;
    let list = run(&stack, &["keys", "list"]).await;
    let line = |list: &str| list.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line(&list).contains("active") && line(&list).contains("shop"), "{list}");
    assert!(!list.contains(secret), "a secret is shown once only");
    run(&stack, &["keys", "revoke", id]).await;
    let list = run(&stack, &["keys", "list"]).await;
    assert!(line(&list).contains("revoked"), "{list}");
    let refused = stack.operator(&with_key).await.unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(complained(&refused).contains("KEY_REVOKED"), "{refused:?}");
}

#[tokio::test]
async fn what_mail_of_a_credential_gets_is_said_on_the_command_line() {
    let stack = Stack::start(&[]).await.unwrap();
    let wishes = ["--track-opens", "on", "--track-clicks", "html", "--unsubscribe", "one-click"];
    for (kind, list) in [("keys", "api_keys"), ("smtp-credentials", "smtp_credentials")] {
        let mut create =
            vec![kind, "create", "newsletter", "--unsubscribe-footer", "off", "--json"];
        create.extend(wishes);
        let made: Value = run(&stack, &create).await.parse().unwrap();
        let id = made["id"].as_str().unwrap();
        let listed = stack.get(&format!("/v1/{kind}")).await.unwrap();
        let mut all = listed.body[list].as_array().unwrap().iter();
        let listed = all.find(|listed| listed["id"] == id).unwrap();
        let tracking = json!({"opens": true, "clicks": "html", "keep_campaign_links": false});
        assert_eq!(listed["tracking"], tracking, "{listed}");
        let unsubscribe = json!({"mode": "one_click", "footer": false});
        assert_eq!(listed["unsubscribe"], unsubscribe, "{listed}");
    }
    let bad = stack.operator(&["keys", "create", "x", "--track-clicks", "some"]).await.unwrap();
    assert!(!bad.status.success() && complained(&bad).contains("possible values"), "{bad:?}");
}

#[tokio::test]
async fn a_domain_is_added_with_the_records_to_publish() {
    let stack = Stack::start(&[]).await.unwrap();
    let added = run(&stack, &["domains", "add", "shop.test"]).await;
    assert!(added.contains("shop.test") && added.contains("v=DKIM1"), "{added}");
    assert!(added.contains("k=ed25519"), "{added}");
    let shown = run(&stack, &["domains", "records", "shop.test"]).await;
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(lines(&shown), lines(&added));
    let list = run(&stack, &["domains", "list"]).await;
    assert!(list.contains("shop.test"), "{list}");
    let again = stack.operator(&["domains", "add", "shop.test"]).await;
    let again = again.unwrap();
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(complained(&again).contains("DOMAIN_EXISTS"), "{again:?}");
}
