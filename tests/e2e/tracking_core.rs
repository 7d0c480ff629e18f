//! Tracked mail from a client to a recipient, and what the recipient does back to the client.

use postern_proto::ids::HitId;
use postern_proto::link::{Keys, Kind, Link};
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::link_reference::Reference;
use postern_proto::v1::tracking_service_client::TrackingServiceClient;
use postern_tests::role::TOKEN;
use postern_tests::smtp_client::SmtpClient;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, request_with};
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::relay::{dkim_records, verify};

pub(crate) const BASE: &str = "https://t.shop.test";
const KEYS: &str = "7:0f0e0d0c0b0a09080706050403020100f0e0d0c0b0a090807060504030201000";

/// A system whose links a test can open, and to which it can speak as the edge does.
pub(crate) async fn tracking(more: &[(&str, &str)]) -> Stack {
    let vars = [
        ("POSTERN_TRACKING_KEYS", KEYS),
        ("POSTERN_TRACKING_URL", BASE),
        ("POSTERN_GATEWAY_TOKEN", TOKEN),
    ];
    Stack::start(&[&vars[..], more].concat()).await.unwrap()
}

pub(crate) fn edge(stack: &Stack) -> TrackingServiceClient<Channel> {
    TrackingServiceClient::new(stack.channel.clone())
}

/// A request as the edge makes it: with the gateway token and no key.
pub(crate) fn asked<T>(message: T) -> tonic::Request<T> {
    let mut request = request_with(message, "none").unwrap();
    let metadata = request.metadata_mut();
    metadata.remove("authorization");
    metadata.insert("x-postern-gateway", TOKEN.parse().unwrap());
    metadata.insert("x-postern-door", "tracking".parse().unwrap());
    request
}

pub(crate) fn signed(recipient: &str) -> Option<v1::LinkReference> {
    let reference = Some(Reference::RecipientId(recipient.to_owned()));
    Some(v1::LinkReference { reference })
}

pub(crate) fn hit(recipient: Option<v1::LinkReference>, kind: v1::HitKind) -> v1::Hit {
    v1::Hit {
        id: HitId::generate().to_string(),
        kind: kind.into(),
        recipient,
        create_time: Some(timestamp(now_ms())),
        link_index: -1,
        client_ip: "192.0.2.9".to_owned(),
        user_agent: "Reader/1".to_owned(),
        verdict: v1::Verdict::Human.into(),
        ..v1::Hit::default()
    }
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as i64
}

/// The links of ours in a mail, opened.
pub(crate) fn links(mail: &str) -> Vec<Link> {
    let keys: Keys = KEYS.parse().unwrap();
    let mail = mail.replace("=\r\n", "").replace("=3D", "=");
    let end = |c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c));
    let token = |rest: &str| rest[..rest.find(end).unwrap()].to_owned();
    let tokens = mail.split(BASE).skip(1).map(|rest| token(&rest[3..]));
    tokens.map(|token| keys.open(&token).unwrap()).collect()
}

fn html_mail(to: &str) -> Value {
    json!({
        "from": "Shop <hi@shop.test>", "to": to, "subject": "News", "campaign_id": "spring",
        "html": "<body><a href=\"https://shop.example/?a=1&amp;b=2\">Look</a></body>",
        "tracking": {"opens": true, "clicks": "html"},
    })
}

async fn recipient_of(stack: &Stack, id: &str) -> String {
    let message = stack.message(id).await.unwrap();
    message["recipients"][0]["id"].as_str().unwrap().to_owned()
}

fn assert_tracked(mail: &str, recipient: &str) {
    let found = links(mail);
    assert!(found.iter().all(|link| link.delivery.to_string() == recipient), "{mail}");
    let kinds: Vec<_> = found.into_iter().map(|link| link.kind).collect();
    let target = "https://shop.example/?a=1&b=2".to_owned();
    assert_eq!(kinds, [Kind::Unsubscribe, Kind::Click { index: 0, target }, Kind::Open], "{mail}");
    assert!(mail.contains("\r\nList-Unsubscribe: <https://t.shop.test/u/"), "{mail}");
    assert!(mail.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{mail}");
    let signature = &mail[..mail.find("\r\nDate:").unwrap_or(mail.find("\r\nFrom:").unwrap())];
    let folded: String = signature.split_whitespace().collect();
    for field in ["List-Unsubscribe", "List-Unsubscribe-Post"] {
        // Once for the field, once against another one; in each of the two signatures.
        let listed = folded.split([':', ';', '=']).filter(|name| *name == field).count();
        assert_eq!(listed, 4, "{field} in {folded}");
    }
}

#[tokio::test]
async fn mail_by_rest_and_by_smtp_arrives_with_links_that_open_under_a_valid_signature() {
    let receiver = Receiver::start().await.unwrap();
    let url = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SMTP_PLAIN_AUTH", "on"),
    ];
    let stack = tracking(&vars).await;
    let domain = stack.post("/v1/domains", &json!({"name": "shop.test"})).await.unwrap();
    let records = dkim_records(&domain.body);

    let id = stack.send(&html_mail("ok@good.test")).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let mail = receiver.mails_to("ok@good.test").unwrap().remove(0);
    assert_tracked(&mail.text(), &recipient_of(&stack, &id).await);
    verify(&records, &mail.raw).await;

    let mut client = SmtpClient::login(stack.smtp.starttls, "u", &stack.key).await.unwrap();
    let message = "From: hi@shop.test\r\nTo: ann@good.test\r\nSubject: News\r\nX-ID-mail: [7]\r\n\
        X-Postern-Track: opens, clicks=html\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/html; charset=windows-1251\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
        <body><a href='https://shop.example/?a=1&amp;b=2'>Look</a></body>";
    let reply = client.mail(message).await.unwrap();
    let id = reply.rsplit(' ').next().unwrap().trim().to_owned();
    assert!(reply.starts_with("250 "), "{reply}");
    let sent = stack.wait_state(&id, "delivered").await.unwrap();
    let to = sent["recipients"][0]["email"].as_str().unwrap();
    let mail = receiver.mails_to(to).unwrap().remove(0);
    assert_tracked(&mail.text(), &recipient_of(&stack, &id).await);
    assert!(!mail.text().contains("X-Postern"), "{}", mail.text());
    verify(&records, &mail.raw).await;
}

#[tokio::test]
async fn mail_that_asks_for_nothing_is_left_as_it_is() {
    let stack = tracking(&[]).await;
    let html = "<a href=\"https://shop.example/\">Look</a>";
    let mail = json!({"from": "hi@shop.test", "to": "ann@good.test", "subject": "x", "html": html});
    stack.send(&mail).await.unwrap();
    let caught = stack.caught("ann@good.test").await.unwrap();
    assert!(caught.contains(html) && !caught.contains(BASE), "{caught}");
    assert!(!caught.contains("List-Unsubscribe"), "{caught}");
    // Settings decide where the message does not.
    stack.operate(&["settings", "set", "tracking.opens", "on"]).await.unwrap();
    let mail = json!({"from": "hi@shop.test", "to": "bob@good.test", "subject": "x", "html": html});
    stack.send(&mail).await.unwrap();
    let caught = stack.caught("bob@good.test").await.unwrap();
    assert_eq!(links(&caught).into_iter().map(|l| l.kind).collect::<Vec<_>>(), [Kind::Open]);
    let bad = json!({"from": "a@shop.test", "to": "b@good.test", "subject": "x", "text": "x",
                     "tracking": {"clicks": "some"}});
    let refused = stack.post("/v1/messages", &bad).await.unwrap();
    assert_eq!(
        (refused.status, refused.body["errors"][0]["field"].as_str()),
        (422, Some("tracking.clicks"))
    );
}

#[tokio::test]
async fn a_key_asks_for_its_messages() {
    let stack = tracking(&[]).await;
    let api_key = v1::ApiKey {
        display_name: "campaigns".to_owned(),
        scopes: vec!["messages:send".to_owned()],
        tracking: Some(v1::TrackingOptions { opens: Some(true), ..Default::default() }),
        ..v1::ApiKey::default()
    };
    let request =
        v1::CreateApiKeyRequest { api_key: Some(api_key), ..v1::CreateApiKeyRequest::default() };
    let mut keys =
        v1::credential_service_client::CredentialServiceClient::new(stack.channel.clone());
    let made = keys.create_api_key(stack.request(request).unwrap()).await.unwrap().into_inner();
    assert_eq!(made.api_key.unwrap().tracking.unwrap().opens, Some(true));
    for (to, tracking, kinds) in [
        ("ann@good.test", json!({}), vec![Kind::Open]),
        ("bob@good.test", json!({"opens": false}), vec![]),
    ] {
        let mut mail = html_mail(to);
        mail["tracking"] = tracking;
        mail["campaign_id"] = json!("");
        let sent = stack.raw_post("/v1/messages").bearer_auth(&made.secret).json(&mail);
        assert_eq!(sent.send().await.unwrap().status(), 202);
        let caught = stack.caught(to).await.unwrap();
        assert_eq!(links(&caught).into_iter().map(|l| l.kind).collect::<Vec<_>>(), kinds, "{to}");
    }
}

/// The four hits as the feed brings them, in any order.
async fn check_feed(feed: &mut tonic::Streaming<v1::WatchEventsResponse>, open: &v1::Hit) {
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.extend(feed.message().await.unwrap().unwrap().event);
    }
    let shown = |event: &v1::Event| {
        let engagement = event.engagement.clone().unwrap();
        (event.r#type.clone(), engagement.verdict().as_str_name(), engagement.first)
    };
    let opened = |verdict, first| ("message.opened".to_owned(), verdict, first);
    let mut expected = vec![
        opened("VERDICT_BOT", true),
        opened("VERDICT_HUMAN", true),
        opened("VERDICT_HUMAN", false),
        ("message.clicked".to_owned(), "VERDICT_HUMAN", true),
    ];
    let mut got: Vec<_> = seen.iter().map(shown).collect();
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
    assert!(seen.iter().any(|event| event.id[4..] == open.id[4..]), "the event takes the id over");
}

#[tokio::test]
async fn hits_reach_the_timeline_the_statistics_and_the_feed() {
    let stack = tracking(&[]).await;
    let id = stack.send(&html_mail("ann@good.test")).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let recipient = recipient_of(&stack, &id).await;
    let watch = v1::WatchEventsRequest {
        types: ["message.opened", "message.clicked"].map(str::to_owned).to_vec(),
        ..v1::WatchEventsRequest::default()
    };
    let watching = stack.event_service().watch_events(stack.request(watch).unwrap()).await;
    let mut feed = watching.unwrap().into_inner();
    assert!(feed.message().await.unwrap().unwrap().event.is_none(), "it watches from here on");

    let bot =
        v1::Hit { verdict: v1::Verdict::Bot.into(), ..hit(signed(&recipient), v1::HitKind::Open) };
    let click = v1::Hit {
        url: "https://shop.example/?a=1&b=2".to_owned(),
        link_index: 0,
        reasons: vec!["image_proxy".to_owned()],
        ..hit(signed(&recipient), v1::HitKind::Click)
    };
    let open = hit(signed(&recipient), v1::HitKind::Open);
    let stranger = hit(signed("rcp_01h2xcejqtf2nbrexx3vqjhp41"), v1::HitKind::Open);
    let hits = vec![bot, open.clone(), hit(signed(&recipient), v1::HitKind::Open), click, stranger];
    let batch = v1::ReportHitsRequest { hits };
    let first = edge(&stack).report_hits(asked(batch.clone())).await.unwrap().into_inner();
    assert_eq!((first.recorded, first.repeated, first.unknown), (4, 0, 1));
    let again = edge(&stack).report_hits(asked(batch.clone())).await.unwrap().into_inner();
    assert_eq!((again.recorded, again.repeated, again.unknown), (0, 4, 1));

    check_feed(&mut feed, &open).await;
    let events = stack.events(&id).await.unwrap();
    let click = events.iter().find(|event| event["type"] == "message.clicked").unwrap();
    let engagement = json!({"verdict": "human", "reasons": ["image_proxy"], "first": true, "link_index": 0,
        "url": "https://shop.example/?a=1&b=2", "client_ip": "192.0.2.9", "user_agent": "Reader/1"});
    assert_eq!(click["engagement"], engagement, "{click}");
    let accepted = &events[0];
    assert!(accepted.get("engagement").is_none(), "{accepted}");

    let stats = stack.get("/v1/stats?campaign_id=spring").await.unwrap().body["total"].clone();
    for (name, count) in [
        ("opened", 1),
        ("clicked", 1),
        ("opens", 3),
        ("clicks", 1),
        ("bot_opens", 1),
        ("bot_clicks", 0),
    ] {
        assert_eq!(stats[name], count, "{name} in {stats}");
    }
    let watched =
        stack.operator(&["watch", "--from-beginning", "--type", "message.clicked", "--count", "1"]);
    let watched = String::from_utf8(watched.await.unwrap().stdout).unwrap();
    assert!(watched.contains("human  https://shop.example/?a=1&b=2"), "{watched}");
}

#[tokio::test]
async fn only_gateways_report_and_only_what_is_well_formed() {
    let stack = tracking(&[]).await;
    let request = v1::ReportHitsRequest::default();
    let refused = edge(&stack).report_hits(stack.request(request).unwrap()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let bad = v1::Hit {
        id: "evt_1".to_owned(),
        create_time: None,
        ..hit(None, v1::HitKind::Unspecified)
    };
    let request = v1::ReportHitsRequest { hits: vec![bad] };
    let refused = edge(&stack).report_hits(asked(request)).await.unwrap_err();
    let failure = postern_proto::status::Failure::from_status(&refused);
    let fields: Vec<_> = failure.violations.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["hits[0].id", "hits[0].kind", "hits[0].create_time", "hits[0].recipient"]);
    let many = v1::ReportHitsRequest { hits: vec![v1::Hit::default(); 1001] };
    let refused = edge(&stack).report_hits(asked(many)).await.unwrap_err();
    let failure = postern_proto::status::Failure::from_status(&refused);
    assert_eq!(failure.reason, postern_proto::reason::Reason::BatchTooLarge);
}

#[tokio::test]
async fn who_unsubscribes_gets_no_more_mail_of_the_campaign_until_they_want_it_again() {
    let stack = tracking(&[]).await;
    let id = stack.send(&html_mail("ann@good.test")).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let recipient = recipient_of(&stack, &id).await;
    let subscription = async || {
        let request = v1::GetSubscriptionRequest { reference: signed(&recipient) };
        edge(&stack).get_subscription(asked(request)).await.unwrap().into_inner()
    };
    let before = subscription().await;
    assert_eq!(
        (before.masked_address.as_str(), before.campaign_id.as_str()),
        ("a***n@good.test", "spring")
    );
    assert_eq!(before.unsubscribed(), v1::SubscriptionScope::Unspecified);
    let request = v1::UnsubscribeRequest {
        reference: signed(&recipient),
        scope: v1::SubscriptionScope::Campaign.into(),
        source: v1::UnsubscribeSource::OneClick.into(),
        client_ip: "192.0.2.9".to_owned(),
        user_agent: "Mail/1".to_owned(),
    };
    for changed in [true, false] {
        let answer = edge(&stack).unsubscribe(asked(request.clone())).await.unwrap().into_inner();
        assert_eq!(answer.changed, changed);
    }
    assert_eq!(subscription().await.unsubscribed(), v1::SubscriptionScope::Campaign);
    let next = stack.send(&html_mail("ann@good.test")).await.unwrap();
    let next = stack.wait_state(&next, "suppressed").await.unwrap();
    assert_eq!(next["recipients"][0]["reason"], "unsubscribe");
    let mut other = html_mail("ann@good.test");
    other["campaign_id"] = json!("autumn");
    let other = stack.send(&other).await.unwrap();
    stack.wait_state(&other, "delivered").await.unwrap();
    let events = stack.events(&id).await.unwrap();
    let left: Vec<_> = events.iter().filter(|e| e["type"] == "message.unsubscribed").collect();
    assert_eq!(left.len(), 1, "{events:?}");
    assert_eq!(
        (&left[0]["engagement"]["source"], &left[0]["engagement"]["scope"]),
        (&json!("one_click"), &json!("campaign"))
    );

    let request = v1::ResubscribeRequest { reference: signed(&recipient), ..Default::default() };
    let answer = edge(&stack).resubscribe(asked(request)).await.unwrap().into_inner();
    assert!(answer.changed);
    let again = stack.send(&html_mail("ann@good.test")).await.unwrap();
    stack.wait_state(&again, "delivered").await.unwrap();
    let stats = stack.get("/v1/stats?campaign_id=spring").await.unwrap().body["total"].clone();
    assert_eq!((&stats["unsubscribed"], &stats["resubscribed"]), (&json!(1), &json!(1)), "{stats}");
}
