//! Sending: one message, a batch, or a message the client composed.

use postern_kit::trace::Trace;
use postern_proto::metadata;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use crate::intake::expand::{BatchItem, RawDraft};
use crate::intake::{Answer, Ready, draft::Labels, message_id};
use crate::metrics::{Way, door};
use crate::model::delivery::State;
use crate::model::directory::ApiKey;
use crate::model::message::{DeliveryRow, NewMessage, Receipt};
use postern_proto::ids::{BatchId, MessageId, RecipientId};

use crate::store::messages;

use super::request_id::{check_keyless, checked_request_id, request_id, request_key};
use super::{Context, convert};

/// An answer, and what the idempotency key made of it.
pub struct Sent<T> {
    /// The answer.
    pub response: T,
    /// It, or a part of it, was stored by an earlier request.
    pub replayed: bool,
    /// Until when it is kept; none without an idempotency key.
    pub expire_ms: Option<i64>,
}

impl<T> Sent<T> {
    /// An answer of which nothing is kept.
    pub(super) fn unkept(response: T) -> Self {
        Self { response, replayed: false, expire_ms: None }
    }

    /// The same about another answer.
    pub(super) fn map<U>(self, with: impl FnOnce(T, bool) -> U) -> Sent<U> {
        let Self { response, replayed, expire_ms } = self;
        Sent { response: with(response, replayed), replayed, expire_ms }
    }
}

/// Accepts one message.
pub async fn send(
    context: &Context,
    key: &ApiKey,
    metadata: &MetadataMap,
    request: v1::SendMessageRequest,
) -> Result<Sent<v1::SendMessageResponse>, Failure> {
    let shown = |message, replayed| v1::SendMessageResponse { message: Some(message), replayed };
    let message = request.message.ok_or_else(missing_message)?;
    let request_id = request_id(&request.request_id, metadata)?;
    if request_id.is_none() && !request.validate_only {
        check_keyless(context)?;
    }
    let request_key = request_key(request_id, &message);
    if let Some(before) = context.intake.replay(key, "send", &request_key).await? {
        return Ok(stored_answer(context, &before).await?.map(shown));
    }
    let ready = context.intake.message(key, convert::draft(message)?, request_key)?;
    if request.validate_only {
        return Ok(Sent::unkept(preview(&ready)).map(shown));
    }
    Ok(accept_one(context, key, metadata, ready).await?.map(shown))
}

/// Accepts a message the client composed.
pub async fn send_raw(
    context: &Context,
    key: &ApiKey,
    metadata: &MetadataMap,
    request: v1::SendRawMessageRequest,
) -> Result<Sent<v1::SendRawMessageResponse>, Failure> {
    let shown = |message, replayed| v1::SendRawMessageResponse { message: Some(message), replayed };
    let message_id = given_id(context, metadata, &request)?;
    if let Some(id) = message_id.filter(|_| request.retry)
        && let Some(message) = accepted_before(context, key, id).await?
    {
        return Ok(Sent { response: message, replayed: true, expire_ms: None }.map(shown));
    }
    let text = request_id(&request.request_id, metadata)?;
    let validate_only = request.validate_only;
    if text.is_none() && message_id.is_none() && !validate_only {
        check_keyless(context)?;
    }
    let unnamed = v1::SendRawMessageRequest {
        request_id: String::new(),
        message_id: String::new(),
        retry: false,
        validate_only: false,
        ..request.clone()
    };
    let request_key = request_key(text, &unnamed);
    if request.raw.is_empty() {
        return Err(Failure::field(Reason::MissingField, "raw", "is empty; give the message"));
    }
    let labels = Labels {
        tags: request.tags,
        metadata: request.metadata,
        external_id: request.external_id,
        campaign_id: request.campaign_id,
        priority: convert::priority(request.priority)?,
        send_ms: convert::time("send_time", request.send_time)?,
        expire_ms: convert::time("expire_time", request.expire_time)?,
    };
    let draft = RawDraft {
        raw: request.raw,
        envelope_from: request.envelope_from,
        recipients: request.recipients,
        labels,
        wishes: convert::message_wishes(request.tracking, request.unsubscribe)?,
        message_id,
        test: request.test,
    };
    if let Some(before) = context.intake.replay(key, "raw", &request_key).await? {
        return Ok(stored_answer(context, &before).await?.map(shown));
    }
    let ready = context.intake.raw(key, draft, request_key)?;
    if validate_only {
        return Ok(Sent::unkept(preview(&ready)).map(shown));
    }
    Ok(accept_one(context, key, metadata, ready).await?.map(shown))
}

/// The id a gateway has given the message. Nobody else may choose one.
fn given_id(
    context: &Context,
    metadata: &MetadataMap,
    request: &v1::SendRawMessageRequest,
) -> Result<Option<MessageId>, Failure> {
    if request.message_id.is_empty() && !request.retry {
        return Ok(None);
    }
    // The REST gateway passes on what its clients say, so its word is not enough.
    let door = metadata.get(metadata::DOOR).map(|door| door.as_encoded_bytes());
    let chooses = matches!(door, Some(b"smtp" | b"sink"));
    if !(chooses && context.gate.is_gateway(metadata)?) {
        let text = "is for the SMTP gateway; leave it empty and use request_id";
        return Err(Failure::field(Reason::InvalidValue, "message_id", text));
    }
    let id = request.message_id.parse().map_err(|bad: postern_proto::ids::BadId| {
        Failure::field(Reason::InvalidValue, "message_id", format!("is {bad}"))
    })?;
    Ok(Some(id))
}

/// The message that an earlier request of this caller was accepted as.
async fn accepted_before(
    context: &Context,
    key: &ApiKey,
    id: MessageId,
) -> Result<Option<v1::Message>, Failure> {
    let found = messages::message(&*context.db, id).await?;
    let own = found.filter(|(row, _)| row.key_id == key.id);
    Ok(own.map(|(row, deliveries)| convert::message(row, deliveries)))
}

/// Accepts a batch.
pub async fn send_batch(
    context: &Context,
    key: &ApiKey,
    metadata: &MetadataMap,
    request: v1::BatchSendMessagesRequest,
) -> Result<Sent<v1::BatchSendMessagesResponse>, Failure> {
    let message = request.message.ok_or_else(missing_message)?;
    let batch_request = request_id(&request.request_id, metadata)?;
    let keyless = |item: &v1::BatchItem| item.request_id.is_empty();
    if batch_request.is_none() && !request.validate_only && request.items.iter().any(keyless) {
        check_keyless(context)?;
    }
    let shared = Sha256::digest(message.encode_to_vec());
    let mut results: Vec<v1::BatchResult> = Vec::with_capacity(request.items.len());
    let mut items = Vec::with_capacity(request.items.len());
    // Positions of `items` in the request: those that could not even be read are left out.
    let mut places = Vec::with_capacity(request.items.len());
    for (n, item) in request.items.into_iter().enumerate() {
        results.push(v1::BatchResult {
            index: n as i32,
            email: item.to.as_ref().map(|to| to.email.clone()).unwrap_or_default(),
            external_id: item.external_id.clone(),
            ..v1::BatchResult::default()
        });
        match batch_item(n, item, batch_request.as_deref(), &shared) {
            Ok(item) => {
                items.push(item);
                places.push(n);
            }
            Err(failure) => results[n].error = Some(failure.to_proto()),
        }
    }
    let mut batch_id = BatchId::generate().to_string();
    let mut expire_ms = None;
    if !items.is_empty() || results.is_empty() {
        let (id, ready, good, bad) = context.intake.batch(key, convert::draft(message)?, items)?;
        for (n, failure) in bad {
            results[places[n]].error = Some(failure.to_proto());
        }
        batch_id = id.to_string();
        if !ready.messages.is_empty() && !request.validate_only {
            let ready = traced(ready, metadata);
            let answers = context.intake.accept(key, ready, way(metadata, "batch")).await?;
            for (n, answer) in good.into_iter().zip(answers) {
                // The batch can be asked for again as long as all of its answers are kept.
                let kept_ms = answer.as_ref().ok().and_then(|answer| answer.expire_ms);
                expire_ms = [expire_ms, kept_ms].into_iter().flatten().min();
                if let Some(first) = fill(&mut results[places[n]], answer) {
                    // A batch that is asked for again is the batch it was.
                    batch_id = first;
                }
            }
        }
    }
    let refused = results.iter().filter(|result| result.error.is_some()).count() as i32;
    let accepted_count = results.len() as i32 - refused;
    let replayed = results.iter().any(|result| result.replayed);
    let refused_count = refused;
    let response =
        v1::BatchSendMessagesResponse { batch_id, results, accepted_count, refused_count };
    Ok(Sent { response, replayed, expire_ms })
}

fn batch_item(
    n: usize,
    item: v1::BatchItem,
    batch_request: Option<&str>,
    shared: &[u8],
) -> Result<BatchItem, Failure> {
    let mut own = item.encode_to_vec();
    own.extend_from_slice(shared);
    let text = match item.request_id.as_str() {
        "" => batch_request.map(|batch| format!("{batch}#{n}")),
        own => Some(checked_request_id("request_id", own)?.to_owned()),
    };
    let request = text.map(|text| (text, Sha256::digest(&own).into()));
    let to = item.to.ok_or_else(|| {
        Failure::field(Reason::MissingField, "to", "is missing; name the recipient")
    })?;
    Ok(BatchItem {
        recipient: convert::recipient("to", to)?,
        external_id: item.external_id,
        request,
    })
}

/// Fills an item's result in. Returns the batch of a replayed answer.
fn fill(result: &mut v1::BatchResult, answer: Result<Answer, Failure>) -> Option<String> {
    match answer {
        Ok(answer) => {
            let receipt = &answer.receipt;
            result.message_id = message_id(receipt).to_string();
            if let Some(recipient) = receipt.recipients.first() {
                result.recipient_id = recipient_id(&recipient.id).to_string();
                result.state = recipient.state as i32;
            }
            result.replayed = answer.replayed;
            let batch = Uuid::from_slice(&receipt.batch_id).ok().filter(|_| answer.replayed)?;
            Some(BatchId::from_uuid(batch).to_string())
        }
        Err(failure) => {
            result.error = Some(failure.to_proto());
            None
        }
    }
}

pub(super) async fn accept_one(
    context: &Context,
    key: &ApiKey,
    metadata: &MetadataMap,
    ready: Ready,
) -> Result<Sent<v1::Message>, Failure> {
    let ready = traced(ready, metadata);
    let asked = ready.messages.first().cloned();
    let answer = context.intake.accept(key, ready, way(metadata, "single")).await?.pop();
    let missing = || Failure::new(Reason::Internal, "something went wrong on our side");
    let (asked, answer) = asked.zip(answer).ok_or_else(missing)?;
    let answer = answer?;
    if answer.replayed {
        return stored_answer(context, &answer).await;
    }
    let response = answered(asked, &answer.receipt);
    Ok(Sent { response, replayed: false, expire_ms: answer.expire_ms })
}

/// The answer to a request that was accepted before, as it was given then.
pub(super) async fn stored_answer(
    context: &Context,
    answer: &Answer,
) -> Result<Sent<v1::Message>, Failure> {
    let receipt = &answer.receipt;
    let id = message_id(receipt);
    let found = messages::message(&*context.db, id).await?;
    let (row, mut deliveries) = found.ok_or_else(|| {
        Failure::new(Reason::MessageNotFound, format!("the message '{id}' is no longer kept"))
    })?;
    let due_ms = row.send_ms.unwrap_or(receipt.create_ms);
    for (delivery, stored) in deliveries.iter_mut().zip(&receipt.recipients) {
        delivery.state = State::from_number(i64::from(stored.state)).unwrap_or(State::Queued);
        delivery.reason.clone_from(&stored.reason);
        (delivery.attempts, delivery.reply) = (0, None);
        (delivery.due_ms, delivery.update_ms) = (due_ms, receipt.create_ms);
    }
    let response = convert::message(row, deliveries);
    Ok(Sent { response, replayed: true, expire_ms: answer.expire_ms })
}

/// The message as it was accepted now; only the states are the store's.
fn answered(asked: NewMessage, receipt: &Receipt) -> v1::Message {
    let due_ms = asked.row.send_ms.unwrap_or(receipt.create_ms);
    let recipients = asked.recipients.into_iter().zip(&receipt.recipients);
    let recipients = recipients.map(|(asked, stored)| DeliveryRow {
        id: recipient_id(&stored.id),
        kind: asked.kind,
        mailbox: asked.mailbox,
        state: State::from_number(i64::from(stored.state)).unwrap_or(State::Queued),
        reason: stored.reason.clone(),
        attempts: 0,
        due_ms,
        reply: None,
        update_ms: receipt.create_ms,
    });
    convert::message(asked.row, recipients.collect())
}

/// What would be accepted; its ids are gone with the answer.
fn preview(ready: &Ready) -> v1::Message {
    let Some(message) = ready.messages.first().cloned() else {
        return v1::Message::default();
    };
    let state = match message.row.send_ms {
        Some(_) => State::Scheduled,
        None => State::Queued,
    };
    let recipient =
        |recipient: &crate::model::message::NewRecipient| crate::model::message::ReceiptRecipient {
            id: recipient.id.uuid().as_bytes().to_vec(),
            state: state as u32,
            reason: String::new(),
        };
    let receipt = Receipt {
        message_id: message.row.id.uuid().as_bytes().to_vec(),
        create_ms: message.row.create_ms,
        recipients: message.recipients.iter().map(recipient).collect(),
        batch_id: Vec::new(),
    };
    answered(message, &receipt)
}

fn recipient_id(bytes: &[u8]) -> RecipientId {
    RecipientId::from_uuid(Uuid::from_slice(bytes).unwrap_or_default())
}

fn way(metadata: &MetadataMap, kind: &'static str) -> Way {
    Way { door: door(metadata.as_ref()), kind }
}

/// Under the span of the call stands what becomes of the messages.
fn traced(mut ready: Ready, metadata: &MetadataMap) -> Ready {
    let named = metadata.get(metadata::TRACEPARENT).and_then(|value| value.to_str().ok());
    let trace = named.and_then(Trace::parse);
    ready.messages.iter_mut().for_each(|message| message.row.trace = trace);
    ready
}

fn missing_message() -> Failure {
    Failure::field(Reason::MissingField, "message", "is missing; give the message")
}
