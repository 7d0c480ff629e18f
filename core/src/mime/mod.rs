//! Builds the bytes of a mail: deterministic given its input, so that a retry after a crash sends
//! the same bytes again. Pure: no clock, no randomness, no I/O; a crash has nothing to lose here.
//!
//! What leaves [`compose`] has CRLF line ends only, no bare CR or LF, no NUL, no line above
//! [`LINE_BYTES_MAX`], and is 7-bit clean except for addresses that are not ASCII (RFC 6532).
//! No value can begin a header field of its own: controls become spaces before anything is written.

mod headers;
mod body;
mod attachment;
pub(crate) mod encode;
pub mod raw;
pub mod inspect;
pub mod leaves;
mod structure;
#[cfg(test)]
mod tests;

pub use inspect::{Inspection, RawError, inspect};
pub(crate) use raw::normalise;
pub use raw::{Missing, prepare, with_unsubscribe};

use crate::model::content::{Content, Mailbox};

/// The longest line [`compose`] writes, without its CRLF (RFC 5322 §2.1.1).
pub const LINE_BYTES_MAX: usize = 998;

/// How the recipient can leave with one click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Where to.
    pub url: String,
    /// A POST there is enough (RFC 8058).
    pub one_click: bool,
}

/// Everything [`compose`] needs to know about one mail.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// What all recipients share. `raw` must be empty; for raw content see [`raw::prepare`].
    pub content: &'a Content,
    /// The recipient: the To field unless `content.shared`.
    pub to: &'a Mailbox,
    /// The rendered subject.
    pub subject: &'a str,
    /// The rendered html body; empty for none.
    pub html: &'a str,
    /// The rendered text body; empty for none.
    pub text: &'a str,
    /// The Message-ID without angle brackets.
    pub message_id: &'a str,
    /// The unsubscribe fields; they take the place of custom ones.
    pub unsubscribe: Option<&'a Unsubscribe>,
    /// The Date field, in milliseconds since 1970.
    pub date_ms: i64,
    /// Makes the boundaries of this mail differ from those of others.
    pub boundary_seed: u128,
}

/// The mail as it goes out, unsigned.
///
/// The fields stand in this order: Date, From, To, Cc, Reply-To, Subject, Message-ID, the custom
/// fields, the unsubscribe fields, MIME-Version, Content-Type. There is never a Bcc, and a custom field for which
/// [`is_reserved`] says yes, or whose name is no field name, is left out.
pub fn compose(letter: &Letter<'_>) -> Vec<u8> {
    let content = letter.content;
    let files: usize = content.attachments.iter().map(|file| file.data.len() / 3 * 4).sum();
    let mut out = Vec::with_capacity(
        2048 + files + files / 38 + (letter.html.len() + letter.text.len()) * 3 / 2,
    );
    headers::date(&mut out, letter.date_ms);
    if let Some(from) = &content.from {
        headers::mailboxes(&mut out, "From", std::slice::from_ref(from));
    }
    if !content.shared {
        headers::mailboxes(&mut out, "To", std::slice::from_ref(letter.to));
    } else if content.to.is_empty() && content.cc.is_empty() {
        // A shared mail to hidden recipients only; some receivers dislike mail without To.
        out.extend_from_slice(b"To: undisclosed-recipients:;\r\n");
    } else {
        headers::mailboxes(&mut out, "To", &content.to);
        headers::mailboxes(&mut out, "Cc", &content.cc);
    }
    headers::mailboxes(&mut out, "Reply-To", &content.reply_to);
    headers::text(&mut out, "Subject", letter.subject);
    headers::message_id(&mut out, "Message-ID", letter.message_id);
    for field in &content.headers {
        let replaced = letter.unsubscribe.is_some() && headers::unsubscribes(&field.name);
        if is_field_name(&field.name) && !is_reserved(&field.name) && !replaced {
            headers::custom(&mut out, &field.name, &field.value);
        }
    }
    if let Some(unsubscribe) = letter.unsubscribe {
        headers::unsubscribe(&mut out, unsubscribe);
    }
    out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    body::write(&mut out, letter);
    out
}

/// Fields that are not the client's to set among the custom ones: this system writes them, or they
/// would disclose hidden recipients, or only a relay may write them.
pub fn is_reserved(name: &str) -> bool {
    const NAMES: [&str; 18] = [
        "date",
        "from",
        "to",
        "cc",
        "bcc",
        "reply-to",
        "subject",
        "message-id",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "content-disposition",
        "content-id",
        "resent-bcc",
        "return-path",
        "received",
        "dkim-signature",
        "delivered-to",
    ];
    NAMES.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) || raw::is_private(name)
}

/// Whether a custom field can be written under this name (RFC 5322 §2.2, and short enough).
pub fn is_field_name(name: &str) -> bool {
    headers::is_name(name)
}

/// Whether the mail can be delivered only by servers that offer SMTPUTF8 (RFC 6531): an envelope
/// address or an address in a header field is not ASCII. Other unencoded header text does not
/// count, since refusing sloppy raw mail would help nobody.
pub fn needs_smtputf8(from: &str, to: &str, message: &[u8]) -> bool {
    !from.is_ascii() || !to.is_ascii() || inspect::has_utf8_address(message)
}

/// Whether no byte has its high bit set.
pub fn is_7bit(message: &[u8]) -> bool {
    message.is_ascii()
}
