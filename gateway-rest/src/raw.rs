//! Mail as bytes: sending a message that the client composed itself, and showing a caught one.
//!
//! No state; see `v1` for what "accepted" means.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use mail_parser::MessageParser;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use prost_reflect::{DynamicMessage, Value};

use crate::edge::Context;
use crate::fault::{self, Fault};
use crate::json::read::{Place, Reader, Source};
use crate::json::tree::Json;
use crate::routes::Shown;
use crate::{App, idempotency, routes, rpc, v1};

/// POST /v1/messages with `message/rfc822`: the envelope comes from the query, or from the header.
pub(crate) async fn send(
    app: &App,
    parts: &Parts,
    body: Bytes,
    context: &Context,
) -> Result<Response, Fault> {
    let service = app.contract.get_service_by_name("postern.v1.MessageService");
    let method = service.and_then(|s| s.methods().find(|m| m.name() == "SendRawMessage"));
    let method = method.expect("the contract has SendRawMessage");
    let mut reader = Reader::new(Source::Query);
    let mut message = DynamicMessage::new(method.input());
    let mut entries = v1::query(parts)?;
    if entries.iter().any(|(key, _)| key == "raw") {
        let text = "is the body of this request";
        return Err(Failure::field(Reason::UnknownField, "raw", text).into());
    }
    complete_envelope(&mut entries, &body)?;
    reader.object(&mut message, entries, &Place::default());
    if !reader.violations.is_empty() {
        return Err(Failure::violations(reader.violations).into());
    }
    message.set_field_by_name("raw", Value::Bytes(body));
    let key = idempotency::apply(&mut message, &parts.headers)?;
    let answer = rpc::unary(app, &method, &message, context)
        .await
        .map_err(|fault| v1::respell(fault, routes::Body::Whole, &reader))?;
    let entries = v1::flat(answer.get_ref(), "message");
    let mut response = fault::json(StatusCode::ACCEPTED, &Json::Object(entries));
    idempotency::echo(&mut response, key, answer.metadata());
    Ok(response)
}

/// The source of a mail. It is offered for download and never interpreted on our origin.
pub(crate) fn source(answer: &DynamicMessage, shown: Shown) -> Response {
    let inner = match shown {
        Shown::Flat(name) => answer.get_field_by_name(name).map(|value| value.into_owned()),
        Shown::Whole | Shown::Nothing => None,
    };
    let message = inner.as_ref().and_then(Value::as_message).unwrap_or(answer);
    let raw = message.get_field_by_name("raw").and_then(|raw| raw.as_bytes().cloned());
    let mut response = Body::from(raw.unwrap_or_default()).into_response();
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("message/rfc822"));
    headers
        .insert("content-disposition", HeaderValue::from_static("attachment; filename=mail.eml"));
    response
}

fn complete_envelope(entries: &mut Vec<(String, Json)>, raw: &[u8]) -> Result<(), Fault> {
    let given = |names: [&str; 3]| entries.iter().any(|(key, _)| names.contains(&key.as_str()));
    let from = given(["from", "envelope_from", "envelopeFrom"]);
    let to = given(["to", "recipients", "recipients"]);
    if from && to {
        return Ok(());
    }
    let Some(mail) = MessageParser::new().parse_headers(raw) else {
        let text = "the header cannot be read";
        return Err(Failure::new(Reason::MalformedMessage, text).into());
    };
    if !from {
        let sender = mail.from().and_then(|from| from.first()).and_then(|from| from.address());
        let sender = sender.unwrap_or_default();
        entries.push(("envelope_from".to_owned(), Json::text(sender)));
    }
    if !to {
        let lists = [mail.to(), mail.cc(), mail.bcc()];
        let recipients = lists.into_iter().flatten().flat_map(|list| list.iter());
        let recipients = recipients.filter_map(|recipient| recipient.address());
        let recipients: Vec<_> = recipients.map(Json::text).collect();
        if recipients.is_empty() {
            let text = "name recipients in the query or in the To field";
            return Err(Failure::field(Reason::MissingField, "to", text).into());
        }
        entries.push(("recipients".to_owned(), Json::List(recipients)));
    }
    Ok(())
}
