//! What a client asks for, and the rules it must keep. Pure: parse, don't validate — what comes out
//! of [`Draft::check`] needs no second look.

use std::collections::{BTreeMap, BTreeSet};

use postern_proto::reason::Reason;
use postern_proto::status::{Failure, Violation};

use crate::model::content::{Attachment, HeaderField, Mailbox, Wishes};
use crate::model::delivery::Kind;
use crate::model::message::Priority;

use super::address;
use super::limits::*;

/// A recipient as the client names it.
#[derive(Debug, Clone, Default)]
pub struct DraftRecipient {
    /// The recipient.
    pub mailbox: Mailbox,
    /// Variables as a JSON object; empty for none.
    pub variables: String,
    /// The client's own data about the recipient.
    pub metadata: BTreeMap<String, String>,
}

/// A message as the client asks for it, before any check.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The From field.
    pub from: Mailbox,
    /// The To field, or the recipients of mails of their own.
    pub to: Vec<DraftRecipient>,
    /// The Cc field.
    pub cc: Vec<Mailbox>,
    /// Unseen recipients.
    pub bcc: Vec<Mailbox>,
    /// The Reply-To field.
    pub reply_to: Vec<Mailbox>,
    /// The subject.
    pub subject: String,
    /// The html body.
    pub html: String,
    /// The text body.
    pub text: String,
    /// Subject, html and text are Liquid.
    pub liquid: bool,
    /// The id or alias of a template; empty for none.
    pub template: String,
    /// A variable without a value is empty.
    pub lenient: bool,
    /// Variables of all recipients as a JSON object; empty for none.
    pub variables: String,
    /// Files and inline images.
    pub attachments: Vec<Attachment>,
    /// Header fields of the client's own.
    pub headers: Vec<HeaderField>,
    /// Whether one mail is shared by all; none leaves it to cc and bcc.
    pub shared: Option<bool>,
    /// What it asks for of tracking and unsubscribing.
    pub wishes: Wishes,
    /// What is stored besides the content.
    pub labels: Labels,
}

/// What a message is filed under, and when it goes.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// Labels.
    pub tags: Vec<String>,
    /// The client's own data.
    pub metadata: BTreeMap<String, String>,
    /// The client's own id.
    pub external_id: String,
    /// The campaign.
    pub campaign_id: String,
    /// Which messages leave first.
    pub priority: Option<Priority>,
    /// Not before this time.
    pub send_ms: Option<i64>,
    /// Not after this time.
    pub expire_ms: Option<i64>,
}

/// Collects everything that is wrong, so that the client can mend it in one go.
#[derive(Debug, Default)]
pub struct Faults(Vec<Violation>);

impl Faults {
    /// Notes that something is wrong with a field.
    pub fn add(&mut self, reason: Reason, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation { field: field.into(), reason, message: message.into() });
    }

    /// Fails when anything was noted.
    pub fn into_result(self) -> Result<(), Failure> {
        if self.0.is_empty() { Ok(()) } else { Err(Failure::violations(self.0)) }
    }

    pub(crate) fn at_most(&mut self, field: &str, what: &str, count: usize, max: usize) {
        if count > max {
            let text = format!("has {count} {what}; at most {max} are allowed");
            self.add(Reason::ValueOutOfRange, field, text);
        }
    }

    fn clean(&mut self, field: &str, value: &str) {
        if value.contains(['\r', '\n', '\0']) {
            let text = "contains a line break or NUL; remove it";
            self.add(Reason::ForbiddenCharacter, field, text);
        }
    }

    /// Checks a mailbox in place.
    pub fn mailbox(&mut self, field: &str, mailbox: &mut Mailbox) {
        match address::parse(mailbox.email.trim_matches(' ')) {
            Ok(email) => mailbox.email = email,
            Err(problem) if mailbox.email.is_empty() => {
                self.add(Reason::MissingField, format!("{field}.email"), problem);
            }
            Err(problem) => self.add(Reason::InvalidAddress, format!("{field}.email"), problem),
        }
        self.clean(&format!("{field}.display_name"), &mailbox.name);
        let name = format!("{field}.display_name");
        self.at_most(&name, "octets", mailbox.name.len(), NAME_BYTES_MAX);
    }
}

impl Draft {
    /// Checks everything that needs no knowledge from elsewhere, and normalises addresses in place.
    /// `batch` says that the items of a batch name the recipients.
    pub fn check(&mut self, batch: bool, now_ms: i64) -> Result<(), Failure> {
        let mut faults = Faults::default();
        faults.mailbox("from", &mut self.from);
        self.check_recipients(batch, &mut faults);
        self.check_content(&mut faults);
        self.check_attachments(&mut faults);
        self.check_headers(&mut faults);
        self.labels.check(now_ms, &mut faults);
        faults.into_result()
    }

    /// All recipients share one mail.
    pub fn is_shared(&self) -> bool {
        self.shared.unwrap_or(!self.cc.is_empty() || !self.bcc.is_empty())
    }

    /// The recipients with how each is addressed, in order.
    pub fn recipients(&self) -> Vec<(Kind, DraftRecipient)> {
        let plain =
            |mailbox: &Mailbox| DraftRecipient { mailbox: mailbox.clone(), ..Default::default() };
        let to = self.to.iter().map(|recipient| (Kind::To, recipient.clone()));
        let cc = self.cc.iter().map(|mailbox| (Kind::Cc, plain(mailbox)));
        let bcc = self.bcc.iter().map(|mailbox| (Kind::Bcc, plain(mailbox)));
        to.chain(cc).chain(bcc).collect()
    }

    fn check_recipients(&mut self, batch: bool, faults: &mut Faults) {
        let shared = self.is_shared();
        let count = self.to.len() + self.cc.len() + self.bcc.len();
        if batch && count > 0 {
            faults.add(
                Reason::InvalidValue,
                "to",
                "must be empty in a batch: the items name the recipients",
            );
        }
        if !batch && count == 0 {
            faults.add(Reason::MissingField, "to", "names no recipient; give at least one");
        }
        let max = if shared { SHARED_RECIPIENTS_MAX } else { INDIVIDUAL_RECIPIENTS_MAX };
        if count > max {
            let text = format!("there are {count} recipients; at most {max} are allowed");
            faults.add(Reason::TooManyRecipients, "to", text);
            return;
        }
        let hidden_or_copied = !self.cc.is_empty() || !self.bcc.is_empty();
        if !shared && hidden_or_copied {
            let text = "cc and bcc need delivery_mode shared";
            faults.add(Reason::InvalidValue, "delivery_mode", text);
        }
        let mut seen = BTreeSet::new();
        let mut once = |field: String, mailbox: &Mailbox, faults: &mut Faults| {
            if !seen.insert(mailbox.email.to_lowercase()) {
                let text = "names a recipient twice; name each once";
                faults.add(Reason::InvalidValue, format!("{field}.email"), text);
            }
        };
        for (n, recipient) in self.to.iter_mut().enumerate() {
            let field = format!("to[{n}]");
            check_recipient(&field, recipient, faults);
            once(field, &recipient.mailbox, faults);
            let own = !recipient.variables.is_empty() || !recipient.metadata.is_empty();
            if shared && own {
                let text = "variables and metadata of one recipient need a mail of its own";
                faults.add(Reason::InvalidValue, format!("to[{n}].variables"), text);
            }
        }
        for (name, list) in [("cc", &mut self.cc), ("bcc", &mut self.bcc)] {
            for (n, mailbox) in list.iter_mut().enumerate() {
                faults.mailbox(&format!("{name}[{n}]"), mailbox);
                once(format!("{name}[{n}]"), mailbox, faults);
            }
        }
        faults.at_most("reply_to", "addresses", self.reply_to.len(), REPLY_TO_MAX);
        for (n, mailbox) in self.reply_to.iter_mut().enumerate() {
            faults.mailbox(&format!("reply_to[{n}]"), mailbox);
        }
    }

    fn check_content(&self, faults: &mut Faults) {
        faults.clean("subject", &self.subject);
        faults.at_most("subject", "octets", self.subject.len(), SUBJECT_BYTES_MAX);
        let has_body = !self.html.is_empty() || !self.text.is_empty();
        match (self.template.is_empty(), has_body) {
            (true, false) => {
                faults.add(
                    Reason::MissingField,
                    "html",
                    "there is no content; give html, text or template",
                );
            }
            (false, true) => {
                let text = "a template supplies html and text; leave them empty";
                faults.add(Reason::InvalidValue, "template", text);
            }
            _ => {}
        }
        if self.template.is_empty() && self.subject.is_empty() {
            faults.add(Reason::MissingField, "subject", "is empty; give a subject");
        }
        if !self.variables.is_empty() && !self.liquid && self.template.is_empty() {
            let text = "variables need a template, or liquid set to true";
            faults.add(Reason::InvalidValue, "variables", text);
        }
        for (field, body) in [("html", &self.html), ("text", &self.text)] {
            if body.contains('\0') {
                faults.add(Reason::ForbiddenCharacter, field, "contains NUL; remove it");
            }
        }
        faults.at_most("variables", "octets", self.variables.len(), VARIABLES_BYTES_MAX);
    }

    fn check_attachments(&mut self, faults: &mut Faults) {
        faults.at_most("attachments", "files", self.attachments.len(), ATTACHMENTS_MAX);
        for (n, file) in self.attachments.iter_mut().enumerate() {
            let name = format!("attachments[{n}].filename");
            if file.filename.is_empty() {
                faults.add(Reason::MissingField, &name, "is empty; give a file name");
            }
            if file.filename.contains(['/', '\\']) || file.filename.chars().any(char::is_control) {
                let text = "contains a path separator or control character";
                faults.add(Reason::ForbiddenCharacter, &name, text);
            }
            faults.at_most(&name, "octets", file.filename.len(), NAME_BYTES_MAX);
            if file.content_type.is_empty() {
                "application/octet-stream".clone_into(&mut file.content_type);
            }
            if !is_media_type(&file.content_type) {
                let field = format!("attachments[{n}].content_type");
                let text = "is no media type; write for example application/pdf";
                faults.add(Reason::AttachmentNotAllowed, field, text);
            }
            let id_fits = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
            if !file.content_id.chars().all(id_fits) || file.content_id.len() > NAME_BYTES_MAX {
                let field = format!("attachments[{n}].content_id");
                let text = "may hold letters, digits and . _ - + @ only";
                faults.add(Reason::AttachmentNotAllowed, field, text);
            }
        }
    }

    fn check_headers(&self, faults: &mut Faults) {
        faults.at_most("headers", "fields", self.headers.len(), HEADERS_MAX);
        for (n, header) in self.headers.iter().enumerate() {
            let field = format!("headers[{n}].name");
            let printable = header.name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
            if header.name.is_empty() || !printable || header.name.len() > 76 {
                let text = "is no header field name; use visible US-ASCII without colon";
                faults.add(Reason::HeaderNotAllowed, field, text);
            } else if is_reserved(&header.name) {
                let text =
                    format!("{} is set by Postern; use the field of the request", header.name);
                faults.add(Reason::HeaderNotAllowed, field, text);
            }
            let field = format!("headers[{n}].value");
            faults.clean(&field, &header.value);
            faults.at_most(&field, "octets", header.value.len(), HEADER_BYTES_MAX);
        }
    }
}

/// Checks one recipient in place.
pub fn check_recipient(field: &str, recipient: &mut DraftRecipient, faults: &mut Faults) {
    faults.mailbox(field, &mut recipient.mailbox);
    check_metadata(&format!("{field}.metadata"), &recipient.metadata, faults);
    let variables = format!("{field}.variables");
    faults.at_most(&variables, "octets", recipient.variables.len(), VARIABLES_BYTES_MAX);
}

/// Checks an id of the client's.
pub fn check_id(field: &str, value: &str, faults: &mut Faults) {
    if value.chars().any(char::is_control) {
        faults.add(Reason::ForbiddenCharacter, field, "contains a control character; remove it");
    }
    faults.at_most(field, "characters", value.chars().count(), ID_CHARS_MAX);
}

impl Labels {
    /// Checks labels, ids and times.
    pub fn check(&self, now_ms: i64, faults: &mut Faults) {
        faults.at_most("tags", "labels", self.tags.len(), TAGS_MAX);
        for (n, tag) in self.tags.iter().enumerate() {
            let field = format!("tags[{n}]");
            if tag.is_empty() || tag.chars().any(char::is_control) {
                faults.add(
                    Reason::InvalidValue,
                    &field,
                    "is empty or contains a control character",
                );
            }
            faults.at_most(&field, "characters", tag.chars().count(), TAG_CHARS_MAX);
        }
        check_metadata("metadata", &self.metadata, faults);
        check_id("external_id", &self.external_id, faults);
        check_id("campaign_id", &self.campaign_id, faults);
        if self.send_ms.is_some_and(|send_ms| send_ms > now_ms + SCHEDULE_MS_MAX) {
            faults.add(Reason::ScheduleTooFar, "send_time", "is more than 366 days ahead");
        }
        let start = self.send_ms.unwrap_or(now_ms).max(now_ms);
        if self.expire_ms.is_some_and(|expire_ms| expire_ms <= start) {
            let text = "is past, or not after send_time";
            faults.add(Reason::ValueOutOfRange, "expire_time", text);
        }
    }
}

fn check_metadata(field: &str, metadata: &BTreeMap<String, String>, faults: &mut Faults) {
    faults.at_most(field, "entries", metadata.len(), METADATA_MAX);
    let bytes = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    faults.at_most(field, "octets", bytes, METADATA_BYTES_MAX);
    for (key, value) in metadata {
        let key_fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if key.is_empty() || key.len() > 64 || !key.chars().all(key_fits) {
            let text = "has a key that is not 1 to 64 letters, digits, _ . -";
            faults.add(Reason::InvalidValue, field, text);
        }
        let name = format!("{field}.{key}");
        faults.at_most(&name, "octets", value.len(), METADATA_VALUE_BYTES_MAX);
    }
}

fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
        !part.is_empty() && part.len() <= 127 && part.bytes().all(fits)
    };
    text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

/// Fields that Postern writes itself, or that would lie about the mail's way.
fn is_reserved(name: &str) -> bool {
    const OTHERS: [&str; 4] = ["sender", "authentication-results", "apparently-to", "errors-to"];
    const PREFIXES: [&str; 4] = ["content-", "resent-", "arc-", "received-"];
    let name = name.to_ascii_lowercase();
    crate::mime::is_reserved(&name)
        || OTHERS.contains(&name.as_str())
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
