//! The dashboard in a real Chromium: an operator's first day, and every page in every look, over an
//! installation whose every stored text tries to run as a script.

use std::path::PathBuf;
use std::time::Duration;

use postern_kit::env::Env;
use postern_tests::dns::Zone;
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use serde_json::{Value, json};
use tokio::process::Command;

use super::tracking_edge::{links, ready};

/// The password of the first operator.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// A campaign whose name would run if a page were careless.
const CAMPAIGN: &str = "<script>alert(9)</script>'\"><img src=x onerror=alert(10)>";
/// Where the tracking edge is said to be; the DNS would know.
const EDGE: &str = "https://edge.out.test";
/// What a careless page would run.
const SCRIPT: &str = "\"><img src=x onerror=alert(1)><script>alert(2)</script>";

/// A system whose mail goes to a real server.
pub(crate) async fn start(receiver: &Receiver, more: &[(&str, &str)]) -> Stack {
    let relay = receiver.relay_url();
    let vars = [
        ("POSTERN_OPERATOR_PASSWORD", PASSWORD),
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", &relay),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_TRACKING_URL", EDGE),
        ("POSTERN_TRACKING_SCANNER_WINDOW", "0ms"),
        ("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow"),
    ];
    Stack::start(&[&vars[..], more].concat()).await.unwrap()
}

/// Runs a script of ours in a browser and returns what it saw. Screenshots stay in the folder of
/// temporary files, where they can be looked at.
async fn browse(script: &str, args: &[&str]) -> Value {
    let modules = Env::process().text("POSTERN_TEST_NODE_MODULES", "");
    let folder = std::env::temp_dir().join("postern-screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("js").join(script);
    let mut node = Command::new("node");
    node.env("NODE_PATH", modules).arg(script).args(args).arg(&folder).kill_on_drop(true);
    let limit = Duration::from_secs(300);
    let output = tokio::time::timeout(limit, node.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(seen: &'a Value, name: &str) -> &'a str {
    seen[name].as_str().unwrap_or_else(|| panic!("no {name} in {seen}"))
}

#[tokio::test]
async fn the_first_day_of_an_operator() {
    let (receiver, hooks) = tokio::join!(Receiver::start(), HookReceiver::start());
    let (receiver, hooks) = (receiver.unwrap(), hooks.unwrap());
    let stack = start(&receiver, &[]).await;
    ready(&stack.tracker).await;
    let mailbox = receiver.folder().to_str().unwrap();
    let port = stack.smtp.starttls.to_string();
    let args =
        [&stack.rest, "admin", PASSWORD, &port, &hooks.url("day"), mailbox, EDGE, &stack.tracker];
    let seen = browse("dashboard_journey.cjs", &args).await;

    assert_eq!(text(&seen, "refused"), "The user name, the password or the code is not right.");
    assert_eq!(text(&seen, "first"), "Overview");
    assert!(text(&seen, "sent").starts_with("250 2.0.0 "), "{seen}");
    let timeline = text(&seen, "timeline");
    for line in ["RCPT TO:<ann@good.test>", "250 2.1.5 ok", "250 2.0.0 accepted"] {
        assert!(timeline.contains(line), "no '{line}' in {timeline}");
    }
    assert!(text(&seen, "look").contains("Everything must go."), "{seen}");
    assert!(text(&seen, "source").contains("Subject: Spring sale"), "{seen}");
    let sent = receiver.mails_to("ann@good.test").unwrap()[0].text();
    assert!(sent.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"), "{sent}");
    assert!(text(&seen, "suppressed").contains("Unsubscribed"), "{seen}");
    assert_eq!(seen["keys"], json!([true, 200, 200]), "a rotated key works on for a while");
    assert!(text(&seen, "limit").starts_with("452 4.5.3 "), "{seen}");
    assert!(text(&seen, "secret").starts_with("whsec_"), "{seen}");
    // What the endpoint had already, and what was delivered before there was one.
    assert!(text(&seen, "replayed").ends_with("\n2"), "{seen}");
    let posted = hooks.wait("day", 200, 3).await.unwrap();
    let again = posted.iter().filter(|post| post["body"] == posted[0]["body"]);
    assert_eq!(again.count(), 2, "a replay is the same event");
    // The last thing that the bar told; the page took its place.
    let told = seen["told"].as_array().unwrap().last().unwrap().clone();
    let step = told[1].as_str().unwrap();
    assert!(step.ends_with(" / 3\u{202f}000") && told[0].as_f64().unwrap() > 0.0, "{told}");
    assert!(text(&seen, "imported").starts_with("Added\n3\u{202f}000\n"), "{seen}");
    for act in ["smtp_credential", "api_key", "webhook", "setting"] {
        assert!(text(&seen, "audit").contains(act), "no {act} in {}", seen["audit"]);
    }
    let next = stack.send(&mail("ann@good.test")).await.unwrap();
    stack.wait_state(&next, "suppressed").await.unwrap();
    // Nothing but the answer to the wrong password.
    let wrong = seen["wrong"].as_array().unwrap();
    assert!(wrong.len() == 1 && wrong[0].as_str().unwrap().contains("401"), "{wrong:?}");
}

fn mail(to: &str) -> Value {
    json!({
        "from": {"email": "shop@example.com", "name": SCRIPT}, "to": to, "subject": SCRIPT,
        "html": format!("<p onclick=\"alert(3)\">Hello</p><script>alert(4)</script>{SCRIPT}\
            <a href=\"https://shop.example/?q={SCRIPT}\">Look</a>"),
        "campaign_id": CAMPAIGN, "tags": ["news", SCRIPT], "metadata": {"note": SCRIPT},
        "external_id": SCRIPT, "headers": {"X-Note": SCRIPT}, "text": SCRIPT,
        "attachments": [{"filename": "\"><img src=x onerror=alert(11)>.html", "content_type": "text/html",
            "content": "PHNjcmlwdD5hbGVydCg4KTwvc2NyaXB0Pg=="}],
        "tracking": {"opens": true, "clicks": "html"},
    })
}

/// Stores the script wherever a client, a reader or a remote server may store a text.
async fn poison(stack: &Stack, receiver: &Receiver, zone: &Zone, hooks: &HookReceiver) {
    hooks.set_mode("one", "script").unwrap();
    zone.publish(&json!({"example.com": {"TXT": [format!("v=spf1 {SCRIPT} -all")]},
        "_dmarc.example.com": {"TXT": [format!("v=DMARC1; p={SCRIPT}")]}}))
        .unwrap();
    for (path, body) in [
        ("/v1/suppressions", json!({"email": "eve@good.test", "note": SCRIPT})),
        ("/v1/keys", json!({"display_name": SCRIPT, "scopes": ["messages:send"]})),
        ("/v1/smtp-credentials", json!({"display_name": SCRIPT})),
        ("/v1/domains", json!({"name": "example.com"})),
        (
            "/v1/webhooks",
            json!({
                "url": "http://127.0.0.1:9/%22%3E%3Cscript%3E?q=<script>alert(5)</script>",
                "description": SCRIPT, "headers": {"X-Note": SCRIPT},
                "event_types": ["message.delivered"],
            }),
        ),
        ("/v1/webhooks", json!({"url": hooks.url("one"), "event_types": ["message.delivered"]})),
        (
            "/v1/templates",
            json!({
                "alias": "welcome", "display_name": SCRIPT, "subject": SCRIPT,
                "html": format!("<p>{{{{name}}}}</p>{SCRIPT}"), "text": SCRIPT,
                "variables": [{"name": "name", "default_value": SCRIPT}],
            }),
        ),
    ] {
        let made = stack.post(path, &body).await.unwrap();
        assert_eq!(made.status, 201, "{path}: {made:?}");
    }
    for (to, state) in [
        ("ann@good.test", "delivered"),
        ("script@good.test", "bounced"),
        ("eve@good.test", "suppressed"),
    ] {
        let id = stack.send(&mail(to)).await.unwrap();
        stack.wait_state(&id, state).await.unwrap();
    }
    // Mail of a test key stays in the inbox, whose pages are looked at too.
    let key = json!({"display_name": "test", "scopes": ["messages:send"], "test": true});
    let key = stack.post("/v1/keys", &key).await.unwrap();
    let sent = stack.raw_post("/v1/messages").bearer_auth(key.text("secret"));
    let sent = sent.json(&mail("caught@good.test")).send().await.unwrap();
    assert_eq!(sent.status(), 202);
    stack.caught("caught@good.test").await.unwrap();
    let campaign: String = CAMPAIGN.bytes().map(|octet| format!("%{octet:02X}")).collect();
    for (path, body) in [
        ("/v1/domains/example.com/check", json!({})),
        ("/v1/queue/pause", json!({"domain": "held.test", "note": SCRIPT})),
        (&*format!("/v1/campaigns/{campaign}/hold"), json!({"note": SCRIPT})),
    ] {
        let done = stack.post(path, &body).await.unwrap();
        assert!(done.status < 300, "{path}: {done:?}");
    }
    hooks.wait("one", 400, 1).await.unwrap();
    refuses_poison(stack).await;
    // A reader whose program calls itself a script, in the pixel and in a link.
    ready(&stack.tracker).await;
    let mails = receiver.mails_to("ann@good.test").unwrap();
    let link = links(&mails[0].text());
    for path in [link("/o/"), link("/c/")] {
        let policy = reqwest::redirect::Policy::none();
        let reader =
            reqwest::Client::builder().user_agent(SCRIPT).redirect(policy).build().unwrap();
        reader.get(format!("{}{path}", stack.tracker)).send().await.unwrap();
    }
}

async fn refuses_poison(stack: &Stack) {
    // Where a name may not hold such a text, it is refused and not stored.
    for (path, body) in [
        ("/v1/operators", json!({"username": SCRIPT, "role": "viewer"})),
        ("/v1/templates", json!({"alias": SCRIPT, "subject": "x", "text": "x"})),
        ("/v1/domains", json!({"name": SCRIPT})),
    ] {
        let refused = stack.post(path, &body).await.unwrap();
        assert_eq!(refused.status, 422, "{path}: {refused:?}");
    }
}

#[tokio::test]
async fn every_page_is_sound_in_every_look_and_runs_no_script_of_others() {
    let receiver = Receiver::start().await.unwrap();
    let (zone, hooks) = (Zone::start().await.unwrap(), HookReceiver::start().await.unwrap());
    let servers = zone.server();
    let stack = start(&receiver, &[("POSTERN_DNS_SERVERS", &servers)]).await;
    poison(&stack, &receiver, &zone, &hooks).await;
    let seen = browse("dashboard_pages.cjs", &[&stack.rest, "admin", PASSWORD]).await;
    assert_eq!(seen["wrong"], json!([]));
    assert!(seen["guarded"].as_u64() > Some(0), "no page showed a script that was held back");
    let pages: Vec<&str> =
        seen["pages"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
    for page in [
        "overview",
        "messages",
        "messages-one",
        "messages-one-look",
        "messages-one-source",
        "queue",
        "campaigns",
        "errors",
        "suppressions",
        "templates",
        "templates-one",
        "webhooks",
        "webhooks-one",
        "keys",
        "smtp",
        "domains",
        "domains-one",
        "settings",
        "operators",
        "audit",
        "account",
        "login",
        "error",
        "inbox",
        "inbox-one",
    ] {
        assert!(pages.contains(&page), "no {page} among {pages:?}");
    }
}

#[tokio::test]
async fn hands_on_the_keyboard_reach_everything_and_lists_stay_up_to_date() {
    let receiver = Receiver::start().await.unwrap();
    let stack = start(&receiver, &[]).await;
    let args = [&stack.rest, "admin", PASSWORD, &stack.key];
    let seen = browse("dashboard_hands.cjs", &args).await;
    assert_eq!(text(&seen, "first"), "Overview");
    assert_eq!((text(&seen, "skip"), text(&seen, "skipped")), ("skip", "#main"));
    assert_eq!(text(&seen, "slash"), "q");
    assert!(text(&seen, "found").contains("By keyboard"), "{seen}");
    assert_eq!(text(&seen, "typed"), "a/b");
    assert_eq!(seen["live"], true);
    assert_eq!(seen["wrong"], json!([]));
}
