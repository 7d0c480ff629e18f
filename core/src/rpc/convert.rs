//! The one place where both the wire's types and ours are named.

use std::collections::BTreeMap;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::{millis, timestamp};
use postern_proto::v1;
use prost_types::{Struct, Timestamp, Value, value::Kind as JsonKind};

use crate::intake::draft::{Draft, DraftRecipient, Faults, Labels};
use crate::intake::limits::VARIABLES_BYTES_MAX;
use crate::model::content::{Attachment, HeaderField, Mailbox, Wishes};
use crate::model::delivery::{Kind, Reply, State};
use crate::model::event::EventRow;
use crate::model::message::{DeliveryRow, MessageRow, Priority};
use crate::store::campaigns::HOLD_MS;

/// Why a delivery waits whose campaign is held.
pub(super) const CAMPAIGN_HELD: &str = "campaign_held";

/// A time of a request in milliseconds.
pub fn time(field: &str, time: Option<Timestamp>) -> Result<Option<i64>, Failure> {
    let Some(time) = time else { return Ok(None) };
    let bad = || Failure::field(Reason::InvalidValue, field, "is no time between 1970 and 9999");
    millis(&time).ok_or_else(bad).map(Some)
}

/// A priority of a request.
pub fn priority(number: i32) -> Result<Option<Priority>, Failure> {
    match v1::Priority::try_from(number) {
        Ok(v1::Priority::Unspecified) => Ok(None),
        Ok(v1::Priority::High) => Ok(Some(Priority::High)),
        Ok(v1::Priority::Normal) => Ok(Some(Priority::Normal)),
        Ok(v1::Priority::Low) => Ok(Some(Priority::Low)),
        Err(_) => Err(unknown_enum("priority")),
    }
}

/// The failure for a number that is no value of an enum.
pub fn unknown_enum(field: &str) -> Failure {
    Failure::field(Reason::InvalidValue, field, "is not one of the values of its enum")
}

fn mailbox(address: v1::EmailAddress) -> Mailbox {
    Mailbox { email: address.email, name: address.display_name }
}

fn mailboxes(list: Vec<v1::EmailAddress>) -> Vec<Mailbox> {
    list.into_iter().map(mailbox).collect()
}

/// A recipient of a request.
pub fn recipient(field: &str, from: v1::Recipient) -> Result<DraftRecipient, Failure> {
    Ok(DraftRecipient {
        mailbox: Mailbox { email: from.email, name: from.display_name },
        variables: variables(&format!("{field}.variables"), from.variables)?,
        metadata: from.metadata,
    })
}

/// What a message or a credential asks for. `before` stands before the names of the fields.
pub fn wishes(
    before: &str,
    tracking: Option<v1::TrackingOptions>,
    unsubscribe: Option<v1::UnsubscribeOptions>,
    faults: &mut Faults,
) -> Wishes {
    let mut unknown = |field: &str| {
        let text = "is not one of the values of its enum";
        faults.add(Reason::InvalidValue, format!("{before}{field}"), text);
    };
    if tracking.is_some_and(|one| v1::ClickTracking::try_from(one.clicks).is_err()) {
        unknown("tracking.clicks");
    }
    if unsubscribe.is_some_and(|one| v1::UnsubscribeMode::try_from(one.mode).is_err()) {
        unknown("unsubscribe.mode");
    }
    Wishes { tracking, unsubscribe }
}

/// What a message asks for.
pub fn message_wishes(
    tracking: Option<v1::TrackingOptions>,
    unsubscribe: Option<v1::UnsubscribeOptions>,
) -> Result<Wishes, Failure> {
    let mut faults = Faults::default();
    let wishes = wishes("", tracking, unsubscribe, &mut faults);
    faults.into_result().map(|()| wishes)
}

/// A message of a request.
pub fn draft(message: v1::OutgoingMessage) -> Result<Draft, Failure> {
    let to = message.to.into_iter().enumerate();
    let to = to.map(|(n, to)| recipient(&format!("to[{n}]"), to)).collect::<Result<_, _>>()?;
    let template = message.template.unwrap_or_default();
    let lenient = is_lenient("template.missing_variables", template.missing_variables)?
        || is_lenient("missing_variables", message.missing_variables)?;
    let shared = match v1::DeliveryMode::try_from(message.delivery_mode) {
        Ok(v1::DeliveryMode::Unspecified) => None,
        Ok(v1::DeliveryMode::Individual) => Some(false),
        Ok(v1::DeliveryMode::Shared) => Some(true),
        Err(_) => return Err(unknown_enum("delivery_mode")),
    };
    let attachment = |file: v1::Attachment| Attachment {
        filename: file.filename,
        content_type: file.content_type,
        data: file.content,
        content_id: file.content_id,
    };
    let header = |header: v1::Header| HeaderField { name: header.name, value: header.value };
    Ok(Draft {
        from: message.from.map(mailbox).unwrap_or_default(),
        to,
        cc: mailboxes(message.cc),
        bcc: mailboxes(message.bcc),
        reply_to: mailboxes(message.reply_to),
        subject: message.subject,
        html: message.html,
        text: message.text,
        liquid: message.liquid,
        template: template.id,
        lenient,
        variables: variables("variables", message.variables)?,
        attachments: message.attachments.into_iter().map(attachment).collect(),
        headers: message.headers.into_iter().map(header).collect(),
        shared,
        wishes: message_wishes(message.tracking, message.unsubscribe)?,
        labels: Labels {
            tags: message.tags,
            metadata: message.metadata,
            external_id: message.external_id,
            campaign_id: message.campaign_id,
            priority: priority(message.priority)?,
            send_ms: time("send_time", message.send_time)?,
            expire_ms: time("expire_time", message.expire_time)?,
        },
    })
}

fn is_lenient(field: &str, number: i32) -> Result<bool, Failure> {
    match v1::MissingVariables::try_from(number) {
        Ok(missing) => Ok(missing == v1::MissingVariables::Empty),
        Err(_) => Err(unknown_enum(field)),
    }
}

/// A struct as JSON text; empty for none.
pub fn variables(field: &str, from: Option<Struct>) -> Result<String, Failure> {
    let Some(from) = from.filter(|from| !from.fields.is_empty()) else {
        return Ok(String::new());
    };
    let text = serde_json::to_string(&object(from))
        .map_err(|error| Failure::field(Reason::InvalidValue, field, error.to_string()))?;
    if text.len() > VARIABLES_BYTES_MAX {
        let problem =
            format!("has {} octets; at most {VARIABLES_BYTES_MAX} are allowed", text.len());
        return Err(Failure::field(Reason::ValueOutOfRange, field, problem));
    }
    Ok(text)
}

fn object(from: Struct) -> BTreeMap<String, serde_json::Value> {
    from.fields.into_iter().map(|(key, value)| (key, json(value))).collect()
}

fn json(value: Value) -> serde_json::Value {
    match value.kind {
        None | Some(JsonKind::NullValue(_)) => serde_json::Value::Null,
        // A whole number is shown as one: 3, not 3.0.
        Some(JsonKind::NumberValue(n)) if n.fract() == 0.0 && n.abs() < 9e15 => (n as i64).into(),
        Some(JsonKind::NumberValue(n)) => n.into(),
        Some(JsonKind::StringValue(text)) => text.into(),
        Some(JsonKind::BoolValue(truth)) => truth.into(),
        Some(JsonKind::StructValue(inner)) => object(inner).into_iter().collect(),
        Some(JsonKind::ListValue(list)) => list.values.into_iter().map(json).collect(),
    }
}

/// A state on the wire; the numbers are the same.
pub fn state(state: State) -> v1::RecipientState {
    v1::RecipientState::try_from(state as i32).unwrap_or(v1::RecipientState::Unspecified)
}

/// A reply on the wire.
pub fn reply(reply: Reply) -> v1::SmtpReply {
    v1::SmtpReply {
        code: reply.code as i32,
        enhanced_code: reply.enhanced,
        text: reply.text,
        host: reply.host,
        phase: reply.phase,
        tls: reply.tls,
        transcript: reply.transcript,
    }
}

/// The state of a message that has recipients in these states.
pub fn message_state(states: &[State]) -> v1::MessageState {
    let all = |fits: fn(&State) -> bool| !states.is_empty() && states.iter().all(fits);
    if all(|state| *state == State::Canceled) {
        v1::MessageState::Canceled
    } else if all(|state| state.is_terminal()) {
        v1::MessageState::Completed
    } else if all(|state| *state == State::Scheduled || state.is_terminal()) {
        v1::MessageState::Scheduled
    } else if all(|state| *state == State::Queued || *state == State::Suppressed) {
        v1::MessageState::Accepted
    } else {
        v1::MessageState::Processing
    }
}

/// A message on the wire.
pub fn message(row: MessageRow, deliveries: Vec<DeliveryRow>) -> v1::Message {
    let states: Vec<State> = deliveries.iter().map(|delivery| delivery.state).collect();
    v1::Message {
        id: row.id.to_string(),
        state: message_state(&states).into(),
        create_time: Some(timestamp(row.create_ms)),
        from: Some(v1::EmailAddress { email: row.from.email, display_name: row.from.name }),
        subject: row.subject,
        external_id: row.external_id,
        campaign_id: row.campaign_id,
        batch_id: row.batch_id.map(|id| id.to_string()).unwrap_or_default(),
        tags: row.tags,
        metadata: row.metadata,
        priority: row.priority as i32,
        send_time: row.send_ms.map(timestamp),
        expire_time: Some(timestamp(row.expire_ms)),
        recipients: deliveries.into_iter().map(recipient_status).collect(),
        test: row.test,
        rfc_message_id: row.rfc_message_id,
        trace_id: row.trace.map(|trace| trace.id()).unwrap_or_default(),
    }
}

fn recipient_status(row: DeliveryRow) -> v1::RecipientStatus {
    let kind = match row.kind {
        Kind::To => v1::RecipientKind::To,
        Kind::Cc => v1::RecipientKind::Cc,
        Kind::Bcc => v1::RecipientKind::Bcc,
    };
    // A parked delivery is due when somebody resumes its campaign.
    let is_parked = row.due_ms >= HOLD_MS && !row.state.is_terminal();
    v1::RecipientStatus {
        id: row.id.to_string(),
        email: row.mailbox.email,
        display_name: row.mailbox.name,
        kind: kind.into(),
        state: state(row.state).into(),
        reason: if is_parked { CAMPAIGN_HELD.to_owned() } else { row.reason },
        attempts: row.attempts as i32,
        last_reply: row.reply.map(reply),
        next_attempt_time: (row.state.is_waiting() && !is_parked).then(|| timestamp(row.due_ms)),
        update_time: Some(timestamp(row.update_ms)),
    }
}

/// An event on the wire.
pub fn event(row: EventRow) -> v1::Event {
    let event = row.event;
    let mail = event.kind.is_about_mail();
    v1::Event {
        id: event.id.to_string(),
        sequence: row.sequence,
        r#type: event.kind.name().to_owned(),
        create_time: Some(timestamp(event.create_ms)),
        message_id: if mail { event.message_id.to_string() } else { String::new() },
        recipient_id: if mail { event.delivery_id.to_string() } else { String::new() },
        recipient: row.recipient,
        external_id: row.external_id,
        campaign_id: event.campaign_id,
        attempt: event.attempt as i32,
        reply: event.reply.map(reply),
        reason: event.reason,
        possible_duplicate: event.possible_duplicate,
        test: row.test,
        next_attempt_time: event.next_ms.map(timestamp),
        engagement: row.engagement,
        subject: row.subject,
    }
}
