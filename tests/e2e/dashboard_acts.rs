//! What the buttons of the dashboard do, what stands in the audit log of it, and where its search field
//! leads.

use postern_tests::dns::Zone;
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, mail_to};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::dashboard::{PASSWORD, start};
use super::dashboard_security::{Visitor, location};

pub(crate) async fn admin(stack: &Stack) -> Visitor {
    let mut admin = Visitor::new(stack);
    assert_eq!(admin.log_in("admin", PASSWORD, "").await.status(), StatusCode::SEE_OTHER);
    admin
}

/// Names and values of fields.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// Presses a button, which must be answered with this status; where it leads, and what it shows.
async fn answered(
    admin: &Visitor,
    page: &str,
    (which, fill): (Fields<'_>, Fields<'_>),
    status: u16,
) -> (String, String) {
    let answer = admin.press(page, which, fill).await;
    let (seen, to) = (answer.status(), location(&answer).to_owned());
    let text = answer.text().await.unwrap();
    assert_eq!(seen, status, "{which:?} on {page}: {text}");
    (to, text)
}

/// Presses a button that leads to a page again; the address of that page.
async fn pressed(admin: &Visitor, page: &str, which: Fields<'_>, fill: Fields<'_>) -> String {
    answered(admin, page, (which, fill), 303).await.0
}

/// Presses a button that shows a secret this once.
async fn shown(admin: &Visitor, page: &str, which: Fields<'_>, fill: Fields<'_>) -> String {
    let (_, text) = answered(admin, page, (which, fill), 200).await;
    let secret = text.split_once("id=\"secret\">").unwrap_or_else(|| panic!("no secret: {text}")).1;
    secret.split('<').next().unwrap().to_owned()
}

/// The actions about these targets, oldest first.
async fn audited(stack: &Stack, target: &str) -> Vec<String> {
    let path = format!("/v1/audit?target={target}");
    let entries = stack.get(&path).await.unwrap().body["entries"].clone();
    let mut entries = entries.as_array().unwrap().clone();
    entries.reverse();
    for entry in &entries {
        assert!(entry["actor"].as_str().unwrap().starts_with("opr_"), "{entry}");
        assert!(entry["request_id"].as_str().unwrap().starts_with("req_"), "{entry}");
    }
    entries.iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

fn of(list: &Value, name: &str, value: &str) -> Value {
    let all = list.as_array().into_iter().flatten();
    all.into_iter().find(|one| one[name] == value).unwrap_or_else(|| panic!("{list}")).clone()
}

#[tokio::test]
async fn buttons_over_mail_do_what_they_say_and_are_in_the_audit_log() {
    let receiver = Receiver::start().await.unwrap();
    let stack = start(&receiver, &[]).await;
    let admin = admin(&stack).await;
    let mut later = mail_to("ann@good.test");
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    later["send_time"] = json!(format!("{tomorrow:.0}"));
    let later = stack.send(&later).await.unwrap();
    let page = format!("/dashboard/messages/{later}");
    assert_eq!(pressed(&admin, &page, &[("act", "cancel")], &[]).await, page);
    let canceled = stack.message(&later).await.unwrap();
    assert_eq!(canceled["recipients"][0]["state"], "canceled");
    assert_eq!(audited(&stack, &later).await, ["message.cancel"]);

    let id = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let page = format!("/dashboard/messages/{id}");
    let copy = pressed(&admin, &page, &[("act", "resend")], &[]).await;
    let copy = copy.strip_prefix("/dashboard/messages/").unwrap();
    assert_ne!(copy, id);
    stack.wait_state(copy, "delivered").await.unwrap();
    assert_eq!(audited(&stack, &id).await, ["message.resend"]);
    assert_eq!(receiver.mails_to("ann@good.test").unwrap().len(), 2);

    let queue = "/dashboard/queue";
    let defer = json!({"from": "a@example.com", "to": "defer@good.test", "subject": "Hi",
        "text": "Hi", "campaign_id": "spring"});
    let deferred = stack.send(&defer).await.unwrap();
    stack.wait_state(&deferred, "deferred").await.unwrap();
    let row = [("domain", "good.test")];
    let press = async |act: &str| {
        pressed(&admin, queue, &[&[("act", act)], &row[..]].concat(), &[]).await;
    };
    press("pause").await;
    let paused = stack.get("/v1/queue/destinations").await.unwrap().body;
    assert_eq!(of(&paused["destinations"], "domain", "good.test")["paused"], true);
    press("resume").await;
    press("retry").await;
    stack.wait_state(&deferred, "delivered").await.unwrap();
    let note = [("domain", "other.test"), ("note", "they asked us to wait")];
    pressed(&admin, queue, &[("act", "pause"), ("domain", "")], &note).await;
    assert_eq!(
        audited(&stack, "good.test").await,
        ["destination.pause", "destination.resume", "destination.retry"]
    );
    assert_eq!(audited(&stack, "other.test").await, ["destination.pause"]);

    let campaign = "/dashboard/campaigns/show?id=spring";
    let note = [("note", "too many bounces")];
    assert_eq!(pressed(&admin, campaign, &[("act", "hold")], &note).await, campaign);
    assert!(admin.page(campaign).await.contains("too many bounces"));
    let held = stack.get("/v1/campaigns").await.unwrap().body;
    assert_eq!(of(&held["campaigns"], "campaign_id", "spring")["held"], true);
    pressed(&admin, campaign, &[("act", "resume")], &[]).await;
    assert_eq!(audited(&stack, "spring").await, ["campaign.hold", "campaign.resume"]);

    let list = "/dashboard/suppressions";
    let fill = [("email", "eve@good.test"), ("note", "asked by phone"), ("reason", "MANUAL")];
    pressed(&admin, list, &[("action", list), ("email", "")], &fill).await;
    let there = stack.get("/v1/suppressions?email=eve@good.test").await.unwrap().body;
    let eve = of(&there["suppressions"], "email", "eve@good.test");
    assert_eq!(eve["note"], "asked by phone");
    let id = eve["id"].as_str().unwrap();
    pressed(&admin, list, &[("action", "/delete"), ("id", id)], &[]).await;
    let there = stack.get("/v1/suppressions?email=eve@good.test").await.unwrap().body;
    assert_eq!(there["suppressions"], json!([]));
}

#[tokio::test]
async fn buttons_over_credentials_and_peers_do_what_they_say_and_are_in_the_audit_log() {
    let receiver = Receiver::start().await.unwrap();
    let zone = Zone::start().await.unwrap();
    let hooks = HookReceiver::start().await.unwrap();
    let servers = zone.server();
    let stack = start(&receiver, &[("POSTERN_DNS_SERVERS", &servers)]).await;
    let admin = admin(&stack).await;
    over_keys(&stack, &admin).await;
    over_smtp_credentials(&stack, &admin).await;
    over_a_domain(&stack, &admin).await;
    over_a_webhook(&stack, &admin, &hooks).await;
    over_a_template(&stack, &admin, &receiver).await;
    over_a_setting(&stack, &admin).await;
}

async fn over_keys(stack: &Stack, admin: &Visitor) {
    let list = "/dashboard/keys";
    let create = [("action", list), ("life", "90")];
    let fill = [("name", "shop"), ("scopes", "messages:send")];
    let first = shown(admin, list, &create, &fill).await;
    let key = of(&stack.get("/v1/keys").await.unwrap().body["api_keys"], "display_name", "shop");
    let life = key["expire_time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let days = life.duration_since(jiff::Timestamp::now()).as_hours() / 24;
    assert!((89..=90).contains(&days), "{days} days");
    let id = key["id"].as_str().unwrap();
    let page = format!("{list}/{id}");
    let change = [("name", "shop 2"), ("domains", "shop.test"), ("ip_allow", "192.0.2.0/24")];
    assert_eq!(pressed(admin, &page, &[("action", &page)], &change).await, page);
    let key = of(&stack.get("/v1/keys").await.unwrap().body["api_keys"], "id", id);
    assert_eq!(key["display_name"], "shop 2");
    let kept = (&key["scopes"], &key["ip_allow"]);
    assert_eq!(kept, (&json!(["messages:send"]), &json!(["192.0.2.0/24"])));
    let second = shown(admin, list, &[("act", "rotate"), ("id", id)], &[]).await;
    assert!(first.starts_with("pst_live_") && second.starts_with("pst_live_") && first != second);
    pressed(admin, list, &[("act", "revoke"), ("id", id)], &[]).await;
    assert_eq!(
        audited(stack, id).await,
        ["api_key.create", "api_key.update", "api_key.rotate", "api_key.revoke"]
    );
}

async fn over_smtp_credentials(stack: &Stack, admin: &Visitor) {
    let list = "/dashboard/smtp";
    let fill = [("name", "crm"), ("rate_limit", "5"), ("daily_limit", "100")];
    shown(admin, list, &[("action", list), ("rate_limit", "0")], &fill).await;
    let all = stack.get("/v1/smtp-credentials").await.unwrap().body;
    let credential = of(&all["smtp_credentials"], "display_name", "crm");
    let id = credential["id"].as_str().unwrap();
    let page = format!("{list}/{id}");
    let change = [("aliases", "postmark, sendgrid"), ("rate_limit", "9")];
    assert_eq!(pressed(admin, &page, &[("action", &page)], &change).await, page);
    let all = stack.get("/v1/smtp-credentials").await.unwrap().body;
    let credential = of(&all["smtp_credentials"], "id", id);
    assert_eq!(credential["header_aliases"], json!(["postmark", "sendgrid"]));
    assert_eq!((&credential["rate_limit"], &credential["daily_limit"]), (&json!(9), &json!(100)));
    let wrong = admin.press(&page, &[("action", &page)], &[("aliases", "hotmail")]).await;
    assert!(wrong.status() == 422 && wrong.text().await.unwrap().contains("hotmail: unknown"));
    shown(admin, list, &[("act", "rotate"), ("id", id)], &[]).await;
    pressed(admin, list, &[("act", "revoke"), ("id", id)], &[]).await;
    let done = ["create", "update", "rotate", "revoke"];
    assert_eq!(audited(stack, id).await, done.map(|act| format!("smtp_credential.{act}")));
}

async fn over_a_domain(stack: &Stack, admin: &Visitor) {
    let domain = pressed(admin, "/dashboard/domains", &[("name", "")], &[("name", "shop.test")]);
    let domain = domain.await;
    assert_eq!(domain, "/dashboard/domains/shop.test");
    for act in ["check", "rotate", "activate"] {
        let answer = admin.press(&domain, &[("act", act)], &[]).await;
        // New keys do not sign before their records are seen, whoever presses the button.
        let wanted = if act == "activate" { 409 } else { 303 };
        assert_eq!(answer.status().as_u16(), wanted, "{act}");
    }
    let id = stack.get("/v1/domains/shop.test").await.unwrap().text("id").to_owned();
    assert_eq!(pressed(admin, &domain, &[("act", "delete")], &[]).await, "/dashboard/domains");
    assert_eq!(audited(stack, &id).await, ["domain.create", "domain.rotate", "domain.delete"]);
}

async fn over_a_webhook(stack: &Stack, admin: &Visitor, hooks: &HookReceiver) {
    let list = "/dashboard/webhooks";
    let fill = [("url", &*hooks.url("one")), ("events", "message.delivered")];
    shown(admin, list, &[("action", list), ("url", "")], &fill).await;
    let all = stack.get("/v1/webhooks").await.unwrap().body["webhooks"].clone();
    let id = all[0]["id"].as_str().unwrap().to_owned();
    let page = format!("{list}/{id}");
    let tried = admin.press(&page, &[("act", "test")], &[]).await;
    assert!(tried.status() == 200 && tried.text().await.unwrap().contains("200"));
    shown(admin, &page, &[("act", "rotate")], &[]).await;
    let sent = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&sent, "delivered").await.unwrap();
    hooks.wait("one", 200, 2).await.unwrap();
    let deliveries = postern_tests::wait::until("it is told", async || {
        let all = stack.get(&format!("/v1/webhooks/{id}/deliveries")).await?.body;
        let first = all["deliveries"][0].clone();
        Ok((first["state"] == "delivered").then_some(first))
    });
    let event = deliveries.await.unwrap()["event_id"].as_str().unwrap().to_owned();
    let delivery = format!("{page}/events/{event}");
    assert!(admin.page(&delivery).await.contains("message.delivered"));
    pressed(admin, &delivery, &[("act", "resend"), ("event", &event)], &[]).await;
    hooks.wait("one", 200, 3).await.unwrap();
    for act in ["disable", "enable"] {
        pressed(admin, &page, &[("act", act)], &[]).await;
        let webhook = stack.get(&format!("/v1/webhooks/{id}")).await.unwrap().body;
        assert_eq!(webhook["disabled"], act == "disable", "{webhook}");
    }
    assert_eq!(pressed(admin, &page, &[("act", "delete")], &[]).await, list);
    let done = ["create", "test", "rotate_secret", "resend", "disable", "enable", "delete"];
    assert_eq!(audited(stack, &id).await, done.map(|act| format!("webhook.{act}")));
}

async fn over_a_template(stack: &Stack, admin: &Visitor, receiver: &Receiver) {
    let list = "/dashboard/templates";
    let fill = [("alias", "hello"), ("subject", "Hi {{name}}"), ("text", "Dear {{name}}")];
    let page = pressed(admin, list, &[("action", list), ("alias", "")], &fill).await;
    let id = page.rsplit('/').next().unwrap().to_owned();
    pressed(admin, &page, &[("alias", "hello")], &[("subject", "Hello {{name}}")]).await;
    let template = stack.get(&format!("/v1/templates/{id}")).await.unwrap();
    assert_eq!(template.text("subject"), "Hello {{name}}");
    let fill = [("from", "a@example.com"), ("to", "tia@good.test"), ("values", "name=Tia")];
    let sent = pressed(admin, &page, &[("action", "/test")], &fill).await;
    let sent = sent.rsplit('/').next().unwrap();
    stack.wait_state(sent, "delivered").await.unwrap();
    let mail = receiver.mails_to("tia@good.test").unwrap().remove(0).text();
    assert!(mail.contains("Subject: Hello Tia") && mail.contains("Dear Tia"), "{mail}");
    pressed(admin, &page, &[("action", "/delete")], &[]).await;
    let done = ["template.create", "template.update", "template.delete"];
    assert_eq!(audited(stack, &id).await, done);
}

async fn over_a_setting(stack: &Stack, admin: &Visitor) {
    let (name, settings) = ("rest.limit_concurrent", "/dashboard/settings");
    let page = format!("{settings}?name={name}");
    let other = admin.page(&page).await;
    pressed(admin, &page, &[("action", settings)], &[("value", "77")]).await;
    assert_eq!(audited(stack, name).await, ["setting.update"]);
    let now = stack.get("/v1/settings?prefix=rest.limit_concurrent").await.unwrap().body;
    assert_eq!(now["settings"][0]["value"], "77");
    // Who looked at it before that does not overwrite what the other did.
    let late = admin.press_in(&other, &[("action", settings)], &[("value", "99")]).await;
    assert_eq!(late.status(), 412);
    pressed(admin, &page, &[("action", settings)], &[("value", "")]).await;
    let now = stack.get("/v1/settings?prefix=rest.limit_concurrent").await.unwrap().body;
    assert_eq!(now["settings"][0]["changed"], false);
}

#[tokio::test]
async fn the_search_field_knows_every_id() {
    let receiver = Receiver::start().await.unwrap();
    let stack = start(&receiver, &[]).await;
    let admin = admin(&stack).await;
    let raw =
        "From: hi@shop.test\r\nTo: ann@good.test\r\nMessage-ID: <order.7@shop.example>\r\n\r\nHi";
    let sent = stack
        .raw_post("/v1/messages")
        .header("content-type", "message/rfc822")
        .bearer_auth(&stack.key)
        .body(raw);
    let raw: Value = sent.send().await.unwrap().json().await.unwrap();
    let raw = raw["id"].as_str().unwrap_or_else(|| panic!("{raw}"));
    let mut mail = mail_to("ann@good.test");
    mail["external_id"] = json!("order 7");
    let id = stack.send(&mail).await.unwrap();
    for n in 0..40 {
        stack.send_to(&format!("other{n}@good.test")).await.unwrap();
    }
    let seen = stack.wait_state(&id, "delivered").await.unwrap();
    let recipient = seen["recipients"][0]["id"].as_str().unwrap();
    let events = stack.events(&id).await.unwrap();
    let eve = stack.post("/v1/suppressions", &json!({"email": "eve@good.test"})).await.unwrap();
    let page = format!("/dashboard/messages/{id}");
    let go = async |text: &str| {
        let answer = admin.get(&format!("/dashboard/find?q={}", text.replace(' ', "%20"))).await;
        assert_eq!(answer.status(), 303, "{text}");
        location(&answer).to_owned()
    };
    for text in [id.as_str(), &format!("<{id}@example.com>"), recipient] {
        assert_eq!(go(text).await, page, "{text}");
    }
    assert_eq!(go("<order.7@shop.example>").await, format!("/dashboard/messages/{raw}"));
    for event in &events {
        assert_eq!(go(event["id"].as_str().unwrap()).await, page, "{event}");
    }
    assert_eq!(go(eve.text("id")).await, "/dashboard/suppressions?email=eve%40good.test");
    let list = go("order 7").await;
    assert!(admin.page(&list).await.contains(&id), "{list}");
    let entry = stack.get("/v1/audit?action=suppression.create").await.unwrap().body;
    for name in ["id", "request_id"] {
        let text = entry["entries"][0][name].as_str().unwrap();
        let log = admin.page(&go(text).await).await;
        assert_eq!(log.matches(">suppression.create</code>").count(), 1, "{name}: {log}");
    }
    // Nothing has this id.
    let none = go("evt_01m8d8d58pedztamtdavqr2eqd").await;
    assert!(admin.page(&none).await.contains("class=\"empty\""), "{none}");
    let refused = stack.get("/v1/messages?any_id=order").await.unwrap();
    assert_eq!(refused.text("code"), "bad_filter", "{refused:?}");
}

#[tokio::test]
async fn a_long_message_says_what_of_it_is_not_shown() {
    let receiver = Receiver::start().await.unwrap();
    let stack = start(&receiver, &[]).await;
    let admin = admin(&stack).await;
    let mut mail = mail_to("ann@good.test");
    let to: Vec<_> = (0..520).map(|n| format!("to{n}@good.test")).collect();
    mail["to"] = json!(to);
    let id = stack.send(&mail).await.unwrap();
    let over = async || Ok((stack.message(&id).await?["state"] == "completed").then_some(()));
    postern_tests::wait::until("all are delivered", over).await.unwrap();
    let page = admin.page(&format!("/dashboard/messages/{id}")).await;
    assert!(page.contains("to199@good.test</a>") && !page.contains("to200@good.test</a>"));
    assert!(page.contains("Only the first recipients are shown"), "{page}");
    let (mut delivered, mut pages, mut next) = (0, 0, String::new());
    let link = format!("<a href=\"/dashboard/messages/{id}?events=");
    loop {
        let page = admin.page(&format!("/dashboard/messages/{id}?events={next}")).await;
        delivered += page.matches("<strong>delivered</strong>").count();
        pages += 1;
        match page.split_once(&link) {
            Some((_, rest)) => next = rest.split('"').next().unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!((delivered, pages), (520, 3));
}
