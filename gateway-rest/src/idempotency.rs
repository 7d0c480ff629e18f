//! The `Idempotency-Key` header: bare or as a quoted Structured Field string.
//!
//! No state: what a key was used for is remembered by the core, in the transaction of the message.

use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use postern_proto::metadata;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use prost_reflect::{DynamicMessage, Value};
use tonic::metadata::MetadataMap;

use crate::fault::Fault;

const HEADER: &str = "idempotency-key";
const CHARACTERS_MAX: usize = 256;

/// The key of a request, or `None` when there is none.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (value.to_str().ok().and_then(parse), values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(bad("Idempotency-Key must be 1 to 256 visible US-ASCII characters, given once")),
    }
}

/// Puts the key into the request. A key that nobody would keep is refused, because the caller relies
/// on it.
pub(crate) fn apply(
    message: &mut DynamicMessage,
    headers: &HeaderMap,
) -> Result<Option<String>, Fault> {
    let Some(key) = key(headers)? else {
        return Ok(None);
    };
    let given = message.get_field_by_name("request_id").map(|value| value.into_owned());
    match given {
        Some(Value::String(given)) if !given.is_empty() && given != key => {
            Err(bad("request_id and Idempotency-Key differ"))
        }
        Some(_) => {
            message.set_field_by_name("request_id", Value::String(key.clone()));
            Ok(Some(key))
        }
        None => {
            let text = "is not kept for this call; leave it out";
            Err(Failure::field(Reason::UnknownField, "Idempotency-Key", text).into())
        }
    }
}

/// Tells the caller which key was used, whether the answer is a repeated one, and until when it is
/// kept.
pub(crate) fn echo(response: &mut Response, key: Option<String>, told: &MetadataMap) {
    let headers = response.headers_mut();
    if let Some(key) = key.and_then(|key| HeaderValue::try_from(key).ok()) {
        headers.insert(HEADER, key);
    }
    for name in [metadata::IDEMPOTENCY_REPLAYED, metadata::IDEMPOTENCY_EXPIRE_TIME] {
        let value = told.get(name).map(|value| HeaderValue::from_bytes(value.as_encoded_bytes()));
        if let Some(Ok(value)) = value {
            headers.insert(name, value);
        }
    }
}

fn bad(text: &str) -> Fault {
    Failure::new(Reason::BadIdempotencyKey, text).into()
}

fn parse(text: &str) -> Option<String> {
    let text = text.trim();
    let key = match text.strip_prefix('"') {
        None => text.to_owned(),
        Some(rest) => {
            let mut out = String::new();
            let mut letters = rest.strip_suffix('"')?.chars();
            while let Some(letter) = letters.next() {
                match letter {
                    '\\' => out.push(letters.next().filter(|c| matches!(c, '"' | '\\'))?),
                    '"' => return None,
                    other => out.push(other),
                }
            }
            out
        }
    };
    let fits = (1..=CHARACTERS_MAX).contains(&key.len());
    (fits && key.bytes().all(|byte| byte.is_ascii_graphic())).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bare_and_quoted_keys_are_the_same() {
        assert_eq!(parse("ord-42").unwrap(), "ord-42");
        assert_eq!(parse(r#""ord-42""#).unwrap(), "ord-42");
        assert_eq!(parse(r#""a\"b\\c""#).unwrap(), r#"a"b\c"#);
        for bad in ["", "\"", "\"\"", "a b", "\"a", "\"a\"b\"", "é", &"x".repeat(257)] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_key_survives_quoting(key in "[!#-~][!-~]{0,255}") {
            let quoted = key.replace('\\', r"\\").replace('"', r#"\""#);
            prop_assert_eq!(parse(&format!("\"{quoted}\"")), Some(key));
        }
    }

    /// A key has a form, is short and printable, and is the same in quotes.
    #[test]
    fn fuzz_idempotency_key() {
        postern_fuzz::check!("idempotency_key", |input| {
            let Some(key) = parse(&postern_fuzz::text(input)) else { return };
            assert!((1..=CHARACTERS_MAX).contains(&key.len()));
            assert!(key.bytes().all(|byte| byte.is_ascii_graphic()));
            let quoted = key.replace('\\', r"\\").replace('"', r#"\""#);
            assert_eq!(parse(&format!("\"{quoted}\"")), Some(key));
        });
    }
}
