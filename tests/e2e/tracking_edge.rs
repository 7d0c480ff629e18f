//! The tracking edge as recipients and machines meet it, with a real core behind it.

use postern_tests::role::{TOKEN, TRACKING_KEYS};
use postern_tests::stack::Stack;
use postern_tests::wait;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const TARGET: &str = "https://shop.example/?a=1&b=2";

/// A system without a scanner window, so that a hit right after the mail may be a person's.
pub(crate) async fn start(more: &[(&str, &str)]) -> Stack {
    let vars = [
        ("POSTERN_GATEWAY_TOKEN", TOKEN),
        ("POSTERN_TRACKING_KEYS", TRACKING_KEYS),
        ("POSTERN_TRACKING_SCANNER_WINDOW", "0ms"),
    ];
    let stack = Stack::start(&[&vars[..], more].concat()).await.unwrap();
    ready(&stack.tracker).await;
    stack
}

/// Waits until the edge knows the settings.
pub(crate) async fn ready(edge: &str) {
    let look = async || {
        let health = browser().get(format!("{edge}/health/ready")).send().await;
        let Ok(health) = health else { return Ok(None) };
        let body: Value = health.json().await?;
        Ok((body["settings"] == "read").then_some(()))
    };
    wait::until("the settings", look).await.unwrap();
}

pub(crate) fn browser() -> Client {
    Client::builder().user_agent(FIREFOX).redirect(Policy::none()).build().unwrap()
}

pub(crate) async fn get(url: &str) -> Response {
    browser().get(url).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

pub(crate) fn mail(to: &str) -> Value {
    json!({
        "from": "Shop <hi@shop.test>", "to": to, "subject": "News", "campaign_id": "spring",
        "html": "<body><a href=\"https://shop.example/?a=1&amp;b=2\">Look</a></body>",
        "tracking": {"opens": true, "clicks": "html"},
    })
}

/// A tracked mail: its id, and the links in it by their first letter.
pub(crate) async fn tracked(stack: &Stack, to: &str) -> (String, impl Fn(&str) -> String) {
    let id = stack.send(&mail(to)).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    (id, links(&stack.caught(to).await.unwrap()))
}

/// The paths of the links in a mail by their first letter.
pub(crate) fn links(mail: &str) -> impl Fn(&str) -> String + use<> {
    let text = mail.replace("=\r\n", "").replace("=3D", "=");
    move |path: &str| {
        let start = text.find(path).unwrap_or_else(|| panic!("no {path} in {text}"));
        let end = |c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c));
        let rest = &text[start + path.len()..];
        format!("{path}{}", &rest[..rest.find(end).unwrap()])
    }
}

pub(crate) async fn engagements(stack: &Stack, id: &str, kind: &str, count: usize) -> Vec<Value> {
    let look = async || {
        let events = stack.events(id).await?;
        let found = events.into_iter().filter(|event| event["type"] == kind);
        let found: Vec<Value> = found.map(|event| event["engagement"].clone()).collect();
        Ok((found.len() >= count).then_some(found))
    };
    wait::until(kind, look).await.unwrap()
}

#[tokio::test]
async fn a_pixel_and_a_click_are_answered_recorded_and_judged() {
    let stack = start(&[]).await;
    let (id, link) = tracked(&stack, "ann@good.test").await;
    let (open, click) = (link("/o/"), link("/c/"));

    let pixel = get(&format!("{}{open}", stack.tracker)).await;
    assert_eq!((pixel.status().as_u16(), header(&pixel, "content-type")), (200, "image/gif"));
    assert!(header(&pixel, "cache-control").contains("no-store"));
    assert_eq!(header(&pixel, "x-content-type-options"), "nosniff");
    assert_eq!(header(&pixel, "cross-origin-resource-policy"), "cross-origin");
    let bytes = pixel.bytes().await.unwrap();
    assert!(bytes.len() == 43 && bytes.starts_with(b"GIF89a"));
    let png = get(&format!("{}{}", stack.tracker, open.replace(".gif", ".png"))).await;
    assert!(png.bytes().await.unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));

    let answer = get(&format!("{}{click}", stack.tracker)).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "location")), (302, TARGET));
    assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
    let head = browser().head(format!("{}{click}", stack.tracker)).send().await.unwrap();
    assert_eq!((head.status().as_u16(), header(&head, "location")), (302, TARGET));

    let opens = engagements(&stack, &id, "message.opened", 2).await;
    assert_eq!((&opens[0]["verdict"], &opens[0]["first"]), (&json!("human"), &json!(true)));
    assert_eq!((&opens[1]["first"], &opens[0]["client_ip"]), (&json!(false), &json!("127.0.0.1")));
    let clicks = engagements(&stack, &id, "message.clicked", 2).await;
    let verdicts: Vec<_> = clicks.iter().map(|click| click["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["human", "bot"]);
    assert_eq!(clicks[1]["reasons"], json!(["head_request"]));
    assert_eq!((&clicks[0]["url"], &clicks[0]["first"]), (&json!(TARGET), &json!(true)));
    // The human's click stays the first although a bot came too.
    let stats = stack.get("/v1/stats?campaign_id=spring").await.unwrap().body["total"].clone();
    assert_eq!((&stats["clicked"], &stats["bot_clicks"]), (&json!(1), &json!(1)), "{stats}");
}

#[tokio::test]
async fn a_hit_in_haste_is_a_scanners() {
    let vars = [("POSTERN_TRACKING_SCANNER_WINDOW", "1h")];
    let stack = start(&vars).await;
    let (id, link) = tracked(&stack, "ann@good.test").await;
    get(&format!("{}{}", stack.tracker, link("/o/"))).await;
    let opens = engagements(&stack, &id, "message.opened", 1).await;
    assert_eq!((&opens[0]["verdict"], &opens[0]["reasons"]), (&json!("bot"), &json!(["too_soon"])));
}

#[tokio::test]
async fn nobody_is_sent_anywhere_that_was_not_in_a_mail() {
    let stack = start(&[]).await;
    let mut known = mail("ann@good.test");
    known["external_id"] = json!("m-1");
    known["tracking"] = json!({});
    let id = stack.send(&known).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let (_, link) = tracked(&stack, "bob@good.test").await;
    let click = link("/c/");
    // Every changed character breaks the signature; one in 64 was this one before.
    let other = if &click[20..21] == "x" { "y" } else { "x" };
    let tampered = format!("{}{other}{}", &click[..20], &click[21..]);
    for path in
        [tampered.as_str(), "/c/", "/c/x", "/c/AAAA", "/o/x/y", "/%2e%2e/", "//evil.example/"]
    {
        let answer = get(&format!("{}{path}", stack.tracker)).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(header(&answer, "location"), "", "{path}");
    }
    let b64 = |text: &str| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE, text);
    let old = |url: &str, address: &str, message: &str| {
        let (url, eid, cid, mid) = (b64(url), b64(address), b64("spring"), b64(message));
        format!("{}/track/c?url={url}&eid={eid}&cid={cid}&mid={mid}", stack.tracker)
    };
    let answer = get(&old(TARGET, "ann@good.test", "m-1")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "location")), (302, TARGET));
    for (url, address, message) in [
        ("https://evil.example/", "ann@good.test", "m-1"),
        ("https://shop.example/?a=1&b=3", "ann@good.test", "m-1"),
        (TARGET, "ann@good.test", "m-2"),
        (TARGET, "eve@good.test", "m-1"),
        ("javascript:alert(1)", "ann@good.test", "m-1"),
        ("data:text/html,x", "ann@good.test", "m-1"),
        ("http://127.0.0.1/", "ann@good.test", "m-1"),
        ("http://10.0.0.1/", "ann@good.test", "m-1"),
        ("http://192.168.1.1/", "ann@good.test", "m-1"),
        ("http://172.16.0.1/", "ann@good.test", "m-1"),
        ("http://169.254.169.254/latest/", "ann@good.test", "m-1"),
        ("http://[::1]/", "ann@good.test", "m-1"),
        ("http://2130706433/", "ann@good.test", "m-1"),
        ("https://shop.example@evil.example/", "ann@good.test", "m-1"),
        ("https://evil.example\\@shop.example/", "ann@good.test", "m-1"),
    ] {
        let answer = get(&old(url, address, message)).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "location")), (404, ""), "{url}");
    }
    let clicks = engagements(&stack, &id, "message.clicked", 1).await;
    assert_eq!(clicks.len(), 1, "what was refused is no click");
}

#[tokio::test]
async fn links_of_the_old_system_keep_their_answers() {
    let stack = start(&[]).await;
    let mut known = mail("user@example.com");
    (known["external_id"], known["campaign_id"]) = (json!("12345"), json!("camp_123"));
    known["tracking"] = json!({});
    let id = stack.send(&known).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let path = |query: &str| format!("{}/track/o?{query}", stack.tracker);
    // The vectors of the old system, padded and not.
    for query in [
        "eid=dXNlckBleGFtcGxlLmNvbQ==&cid=Y2FtcF8xMjM=&mid=MTIzNDU=",
        "eid=dXNlckBleGFtcGxlLmNvbQ&cid=Y2FtcF8xMjM&mid=MTIzNDU",
    ] {
        let answer = get(&path(query)).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "image/png"));
    }
    for query in [
        "eid=12345&cid=12345&mid=MTIzNDU=",
        "eid=dXNlckBleGFtcGxlLmNvbQ==&cid=Y2FtcF8xMjM=",
        "eid=dXNlckBleGFtcGxlLmNvbQ==&cid=Y2FtcF8xMjM=&mid=bm9ib2R5",
        "",
    ] {
        let answer = get(&path(query)).await;
        assert_eq!(
            (answer.status().as_u16(), answer.text().await.unwrap().as_str()),
            (404, "Not found")
        );
    }
    assert_eq!(engagements(&stack, &id, "message.opened", 2).await.len(), 2);
    let unknown = get(&format!("{}/t/o/nobody-knows-it.gif", stack.tracker)).await;
    assert_eq!((unknown.status().as_u16(), header(&unknown, "content-type")), (200, "image/gif"));
    for path in ["/t/c/nobody-knows-it", "/go/shop-0123456789abcdef", "/go/short"] {
        assert_eq!(get(&format!("{}{path}", stack.tracker)).await.status(), 404, "{path}");
    }
    let one_click = |url: String, body: &'static str| {
        let form = "application/x-www-form-urlencoded";
        browser().post(url).header("content-type", form).body(body).send()
    };
    let bare = format!("{}/unsubscribe", stack.tracker);
    let refused = one_click(bare.clone(), "List-Unsubscribe=One-Click").await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.text().await.unwrap().as_str()), (400, ""));
    let named = format!("{bare}?eid=dXNlckBleGFtcGxlLmNvbQ==&cid=Y2FtcF8xMjM=");
    let done = one_click(named, "List-Unsubscribe=One-Click").await.unwrap();
    assert_eq!((done.status().as_u16(), done.text().await.unwrap().as_str()), (200, ""));
    let next = stack.send(&known).await.unwrap();
    stack.wait_state(&next, "suppressed").await.unwrap();
}

#[tokio::test]
async fn people_unsubscribe_with_a_button_and_programs_with_one_click_but_never_by_looking() {
    let stack = start(&[]).await;
    let (_, link) = tracked(&stack, "ann@good.test").await;
    let page = format!("{}{}", stack.tracker, link("/u/"));
    let shown = browser().get(&page).header("accept-language", "ru-RU,ru").send().await.unwrap();
    assert_eq!(shown.status(), 200);
    let policy = header(&shown, "content-security-policy").to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    let text = shown.text().await.unwrap();
    assert!(text.contains("Отписаться") && text.contains("a***n@good.test"), "{text}");
    assert!(!text.contains("ann@good.test") && text.contains("lang=\"ru\""), "{text}");
    let again = stack.send(&mail("ann@good.test")).await.unwrap();
    stack.wait_state(&again, "delivered").await.unwrap();

    let press = |agent: &'static str, body: &'static str| {
        let form = "application/x-www-form-urlencoded";
        let request = browser().post(&page).header("user-agent", agent);
        request.header("content-type", form).body(body).send()
    };
    let bot = press("Barracuda Sentinel (EE)", "scope=all").await.unwrap();
    assert_eq!(bot.status(), 403);
    let again = stack.send(&mail("ann@good.test")).await.unwrap();
    stack.wait_state(&again, "delivered").await.unwrap();

    let done = press(FIREFOX, "scope=campaign").await.unwrap();
    assert_eq!(done.status(), 200);
    assert!(done.text().await.unwrap().contains("You are unsubscribed"));
    let next = stack.send(&mail("ann@good.test")).await.unwrap();
    stack.wait_state(&next, "suppressed").await.unwrap();
    let back = press(FIREFOX, "action=resubscribe").await.unwrap();
    assert!(back.text().await.unwrap().contains("subscribed again"));
    let next = stack.send(&mail("ann@good.test")).await.unwrap();
    stack.wait_state(&next, "delivered").await.unwrap();

    // As a mail program does it: multipart, no cookie, no redirect.
    let form = reqwest::multipart::Form::new().text("List-Unsubscribe", "One-Click");
    let answer = Client::new().post(&page).multipart(form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().get("set-cookie").is_none());
    assert_eq!(answer.text().await.unwrap(), "");
    let mut other = mail("ann@good.test");
    other["campaign_id"] = json!("autumn");
    let other = stack.send(&other).await.unwrap();
    stack.wait_state(&other, "suppressed").await.unwrap();
}

#[tokio::test]
async fn limits_hold_for_an_address_and_for_all() {
    let vars = [
        ("POSTERN_TRACKING_REQUESTS_PER_ADDRESS", "3"),
        ("POSTERN_TRACKING_REQUESTS_WINDOW", "1h"),
        ("POSTERN_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let vars = [&vars[..], &[("POSTERN_GATEWAY_TOKEN", TOKEN)]].concat();
    let stack = Stack::start(&vars).await.unwrap();
    let from = |address: &'static str| {
        let request = browser().get(format!("{}/robots.txt", stack.tracker));
        request.header("x-forwarded-for", address).send()
    };
    wait::until("the limits are in force", async || {
        Ok((from("192.0.2.1").await?.status() == 429).then_some(()))
    })
    .await
    .unwrap();
    let refused = from("192.0.2.1").await.unwrap();
    let wait: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!(refused.status() == 429 && (1..=1200).contains(&wait), "{wait}");
    assert_eq!(
        from("192.0.2.2").await.unwrap().text().await.unwrap(),
        "User-agent: *\nDisallow: /\n"
    );
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_named() {
    let run = async |vars: &[(&str, &str)]| {
        let mut command = tokio::process::Command::new(postern_tests::stack::binary());
        command.arg("tracker").env_clear().envs(vars.iter().copied());
        let output = command.output().await.unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(run(&[]).await.contains("POSTERN_TRACKING_KEYS"));
    let short = run(&[("POSTERN_TRACKING_KEYS", "1:abc")]).await;
    assert!(short.contains("POSTERN_TRACKING_KEYS") && !short.contains("abc"), "{short}");
}
