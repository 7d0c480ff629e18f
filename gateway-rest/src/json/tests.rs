//! Tests of the translation between JSON and the contract.

use super::read::{Place, Reader, Source};
use super::tree::Json;
use super::words::decode_base64;
use super::write;
use postern_proto::reason::Reason;
use postern_proto::v1::OutgoingMessage;
use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage};

fn read(name: &str, json: &str) -> (DynamicMessage, Reader) {
    let pool = DescriptorPool::decode(postern_proto::DESCRIPTORS).unwrap();
    let kind = pool.get_message_by_name(&format!("postern.v1.{name}")).unwrap();
    let Json::Object(entries) = serde_json::from_str(json).unwrap() else { panic!("no object") };
    let mut reader = Reader::new(Source::Body);
    let mut message = DynamicMessage::new(kind);
    reader.object(&mut message, entries, &Place::default());
    (message, reader)
}

fn wrong(json: &str) -> Vec<(String, Reason)> {
    let (_, reader) = read("OutgoingMessage", json);
    reader.violations.into_iter().map(|v| (v.field, v.reason)).collect()
}

#[test]
fn every_form_of_a_mailbox_is_understood() {
    let (message, reader) = read(
        "OutgoingMessage",
        r#"{"from":"Shop <hi@shop.example>","replyTo":{"email":"r@x.io"},"cc":null,
            "to":["a@x.io",{"email":"b@x.io","name":"Bob","variables":{"n":[1,null]}}]}"#,
    );
    assert_eq!(reader.violations, []);
    let message: OutgoingMessage = message.transcode_to().unwrap();
    assert_eq!(message.from.unwrap().display_name, "Shop");
    assert_eq!(message.reply_to[0].email, "r@x.io");
    assert_eq!(message.to[1].display_name, "Bob");
    assert_eq!(message.to[1].variables.as_ref().unwrap().fields.len(), 1);
}

#[test]
fn every_mistake_is_named_in_the_spelling_of_the_caller() {
    let text = |s: &str| s.to_owned();
    assert_eq!(wrong(r#"{"sujet":"x"}"#), [(text("sujet"), Reason::UnknownField)]);
    assert_eq!(
        wrong(r#"{"to":[{"email":7}],"sendTime":"2026-01-01T00:00:00","priority":"urgent"}"#),
        [
            (text("to[0].email"), Reason::WrongType),
            (text("sendTime"), Reason::WrongType),
            (text("priority"), Reason::InvalidValue),
        ]
    );
    assert_eq!(wrong(r#"{"text":"a","text":"b"}"#), [(text("text"), Reason::MalformedJson)]);
    assert_eq!(
        wrong(r#"{"variables":{"a":{"b":1,"b":2}}}"#),
        [(text("variables.a.b"), Reason::MalformedJson)]
    );
    assert_eq!(wrong(r#"{"metadata":{"n":1}}"#), [(text("metadata.n"), Reason::WrongType)]);
    assert_eq!(wrong(r#"{"to":"a@x.io, b@x.io"}"#), [(text("to"), Reason::InvalidAddress)]);
}

#[test]
fn a_field_that_the_core_names_is_translated_back() {
    let (_, reader) = read(
        "OutgoingMessage",
        r#"{"replyTo":["r@x.io"],"to":"a@x.io","headers":{"X-A":"b"},
            "attachments":[{"filename":"a","contentType":"b"}]}"#,
    );
    assert_eq!(reader.caller_spelling("reply_to[0].email"), "replyTo[0]");
    assert_eq!(reader.caller_spelling("to[0].email"), "to");
    assert_eq!(reader.caller_spelling("headers[0].name"), "headers.X-A");
    assert_eq!(reader.caller_spelling("attachments[0].content_type"), "attachments[0].contentType");
    assert_eq!(reader.caller_spelling("subject"), "subject");
}

#[test]
fn what_is_written_has_words_and_times_and_no_unset_values() {
    let (message, _) = read(
        "OutgoingMessage",
        r#"{"priority":"PRIORITY_HIGH","send_time":"2026-12-01T10:00:00+01:00","subject":""}"#,
    );
    let written = serde_json::to_value(Json::Object(write::object(&message))).unwrap();
    assert_eq!(written["priority"], "high");
    assert_eq!(written["send_time"], "2026-12-01T09:00:00.000Z");
    assert_eq!(written["to"], serde_json::json!([]));
    assert_eq!(written["metadata"], serde_json::json!({}));
    assert!(written.get("subject").is_none());
}

proptest! {
    #[test]
    fn base64_of_both_alphabets_is_read(bytes: Vec<u8>) {
        use base64::prelude::*;
        prop_assert_eq!(decode_base64(&BASE64_STANDARD.encode(&bytes)), Some(bytes.clone()));
        prop_assert_eq!(decode_base64(&BASE64_URL_SAFE_NO_PAD.encode(&bytes)), Some(bytes));
    }
}

/// What is taken is the same message when it is written and read again; what is not is named, in no
/// more places than are told.
#[test]
fn fuzz_json() {
    use postern_proto::status::VIOLATIONS_MAX;

    let pool = DescriptorPool::decode(postern_proto::DESCRIPTORS).unwrap();
    let kind = pool.get_message_by_name("postern.v1.OutgoingMessage").unwrap();
    let read = move |entries| {
        let mut message = DynamicMessage::new(kind.clone());
        let mut reader = Reader::new(Source::Body);
        reader.object(&mut message, entries, &Place::default());
        (message, reader)
    };
    postern_fuzz::check!("json", move |input| {
        let Ok(entries) = crate::body::entries(input) else { return };
        let (message, reader) = read(entries);
        assert!(reader.violations.len() <= VIOLATIONS_MAX);
        for violation in &reader.violations {
            let again = reader.caller_spelling(&violation.field);
            assert!(again.len() <= 4 * input.len(), "{again}");
        }
        if !reader.violations.is_empty() {
            return;
        }
        let _fits: OutgoingMessage = message.transcode_to().unwrap();
        // Variables are never written.
        if postern_fuzz::text(input).contains("variables") {
            return;
        }
        let written = serde_json::to_vec(&Json::Object(write::object(&message))).unwrap();
        let (again, reader) = read(crate::body::entries(&written).unwrap());
        assert_eq!(reader.violations, []);
        let again = serde_json::to_vec(&Json::Object(write::object(&again))).unwrap();
        assert_eq!(postern_fuzz::text(&again), postern_fuzz::text(&written));
    });
}
