//! What must not get into a mail by a detour: through variables, batches, composed mail and names
//! in other scripts; over both doors, and with nothing left behind.

use postern_proto::v1::{
    BatchItem, BatchSendMessagesRequest, Recipient, SendMessageRequest, SendRawMessageRequest,
};
use postern_tests::answer::Answer;
use postern_tests::stack::{Stack, mail_to, outgoing};
use prost_types::{Struct, Value as Variable, value::Kind};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{RpcStatusExt as _, StatusExt as _};

async fn keeps_nothing(stack: &Stack) {
    for (path, list) in
        [("/v1/messages", "messages"), ("/v1/events", "events"), ("/v1/sink/messages", "messages")]
    {
        assert_eq!(stack.get(path).await.unwrap().body[list], json!([]), "{path}");
    }
}

fn reason(status: &Status) -> String {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn variables(name: &str, value: &str) -> Option<Struct> {
    let kind = Some(Kind::StringValue(value.to_owned()));
    Some(Struct { fields: [(name.to_owned(), Variable { kind })].into() })
}

#[tokio::test]
async fn no_variable_breaks_out_of_the_subject() {
    let stack = Stack::start(&[]).await.unwrap();
    let template = json!({"alias": "order", "subject": "Order {{ n }}", "text": "{{ n }}"});
    assert_eq!(stack.post("/v1/templates", &template).await.unwrap().status, 201);
    for evil in ["1\r\nBcc: x@evil.test", "1\nX: y", "1\rX: y"] {
        let mut mail = mail_to("ann@good.test");
        (mail["subject"], mail["liquid"]) = (json!("Order {{ n }}"), json!(true));
        mail["variables"] = json!({"n": evil});
        let own = json!({"from": "hi@shop.test", "template": {"id": "order"},
            "to": [{"email": "ann@good.test", "variables": {"n": evil}}]});
        for mail in [mail, own] {
            let answer = stack.post("/v1/messages", &mail).await.unwrap();
            let told = (answer.status, answer.text("code"));
            assert_eq!(told, (422, "forbidden_character"), "{answer:?}");
        }
        let mut message = outgoing("ann@good.test");
        (message.subject, message.liquid) = ("Order {{ n }}".to_owned(), true);
        message.variables = variables("n", evil);
        let request = SendMessageRequest { message: Some(message), ..Default::default() };
        let sent = stack.messages().send_message(stack.request(request).unwrap()).await;
        assert_eq!(reason(&sent.unwrap_err()), "FORBIDDEN_CHARACTER");
    }
    keeps_nothing(&stack).await;
}

#[tokio::test]
async fn an_item_of_a_batch_is_checked_like_a_message() {
    let stack = Stack::start(&[]).await.unwrap();
    let mut message = outgoing("");
    message.to.clear();
    (message.subject, message.liquid) = ("Hi {{ n }}".to_owned(), true);
    let item = |email: &str, name: &str, n: &str| BatchItem {
        to: Some(Recipient {
            email: email.to_owned(),
            display_name: name.to_owned(),
            variables: variables("n", n),
            ..Recipient::default()
        }),
        ..BatchItem::default()
    };
    let cases = [
        (item("a@good.test", "A\r\nBcc: x@evil.test", "1"), "FORBIDDEN_CHARACTER"),
        (item("a@good.test", "A", "1\r\nBcc: x@evil.test"), "FORBIDDEN_CHARACTER"),
        (item("a@good.test\r\nBcc: x", "A", "1"), "INVALID_ADDRESS"),
        (item("nobody", "A", "1"), "INVALID_ADDRESS"),
        (BatchItem::default(), "MISSING_FIELD"),
    ];
    let (items, reasons): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let request = BatchSendMessagesRequest { message: Some(message), items, ..Default::default() };
    let request = stack.request(request).unwrap();
    let answer = stack.messages().batch_send_messages(request).await.unwrap().into_inner();
    for (result, expected) in answer.results.iter().zip(reasons) {
        let error = result.error.as_ref().unwrap_or_else(|| panic!("accepted: {result:?}"));
        assert!(result.message_id.is_empty());
        let info = error.get_details_error_info().map(|info| info.reason);
        assert_eq!(info.as_deref(), Some(expected), "{error:?}");
    }
    assert_eq!(answer.results.len(), 5);
    keeps_nothing(&stack).await;
}

const HEAD: &str = "From: hi@shop.test\r\nTo: ann@good.test\r\nSubject: bomb\r\n";

/// Composed mail that costs its readers more than it should.
fn bombs() -> Vec<(&'static str, String)> {
    let level = |n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
    let nested: String = (0..200).map(level).collect();
    let mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    vec![
        ("nested", format!("{HEAD}{nested}")),
        ("cyclic", format!("{HEAD}{}", "Content-Type: message/rfc822\r\n\r\n".repeat(200))),
        ("parts", format!("{HEAD}{mixed}{}", "--b\r\n\r\n\r\n".repeat(5000))),
        ("header", format!("{HEAD}{}\r\nx", "X-A: b\r\n".repeat(5000))),
        ("two authors", format!("From: boss@bank.test\r\n{HEAD}\r\nx")),
        ("nul", format!("{HEAD}\r\na\0b")),
        ("no author", "To: ann@good.test\r\nSubject: s\r\n\r\nx".to_owned()),
    ]
}

#[tokio::test]
async fn composed_mail_that_is_a_bomb_or_lies_is_refused_at_both_doors() {
    let stack = Stack::start(&[]).await.unwrap();
    for (what, mail) in bombs() {
        let post = stack.raw_post("/v1/messages").bearer_auth(&stack.key);
        let post = post.header("content-type", "message/rfc822").body(mail.clone());
        let answer = Answer::read(post.send().await.unwrap()).await.unwrap();
        assert_eq!(answer.status, 422, "{what}: {answer:?}");
        let request = SendRawMessageRequest {
            raw: mail.into(),
            recipients: vec!["ann@good.test".to_owned()],
            ..Default::default()
        };
        let request = stack.request(request).unwrap();
        let status = stack.messages().send_raw_message(request).await.unwrap_err();
        let expected = answer.text("code").to_uppercase();
        assert_eq!(reason(&status), expected, "{what}: both doors say the same");
    }
    keeps_nothing(&stack).await;
}

#[tokio::test]
async fn names_in_other_scripts_are_one_address_at_both_doors() {
    let stack = Stack::start(&[]).await.unwrap();
    let ascii = "ann@xn--bcher-kva.example";
    let id = stack.send_to("Ann@BÜCHER.example").await.unwrap();
    let message = stack.wait_state(&id, "delivered").await.unwrap();
    assert_eq!(message["recipients"][0]["email"], "Ann@xn--bcher-kva.example");
    let id = stack.grpc_send_to("ann@bücher.example").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    assert!(stack.caught(ascii).await.unwrap().contains("xn--bcher-kva.example"));
    let found = stack.get("/v1/messages?to=ann@bücher.example").await.unwrap();
    assert!(!found.body["messages"].as_array().unwrap().is_empty(), "{found:?}");
    for bad in ["ann@xn--\u{ad}.example", "ann@-bücher.example", "ann@a\u{3002}\u{3002}b"] {
        let answer = stack.post("/v1/messages", &mail_to(bad)).await.unwrap();
        assert_eq!((answer.status, answer.text("code")), (422, "invalid_address"), "{bad}");
        let error = stack.grpc_send_to(bad).await.unwrap_err();
        let status = error.downcast::<Status>().unwrap();
        assert_eq!(reason(&status), "INVALID_ADDRESS", "{bad}");
    }
    let names: Vec<Value> = vec![json!("ann@go\u{2028}od.test"), json!("ann\u{85}@good.test")];
    for name in names {
        let mut mail = mail_to("x");
        mail["to"] = name;
        let answer = stack.post("/v1/messages", &mail).await.unwrap();
        assert_eq!(answer.text("code"), "invalid_address", "{answer:?}");
    }
}
