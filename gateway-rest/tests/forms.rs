//! Mail in every form that the native API takes, and versions of resources, against a stand-in for
//! the core.

mod support;

use std::convert::Infallible;

use axum::body::Body;
use futures_util::StreamExt as _;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1::*;
use support::Stage;
use tokio_stream::wrappers::ReceiverStream;

const SEND: &str = "MessageService/SendMessage";
const BATCH: &str = "MessageService/BatchSendMessages";
const KEY: (&str, &str) = ("authorization", "Bearer k");
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

fn form(parts: &[(&str, &str)]) -> String {
    let part = |(head, content): &(&str, &str)| {
        format!("--b\r\ncontent-disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--b--\r\n"
}

fn compress(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    match encoding {
        "zstd" => zstd::encode_all(bytes, 3).expect("memory takes it"),
        _ => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            gzip.write_all(bytes).expect("memory takes it");
            gzip.finish().expect("memory takes it")
        }
    }
}

#[tokio::test]
async fn a_change_names_its_fields_or_is_named_by_its_body() {
    let stage = Stage::new(&[]);
    stage.answer("CredentialService/UpdateApiKey", &UpdateApiKeyResponse::default());
    for (body, paths) in [
        (r#"{"daily_limit":0,"expire_time":null}"#, ["daily_limit", "expire_time"].as_slice()),
        (r#"{"displayName":"x"}"#, &["display_name"]),
        (r#"{"daily_limit":5,"update_mask":"ip_allow, scopes"}"#, &["ip_allow", "scopes"]),
        ("{}", &[]),
    ] {
        let got = stage.send_with("PATCH /v1/keys/key_1", body, &[KEY]).await;
        assert_eq!(got.status, 200, "{body} {got:?}");
        let request = stage.last().read::<UpdateApiKeyRequest>();
        assert_eq!(request.update_mask.unwrap_or_default().paths, paths, "{body}");
        assert_eq!(request.api_key.unwrap().id, "key_1", "{body}");
    }
    let got = stage.send_with("PATCH /v1/keys/key_1", r#"{"update_mask":["a"]}"#, &[KEY]).await;
    assert_eq!((got.status, got.json()["code"].as_str()), (400, Some("wrong_type")), "{got:?}");
}

#[tokio::test]
async fn a_form_brings_the_message_and_its_files() {
    let stage = Stage::new(&[]);
    stage.answer(SEND, &SendMessageResponse::default());
    let kind = [KEY, ("content-type", "multipart/form-data; boundary=b")];
    let body = form(&[
        ("name=\"f\"; filename=\"a.pdf\"\r\ncontent-type: application/pdf", "%PDF"),
        ("name=\"message\"", r#"{"from":"a@x.io","to":"b@x.io","validateOnly":true}"#),
        ("name=\"logo\"; filename=\"l.png\"\r\ncontent-id: <logo>", "png"),
    ]);
    let got = stage.send_with("POST /v1/messages", &body, &kind).await;
    assert_eq!(got.status, 202, "{got:?}");
    let request: SendMessageRequest = stage.last().read();
    let files = request.message.unwrap().attachments;
    assert!(request.validate_only);
    assert_eq!((files[0].filename.as_str(), &files[0].content[..]), ("a.pdf", &b"%PDF"[..]));
    assert_eq!(files[0].content_type, "application/pdf");
    assert_eq!((files[1].filename.as_str(), files[1].content_id.as_str()), ("l.png", "logo"));
    stage.refuse(SEND, Failure::field(Reason::AttachmentNotAllowed, "message.attachments[1]", "x"));
    stage.send_with("POST /v1/messages", &body, &kind).await;
    let got = stage.send_with("POST /v1/messages", &body, &kind).await;
    assert_eq!(got.json()["errors"][0]["field"], "logo", "in the spelling of the caller");
    let document = ("name=\"message\"", "{}");
    for (body, status, field) in [
        (form(&[("name=\"f\"; filename=\"a\"", "x")]), 422, "message"),
        (form(&[document, ("name=\"extra\"", "x")]), 400, "extra"),
        (form(&[document, document]), 400, "message"),
        (form(&[("name=\"message\"", r#"{"sujet":1}"#)]), 400, "sujet"),
        ("--b\r\nbroken".to_owned(), 422, ""),
    ] {
        let got = stage.send_with("POST /v1/messages", &body, &kind).await;
        let json = got.json();
        assert_eq!(
            (got.status, json["errors"][0]["field"].as_str().unwrap_or("")),
            (status, field)
        );
    }
    let got = stage.send_with("POST /v1/templates", &body, &kind).await;
    assert_eq!(got.status, 415, "only mail has files");
}

#[tokio::test]
async fn compressed_bodies_are_unpacked_and_bombs_are_not() {
    let stage = Stage::new(&[("POSTERN_REST_BODY_MAX", "100000")]);
    stage.answer(SEND, &SendMessageResponse::default());
    for encoding in ["gzip", "zstd"] {
        let headers = [KEY, ("content-encoding", encoding)];
        let body = compress(encoding, br#"{"from":"a@x.io","to":"b@x.io","text":"hi"}"#);
        let got = stage.send_body("POST /v1/messages", Body::from(body), &headers).await;
        assert_eq!(got.status, 202, "{encoding} {got:?}");
        assert_eq!(stage.last().read::<SendMessageRequest>().message.unwrap().text, "hi");
        let calls = stage.calls().len();
        let bomb = compress(encoding, &vec![b' '; 50 << 20]);
        assert!(bomb.len() < 100_000);
        for path in ["POST /v1/messages", "POST /api/v1/send"] {
            let got = stage.send_body(path, Body::from(bomb.clone()), &headers).await;
            assert_eq!(got.status, 413, "{encoding} {got:?}");
        }
        let got = stage.send_with("POST /v1/messages", "not packed", &headers).await;
        assert_eq!((got.status, got.json()["code"].as_str()), (422, Some("malformed_message")));
        assert_eq!(stage.calls().len(), calls);
    }
    let headers = [KEY, ("content-encoding", "br")];
    let got = stage.send_with("POST /v1/messages", "{}", &headers).await;
    assert_eq!((got.status, got.json()["code"].as_str()), (415, Some("unsupported_media_type")));
    assert!(got.header("accept-encoding").contains("zstd"), "{got:?}");
}

fn results(emails: &[&str]) -> BatchSendMessagesResponse {
    let result = |(n, email): (usize, &&str)| BatchResult {
        index: i32::try_from(n).expect("few"),
        message_id: format!("msg_{email}"),
        email: (*email).to_owned(),
        ..BatchResult::default()
    };
    let results = emails.iter().enumerate().map(result).collect();
    BatchSendMessagesResponse { batch_id: "bat_1".to_owned(), results, ..Default::default() }
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[tokio::test]
async fn every_line_gets_a_line_in_order() {
    let stage = Stage::new(&[]);
    stage.answer(BATCH, &results(&["a", "b"]));
    stage.answer(BATCH, &results(&["d"]));
    let body = "{\"message\":{\"from\":\"s@x.io\",\"subject\":\"1\"},\"to\":\"a@x.io\"}\n\
        {\"to\":\"b@x.io\",\"variables\":{},\"request_id\":\"own\"}\r\n\n\
        {\"to\":\"c@x.io\"\n\
        {\"message\":{\"from\":\"s@x.io\",\"subject\":\"2\"},\"to\":\"d@x.io\"}\n\
        {\"message\":{\"sujet\":1},\"to\":\"e@x.io\"}\n{\"to\":\"f@x.io\"}";
    let body = body.replace("\"variables\":{},", "");
    let headers = [KEY, LINES, ("idempotency-key", "k")];
    let got = stage.send_with("POST /v1/messages/batch?validate_only=true", &body, &headers).await;
    assert_eq!((got.status, got.header("content-type")), (202, LINES.1), "{got:?}");
    assert_eq!(got.header("idempotency-key"), "k");
    let answers = lines(&got.text);
    let ids: Vec<_> =
        answers.iter().map(|line| line["message_id"].as_str().unwrap_or("")).collect();
    assert_eq!(ids, ["msg_a", "msg_b", "", "msg_d", "", ""]);
    for (n, line) in answers.iter().enumerate() {
        assert_eq!(line["index"], n, "{line}");
    }
    assert_eq!(answers[0]["batch_id"], "bat_1");
    let codes: Vec<_> = [2, 4, 5].map(|n| answers[n]["error"]["code"].as_str().unwrap()).to_vec();
    assert_eq!(codes, ["malformed_json", "unknown_field", "missing_field"]);
    assert_eq!(answers[4]["error"]["errors"][0]["field"], "message.sujet");
    let calls = stage.calls();
    let mut calls: Vec<BatchSendMessagesRequest> = calls.iter().map(support::Call::read).collect();
    calls.sort_by_key(|call| call.message.as_ref().unwrap().subject.clone());
    assert_eq!(calls.len(), 2);
    let keys: Vec<_> = calls[0].items.iter().map(|item| item.request_id.as_str()).collect();
    assert_eq!(keys, ["k#0", "own"]);
    assert!(calls[0].validate_only && calls[0].request_id.is_empty());
}

#[tokio::test]
async fn lines_are_sent_in_calls_of_a_thousand_and_answered_as_they_come() {
    let stage = Stage::new(&[]);
    stage.answer(BATCH, &results(&["a"; 1000]));
    let mut body =
        "{\"message\":{\"from\":\"s@x.io\",\"subject\":\"1\"},\"to\":\"a@x.io\"}\n".to_owned();
    body += &"{\"to\":\"a@x.io\"}\n".repeat(2499);
    let got = stage.send_with("POST /v1/messages/batch", &body, &[KEY, LINES]).await;
    assert_eq!(lines(&got.text).len(), 2500);
    let sizes: Vec<_> =
        stage.calls().iter().map(|c| c.read::<BatchSendMessagesRequest>()).collect();
    assert!(sizes.iter().all(|call| call.items.len() <= 1000 && call.message.is_some()));
    assert_eq!(sizes.iter().map(|call| call.items.len()).sum::<usize>(), 2500);
    // The second line is written only after the first was answered.
    let (write, read) = tokio::sync::mpsc::channel::<Result<&str, Infallible>>(1);
    let body = Body::from_stream(ReceiverStream::new(read));
    let first = "{\"message\":{\"from\":\"s@x.io\",\"subject\":\"1\"},\"to\":\"a@x.io\"}\n";
    write.send(Ok(first)).await.unwrap();
    let answer = stage.begin("POST /v1/messages/batch", body, &[KEY, LINES]).await;
    let mut answer = answer.into_body().into_data_stream();
    assert!(answer.next().await.unwrap().unwrap().starts_with(b"{\"index\":0"));
    write.send(Ok("{\"to\":\"b@x.io\"}\n")).await.unwrap();
    assert!(answer.next().await.unwrap().unwrap().starts_with(b"{\"index\":1"));
    drop(write);
    assert!(answer.next().await.is_none());
}

#[tokio::test]
async fn what_ends_a_batch_early_is_told_in_its_last_line() {
    let stage = Stage::new(&[("POSTERN_REST_BODY_MAX", "300")]);
    stage.answer(BATCH, &results(&["a"; 100]));
    let first = "{\"message\":{\"from\":\"s@x.io\",\"subject\":\"1\"},\"to\":\"a@x.io\"}\n";
    let body = first.to_owned() + &"{\"to\":\"a@x.io\"}\n".repeat(100);
    let got = stage.send_with("POST /v1/messages/batch", &body, &[KEY, LINES]).await;
    let answers = lines(&got.text);
    let (last, rest) = answers.split_last().unwrap();
    assert_eq!(
        (last["error"]["code"].as_str(), last.get("index")),
        (Some("message_too_large"), None)
    );
    assert!(rest.iter().all(|line| line["index"].is_i64()));
    // A batch that never ends is ended.
    let stage = Stage::new(&[("POSTERN_REST_BULK_TIMEOUT", "50ms")]);
    let (_write, read) = tokio::sync::mpsc::channel::<Result<&str, Infallible>>(1);
    let body = Body::from_stream(ReceiverStream::new(read));
    let got = stage.send_body("POST /v1/messages/batch", body, &[KEY, LINES]).await;
    assert_eq!(lines(&got.text)[0]["error"]["code"], "deadline_exceeded");
    // The core's refusal of a call is the refusal of each of its lines.
    let stage = Stage::new(&[]);
    stage.refuse(BATCH, Failure::new(Reason::ScopeMissing, "no"));
    let got = stage.send_with("POST /v1/messages/batch", first, &[KEY, LINES]).await;
    assert_eq!(lines(&got.text)[0]["error"]["code"], "scope_missing");
}

#[tokio::test]
async fn versions_are_shown_compared_and_kept() {
    let stage = Stage::new(&[]);
    let template = Template { etag: "v1".to_owned(), ..Template::default() };
    let found = GetTemplateResponse { template: Some(template.clone()) };
    stage.answer("TemplateService/GetTemplate", &found);
    let got = stage.send("GET /v1/templates/w", "").await;
    assert_eq!((got.status, got.header("etag")), (200, "\"v1\""));
    for (known, status) in [("\"v1\"", 304), ("W/\"v1\"", 304), ("*", 304), ("\"v0\"", 200)] {
        let headers = [KEY, ("if-none-match", known)];
        let got = stage.send_with("GET /v1/templates/w", "", &headers).await;
        assert_eq!((got.status, got.text.is_empty()), (status, status == 304), "{known}");
    }
    let updated = UpdateTemplateResponse { template: Some(template) };
    stage.answer("TemplateService/UpdateTemplate", &updated);
    stage.answer("DomainService/DeleteDomain", &DeleteDomainResponse {});
    let put = |etag: &'static str| [KEY, ("if-match", etag)];
    let got = stage.send_with("PUT /v1/templates/w", r#"{"html":"x"}"#, &put("\"v1\"")).await;
    assert_eq!((got.status, got.header("etag")), (200, "\"v1\""));
    let template = stage.last().read::<UpdateTemplateRequest>().template.unwrap();
    assert_eq!((template.etag.as_str(), template.id.as_str()), ("v1", "w"));
    assert_eq!(stage.send_with("DELETE /v1/domains/d", "", &put("\"d1\"")).await.status, 204);
    assert_eq!(stage.last().read::<DeleteDomainRequest>().etag, "d1");
    assert_eq!(stage.send_with("DELETE /v1/domains/d", "", &put("*")).await.status, 204);
    let calls = stage.calls().len();
    for (request, body, etag, status) in [
        ("PUT /v1/templates/w", "{}", "W/\"v1\"", 412),
        ("PUT /v1/templates/w", "{}", "\"a\", \"b\"", 422),
        ("PUT /v1/templates/w", r#"{"etag":"v2"}"#, "\"v1\"", 422),
        ("POST /v1/templates", "{}", "\"v1\"", 422),
        ("DELETE /v1/suppressions/s", "", "\"v1\"", 422),
    ] {
        let got = stage.send_with(request, body, &put(etag)).await;
        assert_eq!(got.status, status, "{request} {etag} {got:?}");
    }
    assert_eq!(stage.calls().len(), calls, "none of these reached the core");
    stage.refuse("DomainService/DeleteDomain", Failure::new(Reason::EtagMismatch, "changed"));
    stage.send_with("DELETE /v1/domains/d", "", &put("\"d0\"")).await;
    let got = stage.send_with("DELETE /v1/domains/d", "", &put("\"d0\"")).await;
    assert_eq!((got.status, got.json()["code"].as_str()), (412, Some("etag_mismatch")));
}
