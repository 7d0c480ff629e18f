//! Which webhooks are believed. Keys and signatures are made by openssl and by Python.

use std::process::Stdio;

use postern_kit::env::Env;
use postern_tests::postal::{Mood, Postal, Signer, Taken};
use postern_tests::stack::Stack;
use serde_json::{Value, json};
use tokio::process::Command;

use super::postal::{attempt, handing, post, report, webhook};

const OLD: &str = "/api/v1/webhook";
const ENDPOINT: &str = "5f2b9d1c7e3a8046b1d2";

/// A mail that Postal has, and which a forged webhook would call delivered.
async fn sent(postal: &Postal, stack: &Stack) -> (String, Taken) {
    let id = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&id, "sent").await.unwrap();
    let taken = postal.taken().pop().unwrap();
    (id, taken)
}

/// A body as Postal writes it: with `<`, `>` and `&` escaped.
fn as_rails(body: &str) -> String {
    body.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

type Fields = Vec<(&'static str, String)>;

fn without(fields: &Fields, name: &str) -> Fields {
    fields.iter().filter(|(own, _)| *own != name).cloned().collect()
}

fn with(fields: &Fields, name: &'static str, value: &str) -> Fields {
    let mut fields = without(fields, name);
    fields.push((name, value.to_owned()));
    fields
}

#[tokio::test]
async fn what_is_not_signed_by_a_trusted_key_is_refused_and_changes_nothing() {
    let postal = Postal::start().await.unwrap();
    let [signer, other] = [1024, 2048].map(|bits| Signer::new(bits).unwrap());
    let vars = [
        ("POSTERN_POSTAL_ENDPOINT", ENDPOINT),
        ("POSTERN_LOG", "info,postern_core=debug,postern_gateway_rest=debug"),
    ];
    let stack = handing(&postal.addr, &signer, &vars).await;
    let (id, taken) = sent(&postal, &stack).await;
    let body = as_rails(&webhook("MessageSent", "u-1", &attempt(&taken, "250 OK")));
    let good = signer.fields(body.as_bytes()).unwrap();
    let foreign = other.fields(body.as_bytes()).unwrap();
    let foreign_kid = with(&foreign, "x-postal-signature-kid", &good[2].1);
    let sha1_as_sha256 = with(&good, "x-postal-signature-256", &good[0].1);
    let rewritten: Value = serde_json::from_str(&body).unwrap();
    let rewritten = rewritten.to_string();
    assert_ne!(rewritten, body, "the same JSON, in other octets");
    let path = format!("/v1/postal/webhooks/{ENDPOINT}");
    for (what, body, fields) in [
        ("another key", &body, foreign),
        ("another key under our id", &body, foreign_kid),
        ("another body", &body.replace("250 OK", "250 KO"), good.clone()),
        ("the same JSON written anew", &rewritten, good.clone()),
        ("no fields", &body, Vec::new()),
        ("SHA-1 only", &body, without(&good, "x-postal-signature-256")),
        ("SHA-1 in the place of SHA-256", &body, sha1_as_sha256),
        ("no base64", &body, with(&good, "x-postal-signature-256", "%%%")),
        ("an unknown key id", &body, with(&good, "x-postal-signature-kid", &"0".repeat(64))),
    ] {
        assert_eq!(post(&stack, OLD, body, &fields).await, (401, String::new()), "{what}");
        let (status, text) = post(&stack, &path, body, &fields).await;
        assert!(status == 401 && text.contains("signature_invalid"), "{what}: {status} {text}");
    }
    assert_eq!(stack.message(&id).await.unwrap()["recipients"][0]["state"], "sent");
    let log = stack.log().unwrap();
    assert_eq!(log.matches("a webhook is refused").count(), 1, "at most once a minute: {log}");
    // Nobody learns of a path by trying, not even who can sign.
    let wrong = "/v1/postal/webhooks/0000000000000000";
    assert_eq!(post(&stack, wrong, &body, &good).await.0, 404);
    assert_eq!(post(&stack, wrong, &body, &Vec::new()).await.0, 404);
    assert_eq!(post(&stack, &path, &body, &good).await.0, 200);
    stack.wait_state(&id, "delivered").await.unwrap();
    let log = stack.log().unwrap();
    assert!(log.contains("/v1/postal/webhooks/{endpoint}") && !log.contains(ENDPOINT), "{log}");
}

#[tokio::test]
async fn keys_of_every_usual_size_and_an_old_one_beside_a_new_one_are_believed() {
    let postal = Postal::start().await.unwrap();
    let signers = [1024, 2048, 4096].map(|bits| Signer::new(bits).unwrap());
    let files = signers.iter().map(Signer::public).collect::<Vec<_>>().join(",");
    let vars = [("POSTERN_POSTAL_WEBHOOK_KEY_FILE", files.as_str())];
    let stack = handing(&postal.addr, &signers[0], &vars).await;
    for (n, signer) in signers.iter().enumerate() {
        let (id, taken) = sent(&postal, &stack).await;
        let payload = attempt(&taken, "250 OK");
        let body = webhook("MessageSent", &format!("u-{n}"), &payload);
        let fields = signer.fields(body.as_bytes()).unwrap();
        // Postal before 3.2 names no key: each is tried.
        let fields = if n == 1 { without(&fields, "x-postal-signature-kid") } else { fields };
        assert_eq!(post(&stack, OLD, &body, &fields).await.0, 200);
        stack.wait_state(&id, "delivered").await.unwrap();
    }
}

#[tokio::test]
async fn signatures_of_python_are_judged_likewise() {
    let python = Env::process().text("POSTERN_TEST_PYTHON", "python3");
    let output = Command::new(python)
        .arg(postern_tests::peer::path("postal_vectors.py"))
        .stdout(Stdio::piped())
        .output();
    let output = output.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let vectors: Value = serde_json::from_slice(&output.stdout).unwrap();
    let key = vectors["public_key"].as_str().unwrap();
    let stack = Stack::start(&[("POSTERN_POSTAL_WEBHOOK_KEY", key)]).await.unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 6, "{cases:?}");
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap().to_owned();
        let fields = vec![
            ("x-postal-signature-256", text("signature")),
            ("x-postal-signature-kid", text("key_id")),
        ];
        let (status, _) = post(&stack, OLD, &text("body"), &fields).await;
        let expected = if case["good"] == true { 200 } else { 401 };
        assert_eq!(status, expected, "{case}");
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_believed_and_the_log_says_so() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let stack = handing(&postal.addr, &signer, &[("POSTERN_POSTAL_WEBHOOK_KEY_FILE", "")]).await;
    let (id, taken) = sent(&postal, &stack).await;
    let body = webhook("MessageSent", "u-1", &attempt(&taken, "250 OK"));
    let fields = signer.fields(body.as_bytes()).unwrap();
    assert_eq!(post(&stack, OLD, &body, &fields).await, (401, String::new()));
    assert_eq!(stack.message(&id).await.unwrap()["recipients"][0]["state"], "sent");
    assert!(stack.log().unwrap().contains("no key is known to verify them"));
}

#[tokio::test]
async fn sha1_alone_is_believed_only_where_it_is_allowed() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let stack = handing(&postal.addr, &signer, &[("POSTERN_POSTAL_ALLOW_SHA1", "on")]).await;
    let (id, taken) = sent(&postal, &stack).await;
    let body = webhook("MessageSent", "u-1", &attempt(&taken, "250 OK"));
    let fields = vec![("x-postal-signature", signer.sign("sha1", body.as_bytes()).unwrap())];
    assert_eq!(post(&stack, OLD, &body, &fields).await.0, 200);
    stack.wait_state(&id, "delivered").await.unwrap();
}

/// A system that knows only the keys that Postal publishes, and fetches them at most once per interval.
async fn fetching(postal: &Postal, signer: &Signer, interval: &str) -> Stack {
    let url = format!("http://{}/.well-known/jwks.json", postal.addr);
    let vars = [
        ("POSTERN_POSTAL_WEBHOOK_KEY_FILE", ""),
        ("POSTERN_POSTAL_JWKS_URL", url.as_str()),
        ("POSTERN_POSTAL_JWKS_INTERVAL", interval),
    ];
    handing(&postal.addr, signer, &vars).await
}

#[tokio::test]
async fn published_keys_are_fetched_when_they_are_wanted_and_not_for_everybody() {
    let postal = Postal::start().await.unwrap();
    let [signer, stranger] = [1024, 2048].map(|bits| Signer::new(bits).unwrap());
    postal.publish(&[&stranger, &signer]).unwrap();
    let stack = fetching(&postal, &signer, "1h").await;
    let body = webhook("NewThing", "u-1", &json!({}));
    report(&stack, &signer, &body).await;
    let unknown = Signer::new(1024).unwrap().fields(body.as_bytes()).unwrap();
    for _ in 0..20 {
        assert_eq!(post(&stack, OLD, &body, &unknown).await.0, 401);
    }
    assert_eq!(postal.fetches(), 1);
    // Those that are known stay in use.
    report(&stack, &stranger, &body).await;
}

#[tokio::test]
async fn a_new_published_key_is_believed_without_a_restart() {
    let postal = Postal::start().await.unwrap();
    let [old, new] = [1024, 2048].map(|bits| Signer::new(bits).unwrap());
    postal.publish(&[&old]).unwrap();
    let stack = fetching(&postal, &old, "1s").await;
    let body = webhook("NewThing", "u-1", &json!({}));
    report(&stack, &old, &body).await;
    postal.publish(&[&new]).unwrap();
    let fields = new.fields(body.as_bytes()).unwrap();
    let believed = async || Ok((post(&stack, OLD, &body, &fields).await.0 == 200).then_some(()));
    postern_tests::wait::until("the new key is believed", believed).await.unwrap();
    // The old one has gone with the set it was in.
    let old = old.fields(body.as_bytes()).unwrap();
    assert_eq!(post(&stack, OLD, &body, &old).await.0, 401);
}

#[tokio::test]
async fn the_old_path_can_be_closed_and_bodies_have_a_limit() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let vars = [("POSTERN_POSTAL_ENDPOINT", ENDPOINT), ("POSTERN_POSTAL_ENDPOINT_ONLY", "on")];
    let stack = handing(&postal.addr, &signer, &vars).await;
    let body = webhook("NewThing", "u-1", &json!({"padding": "x"}));
    let fields = signer.fields(body.as_bytes()).unwrap();
    assert_eq!(post(&stack, OLD, &body, &fields).await.0, 404);
    let path = format!("/v1/postal/webhooks/{ENDPOINT}");
    assert_eq!(post(&stack, &path, &body, &fields).await.0, 200);
    let large = webhook("NewThing", "u-2", &json!({"padding": "x".repeat(2 << 20)}));
    let fields = signer.fields(large.as_bytes()).unwrap();
    assert_eq!(post(&stack, &path, &large, &fields).await.0, 413);
    let document = stack.get("/openapi.json").await.unwrap().body;
    for path in [OLD, "/v1/postal/webhooks/{endpoint}"] {
        let described = &document["paths"][path]["post"];
        assert!(described["responses"]["200"].is_object(), "{path}: {described}");
        let named = |name: &str| {
            let list = described["parameters"].as_array().unwrap().iter();
            list.filter(|one| one["name"].as_str().unwrap().eq_ignore_ascii_case(name)).count()
        };
        assert!(fields.iter().all(|(name, _)| named(name) == 1), "{path}: {described}");
    }
}

#[tokio::test]
async fn webhooks_have_a_limit_of_their_own() {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let vars = [
        ("POSTERN_REST_LIMIT_WEBHOOKS_PER_MINUTE", "3"),
        ("POSTERN_REST_LIMIT_IP_PER_MINUTE", "1200"),
    ];
    let stack = handing(&postal.addr, &signer, &vars).await;
    postal.set(Mood::Take);
    let body = webhook("NewThing", "u-1", &json!({}));
    let fields = signer.fields(body.as_bytes()).unwrap();
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(post(&stack, OLD, &body, &fields).await.0);
    }
    assert_eq!(answers, [200, 200, 200, 429]);
    let id = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&id, "sent").await.unwrap();
}
