//! Nothing that a caller says is ignored in silence: what has no meaning is refused by its name.

use postern_proto::strict::Strict;
use postern_proto::v1::template_service_client::TemplateServiceClient;
use postern_proto::v1::{
    CreateTemplateRequest, ListMessagesRequest, ListTemplatesRequest, SendMessageRequest,
    SendMessageResponse, SendRawMessageRequest, Template,
};
use postern_tests::answer::Answer;
use postern_tests::postgres::Schema;
use postern_tests::stack::{Stack, mail_to, outgoing};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::client::Grpc;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The routes that keep answers under an idempotency key.
const KEYED: [&str; 3] = ["/v1/messages", "/v1/messages/batch", "/v1/messages/some/resend"];

async fn call(stack: &Stack, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let url = format!("{}{path}", stack.rest);
    let has_body = method != Method::GET && method != Method::DELETE;
    let mut request = reqwest::Client::new().request(method, url).bearer_auth(&stack.key);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if has_body {
        request = request.json(&json!({}));
    }
    Answer::read(request.send().await.unwrap()).await.unwrap()
}

/// Every documented route of the native API, with some id.
async fn routes(stack: &Stack) -> Vec<(Method, String)> {
    let document = stack.get("/openapi.json").await.unwrap().body;
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys().filter(|name| *name != "parameters");
        // What Postal calls is Postal's to define.
        let is_native = path.starts_with("/v1/") && !path.starts_with("/v1/postal/");
        for method in methods.filter(|_| is_native) {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            routes.push((method, path.replace("{id}", "some")));
        }
    }
    assert!(routes.len() > 30, "{routes:?}");
    routes
}

fn refusal(answer: &Answer) -> (u16, &str, &str) {
    let field = answer.body["errors"][0]["field"].as_str().unwrap_or_default();
    (answer.status, answer.text("code"), field)
}

#[tokio::test]
async fn every_route_refuses_a_parameter_and_a_key_it_would_ignore() {
    let stack = Stack::start(&[]).await.unwrap();
    let mut wrong = Vec::new();
    for (method, path) in routes(&stack).await {
        let asked = call(&stack, method.clone(), &format!("{path}?nonsense=1"), &[]).await;
        if refusal(&asked) != (400, "unknown_field", "nonsense") {
            wrong.push(format!("{method} {path}: {asked:?}"));
        }
        if method == Method::POST && KEYED.contains(&path.as_str()) {
            continue;
        }
        let asked = call(&stack, method.clone(), &path, &[("idempotency-key", "k")]).await;
        if refusal(&asked) != (400, "unknown_field", "Idempotency-Key") {
            wrong.push(format!("{method} {path} with a key: {asked:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn mail_in_every_form_refuses_a_parameter_it_would_ignore() {
    let stack = Stack::start(&[]).await.unwrap();
    let line = json!({"message": mail_to(""), "to": "ann@good.test"}).to_string();
    for (path, kind, body) in [
        ("/v1/messages", "message/rfc822", "From: hi@shop.test\r\nTo: ann@good.test\r\n\r\nx"),
        ("/v1/messages/batch", "application/x-ndjson", line.as_str()),
    ] {
        let post = stack.raw_post(&format!("{path}?nonsense=1")).bearer_auth(&stack.key);
        let post = post.header("content-type", kind).body(body.to_owned());
        let answer = Answer::read(post.send().await.unwrap()).await.unwrap();
        assert_eq!(refusal(&answer), (400, "unknown_field", "nonsense"), "{kind}");
    }
}

fn reason(status: &Status) -> (Code, String, String) {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let field = status.get_details_bad_request().map(|bad| bad.field_violations[0].field.clone());
    (status.code(), reason, field.unwrap_or_default())
}

fn refused(reason: &str, field: &str) -> (Code, String, String) {
    (Code::InvalidArgument, reason.to_owned(), field.to_owned())
}

#[tokio::test]
async fn grpc_refuses_a_key_that_the_method_does_not_keep() {
    let stack = Stack::start(&[]).await.unwrap();
    let mut request = stack.request(ListMessagesRequest::default()).unwrap();
    request.metadata_mut().insert("idempotency-key", "k".parse().unwrap());
    let status = stack.messages().list_messages(request).await.unwrap_err();
    assert_eq!(reason(&status), refused("UNKNOWN_FIELD", "idempotency-key"));
}

/// What the method answers to a request of another one.
async fn misdirected(stack: &Stack, request: SendRawMessageRequest) -> Status {
    let mut client = Grpc::new(stack.channel.clone());
    client.ready().await.unwrap();
    let path = "/postern.v1.MessageService/SendMessage".parse().unwrap();
    let codec = Strict::<SendRawMessageRequest, SendMessageResponse>::default();
    client.unary(stack.request(request).unwrap(), path, codec).await.unwrap_err()
}

#[tokio::test]
async fn grpc_names_a_field_it_does_not_know_and_a_type_it_does_not_expect() {
    let stack = Stack::start(&[]).await.unwrap();
    let unknown = SendRawMessageRequest { external_id: "x".to_owned(), ..Default::default() };
    let status = misdirected(&stack, unknown).await;
    let (code, why, field) = reason(&status);
    assert_eq!((code, why.as_str()), (Code::InvalidArgument, "UNKNOWN_FIELD"));
    assert!(field.parse::<u32>().is_ok(), "{field}");
    // Its first field is text, and the other's first field a message.
    let wrong = SendRawMessageRequest { raw: "no message".into(), ..Default::default() };
    let status = misdirected(&stack, wrong).await;
    assert_eq!(reason(&status).1, "MALFORMED_REQUEST", "{status:?}");
    assert!(status.message().contains("SendMessageRequest.message"), "{status:?}");
}

#[tokio::test]
async fn grpc_says_why_also_where_its_library_refuses() {
    let stack = Stack::start(&[("POSTERN_MESSAGE_BYTES", "65536")]).await.unwrap();
    let mut large = outgoing("ann@good.test");
    large.text = "x".repeat(3 << 20);
    let large = SendMessageRequest { message: Some(large), ..Default::default() };
    let mut request = stack.request(large).unwrap();
    request.metadata_mut().insert("x-request-id", "mine-1".parse().unwrap());
    let status = stack.messages().send_message(request).await.unwrap_err();
    assert_eq!(reason(&status), refused("MESSAGE_TOO_LARGE", ""));
    assert_eq!(status.get_details_request_info().unwrap().request_id, "mine-1");
    let unnamed = stack.request(ListMessagesRequest::default()).unwrap();
    let answer = stack.messages().list_messages(unnamed).await.unwrap();
    let id = answer.metadata().get("request-id").unwrap().to_str().unwrap();
    assert!(id.starts_with("req_"), "{id}");
}

/// Requests with a NUL where only the store would notice it.
async fn refuses_nul(stack: &Stack) {
    let mut templates = TemplateServiceClient::new(stack.channel.clone());
    let template = Template {
        alias: "t".to_owned(),
        display_name: "a\0b".to_owned(),
        html: "x".to_owned(),
        ..Template::default()
    };
    let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
    let created = templates.create_template(stack.request(request).unwrap()).await;
    let expected = refused("FORBIDDEN_CHARACTER", "template.display_name");
    assert_eq!(reason(&created.unwrap_err()), expected);
    let list = stack.request(ListTemplatesRequest::default()).unwrap();
    assert!(templates.list_templates(list).await.unwrap().into_inner().templates.is_empty());
    let request = ListMessagesRequest { tag: "a\0b".to_owned(), ..Default::default() };
    let listed = stack.messages().list_messages(stack.request(request).unwrap()).await;
    assert_eq!(reason(&listed.unwrap_err()), refused("FORBIDDEN_CHARACTER", "tag"));
    let mut mail = mail_to("ann@good.test");
    for (field, value) in [("metadata", json!({"k": "a\0b"})), ("tags", json!(["a", "b\0"]))] {
        mail[field] = value;
        let answer = stack.post("/v1/messages", &mail).await.unwrap();
        assert_eq!(answer.text("code"), "forbidden_character", "{answer:?}");
        assert!(refusal(&answer).2.starts_with(field), "{answer:?}");
        mail[field] = Value::Null;
    }
    let answer = stack.get("/v1/suppressions?email=a%00b").await.unwrap();
    assert_eq!(refusal(&answer), (422, "forbidden_character", "email"));
}

#[tokio::test]
async fn nul_is_refused_by_name_in_fields_that_only_the_store_would_mind() {
    refuses_nul(&Stack::start(&[]).await.unwrap()).await;
    let schema = Schema::make("nul").await.unwrap();
    let url = schema.url(&schema.host);
    let vars = [("DATABASE_URL", url.as_str()), ("POSTERN_DATABASE_SCHEMA", &schema.name)];
    refuses_nul(&Stack::start(&vars).await.unwrap()).await;
}
