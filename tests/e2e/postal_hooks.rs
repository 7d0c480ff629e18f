//! What webhooks of Postal do to mail: every event, in every order, and to no other mail.

use std::collections::BTreeMap;

use postern_tests::postal::{Mood, Postal, Signer, Taken};
use postern_tests::postgres::Schema;
use postern_tests::proxy::Proxy;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::{Value, json};

use super::postal::{attempt, handing, post, report, types, webhook};

struct Scene {
    postal: Postal,
    signer: Signer,
    stack: Stack,
}

async fn scene(more: &[(&str, &str)]) -> Scene {
    let (postal, signer) = (Postal::start().await.unwrap(), Signer::new(1024).unwrap());
    let stack = handing(&postal.addr, &signer, more).await;
    Scene { postal, signer, stack }
}

impl Scene {
    /// A mail that Postal has.
    async fn sent(&self, to: &str) -> (String, Taken) {
        let id = self.stack.send_to(to).await.unwrap();
        self.stack.wait_state(&id, "sent").await.unwrap();
        let taken = self.postal.taken().into_iter().rfind(|taken| taken.to == to);
        (id, taken.unwrap())
    }

    async fn report(&self, event: &str, uuid: &str, payload: &Value) {
        report(&self.stack, &self.signer, &webhook(event, uuid, payload)).await;
    }

    async fn state(&self, id: &str) -> String {
        let message = self.stack.message(id).await.unwrap();
        message["recipients"][0]["state"].as_str().unwrap().to_owned()
    }

    async fn suppressed(&self, email: &str) -> Option<String> {
        let list = self.stack.get(&format!("/v1/suppressions?email={email}")).await.unwrap();
        list.body["suppressions"][0]["reason"].as_str().map(str::to_owned)
    }
}

#[tokio::test]
async fn every_event_of_a_mail_leads_to_its_state_and_reason() {
    let scene = scene(&[]).await;
    for (n, (event, output, state, reason, suppressed)) in [
        ("MessageSent", "250 OK", "delivered", "", None),
        ("MessageDelivered", "250 OK", "delivered", "", None),
        ("MessageDelayed", "451 4.7.1 greylisted", "sent", "rate_limited", None),
        ("MessageDeliveryFailed", "550 5.1.1 no", "bounced", "unknown_user", Some("hard_bounce")),
        ("MessageDeliveryFailed", "550 5.7.23 SPF", "bounced", "auth_failed", None),
        ("MessageDeliveryFailed", "554 spam", "bounced", "spam_content", None),
        ("MessageDeliveryFailed", "", "failed", "other", None),
        ("MessageHeld", "", "failed", "policy", None),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("r{n}@good.test");
        let (id, taken) = scene.sent(&email).await;
        scene.report(event, &format!("u-{n}"), &attempt(&taken, output)).await;
        let message = scene.stack.message(&id).await.unwrap();
        let recipient = &message["recipients"][0];
        assert_eq!(recipient["state"], state, "{event} {output} {message}");
        let shown = recipient["reason"].as_str().unwrap_or_default();
        assert_eq!(shown, reason, "{event} {output} {message}");
        assert_eq!(scene.suppressed(&email).await.as_deref(), suppressed, "{event} {output}");
    }
    let stats = scene.stack.get("/v1/stats").await.unwrap();
    let total = &stats.body["total"];
    let counted = ["delivered", "bounced", "failed", "deferred"].map(|name| total[name].as_i64());
    assert_eq!(counted, [2, 3, 2, 1].map(Some), "{stats:?}");
}

#[tokio::test]
async fn what_comes_late_or_again_moves_nothing_back() {
    let scene = scene(&[]).await;
    let (id, taken) = scene.sent("ann@good.test").await;
    scene.report("MessageDelayed", "u-1", &attempt(&taken, "451 later")).await;
    scene.report("MessageSent", "u-2", &attempt(&taken, "250 OK")).await;
    for (event, uuid) in [
        ("MessageDelayed", "u-1"),
        ("MessageSent", "u-2"),
        ("MessageSent", "u-3"),
        ("MessageDelayed", "u-4"),
        ("MessageDeliveryFailed", "u-5"),
        ("MessageHeld", "u-6"),
    ] {
        scene.report(event, uuid, &attempt(&taken, "550 5.1.1 no")).await;
    }
    assert_eq!(scene.state(&id).await, "delivered");
    let expected = ["message.accepted", "message.sent", "message.deferred", "message.delivered"];
    assert_eq!(types(&scene.stack, &id).await, expected);
    assert_eq!(scene.suppressed("ann@good.test").await, None);
}

#[tokio::test]
async fn a_bounce_message_is_about_the_original_and_complaints_are_heard() {
    let scene = scene(&[]).await;
    let (early, early_taken) = scene.sent("early@good.test").await;
    let (late, late_taken) = scene.sent("late@good.test").await;
    let (other, other_taken) = scene.sent("other@good.test").await;
    scene.report("MessageSent", "u-1", &attempt(&late_taken, "250 OK")).await;
    let bounce = |taken: &Taken| {
        let mut bounce = other_taken.shown();
        bounce["direction"] = json!("incoming");
        json!({"original_message": taken.shown(), "bounce": bounce})
    };
    scene.report("MessageBounced", "u-2", &bounce(&early_taken)).await;
    scene.report("MessageBounced", "u-3", &bounce(&late_taken)).await;
    assert_eq!(scene.state(&early).await, "bounced");
    assert_eq!(scene.state(&late).await, "delivered", "what is delivered stays delivered");
    assert_eq!(scene.state(&other).await, "sent");
    let events = scene.stack.events(&late).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "message.bounced");
    assert_eq!(last["reply"]["phase"], "out_of_band", "{last}");
    scene.report("MessageComplained", "u-4", &json!({"message": late_taken.shown()})).await;
    assert_eq!(types(&scene.stack, &late).await.last().unwrap(), "message.complained");
    assert_eq!(scene.suppressed("late@good.test").await.as_deref(), Some("complaint"));
}

#[tokio::test]
async fn opens_and_clicks_are_recorded_once() {
    let scene = scene(&[]).await;
    let (id, taken) = scene.sent("ann@good.test").await;
    let seen = json!({"message": taken.shown(), "url": "https://shop.example/a", "token": "l",
                      "ip_address": "192.0.2.9", "user_agent": "Reader/1"});
    for (event, uuid) in
        [("MessageLoaded", "u-1"), ("MessageLinkClicked", "u-2"), ("MessageLoaded", "u-1")]
    {
        scene.report(event, uuid, &seen).await;
    }
    let events = scene.stack.events(&id).await.unwrap();
    let hits: Vec<_> = events.iter().filter(|event| !event["engagement"].is_null()).collect();
    assert_eq!(hits.len(), 2, "{events:?}");
    assert_eq!(
        (hits[0]["type"].as_str(), hits[1]["type"].as_str()),
        (Some("message.opened"), Some("message.clicked"))
    );
    assert_eq!(hits[1]["engagement"]["url"], "https://shop.example/a");
    assert_eq!(hits[1]["engagement"]["client_ip"], "192.0.2.9");
    assert_eq!(hits[1]["engagement"]["verdict"], "unknown");
}

#[tokio::test]
async fn a_report_that_comes_before_our_own_record_is_not_lost() {
    let scene = scene(&[]).await;
    scene.postal.set(Mood::TakeAndHold);
    let id = scene.stack.send_to("ann@good.test").await.unwrap();
    let taken = async || Ok(scene.postal.taken().pop());
    let taken = wait::until("the call", taken).await.unwrap();
    scene.report("MessageSent", "u-1", &attempt(&taken, "250 OK")).await;
    let opened = json!({"message": taken.shown(), "ip_address": "192.0.2.9", "user_agent": "R"});
    scene.report("MessageLoaded", "u-2", &opened).await;
    assert_eq!(scene.state(&id).await, "sending", "it is not recorded yet that Postal took it");
    scene.postal.set(Mood::Take);
    scene.stack.wait_state(&id, "delivered").await.unwrap();
    let look = async || {
        let types = types(&scene.stack, &id).await;
        Ok(types.contains(&"message.opened".to_owned()).then_some(types))
    };
    let types = wait::until("the open", look).await.unwrap();
    assert_eq!(types.len(), 4, "{types:?}");
}

#[tokio::test]
async fn an_unknown_or_foreign_message_is_answered_and_hits_no_other() {
    let scene = scene(&[]).await;
    let mut before = BTreeMap::new();
    let mut some = None;
    for to in ["ann@good.test", "bob@good.test"] {
        let (id, taken) = scene.sent(to).await;
        before.insert(id, "sent".to_owned());
        some = Some(taken);
    }
    let taken = some.unwrap();
    let change = |field: &str, value: Value| {
        let mut payload = attempt(&taken, "550 5.1.1 no such user");
        payload["message"][field] = value;
        payload
    };
    // A tenant beside us has the same numbers, and tokens of its own.
    scene.report("MessageDeliveryFailed", "u-1", &change("token", json!("otherTokenOther1"))).await;
    scene.report("MessageDeliveryFailed", "u-2", &change("id", json!(999))).await;
    scene.report("MessageSent", "u-3", &change("direction", json!("incoming"))).await;
    let stranger = json!({"id": 5, "token": "strange", "direction": "outgoing", "message_id": null, "to": null});
    scene
        .report("MessageBounced", "u-4", &json!({"original_message": stranger, "bounce": {}}))
        .await;
    let server = json!({"uuid": "s", "name": "n", "permalink": "p", "organization": "o"});
    scene
        .report(
            "DomainDNSError",
            "u-5",
            &json!({"server": server, "domain": "shop.test", "spf_error": "none"}),
        )
        .await;
    scene
        .report("SendLimitExceeded", "u-6", &json!({"server": server, "volume": 9, "limit": 8}))
        .await;
    scene.report("SomethingNew", "u-7", &json!({})).await;
    // Signed, and no event: what Postal passes on of inbound mail, or an id that is none.
    let signed = async |body: &str| {
        let fields = scene.signer.fields(body.as_bytes()).unwrap();
        post(&scene.stack, "/api/v1/webhook", body, &fields).await.0
    };
    assert_eq!(signed(r#"{"id":1,"rcpt_to":"a@b.example","message":"x"}"#).await, 422);
    assert_eq!(
        signed(&webhook("MessageBounced", "u-8", &json!({"bounce": taken.shown()}))).await,
        422
    );
    assert_eq!(signed(&webhook("MessageSent", "u-9", &change("id", Value::Null))).await, 422);
    assert_eq!(signed("no json").await, 400);
    for (id, state) in before {
        assert_eq!(scene.state(&id).await, state);
    }
    let log = scene.stack.log().unwrap();
    for said in
        ["DomainDNSError, domain: shop.test", "SendLimitExceeded, volume: 9", "SomethingNew"]
    {
        assert!(log.contains(said), "{said} is not in {log}");
    }
}

#[tokio::test]
async fn while_the_store_is_away_postal_is_told_to_try_again() {
    let schema = Schema::make("postal_hooks").await.unwrap();
    let proxy = Proxy::start(&schema.host).await.unwrap();
    let url = schema.url(&proxy.addr.to_string());
    let scene = scene(&[
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema.name),
        ("POSTERN_DATABASE_TIMEOUT", "2s"),
    ])
    .await;
    let (id, taken) = scene.sent("ann@good.test").await;
    let body = webhook("MessageSent", "u-1", &attempt(&taken, "250 OK"));
    let fields = scene.signer.fields(body.as_bytes()).unwrap();
    proxy.cut();
    assert_eq!(post(&scene.stack, "/api/v1/webhook", &body, &fields).await.0, 503);
    proxy.restore();
    let again = async || {
        let status = post(&scene.stack, "/api/v1/webhook", &body, &fields).await.0;
        assert!([200, 503].contains(&status), "{status}");
        Ok((status == 200).then_some(()))
    };
    wait::until("the store is back", again).await.unwrap();
    scene.stack.wait_state(&id, "delivered").await.unwrap();
    let expected = ["message.accepted", "message.sent", "message.delivered"];
    assert_eq!(types(&scene.stack, &id).await, expected);
}

#[tokio::test]
async fn bounce_patterns_of_the_old_system_are_imported_and_heard() {
    let scene = scene(&[]).await;
    let file = scene.stack.folder().join("patterns.yml");
    let text = "version: 1\nnon_bounce_categories: [temporary]\npatterns:\n  user_not_found:\n    \
        description: d\n    patterns: [\"Empfaenger unbekannt\", \"5.7.1.*rate\"]\n";
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let bounce = async |email: &str, uuid: &str| {
        let (id, taken) = scene.sent(email).await;
        let payload = attempt(&taken, "550 Empfaenger unbekannt");
        scene.report("MessageDeliveryFailed", uuid, &payload).await;
        let message = scene.stack.message(&id).await.unwrap();
        message["recipients"][0]["reason"].as_str().unwrap().to_owned()
    };
    let dry = ["import", "bounce-patterns", path, "--dry-run"];
    let shown = scene.stack.operate(&dry).await.unwrap();
    assert_eq!((shown["used"].as_i64(), shown["notes"][0].is_string()), (Some(1), true), "{shown}");
    assert_eq!(bounce("a@good.test", "u-1").await, "other", "nothing was changed");
    let shown = scene.stack.operator(&dry[..3]).await.unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("left out  user_not_found  '5.7.1.*rate'"), "{shown}");
    assert!(shown.contains("1 of 2 patterns are used"), "{shown}");
    assert_eq!(bounce("b@good.test", "u-2").await, "unknown_user");
    assert_eq!(scene.suppressed("b@good.test").await.as_deref(), Some("hard_bounce"));
    std::fs::write(&file, "patterns: {nonsense: {patterns: [a]}}").unwrap();
    let refused = scene.stack.operator(&dry[..3]).await.unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("patterns.nonsense: is no category"), "{said}");
}

#[tokio::test]
async fn an_address_that_bounces_at_a_relay_is_suppressed_too() {
    let receiver = Receiver::start().await.unwrap();
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let first = stack.send_to("refuse@good.test").await.unwrap();
    stack.wait_state(&first, "bounced").await.unwrap();
    let second = stack.send_to("Refuse@good.test").await.unwrap();
    stack.wait_state(&second, "suppressed").await.unwrap();
}
