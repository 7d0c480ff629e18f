//! Etags: a short digest by which a client says which version of a resource it means to change.
//!
//! Pure; the store makes sure that check and change are one step.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use sha2::{Digest as _, Sha256};

const DIGEST_BYTES: usize = 12;

/// The etag of a resource that is made of these parts.
pub fn of(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..DIGEST_BYTES])
}

/// Whether the client named a version; a failure when it is not the present one.
pub fn check(asked: &str, present: &str) -> Result<bool, Failure> {
    match asked {
        "" => Ok(false),
        asked if asked == present => Ok(true),
        _ => Err(mismatch()),
    }
}

/// The resource is not what the client thinks it is.
pub fn mismatch() -> Failure {
    let text = "it was changed since this etag was read; read it again and decide anew";
    Failure::new(Reason::EtagMismatch, text)
}
