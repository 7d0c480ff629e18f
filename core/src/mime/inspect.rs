//! Looks at a message somebody else composed, within fixed bounds: the field block is split here,
//! only single values are decoded, and the part structure is walked without recursion.

use super::{raw, structure};
use crate::model::content::Mailbox;

/// The largest field block that is read.
pub const HEADER_BYTES_MAX: usize = 256 * 1024;
/// The most header fields.
pub const HEADER_FIELDS_MAX: usize = 1000;
/// The deepest nesting of parts.
pub const MIME_DEPTH_MAX: usize = 16;
/// The most parts of one message, nested ones included.
pub const MIME_PARTS_MAX: usize = 1000;

/// Why a message cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// There is a NUL byte.
    #[error("the message contains a NUL byte")]
    Nul,
    /// There is not one header field.
    #[error("the message has no header fields")]
    NoHeader,
    /// A line of the header is no field.
    #[error("line {line} of the header is not a header field")]
    BadHeaderLine {
        /// Counted from 1.
        line: usize,
    },
    /// A field that may stand once stands more often; readers disagree about which one counts.
    #[error("the header field {0} occurs more than once")]
    Repeated(&'static str),
    /// Above [`HEADER_BYTES_MAX`] or [`HEADER_FIELDS_MAX`].
    #[error(
        "the header is too large (at most {HEADER_BYTES_MAX} bytes, {HEADER_FIELDS_MAX} fields)"
    )]
    HeaderTooLarge,
    /// Above [`MIME_DEPTH_MAX`].
    #[error("the parts are nested too deep (at most {MIME_DEPTH_MAX})")]
    TooDeep,
    /// Above [`MIME_PARTS_MAX`].
    #[error("the message has too many parts (at most {MIME_PARTS_MAX})")]
    TooManyParts,
}

/// What intake wants to know about a raw message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The mailboxes of the From field; empty when there is none or it cannot be read.
    pub from: Vec<Mailbox>,
    /// The decoded subject; empty when there is none.
    pub subject: String,
    /// The Message-ID without angle brackets.
    pub message_id: Option<String>,
    /// The fields of the top level as name and unfolded value, private ones (`X-Postern-*`) too.
    pub fields: Vec<(String, String)>,
    /// The number of parts; 1 for a message that is not multipart.
    pub parts: usize,
}

impl Inspection {
    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let named = self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }
}

/// Reads a message in whatever line ends it has. Refuses what [`raw::prepare`] would refuse, and
/// what would be expensive or ambiguous to read later.
pub fn inspect(message: &[u8]) -> Result<Inspection, RawError> {
    let message = raw::normalise(message)?;
    let fields = Fields::parse(&message)?;
    for name in ["From", "Sender", "Subject", "Date", "Message-ID", "Reply-To", "To", "Cc"] {
        if fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count() > 1 {
            return Err(RawError::Repeated(name));
        }
    }
    let parts = structure::walk(&message)?;
    let parsed = mail_parser::MessageParser::default().parse_headers(fields.block());
    let mailboxes = |address: &mail_parser::Address<'_>| -> Vec<Mailbox> {
        let list = address.iter().filter_map(|one| {
            let email = one.address.as_deref()?.to_owned();
            Some(Mailbox { email, name: one.name.as_deref().unwrap_or_default().to_owned() })
        });
        list.collect()
    };
    let parsed = parsed.as_ref();
    Ok(Inspection {
        from: parsed.and_then(|m| m.from()).map(mailboxes).unwrap_or_default(),
        subject: parsed.and_then(|m| m.subject()).unwrap_or_default().to_owned(),
        message_id: parsed.and_then(|m| m.message_id()).map(str::to_owned),
        fields: fields.iter().map(|field| (field.name.to_owned(), field.unfolded())).collect(),
        parts,
    })
}

/// Whether an address in the header (a word with `@` outside quotes) is not ASCII.
pub(super) fn has_utf8_address(message: &[u8]) -> bool {
    let Ok(fields) = Fields::parse(message) else {
        return false;
    };
    if fields.block().is_ascii() {
        return false;
    }
    let holds_addresses = |name: &str| {
        ["from", "sender", "reply-to", "to", "cc"].iter().any(|n| name.eq_ignore_ascii_case(n))
    };
    fields.iter().filter(|field| holds_addresses(field.name)).any(|field| {
        let value = String::from_utf8_lossy(field.bytes).into_owned();
        // Every second piece lies between quotes: a display name, not an address.
        let unquoted = value.split('"').step_by(2).collect::<Vec<_>>().join(" ");
        let mut words = unquoted.split(|c: char| c.is_whitespace() || "<>,;:()".contains(c));
        words.any(|word| word.contains('@') && !word.is_ascii())
    })
}

/// One header field with its folding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    /// The name as written, without the blanks obsolete syntax allows before the colon.
    pub(crate) name: &'a str,
    /// The whole field, name and CRLF included.
    pub(crate) bytes: &'a [u8],
    /// Where the value begins within `bytes`.
    value_at: usize,
}

impl Field<'_> {
    /// The bytes behind the colon, folding and CRLF included.
    pub(crate) fn value(&self) -> &[u8] {
        &self.bytes[self.value_at..]
    }

    fn unfolded(&self) -> String {
        let value = String::from_utf8_lossy(self.value()).replace("\r\n", "");
        value.trim().to_owned()
    }
}

/// The field block of a message with CRLF line ends.
pub(crate) struct Fields<'a> {
    message: &'a [u8],
    fields: Vec<Field<'a>>,
    end: usize,
}

impl<'a> Fields<'a> {
    /// Splits the block, which ends at an empty line or with the message.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, RawError> {
        let mut fields: Vec<Field<'a>> = Vec::with_capacity(24);
        let (mut at, mut line_number) = (0, 0);
        while at < message.len() {
            line_number += 1;
            let rest = &message[at..];
            // There is no LF without its CR.
            let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
            let line = &rest[..len];
            if line == b"\r\n" {
                break;
            }
            at += len;
            if at > HEADER_BYTES_MAX || fields.len() >= HEADER_FIELDS_MAX {
                return Err(RawError::HeaderTooLarge);
            }
            if matches!(line[0], b' ' | b'\t') {
                let start = at - len;
                let field =
                    fields.last_mut().ok_or(RawError::BadHeaderLine { line: line_number })?;
                field.bytes = &message[start - field.bytes.len()..at];
            } else {
                let field = field(line).ok_or(RawError::BadHeaderLine { line: line_number })?;
                fields.push(field);
            }
        }
        if fields.is_empty() {
            return Err(RawError::NoHeader);
        }
        Ok(Self { message, fields, end: at })
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Field<'a>> {
        self.fields.iter()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// All fields without the blank line behind them.
    pub(crate) fn block(&self) -> &'a [u8] {
        &self.message[..self.end]
    }

    /// The blank line and the body; just a blank line when the message ended with its header.
    pub(super) fn body_with_blank_line(&self) -> &'a [u8] {
        if self.end < self.message.len() { &self.message[self.end..] } else { b"\r\n" }
    }

    /// The body.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.message.get(self.end + 2..).unwrap_or_default()
    }
}

fn field(line: &[u8]) -> Option<Field<'_>> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?.trim_end_matches([' ', '\t']);
    let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    valid.then_some(Field { name, bytes: line, value_at: colon + 1 })
}
