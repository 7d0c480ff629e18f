//! The restore drill: everything is lost but a backup that was made while mail was being sent.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use postern_tests::answer::Answer;
use postern_tests::command::run;
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use rusqlite::{Connection, types::Value as Cell};
use serde_json::{Value, json};
use tokio::process::Command;

/// Long enough for the backup to hold the mail that waits, whatever else the machine does.
const LATER: jiff::SignedDuration = jiff::SignedDuration::from_secs(25);
const MESSAGES: usize = 150;

/// Every row of every table, each as text, in the order of the tables.
fn rows(file: &Path) -> Vec<(String, Vec<String>)> {
    let db = Connection::open(file).unwrap();
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut tables = db.prepare(sql).unwrap();
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(tables.len() > 20, "{tables:?}");
    let read = |table: String| {
        let mut all = db.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = all.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let cells: Vec<Cell> = (0..columns).map(|n| row.get(n).unwrap()).collect();
            Ok(format!("{cells:?}"))
        };
        let mut rows: Vec<String> = all.query_map([], row).unwrap().map(Result::unwrap).collect();
        rows.sort();
        drop(all);
        (table, rows)
    };
    tables.into_iter().map(read).collect()
}

/// Unpacks a backup with programs that are not ours.
async fn unpack(backup: &str, into: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--zstd", "-xf", backup, "-C"]).arg(into).stdin(Stdio::null());
    let output = tar.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// One of everything that an installation keeps.
struct Loaded {
    scheduled: String,
    held: String,
    webhook: String,
    hidden_key: String,
    smtp_credentials: Value,
}

async fn load(stack: &Stack, hooks: &HookReceiver, receiver: &Receiver) -> Loaded {
    for (path, body) in [
        ("/v1/templates", json!({"alias": "welcome", "html": "Hi {{ name }}"})),
        ("/v1/suppressions", json!({"email": "gone@good.test", "note": "asked us"})),
    ] {
        assert_eq!(stack.post(path, &body).await.unwrap().status, 201, "{path}");
    }
    let webhook = json!({"url": hooks.url("kept"), "event_types": ["message.delivered"]});
    let webhook = stack.post("/v1/webhooks", &webhook).await.unwrap();
    let key = json!({"display_name": "Shop", "scopes": ["messages:send"]});
    let key = stack.post("/v1/keys", &key).await.unwrap();
    let credential = json!({"display_name": "Mailer"});
    assert_eq!(stack.post("/v1/smtp-credentials", &credential).await.unwrap().status, 201);
    let mut mail = mail_to("ok+later@good.test");
    mail["send_time"] = json!(jiff::Timestamp::now() + LATER);
    let scheduled = stack.send(&mail).await.unwrap();
    // Its delivery is under way when the backup is made, and for as long as the process lives.
    let held = stack.send_to("slow@good.test").await.unwrap();
    receiver.wait_until_held("slow@good.test").await.unwrap();
    Loaded {
        scheduled,
        held,
        webhook: webhook.text("id").to_owned(),
        hidden_key: key.text("secret").to_owned(),
        smtp_credentials: stack.get("/v1/smtp-credentials").await.unwrap().body,
    }
}

/// Sends until the process is gone; what was accepted so far can be looked at.
fn keep_sending(stack: &Stack) -> (Arc<Mutex<Vec<String>>>, tokio::task::JoinHandle<()>) {
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let request = stack.raw_post("/v1/messages").bearer_auth(&stack.key);
    let taken = accepted.clone();
    let sending = tokio::spawn(async move {
        for number in 0.. {
            let send =
                request.try_clone().unwrap().json(&mail_to(&format!("ok+{number}@good.test")));
            let Ok(answer) = send.send().await else { return };
            let Ok(answer) = Answer::read(answer).await else { return };
            assert_eq!(answer.status, 202, "{answer:?}");
            taken.lock().unwrap().push(answer.text("id").to_owned());
        }
    });
    (accepted, sending)
}

#[tokio::test]
async fn all_is_lost_and_comes_back_from_a_backup_made_while_mail_was_sent() {
    let (receiver, hooks) =
        (Receiver::start().await.unwrap(), HookReceiver::start().await.unwrap());
    let relay = receiver.relay_url();
    let vars = [
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", relay.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow"),
    ];
    let mut stack = Stack::start(&vars).await.unwrap();
    let loaded = load(&stack, &hooks, &receiver).await;
    let (accepted, sending) = keep_sending(&stack);
    let count = || accepted.lock().unwrap().len();
    let enough = wait::until("mail", async || Ok((count() >= MESSAGES).then_some(())));
    enough.await.unwrap();
    let promised: Vec<String> = accepted.lock().unwrap().clone();

    let elsewhere = tempfile::tempdir().unwrap();
    let folder = stack.folder().to_path_buf();
    let data = [("POSTERN_DATA", folder.to_str().unwrap())];
    let to = elsewhere.path().to_str().unwrap();
    let output = run(&["backup", "--to", to, "--keep", "3", "--json"], &data).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let backup = made["path"].as_str().unwrap();
    let behind = count();
    let more = wait::until("sending goes on", async || Ok((count() > behind).then_some(())));
    more.await.unwrap();
    let state = std::fs::read_to_string(folder.join("last-backup")).unwrap();
    assert!(state.contains("postern_backup_last_success_timestamp_seconds "), "{state}");
    let refused = run(&["restore", backup, "--replace"], &data).await.unwrap();
    assert_eq!(refused.status.code(), Some(75), "a running server stops it: {refused:?}");

    stack.kill_9().await.unwrap();
    sending.await.unwrap();
    destroy(&folder);
    let output = run(&["restore", backup], &data).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    is_what_the_backup_held(&folder, backup).await;

    // The first key is the same, or this would fail.
    stack.restart().await.unwrap();
    receiver.release().unwrap();
    lives_on(&stack, &loaded, &promised).await;
    let kept = hooks.taken("kept").unwrap().len();
    let id = stack.send_to("ok+after@good.test").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let told =
        wait::until("the webhook", async || Ok((hooks.taken("kept")?.len() > kept).then_some(())));
    told.await.unwrap();
    assert!(!receiver.mails_to("ok+later@good.test").unwrap().is_empty());
}

/// Compares the restored folder with the backup as other programs unpack it.
async fn is_what_the_backup_held(folder: &Path, backup: &str) {
    let unpacked = tempfile::tempdir().unwrap();
    let unpacked = unpacked.path();
    unpack(backup, unpacked).await;
    let store = |folder: &Path| rows(&folder.join("postern.db"));
    let (before, after) = (store(unpacked), store(folder));
    assert_eq!(before.len(), after.len());
    for (held, restored) in before.iter().zip(&after) {
        assert_eq!(held, restored, "{}", held.0);
    }
    for secret in ["gateway-token", "tracking-keys", "first-api-key"] {
        let read = |folder: &Path| std::fs::read(folder.join(secret)).unwrap();
        assert_eq!(read(folder), read(unpacked), "{secret}");
    }
    let journal = |folder: &Path| {
        let entries = std::fs::read_dir(folder.join("tracker")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(journal(folder), journal(unpacked));
    assert!(journal(folder)[0].ends_with(".journal"), "what was not shipped yet");
}

/// Removes all that is in a folder.
fn destroy(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// Whatever was accepted before the backup is delivered, and everything else is there and works.
async fn lives_on(stack: &Stack, loaded: &Loaded, promised: &[String]) {
    for id in promised.iter().chain([&loaded.held, &loaded.scheduled]) {
        stack.wait_state(id, "delivered").await.unwrap();
    }
    let send = stack.raw_post("/v1/messages").bearer_auth(&loaded.hidden_key);
    let sent = send.json(&mail_to("ok+key@good.test")).send().await.unwrap();
    assert_eq!(sent.status(), 202, "the key whose secret nobody keeps");
    assert_eq!(stack.get("/v1/templates/welcome").await.unwrap().status, 200);
    let hook = stack.get(&format!("/v1/webhooks/{}", loaded.webhook)).await.unwrap();
    assert_eq!(hook.status, 200, "{hook:?}");
    let credentials = stack.get("/v1/smtp-credentials").await.unwrap().body;
    assert_eq!(credentials, loaded.smtp_credentials);
    let spared = stack.send_to("gone@good.test").await.unwrap();
    stack.wait_state(&spared, "suppressed").await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_in_use_or_a_file_that_is_none_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = [("POSTERN_DATA", folder.path().to_str().unwrap())];
    let none = run(&["backup"], &data).await.unwrap();
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no store"), "{none:?}");
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "no backup").unwrap();
    let name = file.to_str().unwrap();
    let refused = run(&["restore", name], &data).await.unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not empty"), "{refused:?}");
    let refused = run(&["restore", name, "--replace"], &data).await.unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "no backup");
    let postgres = [data[0], ("DATABASE_URL", "postgres://db/postern")];
    let refused = run(&["backup"], &postgres).await.unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("pg_dump"), "{refused:?}");
}
