//! The body of a request: read up to the limit, and from JSON into a message of the contract.
//!
//! No state; a crash has nothing to lose.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, Value};

use crate::fault::Fault;
use crate::json::read::{Place, Reader};
use crate::json::tree::Json;
use crate::json::words::find_field;
use crate::routes::{self, Route};

/// The media type of a body without its parameters, in lower case; empty when there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// The body, up to the limit.
pub(crate) async fn whole(body: Body, max: usize) -> Result<Bytes, Fault> {
    axum::body::to_bytes(body, max).await.map_err(|error| broken(&error, max).into())
}

/// Why a body could not be read to its end.
pub(crate) fn broken(error: &(dyn std::error::Error + 'static), max: usize) -> Failure {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return too_large(max);
        }
        cause = error.source();
    }
    let text = "the body ended early, or is not what its Content-Encoding says";
    Failure::new(Reason::MalformedMessage, text)
}

/// The body is over the limit.
pub(crate) fn too_large(max: usize) -> Failure {
    let text = format!("the body is larger than {max} octets");
    Failure::new(Reason::MessageTooLarge, text).with("limit", max.to_string())
}

/// Reads a JSON document into the request.
pub(crate) fn json(
    reader: &mut Reader,
    message: &mut DynamicMessage,
    route: &Route,
    body: &[u8],
) -> Result<(), Fault> {
    let mut entries = entries(body)?;
    let place = Place::default();
    if route.body == routes::Body::None && !entries.is_empty() {
        let text = "is not a field of this request";
        return Err(Failure::field(Reason::UnknownField, &entries[0].0, text).into());
    }
    let routes::Body::Flat(inner) = route.body else {
        reader.object(message, entries, &place);
        return Ok(());
    };
    let outer = message.descriptor();
    let own = |key: &str| find_field(&outer, key).is_some_and(|field| field.name() != inner);
    let beside = entries.extract_if(.., |(key, _)| own(key)).collect();
    reader.object(message, beside, &place);
    hoist_variables(reader, &mut entries)?;
    name_changes(message, inner, &entries);
    if let Some(Value::Message(inner)) = message.get_field_by_name_mut(inner) {
        reader.object(inner, entries, &place);
    }
    Ok(())
}

/// Where the caller names no fields in an update mask, those of the body are the ones to change.
fn name_changes(message: &mut DynamicMessage, inner: &str, entries: &[(String, Json)]) {
    let request = message.descriptor();
    let Some(mask) = request.get_field_by_name("update_mask") else { return };
    let Some(Kind::Message(inner)) = request.get_field_by_name(inner).map(|field| field.kind())
    else {
        return;
    };
    if message.has_field(&mask) {
        return;
    }
    let fields = entries.iter().filter_map(|(key, _)| find_field(&inner, key));
    let paths = fields.map(|field| field.name().to_owned()).collect();
    if let Some(into) = message.get_field_mut(&mask).as_message_mut() {
        // It is the contract's own message.
        let _always_fits = into.transcode_from(&prost_types::FieldMask { paths });
    }
}

/// The entries of a JSON object.
pub(crate) fn entries(text: &[u8]) -> Result<Vec<(String, Json)>, Failure> {
    match serde_json::from_slice(text) {
        Ok(Json::Object(entries)) => Ok(entries),
        Ok(other) => {
            let text = format!("the body must be an object, not {}", other.kind());
            Err(Failure::new(Reason::WrongType, text))
        }
        Err(error) => Err(Failure::new(Reason::MalformedJson, format!("the body: {error}"))),
    }
}

/// `template.variables`, as other services have it, are the variables of the message.
fn hoist_variables(reader: &mut Reader, entries: &mut Vec<(String, Json)>) -> Result<(), Fault> {
    let both = entries.iter().any(|(key, _)| key == "variables");
    let Some((_, Json::Object(template))) = entries.iter_mut().find(|(key, _)| key == "template")
    else {
        return Ok(());
    };
    let Some(at) = template.iter().position(|(key, _)| key == "variables") else {
        return Ok(());
    };
    if both {
        let text = "is given here and as variables; give it once";
        return Err(Failure::field(Reason::InvalidValue, "template.variables", text).into());
    }
    let (_, variables) = template.remove(at);
    reader.moved("variables", "template.variables");
    entries.push(("variables".to_owned(), variables));
    Ok(())
}
