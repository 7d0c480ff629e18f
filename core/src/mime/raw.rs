//! Messages the client composed itself. Line ends become CRLF, hidden recipients and private fields
//! go, Date and Message-ID come when they are missing; everything else stays as it was, long lines
//! and 8-bit bytes included, because a signature of the client's own may cover it.

use super::Unsubscribe;
use super::encode::lines;
use super::headers;
use super::inspect::{Fields, RawError};

/// Prefix of fields that talk to this system and are not for recipients.
const PRIVATE_PREFIX: &str = "x-postern-";

/// What is added when the client left it out.
#[derive(Debug, Clone, Copy)]
pub struct Missing<'a> {
    /// The Message-ID without angle brackets.
    pub message_id: &'a str,
    /// The Date, in milliseconds since 1970.
    pub date_ms: i64,
}

/// The mail as it goes out, unsigned. The output has no bare CR or LF and ends with CRLF.
pub fn prepare(raw: &[u8], missing: Missing<'_>) -> Result<Vec<u8>, RawError> {
    let message = normalise(raw)?;
    let fields = Fields::parse(&message)?;
    let mut out = Vec::with_capacity(message.len() + 256);
    if !fields.has("date") {
        headers::date(&mut out, missing.date_ms);
    }
    if !fields.has("message-id") {
        headers::message_id(&mut out, "Message-ID", missing.message_id);
    }
    for field in fields.iter().filter(|field| !is_private(field.name) && !is_hidden(field.name)) {
        out.extend_from_slice(field.bytes);
    }
    out.extend_from_slice(fields.body_with_blank_line());
    Ok(out)
}

/// A message with CRLF line ends with these unsubscribe fields in place of its own.
pub fn with_unsubscribe(message: &[u8], unsubscribe: &Unsubscribe) -> Result<Vec<u8>, RawError> {
    let fields = Fields::parse(message)?;
    let mut out = Vec::with_capacity(message.len() + 256);
    for field in fields.iter().filter(|field| !headers::unsubscribes(field.name)) {
        out.extend_from_slice(field.bytes);
    }
    headers::unsubscribe(&mut out, unsubscribe);
    out.extend_from_slice(fields.body_with_blank_line());
    Ok(out)
}

/// Whether the field talks to this system and must not leave it.
pub fn is_private(name: &str) -> bool {
    let start = name.get(..PRIVATE_PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(PRIVATE_PREFIX))
}

fn is_hidden(name: &str) -> bool {
    name.eq_ignore_ascii_case("bcc") || name.eq_ignore_ascii_case("resent-bcc")
}

/// The message with CRLF line ends, ended by one. NUL is refused: no server takes it.
pub(crate) fn normalise(raw: &[u8]) -> Result<Vec<u8>, RawError> {
    if raw.contains(&0) {
        return Err(RawError::Nul);
    }
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 32 + 2);
    for (line, _) in lines(raw) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}
