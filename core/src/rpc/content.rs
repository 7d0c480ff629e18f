//! The parts of `MessageService` that go back to the stored content: showing a mail, and sending it
//! once more.

use std::collections::HashSet;
use std::sync::Arc;

use postern_proto::ids::{MessageId, RecipientId};
use postern_proto::reason::Reason;
use postern_proto::settings::MAX_AGE;
use postern_proto::status::Failure;
use postern_proto::v1;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use crate::intake::Ready;
use crate::model::content::{Content, domain_of};
use crate::model::directory::ApiKey;
use crate::model::message::{Claimed, DeliveryRow, MessageRow, NewMessage, NewRecipient};
use crate::store::messages;
use crate::worker::{Prepared, build};

use super::Context;
use super::messages::{missing, parse_id};
use super::request_id::{check_keyless, request_id, request_key};
use super::send::{Sent, accept_one, stored_answer};

/// Whose idempotency keys these are.
const OPERATION: &str = "resend";

/// The mail of one recipient.
pub(super) async fn get(
    context: &Context,
    request: v1::GetMessageContentRequest,
) -> Result<v1::GetMessageContentResponse, Failure> {
    let (row, deliveries) = stored(context, &request.id).await?;
    let wanted = |one: &&DeliveryRow| match request.recipient_id.as_str() {
        "" => true,
        text => text.parse() == Ok(one.id),
    };
    let delivery = deliveries.iter().find(wanted).ok_or_else(unknown_recipient)?;
    let prepared = prepared(context, &row).await?;
    let variables = messages::variables(&*context.db, row.id).await?;
    let variables = variables.get(&delivery.id).cloned().unwrap_or_default();
    let claimed = claimed(&row, delivery, variables);
    let built = tokio::task::spawn_blocking(move || {
        build(&prepared, &claimed, None, claimed.date_ms, None)
    });
    let raw = built.await.unwrap_or_else(|error| Err(format!("building panicked: {error}")));
    let raw = raw.map_err(|text| Failure::new(Reason::MalformedMessage, text))?;
    Ok(v1::GetMessageContentResponse { raw: raw.into() })
}

/// Accepts a message once more.
pub(super) async fn resend(
    context: &Context,
    key: &ApiKey,
    metadata: &MetadataMap,
    request: v1::ResendMessageRequest,
) -> Result<Sent<v1::ResendMessageResponse>, Failure> {
    let shown = |message, replayed| v1::ResendMessageResponse { message: Some(message), replayed };
    let request_id = request_id(&request.request_id, metadata)?;
    if request_id.is_none() && !request.validate_only {
        check_keyless(context)?;
    }
    let bare = v1::ResendMessageRequest { request_id: String::new(), ..request.clone() };
    let request_key = request_key(request_id, &bare);
    if let Some(before) = context.intake.replay(key, OPERATION, &request_key).await? {
        return Ok(stored_answer(context, &before).await?.map(shown));
    }
    let (row, mut deliveries) = stored(context, &request.id).await?;
    if !request.recipient_ids.is_empty() {
        let ids: Result<HashSet<RecipientId>, _> =
            request.recipient_ids.iter().map(|text| text.parse()).collect();
        let ids = ids.map_err(|_| unknown_recipient())?;
        deliveries.retain(|delivery| ids.contains(&delivery.id));
        if deliveries.len() != ids.len() {
            return Err(unknown_recipient());
        }
    }
    context.intake.authorise_sender(key, &row.from.email)?;
    let prepared = prepared(context, &row).await?;
    if request.validate_only {
        return Ok(Sent::unkept(v1::ResendMessageResponse::default()));
    }
    let mut variables = messages::variables(&*context.db, row.id).await?;
    let recipients = deliveries.into_iter().map(|delivery| NewRecipient {
        id: RecipientId::generate(),
        kind: delivery.kind,
        mailbox: delivery.mailbox,
        variables: variables.remove(&delivery.id).unwrap_or_default(),
    });
    let recipients = recipients.collect();
    let row = again(context, key, row);
    let idempotency =
        context.intake.idempotency(key, OPERATION, request_key, row.send_ms, row.create_ms);
    let content_id = row.content_id;
    let message = NewMessage { row, recipients, idempotency };
    let ready = Ready { content_id, prepared, messages: vec![message] };
    Ok(accept_one(context, key, metadata, ready).await?.map(shown))
}

/// The row of a message that is sent once more now.
fn again(context: &Context, key: &ApiKey, row: MessageRow) -> MessageRow {
    let (id, now_ms) = (MessageId::generate(), context.clock.now_ms());
    MessageRow {
        id,
        content_id: id.uuid(),
        batch_id: None,
        key_id: key.id,
        create_ms: now_ms,
        send_ms: None,
        expire_ms: now_ms + context.directory.now().settings().get(&MAX_AGE),
        test: row.test || key.test,
        rfc_message_id: format!("{id}@{}", domain_of(&row.from.email)),
        ..row
    }
}

async fn stored(context: &Context, text: &str) -> Result<(MessageRow, Vec<DeliveryRow>), Failure> {
    let found = messages::message(&*context.db, parse_id(text)?).await?;
    found.ok_or_else(|| missing(text))
}

async fn prepared(context: &Context, row: &MessageRow) -> Result<Arc<Prepared>, Failure> {
    let encoded = context.queue.content(row.content_id).await?;
    let encoded = encoded.ok_or_else(|| {
        let text = "the content is no longer stored (content.retention)";
        Failure::new(Reason::MessageNotFound, text).with("name", row.id.to_string())
    })?;
    let unreadable = |error: &dyn std::fmt::Display| {
        tracing::error!(message.id = %row.id, %error, "stored content cannot be read");
        Failure::new(Reason::Internal, "the stored content cannot be read")
    };
    let content = <Content as prost::Message>::decode(encoded).map_err(|e| unreadable(&e))?;
    let compiled =
        Prepared::compile(&context.directory, &content).map_err(|error| unreadable(&error))?;
    Ok(Arc::new(Prepared { content, compiled, required: Vec::new() }))
}

fn claimed(row: &MessageRow, delivery: &DeliveryRow, variables: String) -> Claimed {
    Claimed {
        id: delivery.id,
        message_id: row.id,
        content_id: Uuid::nil(),
        mailbox: delivery.mailbox.clone(),
        variables,
        campaign_id: row.campaign_id.clone(),
        priority: row.priority,
        attempts: delivery.attempts,
        date_ms: row.send_ms.unwrap_or(row.create_ms),
        expire_ms: row.expire_ms,
        test: row.test,
        rfc_message_id: row.rfc_message_id.clone(),
        sender: row.from.email.clone(),
        trace: row.trace,
        suppressed: None,
    }
}

fn unknown_recipient() -> Failure {
    Failure::field(Reason::MessageNotFound, "recipient_id", "is no recipient of this message")
}
