//! Idempotency keys as requests bring them: in a field or in the metadata.
//!
//! Pure; what a key was used for is kept by the store, in the transaction of the message.

use postern_proto::metadata;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;

use crate::intake::expand::RequestKey;

use super::Context;

/// Octets of an idempotency key.
const REQUEST_ID_BYTES_MAX: usize = 256;

/// Whether mail without an idempotency key is welcome.
pub(super) fn check_keyless(context: &Context) -> Result<(), Failure> {
    if !context.intake.policy.idempotency_required {
        return Ok(());
    }
    let text = "give an idempotency key: the header Idempotency-Key or the field request_id";
    Err(Failure::new(Reason::IdempotencyKeyRequired, text))
}

/// The key with the fingerprint of its request.
pub(super) fn request_key(text: Option<String>, message: &impl prost::Message) -> RequestKey {
    text.map(|text| (text, Sha256::digest(message.encode_to_vec()).into()))
}

/// The idempotency key of the field or of the metadata; both may be given when they agree.
pub(super) fn request_id(field: &str, metadata: &MetadataMap) -> Result<Option<String>, Failure> {
    let entry = metadata.get(metadata::IDEMPOTENCY_KEY);
    let entry = match entry.map(|value| value.to_str()) {
        Some(Ok(text)) => text,
        Some(Err(_)) => "\u{1}",
        None => "",
    };
    match (field, entry) {
        ("", "") => Ok(None),
        (text, "") | ("", text) => {
            checked_request_id("request_id", text).map(|t| Some(t.to_owned()))
        }
        (field, entry) if field == entry => {
            checked_request_id("request_id", field).map(|text| Some(text.to_owned()))
        }
        _ => {
            let text = "differs from the metadata entry idempotency-key; give one of them";
            Err(Failure::field(Reason::BadIdempotencyKey, "request_id", text))
        }
    }
}

/// A key as it may be.
pub(super) fn checked_request_id<'t>(field: &str, text: &'t str) -> Result<&'t str, Failure> {
    if text.len() > REQUEST_ID_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let problem = "needs 1 to 256 visible US-ASCII characters";
        return Err(Failure::field(Reason::BadIdempotencyKey, field, problem));
    }
    Ok(text)
}
