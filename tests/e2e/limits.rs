//! What a caller may do, how much of it is left, and what a request would do.

use postern_tests::answer::Answer;
use postern_tests::stack::{Stack, mail_to};
use serde_json::{Value, json};

async fn get(stack: &Stack, path: &str, key: &str) -> Answer {
    let get = reqwest::Client::new().get(format!("{}{path}", stack.rest)).bearer_auth(key);
    Answer::read(get.send().await.unwrap()).await.unwrap()
}

/// The limit of this name among those of a key.
async fn limit(stack: &Stack, key: &str, policy: &str) -> Value {
    let limits = get(stack, "/v1/limits", key).await;
    assert_eq!(limits.status, 200, "{limits:?}");
    let list = limits.body["rate_limits"].as_array().unwrap().clone();
    list.into_iter().find(|limit| limit["policy"] == policy).unwrap_or_default()
}

#[tokio::test]
async fn a_key_sees_what_is_left_of_its_limits() {
    let stack = Stack::start(&[("POSTERN_DAILY_LIMIT", "100")]).await.unwrap();
    assert_eq!(limit(&stack, &stack.key, "send").await, Value::Null, "it has none of its own");
    let body = json!({"display_name": "app", "scopes": ["messages:send"], "daily_limit": 5});
    let made = stack.post("/v1/keys", &body).await.unwrap();
    let key = made.text("secret");
    let before = limit(&stack, key, "send").await;
    assert_eq!((&before["quota"], &before["remaining"]), (&json!(5), &json!(5)), "{before}");
    assert_eq!((&before["unit"], &before["window"]), (&json!("recipients"), &json!("86400s")));
    let send = async |recipients: Value| {
        let mut mail = mail_to("a@good.test");
        mail["to"] = recipients;
        let post = stack.raw_post("/v1/messages").bearer_auth(key).json(&mail);
        Answer::read(post.send().await.unwrap()).await.unwrap()
    };
    assert_eq!(send(json!(["a@good.test", "b@good.test"])).await.status, 202);
    assert_eq!(limit(&stack, key, "send").await["remaining"], 3);
    assert_eq!(limit(&stack, key, "send-total").await["remaining"], 98);
    let four = json!(["a@good.test", "b@good.test", "c@good.test", "d@good.test"]);
    let refused = send(four).await;
    assert_eq!((refused.status, refused.text("code")), (429, "quota_exceeded"), "{refused:?}");
    assert_eq!(refused.body["violated-policies"], json!(["send"]));
    assert!(refused.header("ratelimit").starts_with("\"send\";r=0;t="), "{refused:?}");
    assert!(refused.header("ratelimit-policy").starts_with("\"send\";q=5;w=86400"), "{refused:?}");
    assert_eq!(limit(&stack, key, "send").await["remaining"], 3, "a refusal costs nothing");
    let api = limit(&stack, key, "api").await;
    assert!(api["remaining"].as_i64() < api["quota"].as_i64(), "{api}");
    assert_eq!(get(&stack, "/v1/limits", "pst_wrong").await.status, 401);
}

#[tokio::test]
async fn an_answer_says_how_long_it_is_kept() {
    let stack = Stack::start(&[("POSTERN_IDEMPOTENCY_TTL", "2h")]).await.unwrap();
    let mail = mail_to("a@good.test");
    let batch = json!({"message": {"from": "hi@shop.test", "subject": "s", "text": "t"},
        "items": [{"to": "a@good.test"}, {"to": "b@good.test"}]});
    for (path, body) in [("/v1/messages", &mail), ("/v1/messages/batch", &batch)] {
        let key = [("Idempotency-Key", "order-1")];
        let first = stack.post_with(path, body, &key).await.unwrap();
        let again = stack.post_with(path, body, &key).await.unwrap();
        assert_eq!((first.status, again.status), (202, 202), "{again:?}");
        let expires = first.header("idempotency-expire-time");
        assert_eq!(expires, again.header("idempotency-expire-time"), "{path}");
        assert_eq!(again.header("idempotency-replayed"), "true", "{path}");
        let expires: jiff::Timestamp = expires.parse().unwrap();
        let left = expires.duration_since(jiff::Timestamp::now()).as_secs();
        assert!((7_000..=7_200).contains(&left), "{path} {left}");
        let unkept = stack.post(path, body).await.unwrap();
        assert_eq!(unkept.header("idempotency-expire-time"), "", "{path}");
    }
}

#[tokio::test]
async fn a_server_can_insist_on_idempotency_keys() {
    let stack = Stack::start(&[("POSTERN_IDEMPOTENCY_REQUIRED", "on")]).await.unwrap();
    let mail = mail_to("a@good.test");
    let batch = json!({"message": {"from": "hi@shop.test", "subject": "s", "text": "t"},
        "items": [{"to": "a@good.test"}]});
    for (path, body) in [("/v1/messages", &mail), ("/v1/messages/batch", &batch)] {
        let refused = stack.post(path, body).await.unwrap();
        let told = (refused.status, refused.text("code"));
        assert_eq!(told, (400, "idempotency_key_required"), "{path} {refused:?}");
        let checked = stack.post(&format!("{path}?validate_only=true"), body).await.unwrap();
        assert_eq!(checked.status, 202, "{path} {checked:?}");
        let key = [("Idempotency-Key", "order-1")];
        assert_eq!(stack.post_with(path, body, &key).await.unwrap().status, 202, "{path}");
    }
}

#[tokio::test]
async fn what_is_only_checked_changes_nothing() {
    let stack = Stack::start(&[]).await.unwrap();
    let dry = async |path: &str, body: Value| {
        let answer = stack.post(&format!("{path}?validate_only=true"), &body).await.unwrap();
        assert!((200..300).contains(&answer.status), "{path} {answer:?}");
        answer
    };
    let mut mail = mail_to("a@good.test");
    mail["send_time"] = json!(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(5));
    let id = stack.send(&mail).await.unwrap();
    let cancel = format!("/v1/messages/{id}/cancel");
    assert_eq!(dry(&cancel, json!({})).await.body["canceled_count"], 1);
    assert_eq!(stack.message(&id).await.unwrap()["state"], "scheduled");
    assert_eq!(stack.post(&cancel, &json!({})).await.unwrap().status, 200);
    let late = stack.post(&format!("{cancel}?validate_only=true"), &json!({})).await.unwrap();
    assert_eq!((late.status, late.text("code")), (409, "message_not_cancelable"), "{late:?}");

    let key = json!({"display_name": "app", "scopes": ["messages:send"]});
    let checked = dry("/v1/keys", key.clone()).await;
    assert!(checked.body.get("secret").is_none() && checked.body.get("id").is_none());
    let made = stack.post("/v1/keys", &key).await.unwrap();
    let shown = dry(&format!("/v1/keys/{}/revoke", made.text("id")), json!({})).await;
    assert!(shown.body.get("revoke_time").is_none(), "{shown:?}");
    assert_eq!(get(&stack, "/v1/keys/self", made.text("secret")).await.status, 200);
    let bad = json!({"display_name": "app", "scopes": ["nothing"]});
    assert_eq!(stack.post("/v1/keys?validate_only=true", &bad).await.unwrap().status, 422);

    let credential = json!({"display_name": "printer"});
    assert_eq!(dry("/v1/smtp-credentials", credential.clone()).await.text("secret"), "");
    let hash = "$2b$04$abcdefghijklmnopqrstuuO5Fz3Ck9yMxhq0JTOVn7JfEwS8yW1Wq";
    let imported = json!({"display_name": "old", "username": "old", "bcrypt_hash": hash});
    dry("/v1/smtp-credentials/import", imported).await;
    let list = stack.get("/v1/smtp-credentials").await.unwrap();
    assert_eq!(list.body["smtp_credentials"], json!([]));
    let made = stack.post("/v1/smtp-credentials", &credential).await.unwrap();
    let revoke = format!("/v1/smtp-credentials/{}/revoke", made.text("id"));
    assert!(dry(&revoke, json!({})).await.body.get("revoke_time").is_none());
}

#[tokio::test]
async fn what_is_only_checked_removes_nothing() {
    let stack = Stack::start(&[]).await.unwrap();
    let client = reqwest::Client::new();
    let delete = async |path: &str| {
        let delete = client.delete(format!("{}{path}?validate_only=true", stack.rest));
        delete.bearer_auth(&stack.key).send().await.unwrap().status().as_u16()
    };
    let put = client.put(format!("{}/v1/settings/smtp.errors_max?validate_only=true", stack.rest));
    let put = put.bearer_auth(&stack.key).json(&json!({"value": "7"})).send().await.unwrap();
    assert_eq!(put.status(), 200);
    let settings = stack.get("/v1/settings?prefix=smtp.errors_max").await.unwrap();
    assert_eq!(settings.body["settings"][0]["changed"], false, "{settings:?}");

    let entry = json!({"email": "a@good.test"});
    let made = stack.post("/v1/suppressions", &entry).await.unwrap();
    let path = format!("/v1/suppressions/{}", made.text("id"));
    assert_eq!(delete(&path).await, 204);
    assert_eq!(stack.get(&path).await.unwrap().status, 200);
    assert_eq!(delete("/v1/suppressions/sup_01h2xcejqtf2nbrexx3vqjhp41").await, 404);

    let id = stack.send_to("b@good.test").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    assert_eq!(delete("/v1/sink/messages").await, 204);
    let caught = stack.get("/v1/sink/messages").await.unwrap();
    assert_eq!(caught.body["messages"].as_array().unwrap().len(), 1, "{caught:?}");
}
