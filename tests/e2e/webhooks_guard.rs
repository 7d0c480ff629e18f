//! Webhooks do not reach into the network that the core stands in, and wrong endpoints are refused.

use postern_tests::dns;
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::{Value, json};

use super::webhooks::create;

async fn refused(stack: &Stack, webhook: Value, field: &str, what: &str) {
    let answer = stack.post("/v1/webhooks", &webhook).await.unwrap();
    assert_eq!(answer.status, 422, "{webhook}: {answer:?}");
    let error = &answer.body["errors"][0];
    assert_eq!(error["field"], field, "{answer:?}");
    assert!(error["message"].as_str().unwrap().contains(what), "{answer:?}");
}

#[tokio::test]
async fn private_targets_are_refused_when_they_are_named_and_when_a_name_leads_there() {
    let receiver = HookReceiver::start().await.unwrap();
    let dns = dns::start().await.unwrap();
    let servers = format!("127.0.0.1:{}", dns.port);
    let stack = Stack::start(&[("POSTERN_DNS_SERVERS", servers.as_str())]).await.unwrap();
    for (url, what) in [
        ("http://shop.example/", "http is not allowed"),
        ("https://127.0.0.1/", "public internet"),
        ("https://[::ffff:10.0.0.1]/", "public internet"),
        ("https://169.254.169.254/latest", "public internet"),
        ("https://me:secret@shop.example/", "user name or password"),
        ("https://shop.example:25/", "port"),
        ("gopher://shop.example/", "neither https nor http"),
        ("shop.example", "no url"),
        ("", "required"),
    ] {
        refused(&stack, json!({"url": url}), "url", what).await;
    }
    // The name server of the tests knows this host on loopback.
    let (id, _) = create(&stack, "https://mx.good.test/hook", json!({})).await;
    let tested = stack.post(&format!("/v1/webhooks/{id}/test"), &json!({})).await.unwrap();
    assert_eq!((tested.status, &tested.body["error"]), (200, &json!("blocked")), "{tested:?}");
    let (id, _) = create(&stack, "https://nowhere.test/hook", json!({})).await;
    let tested = stack.post(&format!("/v1/webhooks/{id}/test"), &json!({})).await.unwrap();
    assert_eq!(tested.body["error"], "dns", "{tested:?}");
    assert!(receiver.requests("hook").unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_is_no_way_out() {
    let receiver = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&[("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow")]).await.unwrap();
    receiver.set_mode("a", "redirect").unwrap();
    let (id, _) = create(&stack, &receiver.url("a"), json!({})).await;
    let tested = stack.post(&format!("/v1/webhooks/{id}/test"), &json!({})).await.unwrap();
    let (error, status) = (&tested.body["error"], &tested.body["status"]);
    assert_eq!((error, status), (&json!("status"), &json!(302)), "{tested:?}");
    assert!(receiver.requests("redirected").unwrap().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_an_endpoint_is_named() {
    let stack = Stack::start(&[]).await.unwrap();
    let url = "https://shop.example/hook";
    let with = |name: &str, value: Value| {
        let mut webhook = json!({"url": url});
        webhook[name] = value;
        webhook
    };
    for (name, value, field, what) in [
        ("event_types", json!(["message.lost"]), "event_types[0]", "no event type"),
        ("event_types", json!(["*x"]), "event_types[0]", "no event type"),
        ("max_concurrency", json!(65), "max_concurrency", "from 0 to 64"),
        ("rate_limit", json!(-1), "rate_limit", "from 0 to 10000"),
        ("headers", json!({"Webhook-Id": "x"}), "headers.Webhook-Id", "set by the server"),
        ("headers", json!({"a b": "x"}), "headers.a b", "cannot be sent"),
        ("campaign_ids", json!(["a\u{7}"]), "campaign_ids[0]", "control character"),
        ("secret", json!("short"), "secret", "whsec_"),
    ] {
        refused(&stack, with(name, value), field, what).await;
    }
    let (id, secret) = create(&stack, url, json!({})).await;
    assert!(secret.starts_with("whsec_"));
    let shown = stack.get(&format!("/v1/webhooks/{id}")).await.unwrap();
    assert!(!shown.body.to_string().contains("whsec_"), "a secret is shown once only: {shown:?}");
    for path in ["whk_01h2xcejqtf2nbrexx3vqjhp41", "nonsense"] {
        let answer = stack.get(&format!("/v1/webhooks/{path}")).await.unwrap();
        assert_eq!((answer.status, answer.text("code")), (404, "webhook_not_found"), "{answer:?}");
    }
    let missing = format!("/v1/webhooks/{id}/delivery?event_id=evt_01h2xcejqtf2nbrexx3vqjhp41");
    let answer = stack.get(&missing).await.unwrap();
    assert_eq!((answer.status, answer.text("code")), (404, "webhook_delivery_not_found"));
    let answer = stack.post(&format!("/v1/webhooks/{id}/replay"), &json!({})).await.unwrap();
    assert_eq!((answer.status, answer.text("code")), (422, "missing_field"), "{answer:?}");
}

#[tokio::test]
async fn an_endpoint_at_which_everything_fails_for_too_long_is_disabled() {
    let receiver = HookReceiver::start().await.unwrap();
    let vars =
        [("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow"), ("POSTERN_WEBHOOKS_RETRY_PERCENT", "0")];
    let stack = Stack::start(&vars).await.unwrap();
    super::settings::set(&stack, &[("webhooks.disable_after", "1s")]).await;
    let (bad, _) = create(&stack, &receiver.url("bad"), json!({})).await;
    let (good, _) = create(&stack, &receiver.url("good"), json!({})).await;
    receiver.set_mode("bad", "500").unwrap();
    let disabled = wait::until("it is disabled", async || {
        stack.send_to("ann@good.test").await?;
        let shown = stack.get(&format!("/v1/webhooks/{bad}")).await?.body;
        Ok((shown["disabled"] == true).then_some(shown))
    });
    let disabled = disabled.await.unwrap();
    let reason = disabled["disable_reason"].as_str().unwrap();
    assert!(reason.contains("longer than webhooks.disable_after"), "{disabled}");
    let told = stack.get("/v1/events?types=webhook.disabled").await.unwrap().body;
    let [notice] = &told["events"].as_array().unwrap()[..] else { panic!("told once: {told}") };
    assert_eq!((&notice["subject"]["id"], &notice["reason"]), (&json!(bad), &json!(reason)));
    let shown = stack.get(&format!("/v1/webhooks/{good}")).await.unwrap();
    assert_eq!(shown.body["disabled"], false, "{shown:?}");
}
