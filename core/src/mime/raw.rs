//! Messages the client composed itself. Line ends become CRLF, hidden recipients and private fields
//! go, Date and Message-ID come when they are missing; everything else stays as it was, long lines
//! and 8-bit bytes included, because a signature of the client's own may cover it.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

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

/// The message with CRLF line ends, ended by one; borrowed when it is so already, as nearly all mail
/// is. NUL is refused: no server takes it.
pub(crate) fn normalise(raw: &[u8]) -> Result<Cow<'_, [u8]>, RawError> {
    if memchr(0, raw).is_some() {
        return Err(RawError::Nul);
    }
    if is_normal(raw) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 32 + 2);
    for (line, _) in lines(raw) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    Ok(Cow::Owned(out))
}

/// Whether all line ends are CRLF, the last octets included.
fn is_normal(raw: &[u8]) -> bool {
    let mut rest = raw;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        match rest[at..].strip_prefix(b"\r\n") {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_borrowed_is_what_would_have_been_made(raw in prop::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a')], 0..12)) {
            let mut made = Vec::new();
            for (line, _) in lines(&raw) {
                made.extend_from_slice(line);
                made.extend_from_slice(b"\r\n");
            }
            let normal = normalise(&raw).unwrap();
            prop_assert_eq!(matches!(normal, Cow::Borrowed(_)), made == raw);
            prop_assert_eq!(normal.into_owned(), made);
        }
    }
}
