//! What the old system kept is taken over: from its database, from both kinds of dump, with values that
//! another implementation encrypted, and as often as one likes.

use std::process::Stdio;

use postern_kit::env::Env;
use postern_tests::command::run;
use postern_tests::peer;
use postern_tests::postgres::Database;
use postern_tests::smtp_client::SmtpClient;
use postern_tests::stack::Stack;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// An old key and what the old system kept of it.
const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";
const KEY_SHA256: &str = "34c26e154bab5ff544f29f8747a691d0fedd3b8a51655f27d0f585b1b2753970";
/// bcrypt of `s3cret-Passw0rd`, cost 10.
const BCRYPT: &str = "$2y$10$tkBF3YsbPZkq8UFsCrsoZ.4xWEoONECCoEPDmZY3FUx1.hDOyxpH2";
const PRIMARY: &str = "an-old-primary-key-of-32-letters";
const DETERMINISTIC: &str = "a-deterministic-key-of-32-letter";
const SALT: &str = "a-salt-of-the-old-system-32-long";
/// 43 characters, as the old system made them.
const CLICK: &str = "Zk3v9_QmT1-xWc7Lb0RyUe5NhGs2DfPaJi8KoVtXlqM";
const OPEN: &str = "Ab3v9_QmT1-xWc7Lb0RyUe5NhGs2DfPaJi8KoVtXlqO";

const SCHEMA: &str = "
CREATE TABLE api_keys (id bigserial PRIMARY KEY, key_hash varchar(64) NOT NULL UNIQUE
    CHECK (length(key_hash) = 64), name varchar, permissions jsonb DEFAULT '{\"send\":true,\"batch\":true}',
    rate_limit int DEFAULT 100, daily_limit int DEFAULT 0, active boolean DEFAULT true,
    last_used_at timestamp, created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now());
CREATE TABLE email_templates (id bigserial PRIMARY KEY, external_id varchar(64) UNIQUE,
    name varchar(255), html_content text, plain_content text, variables jsonb DEFAULT '[]',
    active boolean DEFAULT true);
CREATE TABLE email_logs (id bigserial PRIMARY KEY, message_id varchar(64) NOT NULL UNIQUE,
    external_message_id varchar(64), campaign_id varchar(64), recipient varchar(255) NOT NULL,
    recipient_masked varchar(255), sender varchar(255), subject varchar(500),
    postal_message_id varchar(255), status varchar(20) NOT NULL, created_at timestamp DEFAULT now());
CREATE TABLE email_clicks (id bigserial PRIMARY KEY, email_log_id bigint REFERENCES email_logs,
    campaign_id varchar, ip_address varchar, user_agent varchar(1024), token varchar UNIQUE,
    url varchar(2048), clicked_at timestamp);
CREATE TABLE email_opens (id bigserial PRIMARY KEY, email_log_id bigint REFERENCES email_logs,
    campaign_id varchar, ip_address varchar, token varchar UNIQUE, opened_at timestamp);
CREATE TABLE unsubscribes (id bigserial PRIMARY KEY, email varchar(255), campaign_id varchar(64),
    reason varchar(50), ip_address inet, unsubscribed_at timestamp DEFAULT now());
CREATE TABLE bounced_emails (id bigserial PRIMARY KEY, email varchar(255),
    bounce_type varchar CHECK (bounce_type IN ('hard', 'soft')), campaign_id varchar(64));
CREATE TABLE smtp_credentials (id bigserial PRIMARY KEY, username varchar UNIQUE,
    password_hash varchar, description varchar, active boolean DEFAULT true, rate_limit int DEFAULT 100);
CREATE TABLE webhook_endpoints (id bigserial PRIMARY KEY, url varchar, secret_key varchar,
    events json, active boolean DEFAULT true, timeout int DEFAULT 30, retry_count int DEFAULT 3);
";

/// Encrypts addresses by an implementation that is not ours.
async fn encrypted(values: &[Value]) -> Vec<String> {
    let python = Env::process().text("POSTERN_TEST_PYTHON", "python3");
    let mut child = Command::new(python)
        .arg(peer::path("rails_encrypt.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).await.unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "the python of the tests needs cryptography");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn plan(text: &str, password: &str, digest: &str, deterministic: bool) -> Value {
    json!({"text": text, "password": password, "salt": SALT, "digest": digest,
           "deterministic": deterministic, "compress": !deterministic})
}

/// The old database: a bit of everything, and of everything that does not fit.
async fn old_database(name: &str) -> Database {
    let old = Database::make(name).await.unwrap();
    let client = old.client().await.unwrap();
    client.batch_execute(SCHEMA).await.unwrap();
    let sealed = encrypted(&[
        plan("ann@good.test", DETERMINISTIC, "sha256", true),
        plan("bob@good.test", DETERMINISTIC, "sha1", true),
        plan("cyd@good.test", PRIMARY, "sha256", false),
        plan("eve@good.test", "another key", "sha256", true),
    ])
    .await;
    let ids =
        ["a1.abcdefghijklmnopqrstuvwx@shop.test", "smtp_0123456789abcdef01234567", "c3", "e5"];
    for (n, (sealed, id)) in sealed.iter().zip(ids).enumerate() {
        let external = (n == 0).then_some("test_msg_001");
        let sql = "INSERT INTO email_logs (message_id, external_message_id, campaign_id, recipient, \
                   status) VALUES ($1, $2, 'spring', $3, 'delivered')";
        client.execute(sql, &[&id, &external, sealed]).await.unwrap();
    }
    let rows = format!(
        "INSERT INTO api_keys (key_hash, name, active) VALUES ('{KEY_SHA256}', 'Shop', true),
            ('{}', 'Gone', false);
         INSERT INTO email_templates (external_id, name, html_content, variables)
            VALUES ('welcome', 'Welcome', '<p>Hi {{{{ name }}}}</p>', '[\"name\"]'),
                   ('broken', 'Broken', '{{% if %}}', '[]');
         INSERT INTO email_clicks (email_log_id, campaign_id, token, url)
            VALUES (1, 'spring', '{CLICK}', 'https://shop.example/?a=1');
         INSERT INTO email_opens (email_log_id, campaign_id, token) VALUES (1, 'spring', '{OPEN}');
         INSERT INTO unsubscribes (email, campaign_id) VALUES ('Gone@good.test', NULL),
            ('gone@good.test', NULL), ('some@good.test', 'spring'), ('no address', NULL);
         INSERT INTO bounced_emails (email, bounce_type) VALUES ('dead@good.test', 'hard'),
            ('full@good.test', 'soft');
         INSERT INTO smtp_credentials (username, password_hash, description)
            VALUES ('smtp_0123456789abcdef', '{BCRYPT}', 'AMS');
         INSERT INTO webhook_endpoints (url, secret_key, events)
            VALUES ('https://hooks.example.com/old', 'an-old-secret-of-the-endpoint', '[\"sent\", \"bounced\"]');",
        "0".repeat(64)
    );
    client.batch_execute(&rows).await.unwrap();
    // Whoever tries to write there fails from now on.
    let only_read = format!("ALTER DATABASE {} SET default_transaction_read_only = on", old.name);
    client.batch_execute(&only_read).await.unwrap();
    old
}

async fn import(stack: &Stack, args: &[&str]) -> (Option<i32>, Value) {
    let core = format!("http://{}", stack.grpc);
    let path = Env::process().text("PATH", "/usr/bin:/bin");
    let vars = [
        ("POSTERN_DATA", stack.folder().to_str().unwrap()),
        ("PATH", path.as_str()),
        ("ENCRYPTION_PRIMARY_KEY", PRIMARY),
        ("ENCRYPTION_DETERMINISTIC_KEY", DETERMINISTIC),
        ("ENCRYPTION_KEY_DERIVATION_SALT", SALT),
    ];
    let args = [&["import-old", "--core", &core, "--json"], args].concat();
    let output = run(&args, &vars).await.unwrap();
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|_| panic!("{output:?}")))
}

/// read, imported, already there, refused of a table.
fn counts(report: &Value, table: &str) -> [u64; 4] {
    let counts = &report["tables"][table];
    ["read", "imported", "already_there", "refused"].map(|name| counts[name].as_u64().unwrap())
}

const EXPECTED: [(&str, [u64; 4]); 9] = [
    ("api_keys", [2, 1, 0, 0]),
    ("smtp_credentials", [1, 1, 0, 0]),
    ("email_templates", [2, 1, 0, 1]),
    ("unsubscribes", [4, 2, 1, 1]),
    ("bounced_emails", [2, 1, 0, 0]),
    ("webhook_endpoints", [1, 1, 0, 0]),
    ("email_clicks", [1, 1, 0, 0]),
    ("email_opens", [1, 1, 0, 0]),
    ("email_logs", [4, 3, 0, 1]),
];

#[tokio::test]
async fn everything_is_taken_over_and_a_second_run_changes_nothing() {
    let old = old_database("old").await;
    let stack = Stack::start(&[("POSTERN_SMTP_PLAIN_AUTH", "on")]).await.unwrap();
    let keys = async || stack.get("/v1/keys").await.unwrap().body;
    let before = keys().await;
    let (_, dry) = import(&stack, &["--from", &old.url, "--dry-run"]).await;
    for (table, [read, imported, existing, refused]) in EXPECTED {
        let expected = [read, imported + existing, 0, refused];
        assert_eq!(counts(&dry, table), expected, "{table}: {dry}");
    }
    assert_eq!(keys().await, before, "a dry run changes nothing");
    for empty in ["suppressions", "templates", "webhooks", "smtp-credentials"] {
        let list = stack.get(&format!("/v1/{empty}")).await.unwrap().body;
        let lists: Vec<_> =
            list.as_object().unwrap().values().filter_map(Value::as_array).collect();
        assert!(lists.len() == 1 && lists[0].is_empty(), "a dry run changes nothing: {list}");
    }

    let (code, report) = import(&stack, &["--from", &old.url]).await;
    assert_eq!(code, Some(1), "something was refused: {report}");
    for (table, expected) in EXPECTED {
        assert_eq!(counts(&report, table), expected, "{table}: {report}");
    }
    let refused = &report["tables"]["email_logs"]["refusals"][0];
    assert_eq!(refused["id"], 4, "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("other keys"), "{refused}");
    assert!(!report.to_string().contains("good.test"), "no address is told: {report}");
    works(&stack).await;

    let after = keys().await;
    let (_, again) = import(&stack, &["--from", &old.url]).await;
    for (table, [read, imported, existing, refused]) in EXPECTED {
        let expected = [read, 0, imported + existing, refused];
        assert_eq!(counts(&again, table), expected, "{table}: {again}");
    }
    assert_eq!(keys().await, after);
}

/// The old system's clients and recipients notice nothing.
async fn works(stack: &Stack) {
    let body = json!({
        "from_email": "hi@shop.test", "recipient": "new@good.test", "subject": "News",
        "html_body": "<p>Hi</p>",
    });
    let sent = stack.raw_post("/api/v1/send").bearer_auth(KEY).json(&body).send().await.unwrap();
    assert_eq!(sent.status(), 202, "the old key works");
    let user = "smtp_0123456789abcdef";
    SmtpClient::login(stack.smtp.starttls, user, "s3cret-Passw0rd").await.unwrap();
    let template = stack.get("/v1/templates/welcome").await.unwrap();
    assert_eq!(template.text("html"), "<p>Hi {{ name }}</p>", "{template:?}");
    for spared in ["gone@good.test", "dead@good.test"] {
        let id = stack.send_to(spared).await.unwrap();
        stack.wait_state(&id, "suppressed").await.unwrap();
    }
    let webhooks = stack.get("/v1/webhooks").await.unwrap();
    let webhook = &webhooks.body["webhooks"][0];
    assert_eq!(webhook["url"], "https://hooks.example.com/old", "{webhooks:?}");
    assert_eq!(webhook["event_types"], json!(["message.accepted", "message.bounced"]));
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let followed = client.unwrap().get(format!("{}/t/c/{CLICK}", stack.tracker)).send();
    let followed = followed.await.unwrap();
    assert_eq!(followed.headers()["location"], "https://shop.example/?a=1", "{followed:?}");
    // Of these mails only the encrypted address tells who may unsubscribe.
    for (address, expected) in [
        ("ann@good.test", true),
        ("bob@good.test", true),
        ("cyd@good.test", true),
        ("eve@good.test", false),
    ] {
        let encode = |text: &str| {
            use base64::Engine as _;
            base64::engine::general_purpose::URL_SAFE.encode(text)
        };
        let query = format!("eid={}&cid={}", encode(address), encode("spring"));
        let url = format!("{}/unsubscribe?{query}", stack.tracker);
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let list = stack.get(&format!("/v1/suppressions?email={address}")).await.unwrap();
        let is_listed = !list.body["suppressions"].as_array().unwrap().is_empty();
        assert_eq!(is_listed, expected, "{address}: {list:?}");
    }
}

#[tokio::test]
async fn both_kinds_of_dump_are_loaded_into_an_empty_database_only() {
    let old = old_database("dumped").await;
    let folder = tempfile::tempdir().unwrap();
    let stack = Stack::start(&[]).await.unwrap();
    for format in ["plain", "custom"] {
        let file = folder.path().join(format);
        let dump = Command::new("pg_dump")
            .args(["--dbname", &old.url, "--format", format, "--file"])
            .arg(&file)
            .output();
        let dump = dump.await.unwrap();
        assert!(dump.status.success(), "{dump:?}");
        let scratch = Database::make(&format!("scratch_{format}")).await.unwrap();
        let args = ["--dump", file.to_str().unwrap(), "--scratch-url", &scratch.url, "--dry-run"];
        let (_, report) = import(&stack, &args).await;
        assert_eq!(counts(&report, "api_keys"), [2, 1, 0, 0], "{format}: {report}");
        assert_eq!(counts(&report, "email_logs"), [4, 3, 0, 1], "{format}: {report}");
        let core = format!("http://{}", stack.grpc);
        let again = [&["import-old", "--core", &core], args.as_slice()].concat();
        let vars = [("POSTERN_DATA", stack.folder().to_str().unwrap())];
        let refused = run(&again, &vars).await.unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("give an empty one"), "{said}");
    }
}
