//! The life of a credential: made or taken over, changed, rotated, used, revoked.

use std::time::{Duration, Instant};

use postern_tests::answer::Answer;
use postern_tests::postgres::Schema;
use postern_tests::smtp_client::SmtpClient;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

const PLAIN_AUTH: (&str, &str) = ("POSTERN_SMTP_PLAIN_AUTH", "on");
const MAIL: &str = "From: hi@shop.test\r\nSubject: hello\r\n\r\nhello";
/// bcrypt of `s3cret-Passw0rd`, cost 10, as the old system stores it.
const IMPORTED: &str = "$2y$10$tkBF3YsbPZkq8UFsCrsoZ.4xWEoONECCoEPDmZY3FUx1.hDOyxpH2";

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}"))
}

pub(crate) async fn own(stack: &Stack, secret: &str) -> (u16, Value) {
    let request = stack.raw(Method::GET, "/v1/keys/self").bearer_auth(secret);
    let answer = Answer::read(request.send().await.unwrap()).await.unwrap();
    (answer.status, answer.body)
}

/// PATCH with the first key.
async fn patch(stack: &Stack, path: &str, body: &Value) -> anyhow::Result<Answer> {
    let request = stack.raw(Method::PATCH, path).bearer_auth(&stack.key);
    Answer::read(request.json(body).send().await?).await
}

async fn listed(stack: &Stack, kind: &str, id: &str) -> Value {
    let listed = stack.get(&format!("/v1/{kind}?page_size=1000")).await.unwrap().body;
    let list =
        listed[kind.replace("keys", "api_keys").replace('-', "_")].as_array().unwrap().clone();
    list.into_iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("{id} is not listed"))
}

async fn login(stack: &Stack, user: &str, password: &str) -> String {
    let mut client = SmtpClient::connect(stack.smtp.starttls).await.unwrap();
    client.ask("EHLO test\r\n").await.unwrap();
    client.auth(user, password).await.unwrap()
}

#[tokio::test]
async fn a_rotated_key_works_for_the_overlap_beside_its_successor() {
    let stack = Stack::start(&[]).await.unwrap();
    let create =
        ["keys", "create", "shop", "--domain=shop.test", "--daily-limit=9", "--scope=keys:write"];
    let old = stack.operate(&create).await.unwrap();
    let new = stack.operate(&["keys", "rotate", text(&old, "id"), "--overlap=1h"]).await.unwrap();
    for field in ["display_name", "scopes", "sender_domains", "daily_limit", "ip_allow", "test"] {
        assert_eq!(new[field], old[field], "{field}");
    }
    assert_eq!(new["replaces"], old["id"]);
    let left = listed(&stack, "keys", text(&old, "id")).await;
    assert_eq!(left["replaced_by"], new["id"]);
    assert!(text(&left, "expire_time") < text(&old, "expire_time"), "{left}");
    assert!(
        text(&new, "expire_time") > text(&old, "expire_time"),
        "as long as the old one, from now"
    );
    for key in [&old, &new] {
        assert_eq!(own(&stack, text(key, "secret")).await.0, 200);
    }
    let again =
        stack.post(&format!("/v1/keys/{}/rotate", text(&old, "id")), &json!({})).await.unwrap();
    assert_eq!((again.status, again.text("code")), (422, "invalid_value"), "{again:?}");
    assert!(again.body.to_string().contains(text(&new, "id")), "{again:?}");
    let rotate = format!("/v1/keys/{}/rotate", text(&new, "id"));
    let long = stack.post(&rotate, &json!({"overlap": "2592001s"})).await.unwrap();
    assert_eq!((long.status, long.text("code")), (422, "value_out_of_range"), "{long:?}");
    let dry = stack.post(&rotate, &json!({"validate_only": true})).await.unwrap();
    assert_eq!(
        (dry.status, &dry.body["secret"], &dry.body["id"]),
        (200, &Value::Null, &Value::Null)
    );
    let last = stack.post(&rotate, &json!({"overlap": "0s"})).await.unwrap();
    assert_eq!(last.status, 200, "{last:?}");
    let (status, problem) = own(&stack, text(&new, "secret")).await;
    assert_eq!((status, text(&problem, "code")), (401, "key_expired"));
    assert_eq!(own(&stack, last.text("secret")).await.0, 200);
}

#[tokio::test]
async fn nobody_rotates_or_widens_a_key_beyond_their_own() {
    let stack = Stack::start(&[]).await.unwrap();
    let strong = stack.operate(&["keys", "create", "strong", "--scope=*"]).await.unwrap();
    let create = [
        "keys",
        "create",
        "clerk",
        "--scope=keys:write",
        "--scope=messages:send",
        "--domain=shop.test",
    ];
    let clerk = stack.operate(&create).await.unwrap();
    let secret = text(&clerk, "secret");
    let post = async |path: String, body: Value| {
        let request = stack.raw_post(&path).bearer_auth(secret).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(post(format!("/v1/keys/{}/rotate", text(&strong, "id")), json!({})).await, 403);
    assert_eq!(own(&stack, text(&strong, "secret")).await.0, 200);
    assert_eq!(listed(&stack, "keys", text(&strong, "id")).await["replaced_by"], Value::Null);
    let weak =
        json!({"display_name": "w", "scopes": ["messages:send"], "sender_domains": ["shop.test"]});
    let weak = stack.post("/v1/keys", &weak).await.unwrap().body;
    let update = ["keys", "update", text(&weak, "id"), "--key", secret];
    for (option, reason) in
        [("--scope=stats:read", "SCOPE_MISSING"), ("--domain=other.test", "SENDER_NOT_ALLOWED")]
    {
        let refused = stack.operator(&[update.as_slice(), &[option]].concat()).await.unwrap();
        let complaint = String::from_utf8(refused.stderr).unwrap();
        assert!(complaint.contains(reason), "{option}: {complaint}");
    }
    let changed = stack.operate(&[update.as_slice(), &["--name=weaker"]].concat()).await.unwrap();
    assert_eq!(text(&changed, "display_name"), "weaker");
    assert_eq!(post(format!("/v1/keys/{}/rotate", text(&weak, "id")), json!({})).await, 200);
}

#[tokio::test]
async fn only_what_is_named_of_a_credential_changes() {
    let stack = Stack::start(&[]).await.unwrap();
    let create = ["create", "shop", "--daily-limit=9", "--domain=shop.test", "--track-opens=on"];
    for kind in ["keys", "smtp-credentials"] {
        let made = stack.operate(&[&[kind], create.as_slice()].concat()).await.unwrap();
        let path = format!("/v1/{kind}/{}", text(&made, "id"));
        let asked = json!({"daily_limit": 0, "expire_time": null, "ip_allow": ["::ffff:127.0.0.1", "10.1.2.3/8"]});
        let changed = patch(&stack, &path, &asked).await.unwrap();
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(changed.body["daily_limit"], 0);
        assert_eq!(changed.body["ip_allow"], json!(["127.0.0.1/32", "10.0.0.0/8"]));
        assert_eq!(changed.body.get("expire_time"), None);
        for (field, value) in [
            ("display_name", json!("shop")),
            ("sender_domains", json!(["shop.test"])),
            ("create_time", made["create_time"].clone()),
        ] {
            assert_eq!(changed.body[field], value, "{field}");
        }
        assert_eq!(changed.body["tracking"]["opens"], true);
        assert_eq!(listed(&stack, kind, text(&made, "id")).await, changed.body);
        for (body, code, word) in [
            (json!({}), "missing_field", "display_name"),
            (
                json!({"hint": "x"}),
                if kind == "keys" { "invalid_value" } else { "unknown_field" },
                "hint",
            ),
            (json!({"daily_limit": 1, "update_mask": "daily_limit,test"}), "invalid_value", "test"),
            (json!({"ip_allow": ["shop.test"]}), "invalid_value", "ip_allow[0]"),
            (json!({"daily_limit": -1}), "value_out_of_range", "daily_limit"),
            (json!({"expire_time": "2020-01-01T00:00:00Z"}), "value_out_of_range", "expire_time"),
        ] {
            let refused = patch(&stack, &path, &body).await.unwrap();
            assert_eq!(refused.text("code"), code, "{body} {refused:?}");
            assert!(refused.body.to_string().contains(word), "{body} {refused:?}");
        }
        assert_eq!(listed(&stack, kind, text(&made, "id")).await, changed.body, "nothing of these");
        let wishes = json!({"tracking": null, "unsubscribe": {"mode": "header"}});
        let wishes = patch(&stack, &path, &wishes).await.unwrap();
        assert_eq!((wishes.status, wishes.body.get("tracking")), (200, None), "{wishes:?}");
        assert_eq!(wishes.body["unsubscribe"]["mode"], "header");
        let emptied = [kind, "update", text(&made, "id"), "--allow-ip=any", "--domain=any"];
        let emptied = stack.operate(&emptied).await.unwrap();
        assert_eq!((&emptied["ip_allow"], &emptied["sender_domains"]), (&json!([]), &json!([])));
        stack.operate(&[kind, "revoke", text(&made, "id")]).await.unwrap();
        let dead = patch(&stack, &path, &json!({"daily_limit": 1})).await.unwrap();
        assert_eq!((dead.status, dead.text("code")), (422, "invalid_value"), "{dead:?}");
    }
}

#[tokio::test]
async fn a_key_of_the_old_system_works_on_by_its_hash() {
    let stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    let old = "0123456789abcdef0123456789abcdef0123456789abcdef";
    // printf %s "$old" | sha256sum
    let sha256 = "34c26e154bab5ff544f29f8747a691d0fedd3b8a51655f27d0f585b1b2753970";
    assert_eq!(own(&stack, old).await.0, 401);
    let import =
        ["keys", "import", "old shop", "--scope=messages:send", "--never-expires", "--sha256"];
    let made = stack.operate(&[import.as_slice(), &[sha256]].concat()).await.unwrap();
    assert_eq!(text(&made, "hint"), "sha256:34c26e15…");
    let (status, shown) = own(&stack, old).await;
    assert_eq!(
        (status, &shown["id"], &shown["scopes"]),
        (200, &made["id"], &json!(["messages:send"]))
    );
    let send = stack.raw_post("/api/v1/send").header("authorization", format!("Token {old}"));
    let wrong = send.json(&json!({})).send().await.unwrap().status();
    assert_ne!(wrong, 401, "the old contract knows it too");
    assert!(login(&stack, "anybody", old).await.starts_with("235 "));
    let twice = json!({"display_name": "x", "scopes": ["stats:read"], "sha256": sha256});
    let twice = stack.post("/v1/keys/import", &twice).await.unwrap();
    assert_eq!((twice.status, twice.text("code")), (409, "api_key_exists"), "{twice:?}");
    let bad = json!({"display_name": "x", "scopes": ["stats:read"], "sha256": "00"});
    let bad = stack.post("/v1/keys/import", &bad).await.unwrap();
    assert_eq!((bad.status, bad.text("code")), (422, "invalid_value"), "{bad:?}");
}

#[tokio::test]
async fn both_passwords_work_for_the_overlap_and_sessions_of_the_old_one_end_with_it() {
    let stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    let import = ["smtp-credentials", "import", "old", "--username=ams", "--hash", IMPORTED];
    stack.operate(&import).await.unwrap();
    let mut client =
        SmtpClient::login(stack.smtp.starttls, "ams", "s3cret-Passw0rd").await.unwrap();
    let rotated =
        stack.operate(&["smtp-credentials", "rotate", "ams", "--overlap=3s"]).await.unwrap();
    assert_eq!(text(&rotated, "username"), "ams");
    let new = text(&rotated, "secret").to_owned();
    let reply = client.mail(MAIL).await.unwrap();
    assert!(reply.starts_with("250 "), "the old session goes on: {reply}");
    assert!(login(&stack, "ams", &new).await.starts_with("235 "));
    assert!(login(&stack, "ams", "another").await.starts_with("535 5.7.8 "));
    let refused = wait::until("the old session ends", async || {
        let reply = client.mail(MAIL).await?;
        Ok((!reply.starts_with("250 ")).then_some(reply))
    });
    let refused = refused.await.unwrap();
    assert!(refused.starts_with("535 5.7.8 "), "{refused}");
    let shown = listed(&stack, "smtp-credentials", text(&rotated, "id")).await;
    assert_eq!(shown.get("old_secret_expire_time"), None, "{shown}");
    let now = stack.operate(&["smtp-credentials", "rotate", "ams", "--overlap=0s"]).await.unwrap();
    let mut client =
        SmtpClient::login(stack.smtp.starttls, "ams", text(&now, "secret")).await.unwrap();
    assert!(client.mail(MAIL).await.unwrap().starts_with("250 "));
}

#[tokio::test]
async fn an_old_password_that_was_never_used_here_works_in_the_overlap() {
    let stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    let import = ["smtp-credentials", "import", "old", "--username=ams", "--hash", IMPORTED];
    stack.operate(&import).await.unwrap();
    let rotated = stack.operate(&["smtp-credentials", "rotate", "ams"]).await.unwrap();
    assert!(rotated["old_secret_expire_time"].is_string(), "{rotated}");
    let mut client =
        SmtpClient::login(stack.smtp.starttls, "ams", "s3cret-Passw0rd").await.unwrap();
    assert!(client.mail(MAIL).await.unwrap().starts_with("250 "));
    let end = ["smtp-credentials", "rotate", "ams", "--overlap=0s"];
    stack.operate(&end).await.unwrap();
    let reply = client.mail(MAIL).await.unwrap();
    assert!(reply.starts_with("535 5.7.8 "), "{reply}");
    let forgotten = login(&stack, "ams", text(&rotated, "secret")).await;
    assert!(forgotten.starts_with("535 5.7.8 "), "{forgotten}");
}

#[tokio::test]
async fn mail_of_test_credentials_never_leaves_whatever_the_transport() {
    let receiver = Receiver::start().await.unwrap();
    let url = receiver.relay_url();
    let vars = [
        PLAIN_AUTH,
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_TRANSPORT_DOMAINS", "news.test=mx"),
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let key = stack.operate(&["keys", "create", "trial", "--test"]).await.unwrap();
    for from in ["hi@shop.test", "hi@news.test"] {
        let mut mail = mail_to("key@good.test");
        mail["from"] = json!(from);
        let post = stack.raw_post("/v1/messages").bearer_auth(text(&key, "secret"));
        assert_eq!(post.json(&mail).send().await.unwrap().status(), 202);
    }
    let smtp = stack.operate(&["smtp-credentials", "create", "trial", "--test"]).await.unwrap();
    let (user, password) = (text(&smtp, "username"), text(&smtp, "secret"));
    let mut client = SmtpClient::login(stack.smtp.starttls, user, password).await.unwrap();
    assert!(client.mail(MAIL).await.unwrap().starts_with("250 "));
    // A successor is no way out.
    let rotated = stack.operate(&["keys", "rotate", text(&key, "id")]).await.unwrap();
    assert_eq!(rotated["test"], true);
    let post = stack.raw_post("/v1/messages").bearer_auth(text(&rotated, "secret"));
    assert_eq!(post.json(&mail_to("key@good.test")).send().await.unwrap().status(), 202);
    let caught = wait::until("all are caught", async || {
        let inbox = stack.get("/v1/sink/messages").await?.body;
        let all = inbox["messages"].as_array().cloned().unwrap_or_default();
        Ok((all.len() == 4).then_some(all))
    });
    caught.await.unwrap();
    let real = stack.send_to("ok@good.test").await.unwrap();
    stack.wait_state(&real, "delivered").await.unwrap();
    assert_eq!(receiver.mails().unwrap().len(), 1, "only the mail of the real key");
}

#[tokio::test]
async fn what_one_core_revokes_every_core_refuses_within_a_second() {
    let schema = Schema::make("credentials").await.unwrap();
    let url = schema.url(&schema.host);
    let vars = [
        PLAIN_AUTH,
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema.name),
        ("POSTERN_GATEWAY_TOKEN", postern_tests::role::TOKEN),
    ];
    let one = Stack::start(&vars).await.unwrap();
    let other = Stack::join(&vars, &one.key).await.unwrap();
    let key = one.operate(&["keys", "create", "shop"]).await.unwrap();
    let smtp = one.operate(&["smtp-credentials", "create", "printer"]).await.unwrap();
    let secret = text(&key, "secret");
    let known = wait::until("the key is known", async || {
        Ok((own(&other, secret).await.0 == 200).then_some(()))
    });
    known.await.unwrap();
    let (user, password) = (text(&smtp, "username"), text(&smtp, "secret"));
    let mut client = wait::until("the login is known", async || {
        Ok(SmtpClient::login(other.smtp.starttls, user, password).await.ok())
    })
    .await
    .unwrap();
    assert!(client.mail(MAIL).await.unwrap().starts_with("250 "));
    one.operate(&["keys", "revoke", text(&key, "id")]).await.unwrap();
    let revoked = Instant::now();
    assert_eq!(own(&one, secret).await.0, 401, "at once where it was revoked");
    let refused = wait::until("the key is refused", async || {
        let (status, problem) = own(&other, secret).await;
        Ok((status != 200).then_some((status, problem)))
    });
    let (status, problem) = refused.await.unwrap();
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    assert_eq!((status, text(&problem, "code")), (401, "key_revoked"));
    one.operate(&["smtp-credentials", "revoke", user]).await.unwrap();
    let revoked = Instant::now();
    let refused = wait::until("the session is refused", async || {
        let reply = client.mail(MAIL).await?;
        Ok((!reply.starts_with("250 ")).then_some(reply))
    });
    let refused = refused.await.unwrap();
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    assert!(refused.starts_with("535 5.7.8 "), "{refused}");
}

#[tokio::test]
async fn the_last_use_is_kept_with_its_address() {
    let mut stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    let key = stack.operate(&["keys", "create", "shop"]).await.unwrap();
    let smtp = stack.operate(&["smtp-credentials", "create", "printer"]).await.unwrap();
    let unused = stack.operate(&["keys", "create", "unused"]).await.unwrap();
    assert_eq!(own(&stack, text(&key, "secret")).await.0, 200);
    let (user, password) = (text(&smtp, "username"), text(&smtp, "secret"));
    assert!(login(&stack, user, password).await.starts_with("235 "));
    // What was not written yet is written at the stop.
    stack.sigterm().await.unwrap();
    stack.wait_exit(wait::LIMIT).await.unwrap();
    stack.restart().await.unwrap();
    for (kind, made) in [("keys", &key), ("smtp-credentials", &smtp)] {
        let shown = listed(&stack, kind, text(made, "id")).await;
        assert_eq!(text(&shown, "last_use_address"), "127.0.0.1", "{shown}");
        assert!(text(&shown, "last_use_time") >= text(made, "create_time"), "{shown}");
    }
    let shown = listed(&stack, "keys", text(&unused, "id")).await;
    assert_eq!(shown.get("last_use_time"), None, "{shown}");
}
