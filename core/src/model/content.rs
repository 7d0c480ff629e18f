//! What a message says: written once at acceptance, read at every attempt, dropped when the last
//! delivery has ended. The types encode themselves as protobuf, so fields may be added later
//! without rewriting what is stored.

use bytes::Bytes;
use postern_proto::v1::{TrackingOptions, UnsubscribeOptions};

/// A mailbox whose address was checked at acceptance: ASCII, or UTF-8 in the local part, with the
/// domain as A-labels.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Mailbox {
    /// The address, `local@domain`.
    #[prost(string, tag = "1")]
    pub email: String,
    /// The display name; empty when there is none. Holds no CR, LF or NUL.
    #[prost(string, tag = "2")]
    pub name: String,
}

/// A header field the client asked for. Neither part holds CR, LF or NUL.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HeaderField {
    /// The field name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The unfolded value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A file, or an inline image when `content_id` is set.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Attachment {
    /// The name shown to the recipient.
    #[prost(string, tag = "1")]
    pub filename: String,
    /// The media type, already checked.
    #[prost(string, tag = "2")]
    pub content_type: String,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
    /// What the html calls it: `cid:<content_id>`; empty for files.
    #[prost(string, tag = "4")]
    pub content_id: String,
}

/// The content of one message or of a whole batch.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Content {
    /// The From field. Always set.
    #[prost(message, optional, tag = "1")]
    pub from: Option<Mailbox>,
    /// The To field of a shared mail. Empty when every recipient gets a mail of their own.
    #[prost(message, repeated, tag = "2")]
    pub to: Vec<Mailbox>,
    /// The Cc field of a shared mail.
    #[prost(message, repeated, tag = "3")]
    pub cc: Vec<Mailbox>,
    /// The Reply-To field.
    #[prost(message, repeated, tag = "4")]
    pub reply_to: Vec<Mailbox>,
    /// The subject, possibly in Liquid.
    #[prost(string, tag = "5")]
    pub subject: String,
    /// The html body, possibly in Liquid.
    #[prost(string, tag = "6")]
    pub html: String,
    /// The text body, possibly in Liquid.
    #[prost(string, tag = "7")]
    pub text: String,
    /// Subject, html and text are Liquid and are rendered for each recipient.
    #[prost(bool, tag = "8")]
    pub liquid: bool,
    /// A variable without a value renders as nothing instead of failing.
    #[prost(bool, tag = "9")]
    pub lenient: bool,
    /// The variables all recipients share, as a JSON object; empty for none.
    #[prost(string, tag = "10")]
    pub variables: String,
    /// Files and inline images.
    #[prost(message, repeated, tag = "11")]
    pub attachments: Vec<Attachment>,
    /// Further header fields, in order.
    #[prost(message, repeated, tag = "12")]
    pub headers: Vec<HeaderField>,
    /// One mail for all recipients, with To and Cc as above.
    #[prost(bool, tag = "13")]
    pub shared: bool,
    /// A message the client composed itself; the fields above except `from` are then unused.
    #[prost(bytes = "bytes", tag = "14")]
    pub raw: Bytes,
    /// The envelope sender; empty for the null reverse-path.
    #[prost(string, tag = "15")]
    pub envelope_from: String,
    /// What is put into the mail for tracking and unsubscribing; none when that is nothing.
    #[prost(message, optional, tag = "16")]
    pub tracking: Option<Tracking>,
}

/// What is put into a mail, as it was decided at acceptance.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Tracking {
    /// The pixel.
    #[prost(bool, tag = "1")]
    pub opens: bool,
    /// Links of html parts are rewritten.
    #[prost(bool, tag = "2")]
    pub html_clicks: bool,
    /// Links of text parts are rewritten.
    #[prost(bool, tag = "3")]
    pub text_clicks: bool,
    /// A footer with an unsubscribe link.
    #[prost(bool, tag = "4")]
    pub footer: bool,
    /// List-Unsubscribe alone (RFC 2369).
    #[prost(bool, tag = "5")]
    pub unsubscribe_header: bool,
    /// List-Unsubscribe and List-Unsubscribe-Post (RFC 8058).
    #[prost(bool, tag = "6")]
    pub one_click: bool,
    /// Links of the campaign manager's own tracker stay.
    #[prost(bool, tag = "7")]
    pub keep_campaign_links: bool,
    /// A link that people cannot see.
    #[prost(bool, tag = "8")]
    pub honeypot: bool,
    /// How many links of the mail are rewritten at most.
    #[prost(uint32, tag = "9")]
    pub links_max: u32,
}

/// What a message or a credential asks for, before it is decided.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Wishes {
    /// What is to be seen of the recipient.
    #[prost(message, optional, tag = "1")]
    pub tracking: Option<TrackingOptions>,
    /// How the recipient can unsubscribe.
    #[prost(message, optional, tag = "2")]
    pub unsubscribe: Option<UnsubscribeOptions>,
}

/// The part of an address behind the last `@`, in lower case; empty when there is none.
pub fn domain_of(email: &str) -> String {
    email.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase()).unwrap_or_default()
}
