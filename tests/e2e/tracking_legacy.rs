//! What the old system's links and clients may rely on.

use postern_proto::link::Kind;
use postern_proto::v1;
use postern_proto::v1::link_reference::Reference;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use serde_json::json;

use super::tracking_core::{asked, edge, hit, links, tracking};

fn claimed(address: &str, campaign: &str, message: &str) -> Option<v1::LinkReference> {
    let legacy = v1::LegacyReference {
        address: address.to_owned(),
        campaign_id: campaign.to_owned(),
        message_id: message.to_owned(),
    };
    Some(v1::LinkReference { reference: Some(Reference::Legacy(legacy)) })
}

async fn sent_by_the_old_contract(stack: &Stack) -> String {
    let body = json!({
        "from_email": "hi@shop.test", "recipient": "ann@good.test", "subject": "News",
        "html_body": "<body><a href=\"https://shop.example/?a=1&amp;b=2\">Look</a></body>",
        "tracking": {"message_id": "test_msg_001", "campaign_id": "spring"},
    });
    let sent = stack.post("/api/v1/send", &body).await.unwrap();
    assert_eq!(sent.status, 202, "{sent:?}");
    let id = sent.text("message_id").to_owned();
    stack.wait_state(&id, "delivered").await.unwrap();
    id
}

#[tokio::test]
async fn a_campaign_of_the_old_contract_is_tracked_and_its_numbers_are_shown() {
    let stack = tracking(&[]).await;
    sent_by_the_old_contract(&stack).await;
    let caught = stack.caught("ann@good.test").await.unwrap();
    let kinds: Vec<_> = links(&caught).into_iter().map(|link| link.kind).collect();
    let target = "https://shop.example/?a=1&b=2".to_owned();
    assert_eq!(kinds, [Kind::Unsubscribe, Kind::Click { index: 0, target }, Kind::Open]);
    let who = || claimed("ann@good.test", "spring", "test_msg_001");
    let bot = v1::Hit { verdict: v1::Verdict::Bot.into(), ..hit(who(), v1::HitKind::Open) };
    let click =
        v1::Hit { url: "https://shop.example/".to_owned(), ..hit(who(), v1::HitKind::Click) };
    let strange = hit(claimed("eve@good.test", "spring", "test_msg_001"), v1::HitKind::Open);
    let hits = vec![bot, hit(who(), v1::HitKind::Open), click.clone(), strange];
    let recorded = edge(&stack).report_hits(asked(v1::ReportHitsRequest { hits })).await;
    let recorded = recorded.unwrap().into_inner();
    assert_eq!((recorded.recorded, recorded.unknown), (3, 1));
    let status = stack.get("/api/v1/status/test_msg_001").await.unwrap();
    let events = status.body["events"].as_array().unwrap();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["delivered", "open", "click"], "{status:?}");
    assert_eq!(
        (&events[1]["ip"], &events[1]["user_agent"]),
        (&json!("192.0.2.9"), &json!("Reader/1"))
    );
    let stats = stack.get("/api/v1/stats?campaign_id=spring").await.unwrap();
    assert_eq!(stats.body["summary"]["opened"], 1, "{stats:?}");
    assert_eq!(stats.body["summary"]["clicked"], 1, "{stats:?}");
    assert_eq!(stats.body["rates"]["open_rate"], 100.0, "{stats:?}");
}

#[tokio::test]
async fn the_all_in_one_makes_keys_of_its_own() {
    let stack = Stack::start(&[]).await.unwrap();
    sent_by_the_old_contract(&stack).await;
    let caught = stack.caught("ann@good.test").await.unwrap();
    let own = format!("{}/o/", stack.tracker);
    assert!(caught.replace("=\r\n", "").contains(&own), "{caught}");
    assert!(stack.folder().join("tracking-keys").exists());
}

#[tokio::test]
async fn mail_that_leaves_the_machine_gets_no_links_that_nobody_can_reach() {
    let receiver = Receiver::start().await.unwrap();
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let mail = json!({"from": "hi@shop.test", "to": "ann@good.test", "subject": "x", "html": "<p>x",
                      "campaign_id": "spring", "tracking": {"opens": true}});
    let refused = stack.post("/v1/messages", &mail).await.unwrap();
    assert_eq!((refused.status, refused.text("code")), (409, "tracking_not_configured"));
    // The old contract never asked in words, so it is not refused.
    sent_by_the_old_contract(&stack).await;
    let arrived = receiver.mails_to("ann@good.test").unwrap().remove(0).text();
    assert!(arrived.contains("https://shop.example/?a=1&amp;b=2"), "{arrived}");
    assert!(!arrived.contains("127.0.0.1"), "{arrived}");
}

#[tokio::test]
async fn an_unsigned_click_leads_only_where_the_mail_did() {
    let stack = tracking(&[]).await;
    let id = sent_by_the_old_contract(&stack).await;
    let resolve = async |reference: Option<v1::LinkReference>, url: &str| {
        let request = v1::ResolveLinkRequest { reference, url: url.to_owned() };
        edge(&stack).resolve_link(asked(request)).await.unwrap().into_inner()
    };
    let who = || claimed("ann@good.test", "spring", "test_msg_001");
    for url in ["https://shop.example/?a=1&b=2", "https://shop.example/?a=1&amp;b=2"] {
        let found = resolve(who(), url).await;
        assert!(found.known && found.url == "https://shop.example/?a=1&b=2", "{found:?}");
    }
    for (reference, url) in [
        (who(), "https://evil.example/"),
        (who(), "https://shop.example/?a=1"),
        (who(), "javascript:alert(1)"),
        (claimed("ann@good.test", "autumn", "test_msg_001"), "https://shop.example/?a=1&b=2"),
        (claimed("eve@good.test", "spring", "test_msg_001"), "https://shop.example/?a=1&b=2"),
        (claimed("not an address", "", ""), "https://shop.example/?a=1&b=2"),
    ] {
        assert!(!resolve(reference, url).await.known, "{url}");
    }
    let own = claimed("ann@good.test", "spring", &id);
    assert!(resolve(own, "https://shop.example/?a=1&b=2").await.known);
}

#[tokio::test]
async fn forged_values_unsubscribe_nobody() {
    let stack = tracking(&[]).await;
    sent_by_the_old_contract(&stack).await;
    let unsubscribe = async |reference: Option<v1::LinkReference>| {
        let request = v1::UnsubscribeRequest {
            reference,
            scope: v1::SubscriptionScope::All.into(),
            source: v1::UnsubscribeSource::Page.into(),
            ..v1::UnsubscribeRequest::default()
        };
        edge(&stack).unsubscribe(asked(request)).await.unwrap().into_inner().changed
    };
    for forged in [
        claimed("eve@good.test", "spring", ""),
        claimed("ann@good.test", "autumn", ""),
        claimed("ann@good.test", "", ""),
        claimed("nonsense", "spring", ""),
    ] {
        assert!(!unsubscribe(forged).await);
    }
    let list = stack.get("/v1/suppressions").await.unwrap();
    assert_eq!(list.body["suppressions"], json!([]), "{list:?}");
    // One click of the old form wrote two rows: the campaign's and the global one.
    assert!(unsubscribe(claimed("ann@good.test", "spring", "")).await);
    assert!(!unsubscribe(claimed("ann@good.test", "spring", "")).await);
    let list = stack.get("/v1/suppressions").await.unwrap();
    assert_eq!(list.body["suppressions"].as_array().unwrap().len(), 2, "{list:?}");
    let request = v1::ResubscribeRequest {
        reference: claimed("ann@good.test", "spring", ""),
        ..v1::ResubscribeRequest::default()
    };
    let back = edge(&stack).resubscribe(asked(request)).await.unwrap().into_inner();
    assert!(!back.changed, "what is not signed takes nothing back");
}

#[tokio::test]
async fn imported_links_of_the_old_system_resolve() {
    let stack = tracking(&[]).await;
    let file = stack.folder().join("links.ndjson");
    let lines = [
        json!({"token": "abcdefgh-_ijklmnop0123", "url": "https://shop.example/a", "address": "old@good.test",
               "campaign_id": "77", "message_id": "m1"}),
        json!({"token": "pixel0123456789abcdef", "address": "old@good.test", "campaign_id": "77"}),
    ];
    std::fs::write(&file, lines.map(|line| format!("{line}\n")).concat()).unwrap();
    let path = file.to_str().unwrap();
    let imported = stack.operate(&["legacy-links", "import", path]).await.unwrap();
    assert_eq!(imported, json!({"read": 2, "imported": 2}));
    let again = stack.operate(&["legacy-links", "import", path]).await.unwrap();
    assert_eq!(again, json!({"read": 2, "imported": 0}));
    let resolve = async |kind: v1::HitKind, token: &str| {
        let request = v1::ResolveLegacyTokenRequest { kind: kind.into(), token: token.to_owned() };
        edge(&stack).resolve_legacy_token(asked(request)).await.map(|a| a.into_inner())
    };
    for token in ["abcdefgh-_ijklmnop0123", "abcdefgh-_ijklmn"] {
        let found = resolve(v1::HitKind::Click, token).await.unwrap();
        assert_eq!(found.url, "https://shop.example/a");
        assert_eq!(found.recipient.unwrap().campaign_id, "77");
    }
    assert_eq!(resolve(v1::HitKind::Open, "pixel0123456789abcdef").await.unwrap().url, "");
    for (kind, token) in [
        (v1::HitKind::Open, "abcdefgh-_ijklmnop0123"),
        (v1::HitKind::Click, "pixel0123456789abcdef"),
        (v1::HitKind::Click, "abcdefgh-_ijklm"),
        (v1::HitKind::Click, "../etc/passwd"),
    ] {
        assert_eq!(
            resolve(kind, token).await.unwrap_err().code(),
            tonic::Code::NotFound,
            "{token}"
        );
    }
    // Whom we know from there can unsubscribe, and a link of theirs is known.
    let who = || claimed("old@good.test", "77", "");
    let request =
        v1::ResolveLinkRequest { reference: who(), url: "https://shop.example/a".to_owned() };
    assert!(edge(&stack).resolve_link(asked(request)).await.unwrap().into_inner().known);
    let request = v1::GetSubscriptionRequest { reference: who() };
    let page = edge(&stack).get_subscription(asked(request)).await.unwrap().into_inner();
    assert_eq!((page.known, page.masked_address.as_str()), (true, "o***d@good.test"));
}
