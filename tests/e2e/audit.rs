//! The audit log tells who changed what, from where, and no secret.

use postern_proto::v1;
use postern_proto::v1::queue_service_client::QueueServiceClient;
use postern_tests::answer::Answer;
use postern_tests::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};

use super::operators::{as_operator, session, with_gateway};

async fn entries(stack: &Stack, query: &str) -> Vec<Value> {
    let answer = stack.get(&format!("/v1/audit?page_size=1000&{query}")).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["entries"].as_array().unwrap().clone()
}

/// The actions, oldest first.
fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().rev().map(|entry| entry["action"].as_str().unwrap()).collect()
}

async fn change(stack: &Stack, method: Method, path: &str, body: Value) -> Answer {
    let request = stack.raw(method, path).bearer_auth(&stack.key).json(&body);
    let answer = Answer::read(request.send().await.unwrap()).await.unwrap();
    assert!((200..300).contains(&answer.status), "{path} {answer:?}");
    answer
}

#[tokio::test]
async fn every_act_on_a_credential_has_an_entry_without_secrets() {
    let stack = with_gateway().await;
    let (post, patch) = (Method::POST, Method::PATCH);
    let mut secrets = Vec::new();
    for (kind, new) in [
        ("keys", json!({"display_name": "shop", "scopes": ["messages:send"]})),
        ("smtp-credentials", json!({"display_name": "printer"})),
    ] {
        let dry = format!("/v1/{kind}?validate_only=true");
        let dry = change(&stack, post.clone(), &dry, new.clone()).await;
        assert!(dry.text("secret").is_empty(), "nothing was made: {dry:?}");
        let made = change(&stack, post.clone(), &format!("/v1/{kind}"), new).await;
        let id = made.text("id");
        let path = |action: &str| format!("/v1/{kind}/{id}{action}");
        let renamed = json!({"display_name": "other"});
        change(&stack, patch.clone(), &path(""), renamed).await;
        let rotated = change(&stack, post.clone(), &path("/rotate"), json!({})).await;
        for _ in 0..2 {
            // The second time it is revoked already.
            let revoke = stack.raw_post(&path("/revoke")).bearer_auth(&stack.key).send().await;
            assert_eq!(revoke.unwrap().status(), 200);
        }
        secrets.extend([made.text("secret").to_owned(), rotated.text("secret").to_owned()]);
        let entries = entries(&stack, &format!("target={id}")).await;
        let resource = if kind == "keys" { "api_key" } else { "smtp_credential" };
        let acts = ["create", "update", "rotate", "revoke"].map(|act| format!("{resource}.{act}"));
        assert_eq!(actions(&entries), acts, "{entries:#?}");
        for entry in &entries {
            assert_eq!(entry["client_ip"], "127.0.0.1", "{entry}");
            assert!(entry["actor"].as_str().unwrap().starts_with("key_"), "{entry}");
            assert!(entry["request_id"].as_str().unwrap().starts_with("req_"), "{entry}");
        }
        assert!(entries[2]["detail"].as_str().unwrap().contains("display_name"), "{entries:#?}");
    }
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let import = json!({"display_name": "old", "scopes": ["messages:send"], "sha256": hash});
    change(&stack, post, "/v1/keys/import", import.clone()).await;
    let again = stack.post("/v1/keys/import", &import).await.unwrap();
    assert_eq!((again.status, again.text("code")), (409, "api_key_exists"), "{again:?}");
    assert_eq!(entries(&stack, "action=api_key.import").await.len(), 1, "only what was done");
    secrets.push(hash.to_owned());
    let all = format!("{:?}", entries(&stack, "").await);
    assert!(secrets.iter().all(|secret| secret.len() > 10 && !all.contains(secret)), "{all}");
}

#[tokio::test]
async fn acts_on_domains_have_entries_and_looking_at_them_has_none() {
    let stack = with_gateway().await;
    let made = stack.post("/v1/domains", &json!({"name": "shop.test"})).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    let taken = stack.post("/v1/domains", &json!({"name": "shop.test"})).await.unwrap();
    assert_eq!(taken.status, 409, "{taken:?}");
    for (path, body) in [
        ("/v1/domains/shop.test/check", None),
        ("/v1/domains/shop.test/rotate", Some(json!({"selector": "new"}))),
        ("/v1/domains/shop.test/activate", Some(json!({"force": true}))),
        // They sign already, so that nothing is done.
        ("/v1/domains/shop.test/activate", Some(json!({"selector": "new", "force": true}))),
    ] {
        let post = stack.raw_post(path).bearer_auth(&stack.key);
        let post = body.iter().fold(post, |post, body| post.json(body));
        let answer = Answer::read(post.send().await.unwrap()).await.unwrap();
        assert_eq!(answer.status, 200, "{path} {answer:?}");
    }
    let gone = stack.raw(Method::DELETE, "/v1/domains/shop.test").bearer_auth(&stack.key);
    assert_eq!(gone.send().await.unwrap().status(), 204);
    let entries = entries(&stack, &format!("target={}", made.text("id"))).await;
    let acts = ["domain.create", "domain.rotate", "domain.activate", "domain.delete"];
    assert_eq!(actions(&entries), acts, "{entries:#?}");
    assert!(entries.iter().all(|one| one["detail"].as_str().unwrap().contains("shop.test")));
}

#[tokio::test]
async fn an_operator_acts_under_the_own_name_and_address() {
    let stack = with_gateway().await;
    let session = session(&stack, "ann", "admin").await;
    let (domain, note) = ("busy.test".to_owned(), "too fast".to_owned());
    let pause = v1::PauseDestinationRequest { domain, note, validate_only: false };
    let mut queue = QueueServiceClient::new(stack.channel.clone());
    queue.pause_destination(as_operator(pause, &session)).await.unwrap();
    stack.operate(&["queue", "resume", "busy.test"]).await.unwrap();
    stack.operate(&["queue", "resume", "busy.test"]).await.unwrap();
    let log = entries(&stack, "target=busy.test").await;
    assert_eq!(actions(&log), ["destination.pause", "destination.resume"], "{log:#?}");
    let (resumed, paused) = (&log[0], &log[1]);
    assert_eq!(paused["actor_name"], "ann");
    assert!(paused["actor"].as_str().unwrap().starts_with("opr_"), "{paused}");
    assert_eq!(
        (&paused["client_ip"], &paused["detail"]),
        (&json!("192.0.2.7"), &json!("too fast"))
    );
    assert_eq!(resumed["client_ip"], "127.0.0.1", "who calls directly is seen as well");
    let logins = entries(&stack, "action=operator.").await;
    assert_eq!(actions(&logins), ["operator.create", "operator.log_in"], "{logins:#?}");
    let actor = format!("actor={}", paused["actor"].as_str().unwrap());
    assert_eq!(actions(&entries(&stack, &actor).await), ["operator.log_in", "destination.pause"]);
    let args = ["audit", "list", "--target", "busy.test", "--limit", "1"];
    let said = stack.operator(&args).await.unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("destination.resume") && said.lines().count() == 1, "{said}");
}

#[tokio::test]
async fn the_log_is_read_page_by_page() {
    let stack = with_gateway().await;
    for n in 0..5 {
        let entry = json!({"email": format!("r{n}@good.test"), "reason": "manual"});
        assert_eq!(stack.post("/v1/suppressions", &entry).await.unwrap().status, 201);
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/audit?action=suppression.&page_size=2&page_token={token}");
        let page = stack.get(&path).await.unwrap();
        let entries = page.body["entries"].as_array().unwrap();
        seen.extend(entries.iter().map(|entry| entry["target"].as_str().unwrap().to_owned()));
        token = page.text("next_page_token").to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [4, 3, 2, 1, 0].map(|n| format!("r{n}@good.test")));
}
