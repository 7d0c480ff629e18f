//! What the REST contract promises, against the real core.

use std::process::Stdio;

use postern_kit::env::Env;
use postern_tests::answer::Answer;
use postern_tests::peer;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

fn first_line(subject: &str) -> String {
    let message = json!({"from": "hi@shop.test", "subject": subject, "text": "x"});
    json!({"message": message, "to": "r0@good.test"}).to_string()
}

async fn send_lines(stack: &Stack, body: String, key: &str) -> Vec<Value> {
    let post = stack.raw_post("/v1/messages/batch").bearer_auth(&stack.key);
    let post = post.header("content-type", "application/x-ndjson").header("idempotency-key", key);
    let response = post.body(body).send().await.unwrap();
    assert_eq!(response.status(), 202);
    let text = response.text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_key_is_looked_at_before_the_body() {
    let stack = Stack::start(&[]).await.unwrap();
    for path in ["/v1/messages", "/api/v1/send"] {
        for (key, status) in [(stack.key.as_str(), 400), ("pst_wrong", 401)] {
            let post = stack.raw_post(path).bearer_auth(key).body("{\"from\": ");
            let post = post.header("content-type", "application/json");
            let answer = post.send().await.unwrap();
            assert_eq!(answer.status(), status, "{path} {key}");
        }
    }
    let own = stack.get("/v1/keys/self").await.unwrap();
    assert_eq!((own.status, own.body["scopes"][0].as_str()), (200, Some("*")), "{own:?}");
}

#[tokio::test]
async fn lines_are_accepted_once_under_their_key() {
    let stack = Stack::start(&[]).await.unwrap();
    let mut body = first_line("Lines");
    for n in 1..1500 {
        body += &format!("\n{{\"to\":\"r{n}@good.test\"}}");
    }
    body += "\n{\"to\":\"nobody\"}";
    let first = send_lines(&stack, body.clone(), "one").await;
    assert_eq!(first.len(), 1501);
    for (n, line) in first.iter().enumerate().take(1500) {
        assert_eq!(
            (line["index"].as_u64(), line["state"].as_str()),
            (Some(n as u64), Some("queued"))
        );
        assert_eq!(line["email"], format!("r{n}@good.test"));
    }
    assert_eq!(first[1500]["error"]["code"], "invalid_address");
    let again = send_lines(&stack, body, "one").await;
    for (first, again) in first.iter().zip(&again).take(1500) {
        assert_eq!(first["message_id"], again["message_id"]);
        assert_eq!(again["replayed"], true, "{again}");
    }
    let checked = stack.raw_post("/v1/messages/batch?validate_only=true").bearer_auth(&stack.key);
    let checked = checked.header("content-type", "application/x-ndjson");
    let checked = checked.body(first_line("Not sent")).send().await.unwrap();
    assert!(checked.text().await.unwrap().contains("\"index\":0"));
    let filter = "/v1/messages?page_size=1000&filter=to%3Ar0%40good.test";
    let list = stack.get(filter).await.unwrap();
    assert_eq!(list.body["messages"].as_array().unwrap().len(), 1, "{list:?}");
}

#[tokio::test]
async fn every_example_of_the_document_works_as_it_stands() {
    let stack = Stack::start(&[]).await.unwrap();
    let document = stack.get("/openapi.json").await.unwrap().body;
    let mut sent = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let post = &methods["post"];
        let example = &post["requestBody"]["content"]["application/json"]["example"];
        if example.is_null() {
            continue;
        }
        let answer = stack.post(path, example).await.unwrap();
        let documented = post["responses"].get(answer.status.to_string());
        assert!(documented.is_some(), "{path} {answer:?}");
        sent += 1;
    }
    assert!(sent >= 7, "{sent}");
}

#[tokio::test]
async fn a_form_with_a_file_arrives_with_its_file() {
    let stack = Stack::start(&[]).await.unwrap();
    let mail = mail_to("ann@good.test");
    let body = format!(
        "--b\r\ncontent-disposition: form-data; name=\"message\"\r\n\r\n{mail}\r\n\
         --b\r\ncontent-disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\
         content-type: text/plain\r\n\r\nfile content\r\n--b--\r\n"
    );
    let post = stack.raw_post("/v1/messages").bearer_auth(&stack.key).body(body);
    let post = post.header("content-type", "multipart/form-data; boundary=b");
    let answer = Answer::read(post.send().await.unwrap()).await.unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    stack.wait_state(answer.text("id"), "delivered").await.unwrap();
    let caught = stack.get("/v1/sink/messages").await.unwrap();
    let id = caught.body["messages"][0]["id"].as_str().unwrap();
    let source = stack.get_text(&format!("/v1/sink/messages/{id}/raw")).await.unwrap();
    assert!(source.contains("a.txt"), "{source}");
}

#[tokio::test]
async fn of_two_who_change_one_version_the_second_is_refused() {
    let stack = Stack::start(&[]).await.unwrap();
    let template = json!({"alias": "w", "html": "one"});
    let dry = stack.post("/v1/templates?validate_only=true", &template).await.unwrap();
    assert_eq!(dry.status, 201, "{dry:?}");
    let made = stack.post("/v1/templates", &template).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    let read = stack.get("/v1/templates/w").await.unwrap();
    assert_eq!(read.header("etag"), format!("\"{}\"", made.text("etag")));
    let client = reqwest::Client::new();
    let url = format!("{}/v1/templates/w", stack.rest);
    let put = |etag: String, html: &str| {
        let put = client.put(&url).bearer_auth(&stack.key).header("if-match", etag);
        put.json(&json!({"alias": "w", "html": html})).send()
    };
    let won = put(read.header("etag").to_owned(), "two").await.unwrap();
    let won = Answer::read(won).await.unwrap();
    assert_eq!(won.status, 200, "{won:?}");
    assert_ne!(won.header("etag"), read.header("etag"));
    let lost = put(read.header("etag").to_owned(), "three").await.unwrap();
    let lost = Answer::read(lost).await.unwrap();
    assert_eq!((lost.status, lost.text("code")), (412, "etag_mismatch"), "{lost:?}");
    let delete = |etag: &str| client.delete(&url).bearer_auth(&stack.key).header("if-match", etag);
    let late = delete(read.header("etag")).send().await.unwrap();
    assert_eq!(late.status(), 412);
    let gone = delete(won.header("etag")).send().await.unwrap();
    assert_eq!(gone.status(), 204);
}

#[tokio::test]
async fn of_two_who_change_one_setting_the_second_is_refused() {
    let stack = Stack::start(&[]).await.unwrap();
    let list = stack.get("/v1/settings?prefix=smtp.recipients_max").await.unwrap();
    let seen = list.body["settings"][0]["etag"].as_str().unwrap().to_owned();
    let put = async |etag: &str, value: &str| {
        let url = format!("{}/v1/settings/smtp.recipients_max", stack.rest);
        let put = reqwest::Client::new().put(url).bearer_auth(&stack.key);
        let put = put.header("if-match", format!("\"{etag}\"")).json(&json!({"value": value}));
        Answer::read(put.send().await.unwrap()).await.unwrap()
    };
    let won = put(&seen, "7").await;
    assert_eq!((won.status, won.text("value")), (200, "7"), "{won:?}");
    assert_eq!(won.header("etag"), format!("\"{}\"", won.text("etag")));
    let lost = put(&seen, "8").await;
    assert_eq!((lost.status, lost.text("code")), (412, "etag_mismatch"), "{lost:?}");
    let reset = put(won.text("etag"), "").await;
    assert_eq!((reset.status, reset.text("etag")), (200, seen.as_str()), "{reset:?}");
}

#[tokio::test]
async fn waiting_for_a_mail_may_take_longer_than_other_calls() {
    let stack = Stack::start(&[("POSTERN_RPC_TIMEOUT", "1s")]).await.unwrap();
    let mut mail = mail_to("late@good.test");
    let later = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(3)).unwrap();
    mail["send_time"] = json!(later.to_string());
    stack.send(&mail).await.unwrap();
    let found = stack.get("/v1/sink/wait?recipient=late@good.test&timeout=30s").await.unwrap();
    assert_eq!((found.status, found.text("envelope_to")), (200, "late@good.test"), "{found:?}");
    assert!(jiff::Timestamp::now() >= later, "it was waited for");
}

#[tokio::test]
async fn a_page_of_large_messages_ends_early_and_loses_nothing() {
    let stack = Stack::start(&[]).await.unwrap();
    let mut sent = Vec::new();
    for n in 0..12 {
        let to: Vec<_> = (0..1000).map(|r| format!("recipient{r}of{n}@good.test")).collect();
        let mail = json!({"from": "hi@shop.test", "to": to, "subject": "s", "text": "t"});
        sent.push(stack.send(&mail).await.unwrap());
    }
    sent.reverse();
    let (mut found, mut pages, mut token) = (Vec::new(), 0, String::new());
    loop {
        let path = format!("/v1/messages?page_size=1000&page_token={token}");
        let page = stack.get(&path).await.unwrap();
        assert!(page.body.to_string().len() < 8 << 20, "JSON is wider than gRPC");
        let messages = page.body["messages"].as_array().unwrap();
        let whole = |message: &&Value| message["recipients"].as_array().unwrap().len() == 1000;
        assert!(messages.iter().all(|message| whole(&message)));
        found.extend(messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()));
        pages += 1;
        token = page.text("next_page_token").to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, sent);
    assert!(pages > 1, "{pages}");
    let after = stack.get(&format!("/v1/messages?limit=1&after={}", sent[4])).await.unwrap();
    assert_eq!(after.body["messages"][0]["id"], sent[5]);
}

/// The ids of the first events of the feed, as server sent events.
async fn feed(stack: &Stack, last: Option<&str>, count: usize) -> Vec<(String, Value)> {
    let mut get = reqwest::Client::new().get(format!(
        "{}/v1/events/watch?from_beginning={}",
        stack.rest,
        last.is_none()
    ));
    if let Some(last) = last {
        get = get.header("last-event-id", last);
    }
    let mut response = get.bearer_auth(&stack.key).send().await.unwrap();
    let mut text = String::new();
    loop {
        let frames = text.split_inclusive("\n\n").filter(|frame| frame.ends_with("\n\n"));
        let events: Vec<_> = frames.filter_map(event).take(count).collect();
        if events.len() == count {
            return events;
        }
        let chunk = tokio::time::timeout(wait::LIMIT, response.chunk()).await;
        text += std::str::from_utf8(&chunk.unwrap().unwrap().expect("the feed goes on")).unwrap();
    }
}

fn event(frame: &str) -> Option<(String, Value)> {
    let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
    let data = serde_json::from_str(field("data: ")?).unwrap();
    Some((field("id: ")?.to_owned(), data))
}

#[tokio::test]
async fn a_browser_goes_on_behind_its_last_event() {
    let stack = Stack::start(&[]).await.unwrap();
    for n in 0..3 {
        let id = stack.send_to(&format!("r{n}@good.test")).await.unwrap();
        stack.wait_state(&id, "delivered").await.unwrap();
    }
    let all = feed(&stack, None, 6).await;
    for cut in 0..5 {
        let rest = feed(&stack, Some(&all[cut].0), 5 - cut).await;
        let ids = |events: &[(String, Value)]| -> Vec<Value> {
            events.iter().map(|(_, event)| event["id"].clone()).collect()
        };
        assert_eq!(ids(&rest), ids(&all[cut + 1..]));
    }
}

#[tokio::test]
async fn a_validator_that_is_not_ours_accepts_the_document() {
    let stack = Stack::start(&[]).await.unwrap();
    let document = stack.get_text("/openapi.json").await.unwrap();
    let python = Env::process().text("POSTERN_TEST_PYTHON", "python3");
    let mut child = Command::new(&python)
        .arg(peer::path("openapi.py"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(document.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{python} needs openapi-spec-validator: {complaint}");
}
