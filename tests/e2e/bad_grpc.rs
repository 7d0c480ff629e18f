//! What gRPC refuses, how it says so, and that nothing of it is kept.

use std::time::{Duration, SystemTime};

use axum::http::uri::PathAndQuery;
use postern_proto::v1::credential_service_client::CredentialServiceClient;
use postern_proto::v1::{
    ApiKey, Attachment, CreateApiKeyRequest, Header, ListMessagesRequest, OutgoingMessage,
    Recipient, SendMessageRequest, SendRawMessageRequest, SendRawMessageResponse,
};
use postern_tests::stack::{Stack, outgoing, request_with};
use postern_tests::wait;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

type Case = (&'static str, fn(&mut OutgoingMessage), &'static str);

fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: value.to_owned() }
}

const CASES: &[Case] = &[
    ("CRLF in the subject", |m| m.subject = "a\r\nBcc: x@evil.test".into(), "FORBIDDEN_CHARACTER"),
    ("NUL in the subject", |m| m.subject = "a\0b".into(), "FORBIDDEN_CHARACTER"),
    ("LF in a name", |m| m.to[0].display_name = "A\nB".into(), "FORBIDDEN_CHARACTER"),
    ("CR in a name", |m| m.to[0].display_name = "A\rB".into(), "FORBIDDEN_CHARACTER"),
    ("CRLF in a header", |m| m.headers = vec![header("X-A", "b\r\nc")], "FORBIDDEN_CHARACTER"),
    ("a header of ours", |m| m.headers = vec![header("To", "x@evil.test")], "HEADER_NOT_ALLOWED"),
    ("CRLF in an address", |m| m.to[0].email = "a@b.test\r\nx".into(), "INVALID_ADDRESS"),
    ("NUL in an address", |m| m.to[0].email = "a\0@b.test".into(), "FORBIDDEN_CHARACTER"),
    ("no address", |m| m.to[0].email.clear(), "MISSING_FIELD"),
    ("no sender", |m| m.from = None, "MISSING_FIELD"),
    ("no body", |m| m.text.clear(), "MISSING_FIELD"),
    ("a long subject", |m| m.subject = "s".repeat(999), "VALUE_OUT_OF_RANGE"),
    ("1001 recipients", |m| m.to = vec![m.to[0].clone(); 1001], "TOO_MANY_RECIPIENTS"),
    ("a large message", |m| m.text = "x".repeat(70_000), "MESSAGE_TOO_LARGE"),
    ("a path as file name", |m| m.attachments = vec![evil_file()], "FORBIDDEN_CHARACTER"),
    ("an empty recipient", |m| m.to.push(Recipient::default()), "MISSING_FIELD"),
];

fn evil_file() -> Attachment {
    Attachment {
        filename: "../../etc/passwd".to_owned(),
        content: vec![1].into(),
        ..Attachment::default()
    }
}

async fn send(stack: &Stack, message: OutgoingMessage) -> Status {
    let request = SendMessageRequest { message: Some(message), ..SendMessageRequest::default() };
    let request = stack.request(request).unwrap();
    let sent = stack.messages().send_message(request).await;
    sent.expect_err("it was accepted")
}

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

async fn list(stack: &Stack, key: &str, page_token: &str) -> Result<usize, Status> {
    let request =
        ListMessagesRequest { page_token: page_token.to_owned(), ..ListMessagesRequest::default() };
    let request = request_with(request, key).unwrap();
    let page = stack.messages().list_messages(request).await?;
    Ok(page.into_inner().messages.len())
}

#[tokio::test]
async fn bad_messages_are_refused_with_a_reason_and_leave_nothing_behind() {
    let stack = Stack::start(&[("POSTERN_MESSAGE_BYTES", "65536")]).await;
    let stack = stack.unwrap();
    let mut wrong = Vec::new();
    for (what, change, expected) in CASES {
        let mut message = outgoing("ann@good.test");
        change(&mut message);
        let status = send(&stack, message).await;
        if status.code() != Code::InvalidArgument || reason(&status) != *expected {
            wrong.push(format!("{what}: wanted {expected}, got {status:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(list(&stack, &stack.key, "").await.unwrap(), 0);
}

#[tokio::test]
async fn a_wrong_page_token_is_refused() {
    let stack = Stack::start(&[]).await.unwrap();
    let status = list(&stack, &stack.key, "nonsense").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(reason(&status), "BAD_PAGE_TOKEN");
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_refused() {
    let stack = Stack::start(&[]).await.unwrap();
    let status = list(&stack, "pst_wrong", "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(reason(&status), "INVALID_KEY");
    let request = tonic::Request::new(ListMessagesRequest::default());
    let status = stack.messages().list_messages(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(reason(&status), "MISSING_CREDENTIALS");
}

#[tokio::test]
async fn a_key_stops_working_when_it_expires_through_both_doors() {
    let stack = Stack::start(&[]).await.unwrap();
    let soon = SystemTime::now() + Duration::from_secs(1);
    let key = ApiKey {
        display_name: "short".to_owned(),
        scopes: vec!["messages:read".to_owned()],
        expire_time: Some(soon.into()),
        ..ApiKey::default()
    };
    let request = CreateApiKeyRequest { api_key: Some(key), ..CreateApiKeyRequest::default() };
    let request = stack.request(request).unwrap();
    let mut keys = CredentialServiceClient::new(stack.channel.clone());
    let made = keys.create_api_key(request).await.unwrap().into_inner();
    let expired =
        wait::until("the key expires", async || Ok(list(&stack, &made.secret, "").await.err()));
    let expired = expired.await.unwrap();
    assert_eq!(expired.code(), Code::Unauthenticated);
    assert_eq!(reason(&expired), "KEY_EXPIRED");
    let post = stack.raw_post("/v1/messages").bearer_auth(&made.secret);
    let mail = postern_tests::stack::mail_to("ann@good.test");
    let answer = post.json(&mail).send().await.unwrap();
    let answer = postern_tests::answer::Answer::read(answer).await.unwrap();
    assert_eq!((answer.status, answer.text("code")), (401, "key_expired"));
}

#[tokio::test]
async fn a_key_may_do_no_more_than_its_scopes_say() {
    let stack = Stack::start(&[]).await.unwrap();
    let body = serde_json::json!({"display_name": "reader", "scopes": ["events:read"]});
    let made = stack.post("/v1/keys", &body).await.unwrap();
    assert!((200..300).contains(&made.status), "{made:?}");
    let status = list(&stack, made.text("secret"), "").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(reason(&status), "SCOPE_MISSING");
}

#[tokio::test]
async fn whom_nobody_knows_is_refused_before_what_they_send_is_read() {
    let stack = Stack::start(&[]).await.unwrap();
    let body = serde_json::json!({"display_name": "gone", "scopes": ["messages:send"]});
    let made = stack.post("/v1/keys", &body).await.unwrap();
    let id = made.text("id");
    let revoked = stack.post(&format!("/v1/keys/{id}/revoke"), &serde_json::json!({})).await;
    assert_eq!(revoked.unwrap().status, 200);
    let revoked = format!("Bearer {}", made.text("secret"));
    let unknown = "Bearer pst_live_0000000000000000000000000000000000000000000000";
    let path = PathAndQuery::from_static("/postern.v1.MessageService/SendRawMessage");
    for (key, why) in [
        ("", "MISSING_CREDENTIALS"),
        (unknown, "INVALID_KEY"),
        (&revoked, "KEY_REVOKED"),
        ("Session stolen", "INVALID_KEY"),
    ] {
        // The request begins, and nothing of it ever comes.
        let (_open, nothing) = tokio::sync::mpsc::channel::<SendRawMessageRequest>(1);
        let mut request = tonic::Request::new(ReceiverStream::new(nothing));
        if !key.is_empty() {
            request.metadata_mut().insert("authorization", key.parse().unwrap());
        }
        let mut client = tonic::client::Grpc::new(stack.channel.clone());
        client.ready().await.unwrap();
        let codec = ProstCodec::<SendRawMessageRequest, SendRawMessageResponse>::default();
        let refused = client.client_streaming(request, path.clone(), codec).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, why));
    }
}
