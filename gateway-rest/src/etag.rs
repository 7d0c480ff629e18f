//! `ETag` on answers, `If-Match` and `If-None-Match` on requests (RFC 9110).
//!
//! No state: the core compares, in the transaction of the change.

use axum::response::{IntoResponse as _, Response};
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use prost_reflect::{DynamicMessage, Value};

use crate::fault::Fault;
use crate::json::tree::Json;
use crate::routes::{Body, Route};

/// Puts `If-Match` into the request. A precondition that cannot be checked is refused, because the
/// caller relies on it.
pub(crate) fn apply(
    message: &mut DynamicMessage,
    route: &Route,
    headers: &HeaderMap,
) -> Result<(), Fault> {
    let mut given = headers.get_all(IF_MATCH).iter();
    let Some(value) = given.next() else {
        return Ok(());
    };
    let changes = matches!(route.method, Method::PUT | Method::PATCH | Method::DELETE);
    let target = match route.body {
        Body::Flat(inner) => match message.get_field_by_name_mut(inner) {
            Some(Value::Message(inner)) => Some(inner),
            _ => None,
        },
        Body::None | Body::Whole => Some(message),
    };
    let versioned = |target: &&mut DynamicMessage| target.get_field_by_name("etag").is_some();
    let Some(target) = target.filter(versioned).filter(|_| changes) else {
        return Err(bad("is not supported here; leave it out"));
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(());
    }
    if text.starts_with("W/") {
        let text = "a weak etag never matches; give the ETag as it was received";
        return Err(Failure::new(Reason::EtagMismatch, text).into());
    }
    let etag = text.trim_matches('"').to_owned();
    if etag.is_empty() || etag.contains([',', '"']) || given.next().is_some() {
        return Err(bad("must be one etag, such as \"abc\", or *"));
    }
    let before = target.get_field_by_name("etag").map(|value| value.into_owned());
    if before.is_some_and(|before| before.as_str().is_some_and(|b| !b.is_empty() && b != etag)) {
        return Err(bad("differs from the etag in the request; give one of them"));
    }
    target.set_field_by_name("etag", Value::String(etag));
    Ok(())
}

fn bad(text: &str) -> Fault {
    Failure::field(Reason::InvalidValue, "If-Match", text).into()
}

/// Names the version that an answer shows, and leaves the answer out when the caller has it.
pub(crate) fn show(response: Response, etag: Option<String>, headers: &HeaderMap) -> Response {
    let value = etag.as_ref().and_then(|etag| HeaderValue::try_from(format!("\"{etag}\"")).ok());
    let (Some(etag), Some(value)) = (etag, value) else {
        return response;
    };
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = lists.flat_map(|list| list.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known).trim_matches('"') == etag
    });
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { response };
    response.headers_mut().insert(ETAG, value);
    response
}

/// The version that the fields of an answer name.
pub(crate) fn of(entries: &[(String, Json)]) -> Option<String> {
    entries.iter().find_map(|(key, value)| match value {
        Json::Text(etag) if key == "etag" => Some(etag.clone()),
        _ => None,
    })
}
