//! From checked drafts to messages ready to be stored: templates resolved, everything rendered once
//! to find what is missing, ids given.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use postern_proto::ids::{BatchId, MessageId, RecipientId};
use postern_proto::reason::Reason;
use postern_proto::settings::{IDEMPOTENCY_TTL, MAX_AGE, MESSAGE_BYTES};
use postern_proto::status::Failure;

use crate::mime;
use crate::model::content::{Content, Mailbox, Wishes, domain_of};
use crate::model::delivery::Kind;
use crate::model::directory::ApiKey;
use crate::model::message::{Idempotency, MessageRow, NewMessage, NewRecipient, Priority};
use crate::template::TemplateError;
use crate::worker::Prepared;

use super::draft::{Draft, DraftRecipient, Faults, Labels};
use super::limits::INDIVIDUAL_RECIPIENTS_MAX;
use super::wishes::brings_own;
use super::{Intake, Ready, address};

/// How a request is recognised when it comes again: key and fingerprint.
pub type RequestKey = Option<(String, [u8; 32])>;

/// One item of a batch.
pub struct BatchItem {
    /// The recipient.
    pub recipient: DraftRecipient,
    /// The client's id for the item; empty for the message's.
    pub external_id: String,
    /// The item's idempotency.
    pub request: RequestKey,
}

/// A message the client composed itself.
pub struct RawDraft {
    /// The message.
    pub raw: Bytes,
    /// The envelope sender; empty for the null reverse-path.
    pub envelope_from: String,
    /// The envelope recipients.
    pub recipients: Vec<String>,
    /// What it is filed under.
    pub labels: Labels,
    /// What it asks for of tracking and unsubscribing.
    pub wishes: Wishes,
    /// The id a gateway has given it; none lets the core make one.
    pub message_id: Option<MessageId>,
    /// It goes to the local inbox only.
    pub test: bool,
}

impl Intake {
    /// Checks a message and makes it ready.
    pub fn message(
        &self,
        key: &ApiKey,
        mut draft: Draft,
        request: RequestKey,
    ) -> Result<Ready, Failure> {
        let now_ms = self.clock.now_ms();
        draft.check(false, now_ms)?;
        self.authorise_sender(key, &draft.from.email)?;
        let prepared = self.prepare(key, &draft)?;
        let recipients = draft.recipients();
        for (n, (_, recipient)) in recipients.iter().enumerate() {
            check_rendering(&prepared, recipient)
                .map_err(|e| unrendered(&e, &format!("to[{n}]")))?;
        }
        let id = MessageId::generate();
        let mut row = self.row(key, &draft.from, &draft.subject, &draft.labels, id, now_ms);
        // One recipient's own data belongs to the message when the message is theirs alone.
        if let [(_, only)] = recipients.as_slice() {
            row.metadata.extend(only.metadata.clone());
        }
        let idempotency = self.idempotency(key, "send", request, row.send_ms, now_ms);
        let recipients = recipients.into_iter().map(new_recipient).collect();
        let messages = vec![NewMessage { row, recipients, idempotency }];
        Ok(Ready { content_id: id.uuid(), prepared: Arc::new(prepared), messages })
    }

    /// Checks a batch: what all items share must be right, each item stands for itself. Returns the
    /// good items with their positions, and what is wrong with the others.
    #[expect(clippy::type_complexity, reason = "two lists of positions, used once")]
    pub fn batch(
        &self,
        key: &ApiKey,
        mut draft: Draft,
        items: Vec<BatchItem>,
    ) -> Result<(BatchId, Ready, Vec<usize>, Vec<(usize, Failure)>), Failure> {
        let now_ms = self.clock.now_ms();
        draft.check(true, now_ms)?;
        if items.is_empty() {
            return Err(Failure::field(Reason::MissingField, "items", "is empty; give 1 to 1000"));
        }
        if items.len() > INDIVIDUAL_RECIPIENTS_MAX {
            let text = format!("has {} items; at most 1000 are allowed", items.len());
            return Err(Failure::field(Reason::BatchTooLarge, "items", text));
        }
        self.authorise_sender(key, &draft.from.email)?;
        let (batch, prepared) = (BatchId::generate(), self.prepare(key, &draft)?);
        let (mut messages, mut good, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        for (n, mut item) in items.into_iter().enumerate() {
            if let Err(failure) = check_item(&prepared, &mut item) {
                bad.push((n, failure));
                continue;
            }
            let mut labels = draft.labels.clone();
            labels.metadata.extend(item.recipient.metadata.clone());
            if !item.external_id.is_empty() {
                labels.external_id = item.external_id;
            }
            let id = MessageId::generate();
            let mut row = self.row(key, &draft.from, &draft.subject, &labels, id, now_ms);
            (row.batch_id, row.content_id) = (Some(batch), batch.uuid());
            let idempotency = self.idempotency(key, "batch", item.request, row.send_ms, now_ms);
            let recipients = vec![new_recipient((Kind::To, item.recipient))];
            messages.push(NewMessage { row, recipients, idempotency });
            good.push(n);
        }
        let prepared = Arc::new(prepared);
        Ok((batch, Ready { content_id: batch.uuid(), prepared, messages }, good, bad))
    }

    /// Checks a message the client composed and makes it ready.
    pub fn raw(
        &self,
        key: &ApiKey,
        draft: RawDraft,
        request: RequestKey,
    ) -> Result<Ready, Failure> {
        let now_ms = self.clock.now_ms();
        self.check_size(draft.raw.len())?;
        let inspection = mime::inspect(&draft.raw)
            .map_err(|error| Failure::field(Reason::MalformedMessage, "raw", error.to_string()))?;
        let mut faults = Faults::default();
        // Each author is shown to the recipient, so each must be one the key may use.
        let mut authors = inspection.from.clone();
        for author in &mut authors {
            faults.mailbox("raw.from", author);
        }
        let from = authors.first().cloned().unwrap_or_default();
        if authors.is_empty() {
            faults.add(Reason::MissingField, "raw.from", "has no From field that can be read");
        }
        let mut envelope_from = String::new();
        if !draft.envelope_from.is_empty() {
            match address::parse(&draft.envelope_from) {
                Ok(email) => envelope_from = email,
                Err(text) => faults.add(Reason::InvalidAddress, "envelope_from", text),
            }
        }
        let recipients = raw_recipients(&draft.recipients, &mut faults);
        draft.labels.check(now_ms, &mut faults);
        faults.into_result()?;
        for author in &authors {
            self.authorise_sender(key, &author.email)?;
        }
        if !envelope_from.is_empty() {
            self.authorise_sender(key, &envelope_from)?;
        }
        let tracking = self.tracking(key, &draft.wishes, &draft.labels, || {
            inspection.fields.iter().any(|(name, _)| brings_own(name))
        })?;
        let id = draft.message_id.unwrap_or_else(MessageId::generate);
        // Encoded words may hide what no header field may hold.
        let subject: String = inspection.subject.chars().filter(|c| !c.is_control()).collect();
        let mut row = self.row(key, &from, &subject, &draft.labels, id, now_ms);
        row.test |= draft.test;
        if let Some(message_id) = inspection.message_id {
            row.rfc_message_id = message_id;
        }
        let content = Content {
            from: Some(from),
            raw: draft.raw,
            envelope_from,
            shared: true,
            tracking,
            ..Content::default()
        };
        let idempotency = self.idempotency(key, "raw", request, row.send_ms, now_ms);
        let messages = vec![NewMessage { row, recipients, idempotency }];
        let prepared = Arc::new(Prepared { content, compiled: None, required: Vec::new() });
        Ok(Ready { content_id: id.uuid(), prepared, messages })
    }

    fn check_size(&self, bytes: usize) -> Result<(), Failure> {
        let max = self.directory.now().settings().count(&MESSAGE_BYTES);
        if bytes <= max {
            return Ok(());
        }
        let text = format!("the message has {bytes} octets; at most {max} are allowed");
        Err(Failure::new(Reason::MessageTooLarge, text).with("limit_bytes", max.to_string()))
    }

    fn prepare(&self, key: &ApiKey, draft: &Draft) -> Result<Prepared, Failure> {
        let files: usize = draft.attachments.iter().map(|file| file.data.len()).sum();
        self.check_size(draft.html.len() + draft.text.len() + files)?;
        let mut content = Content {
            from: Some(draft.from.clone()),
            reply_to: draft.reply_to.clone(),
            subject: draft.subject.clone(),
            html: draft.html.clone(),
            text: draft.text.clone(),
            liquid: draft.liquid,
            lenient: draft.lenient,
            variables: draft.variables.clone(),
            attachments: draft.attachments.clone(),
            headers: draft.headers.clone(),
            shared: draft.is_shared(),
            envelope_from: draft.from.email.clone(),
            tracking: self.tracking(key, &draft.wishes, &draft.labels, || {
                draft.headers.iter().any(|field| brings_own(&field.name))
            })?,
            ..Content::default()
        };
        if content.shared {
            content.to = draft.to.iter().map(|recipient| recipient.mailbox.clone()).collect();
            content.cc.clone_from(&draft.cc);
        }
        let mut required = Vec::new();
        if !draft.template.is_empty() {
            required = self.fill_from_template(&draft.template, &mut content)?;
        }
        let compiled = Prepared::compile(&self.directory, &content).map_err(|error| {
            unrendered(&error, if draft.template.is_empty() { "html" } else { "template" })
        })?;
        Ok(Prepared { content, compiled, required })
    }

    /// Copies a template into the content, so that a later change of it touches no accepted mail.
    /// Returns the variables it demands.
    fn fill_from_template(
        &self,
        name: &str,
        content: &mut Content,
    ) -> Result<Vec<String>, Failure> {
        let snapshot = self.directory.now();
        let Some(template) = snapshot.template(name) else {
            let text =
                format!("there is no template '{name}'; list templates to see what there is");
            return Err(Failure::field(Reason::TemplateNotFound, "template.id", text));
        };
        if content.subject.is_empty() {
            content.subject.clone_from(&template.subject);
        }
        content.html.clone_from(&template.html);
        content.text.clone_from(&template.text);
        content.liquid = true;
        let mut variables: BTreeMap<String, serde_json::Value> = BTreeMap::new();
        for variable in template.variables.iter().filter(|v| !v.default.is_empty()) {
            variables.insert(variable.name.clone(), variable.default.clone().into());
        }
        if !content.variables.is_empty() {
            let own: BTreeMap<String, serde_json::Value> = serde_json::from_str(&content.variables)
                .map_err(|error| {
                    Failure::field(Reason::InvalidValue, "variables", error.to_string())
                })?;
            variables.extend(own);
        }
        if !variables.is_empty() {
            content.variables = serde_json::to_string(&variables).unwrap_or_default();
        }
        let demanded = template.variables.iter().filter(|v| v.required && !content.lenient);
        Ok(demanded.map(|variable| variable.name.clone()).collect())
    }

    fn row(
        &self,
        key: &ApiKey,
        from: &Mailbox,
        subject: &str,
        labels: &Labels,
        id: MessageId,
        now_ms: i64,
    ) -> MessageRow {
        let start = labels.send_ms.unwrap_or(now_ms).max(now_ms);
        let latest = start + self.directory.now().settings().get(&MAX_AGE);
        MessageRow {
            id,
            content_id: id.uuid(),
            batch_id: None,
            key_id: key.id,
            from: from.clone(),
            subject: subject.to_owned(),
            external_id: labels.external_id.clone(),
            campaign_id: labels.campaign_id.clone(),
            tags: labels.tags.clone(),
            metadata: labels.metadata.clone(),
            priority: labels.priority.unwrap_or(Priority::Normal),
            create_ms: now_ms,
            send_ms: labels.send_ms.filter(|send_ms| *send_ms > now_ms),
            expire_ms: labels.expire_ms.unwrap_or(latest),
            test: key.test,
            rfc_message_id: format!("{id}@{}", domain_of(&from.email)),
            trace: None,
        }
    }

    /// What keeps the answer under an idempotency key; none without one.
    pub fn idempotency(
        &self,
        key: &ApiKey,
        operation: &str,
        request: RequestKey,
        send_ms: Option<i64>,
        now_ms: i64,
    ) -> Option<Idempotency> {
        let (text, fingerprint) = request?;
        // A scheduled message may be asked about again until a day after it went.
        let after_send = send_ms.map_or(0, |send_ms| send_ms + 86_400_000);
        let kept_ms = self.directory.now().settings().get(&IDEMPOTENCY_TTL);
        let expire_ms = (now_ms + kept_ms).max(after_send);
        Some(Idempotency {
            key: super::idempotency_name(key, operation, &text),
            fingerprint,
            expire_ms,
        })
    }
}

fn check_item(prepared: &Prepared, item: &mut BatchItem) -> Result<(), Failure> {
    let mut faults = Faults::default();
    super::draft::check_recipient("to", &mut item.recipient, &mut faults);
    super::draft::check_id("external_id", &item.external_id, &mut faults);
    faults.into_result()?;
    check_rendering(prepared, &item.recipient).map_err(|error| unrendered(&error, "to"))
}

/// Renders what a recipient would get, to find now what would fail later.
fn check_rendering(prepared: &Prepared, recipient: &DraftRecipient) -> Result<(), TemplateError> {
    if prepared.compiled.is_none() {
        return Ok(());
    }
    if let Some(name) = prepared.missing(&recipient.variables)? {
        return Err(TemplateError::MissingVariable(name.to_owned()));
    }
    prepared.render(&recipient.variables).map(|_| ())
}

fn unrendered(error: &TemplateError, field: &str) -> Failure {
    let text = error.to_string();
    match error {
        TemplateError::MissingVariable(name) => Failure::field(
            Reason::TemplateVariableMissing,
            format!("{field}.variables.{name}"),
            text,
        )
        .with("variable", name),
        TemplateError::Forbidden(_) => Failure::field(Reason::ForbiddenCharacter, field, text),
        TemplateError::Syntax(_) | TemplateError::TooMuch(_) => {
            Failure::field(Reason::TemplateSyntax, field, text)
        }
    }
}

fn new_recipient((kind, recipient): (Kind, DraftRecipient)) -> NewRecipient {
    let (mailbox, variables) = (recipient.mailbox, recipient.variables);
    NewRecipient { id: RecipientId::generate(), kind, mailbox, variables }
}

fn raw_recipients(recipients: &[String], faults: &mut Faults) -> Vec<NewRecipient> {
    if recipients.is_empty() {
        faults.add(Reason::MissingField, "recipients", "names no recipient; give at least one");
    }
    if recipients.len() > INDIVIDUAL_RECIPIENTS_MAX {
        faults.add(Reason::TooManyRecipients, "recipients", "names more than 1000 recipients");
        return Vec::new();
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut list = Vec::new();
    for (n, text) in recipients.iter().enumerate() {
        match address::parse(text) {
            // An envelope may name a recipient twice; one mail is enough.
            Ok(email) if !seen.insert(email.to_lowercase()) => {}
            Ok(email) => {
                let mailbox = Mailbox { email, name: String::new() };
                let recipient = DraftRecipient { mailbox, ..Default::default() };
                list.push(new_recipient((Kind::To, recipient)));
            }
            Err(text) => faults.add(Reason::InvalidAddress, format!("recipients[{n}]"), text),
        }
    }
    list
}
