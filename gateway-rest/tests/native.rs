//! The native API against a stand-in for the core.

mod support;

use postern_proto::reason::Reason;
use postern_proto::status::{Failure, Violation};
use postern_proto::v1::*;
use support::Stage;

const SEND: &str = "MessageService/SendMessage";

fn key() -> (&'static str, &'static str) {
    ("authorization", "Bearer k")
}

fn accepted(replayed: bool) -> SendMessageResponse {
    let id = "msg_01h2xcejqtf2nbrexx3vqjhp41".to_owned();
    let message = Message { id, state: MessageState::Accepted.into(), ..Message::default() };
    SendMessageResponse { message: Some(message), replayed }
}

#[tokio::test]
async fn a_message_is_translated_and_accepted() {
    let stage = Stage::new(&[]);
    stage.answer(SEND, &accepted(true)).tell("idempotency-replayed", "true");
    stage.tell("idempotency-expire-time", "2026-12-01T09:00:00.000Z");
    let body = r#"{"from":"Shop <hi@shop.example>","to":"ann@x.io","subject":"s",
        "template":{"id":"welcome","variables":{"n":1}}}"#;
    let headers = [
        ("authorization", "Basic eDprZXk="),
        ("idempotency-key", "\"k-1\""),
        ("x-request-id", "mine"),
    ];
    let got = stage.send_with("POST /v1/messages", body, &headers).await;
    assert_eq!(got.status, 202, "{got:?}");
    assert_eq!(got.json()["state"], "accepted");
    assert!(got.json().get("replayed").is_none());
    assert_eq!(got.header("idempotency-replayed"), "true");
    assert_eq!(got.header("idempotency-expire-time"), "2026-12-01T09:00:00.000Z");
    assert_eq!(got.header("idempotency-key"), "k-1");
    assert_eq!(got.header("x-request-id"), "mine");
    assert!(got.header("request-id").starts_with("req_"));
    assert!(got.header("ratelimit").contains("r="));
    let call = stage.last();
    assert_eq!(call.headers["authorization"], "Bearer key");
    assert_eq!(call.headers["x-postern-door"], "rest");
    let request: SendMessageRequest = call.read();
    assert_eq!(request.request_id, "k-1");
    let message = request.message.unwrap();
    assert_eq!(message.from.unwrap().email, "hi@shop.example");
    assert_eq!(message.variables.unwrap().fields.len(), 1);
}

#[tokio::test]
async fn mistakes_are_problems_and_never_reach_the_core() {
    let stage = Stage::new(&[]);
    for (body, status, code, field) in [
        (r#"{"sujet":1}"#, 400, "unknown_field", "sujet"),
        (r#"{"to":[7]}"#, 400, "wrong_type", "to[0]"),
        (r#"{"to":"#, 400, "malformed_json", ""),
        (r#"{"text":"a","text":"b"}"#, 400, "malformed_json", "text"),
        (r#"[]"#, 400, "wrong_type", ""),
    ] {
        let got = stage.send("POST /v1/messages", body).await;
        assert_eq!((got.status, got.json()["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(got.header("content-type"), "application/problem+json");
        assert_eq!(got.json()["errors"][0]["field"].as_str().unwrap_or(""), field, "{body}");
        assert_eq!(got.json()["request_id"], got.header("request-id"));
    }
    assert!(stage.calls().is_empty());
}

#[tokio::test]
async fn what_the_router_refuses_has_the_same_shape() {
    let stage = Stage::new(&[("POSTERN_REST_BODY_MAX", "64")]);
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(100));
    for (request, body, kind, status, code) in [
        ("GET /nothing", "", "text/plain", 404, "route_not_found"),
        ("DELETE /v1/messages", "", "text/plain", 405, "method_not_allowed"),
        ("POST /v1/messages", "{}", "text/plain", 415, "unsupported_media_type"),
        ("POST /v1/messages", large.as_str(), "application/json", 413, "message_too_large"),
        ("GET /v1/messages?colour=red", "", "text/plain", 400, "unknown_field"),
        ("GET /v1/messages?state=gone", "", "text/plain", 400, "bad_filter"),
    ] {
        let got = stage.send_with(request, body, &[key(), ("content-type", kind)]).await;
        assert_eq!(got.status, status, "{request} {got:?}");
        assert_eq!(got.json()["code"], code);
        assert_eq!(got.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn a_refusal_of_the_core_is_told_in_the_spelling_of_the_caller() {
    let stage = Stage::new(&[]);
    let violation = |field: &str| Violation {
        field: field.to_owned(),
        reason: Reason::InvalidAddress,
        message: "has no @".to_owned(),
    };
    let failure = Failure::violations(vec![
        violation("message.reply_to[0].email"),
        violation("message.to[0].email"),
    ]);
    stage.refuse(SEND, failure);
    let body = r#"{"replyTo":[{"email":"x"}],"to":"y"}"#;
    let got = stage.send("POST /v1/messages", body).await;
    assert_eq!(got.status, 422);
    let fields = got.json()["errors"].clone();
    assert_eq!(fields[0]["field"], "replyTo[0].email");
    assert_eq!(fields[1]["field"], "to");
}

#[tokio::test]
async fn an_unreachable_core_and_a_missing_key_are_told() {
    let stage = Stage::new(&[]);
    let hidden = tonic::Status::unavailable("tcp connect error 10.0.0.7");
    stage.refuse("StatsService/GetQueue", hidden);
    let got = stage.send("GET /v1/queue", "").await;
    assert_eq!((got.status, got.json()["retryable"].as_bool()), (503, Some(true)));
    assert!(!got.text.contains("10.0.0.7"));
    assert_eq!(got.header("retry-after"), "1");
    stage.refuse(SEND, Failure::new(Reason::MissingCredentials, "no key"));
    let got = stage.send_with("POST /v1/messages", "{}", &[]).await;
    assert_eq!(got.status, 401);
    assert!(got.header("www-authenticate").starts_with("Bearer realm=\"postern\""));
}

#[tokio::test]
async fn lists_creations_and_deletions_have_their_forms() {
    let stage = Stage::new(&[]);
    stage.answer("MessageService/ListMessages", &ListMessagesResponse::default());
    let got = stage.send("GET /v1/messages?to=a@x.io&limit=5&state=bounced", "").await;
    assert_eq!((got.status, got.text.as_str()), (200, r#"{"messages":[],"next_page_token":""}"#));
    let request: ListMessagesRequest = stage.last().read();
    assert_eq!((request.recipient.as_str(), request.page_size), ("a@x.io", 5));
    assert_eq!(request.state(), RecipientState::Bounced);
    let template = Template { id: "tpl_1".to_owned(), ..Template::default() };
    let stored = CreateTemplateResponse { template: Some(template) };
    stage.answer("TemplateService/CreateTemplate", &stored);
    let got = stage.send("POST /v1/templates", r#"{"alias":"a","html":"x"}"#).await;
    assert_eq!((got.status, got.header("location")), (201, "/v1/templates/tpl_1"));
    stage.answer("TemplateService/DeleteTemplate", &DeleteTemplateResponse {});
    let got = stage.send("DELETE /v1/templates/a?allow_missing=true", "").await;
    assert_eq!((got.status, got.text.as_str()), (204, ""));
    let request: DeleteTemplateRequest = stage.last().read();
    assert!(request.allow_missing && request.id == "a");
    let key = ApiKey { id: "key_1".to_owned(), ..ApiKey::default() };
    let made = CreateApiKeyResponse { api_key: Some(key), secret: "s".to_owned() };
    stage.answer("CredentialService/CreateApiKey", &made);
    let got = stage.send("POST /v1/keys", r#"{"scopes":["*"],"neverExpires":true}"#).await;
    assert_eq!((got.status, got.json()["secret"].as_str()), (201, Some("s")));
    let request: CreateApiKeyRequest = stage.last().read();
    assert!(request.never_expires && request.api_key.unwrap().scopes == ["*"]);
}

#[tokio::test]
async fn raw_mail_takes_its_envelope_from_the_header() {
    let stage = Stage::new(&[]);
    let message = accepted(false).message;
    let answer = SendRawMessageResponse { message, replayed: false };
    stage.answer("MessageService/SendRawMessage", &answer);
    let mail = "From: A <a@x.io>\r\nTo: b@x.io, c@x.io\r\nSubject: s\r\n\r\nhi\r\n";
    let kind = [key(), ("content-type", "message/rfc822")];
    let got = stage.send_with("POST /v1/messages?tags=x,y", mail, &kind).await;
    assert_eq!(got.status, 202, "{got:?}");
    let request: SendRawMessageRequest = stage.last().read();
    assert_eq!(request.envelope_from, "a@x.io");
    assert_eq!((request.recipients.len(), request.tags.len()), (2, 2));
    assert_eq!(request.raw, mail.as_bytes());
}

#[tokio::test]
async fn the_event_feed_resumes_and_beats() {
    use prost::Message as _;
    let stage = Stage::new(&[]);
    let event = Event { r#type: "message.delivered".to_owned(), sequence: 7, ..Event::default() };
    let elements = [
        WatchEventsResponse { event: Some(event), resume_token: "t7".to_owned() },
        WatchEventsResponse { event: None, resume_token: "t8".to_owned() },
    ];
    let elements = elements.iter().map(prost::Message::encode_to_vec).collect();
    stage.answer_all("EventService/WatchEvents", Ok(elements));
    let headers = [key(), ("last-event-id", "t6")];
    let got = stage.send_with("GET /v1/events/watch", "", &headers).await;
    assert_eq!(got.header("content-type"), "text/event-stream");
    assert_eq!(got.header("x-accel-buffering"), "no");
    assert!(got.text.contains("id: t7\nevent: message.delivered\ndata: {"), "{}", got.text);
    assert!(got.text.contains("id: t8\n: heartbeat\n\n"));
    let request = WatchEventsRequest::decode(stage.last().message.as_slice()).unwrap();
    assert_eq!(request.resume_token, "t6");
    assert_eq!(request.heartbeat.unwrap().seconds, 10);
}

#[tokio::test]
async fn a_key_over_its_limit_is_told_when_to_come_back() {
    let stage = Stage::new(&[("POSTERN_REST_LIMIT_KEY_PER_MINUTE", "2")]);
    stage.answer("StatsService/GetQueue", &GetQueueResponse::default());
    let got = stage.send("GET /v1/queue", "").await;
    let conc = "\"conc\";q=256;qu=\"concurrent-requests\"";
    assert_eq!(got.header("ratelimit-policy"), format!("\"api\";q=2;w=60, {conc}"));
    assert_eq!(got.header("ratelimit"), "\"api\";r=1;t=30, \"conc\";r=255");
    assert_eq!(got.header("x-ratelimit-remaining"), "1");
    assert_eq!(stage.send("GET /v1/queue", "").await.status, 200);
    let got = stage.send("GET /v1/queue", "").await;
    assert_eq!((got.status, got.json()["code"].as_str()), (429, Some("rate_limited")));
    assert!(got.header("ratelimit").starts_with("\"api\";r=0;t="), "{got:?}");
    assert!(got.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(stage.send("GET /livez", "").await.status, 200);
}

#[tokio::test]
async fn every_documented_route_is_routed_and_described() {
    let stage = Stage::new(&[]);
    let document = stage.send("GET /openapi.json", "").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            assert_ne!(operation["description"], "", "{method} {path}");
            let path = path.replace("{id}", "x");
            let request = format!("{} {path}", method.to_uppercase());
            let got = stage.send(&request, "{}").await;
            assert!(!matches!(got.status, 404 | 405), "{request}: {got:?}");
        }
    }
    assert!(operations >= 30, "{operations}");
}

/// Every `$ref` below a value.
fn references(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            into.extend(fields.get("$ref").and_then(|r| r.as_str()).map(str::to_owned));
            fields.values().for_each(|value| references(value, into));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    let stage = Stage::new(&[]);
    let document = stage.send("GET /openapi.json", "").await.json();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50, "{found:?}");
    for reference in found {
        let target = document.pointer(reference.strip_prefix('#').expect("within the document"));
        assert!(target.is_some_and(|target| target.is_object()), "{reference}");
    }
    let mut names = std::collections::HashSet::new();
    for operation in document["paths"].as_object().unwrap().values() {
        for operation in operation.as_object().unwrap().values() {
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{operation}");
        }
    }
    let send = &document["paths"]["/v1/messages"]["post"]["requestBody"]["content"];
    assert!(send["multipart/form-data"].is_object() && send["message/rfc822"].is_object());
    assert_eq!(stage.send("GET /postern.v1.binpb", "").await.status, 200);
}

#[tokio::test]
async fn a_filter_and_other_services_words_for_pages_are_understood() {
    let stage = Stage::new(&[]);
    stage.answer("MessageService/ListMessages", &ListMessagesResponse::default());
    let query = "limit=5&after=msg_1&order_by=create_time+desc&\
        filter=state%3Dbounced+AND+tags%3Awelcome";
    let got = stage.send(&format!("GET /v1/messages?{query}"), "").await;
    assert_eq!(got.status, 200, "{got:?}");
    let request: ListMessagesRequest = stage.last().read();
    assert_eq!((request.page_size, request.page_token.as_str()), (5, "msg_1"));
    assert_eq!((request.state(), request.tag.as_str()), (RecipientState::Bounced, "welcome"));
    for (query, code) in [
        ("filter=a+OR+b", "bad_filter"),
        ("filter=to%3Aa%40x.io&to=b%40x.io", "malformed_json"),
        ("include=total_size", "unknown_field"),
        ("order_by=subject", "bad_filter"),
    ] {
        let got = stage.send(&format!("GET /v1/messages?{query}"), "").await;
        assert_eq!((got.status, got.json()["code"].as_str()), (400, Some(code)), "{query}");
    }
}

#[tokio::test]
async fn every_reason_has_a_page() {
    let stage = Stage::new(&[]);
    assert_eq!(stage.send("GET /docs/", "").await.status, 200);
    for reason in Reason::ALL {
        let code = reason.meaning().name.to_ascii_lowercase();
        let got = stage.send(&format!("GET /docs/errors/{code}"), "").await;
        assert_eq!(got.status, 200, "{code}");
    }
    assert_eq!(stage.send("GET /docs/errors/nothing", "").await.status, 404);
}

#[tokio::test]
async fn a_stopped_gateway_finishes_what_is_under_way() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stage = Stage::new(&[]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let served = tokio::spawn(stage.gateway().serve(listener, stop.clone()));
    let mut client = tokio::net::TcpStream::connect(addr).await.unwrap();
    client.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    client.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stop.cancel();
    served.await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"{\"status\":\"ok\"}"));
}
