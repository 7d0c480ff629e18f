//! `multipart/form-data`: the part `message` is the JSON document, every file becomes an attachment.
//!
//! No state; a crash has nothing to lose.

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, Value};

use crate::body;
use crate::fault::Fault;
use crate::json::read::{Place, Reader};
use crate::routes::Route;

/// The document and the files that the core takes at most, with some to spare. The body limit alone
/// would allow very many empty parts.
const PARTS_MAX: usize = 200;

/// Reads a form into the request.
pub(crate) async fn read(
    reader: &mut Reader,
    message: &mut DynamicMessage,
    route: &Route,
    headers: &HeaderMap,
    whole: Bytes,
) -> Result<(), Fault> {
    // The limit has been kept while the body was read.
    let mut request = Request::new(Body::from(whole));
    DefaultBodyLimit::disable().apply(&mut request);
    let kind = headers.get(CONTENT_TYPE).cloned();
    request.headers_mut().insert(CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("")));
    let mut form = Multipart::from_request(request, &()).await.map_err(|rejection| {
        let text = format!("the form cannot be read: {}", rejection.body_text());
        Failure::new(Reason::MalformedMessage, text)
    })?;
    let mut document = None;
    let mut files = Vec::new();
    while let Some(part) = form.next_field().await.map_err(malformed)? {
        if files.len() >= PARTS_MAX {
            let text = format!("the form has more than {PARTS_MAX} parts");
            return Err(Failure::field(Reason::ValueOutOfRange, "attachments", text).into());
        }
        let name = part.name().unwrap_or_default().to_owned();
        match (name.as_str(), part.file_name()) {
            ("message", _) => {
                let content = part.bytes().await.map_err(malformed)?;
                if document.replace(content).is_some() {
                    let text = "is given twice";
                    return Err(Failure::field(Reason::MalformedJson, "message", text).into());
                }
            }
            (_, Some(_)) => files.push((name, file(message, part).await?)),
            (_, None) => {
                let place = Place::default().named(&name);
                let text = "is neither the part `message` nor a file; give files a filename";
                reader.violation(Reason::UnknownField, &place, text);
            }
        }
    }
    let Some(document) = document else {
        let text = "is missing; put the JSON document into the part `message`";
        return Err(Failure::field(Reason::MissingField, "message", text).into());
    };
    body::json(reader, message, route, &document)?;
    attach(reader, message, files);
    Ok(())
}

async fn file(message: &DynamicMessage, part: Field<'_>) -> Result<DynamicMessage, Fault> {
    let kind = message.descriptor().get_field_by_name("message").map(|field| field.kind());
    let outgoing = kind.as_ref().and_then(Kind::as_message);
    let kind = outgoing.and_then(|m| m.get_field_by_name("attachments")).map(|field| field.kind());
    let attachment = kind.as_ref().and_then(Kind::as_message);
    let attachment = attachment.expect("the contract's messages have attachments");
    let mut file = DynamicMessage::new(attachment.clone());
    let mut set = |name: &str, text: &str| {
        file.set_field_by_name(name, Value::String(text.to_owned()));
    };
    set("filename", part.file_name().unwrap_or_default());
    set("content_type", part.content_type().unwrap_or_default());
    let content_id = part.headers().get("content-id").and_then(|value| value.to_str().ok());
    set("content_id", content_id.unwrap_or_default().trim_matches(['<', '>']));
    let content = part.bytes().await.map_err(malformed)?;
    file.set_field_by_name("content", Value::Bytes(content));
    Ok(file)
}

/// Adds the files behind the attachments of the document.
fn attach(reader: &mut Reader, message: &mut DynamicMessage, files: Vec<(String, DynamicMessage)>) {
    let Some(Value::Message(outgoing)) = message.get_field_by_name_mut("message") else {
        return;
    };
    let Some(Value::List(attachments)) = outgoing.get_field_by_name_mut("attachments") else {
        return;
    };
    for (name, file) in files {
        reader.moved(&format!("attachments[{}]", attachments.len()), &name);
        attachments.push(Value::Message(file));
    }
}

fn malformed(error: MultipartError) -> Failure {
    let text = format!("the form cannot be read: {}", error.body_text());
    Failure::new(Reason::MalformedMessage, text)
}

#[cfg(test)]
mod tests {
    use postern_proto::v1::SendMessageRequest;
    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::json::read::Source;
    use crate::routes;

    /// A form that is taken is a message with all its files and no more than may be.
    #[test]
    fn fuzz_multipart() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pool = DescriptorPool::decode(postern_proto::DESCRIPTORS).unwrap();
        let kind = pool.get_message_by_name("postern.v1.SendMessageRequest").unwrap();
        let route = routes::all().into_iter().find(|route| route.rpc.ends_with(".SendMessage"));
        let route = route.unwrap();
        let form = HeaderValue::from_static("multipart/form-data; boundary=b");
        let headers: HeaderMap = [(CONTENT_TYPE, form)].into_iter().collect();
        postern_fuzz::check!("multipart", move |input| {
            let mut message = DynamicMessage::new(kind.clone());
            let mut reader = Reader::new(Source::Body);
            let whole = Bytes::copy_from_slice(input);
            let read = read(&mut reader, &mut message, &route, &headers, whole);
            if runtime.block_on(read).is_err() || !reader.violations.is_empty() {
                return;
            }
            let asked: SendMessageRequest = message.transcode_to().unwrap();
            let files = asked.message.unwrap_or_default().attachments;
            assert!(files.len() <= input.len());
            let octets: usize = files.iter().map(|file| file.content.len()).sum();
            assert!(octets <= input.len());
            for file in &files {
                assert!(!file.filename.contains(['\r', '\n']));
                assert!(!file.content_type.contains(['\r', '\n']));
            }
        });
    }
}
