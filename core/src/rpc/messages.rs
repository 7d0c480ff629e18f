//! `MessageService`.

use std::sync::Arc;

use postern_proto::ids::MessageId;
use postern_proto::metadata;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::message_service_server::MessageService;
use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::model::delivery::State;
use crate::store::Database;
use crate::store::any_id::AnyId;
use crate::store::messages::{self, MessageFilter};

use super::page::Pages;
use super::send::Sent;
use super::{Context, content, convert, send};

/// The service.
pub struct Messages(pub Context);

#[tonic::async_trait]
impl MessageService for Messages {
    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let key = self.0.gate.authorise(request.metadata(), "messages:send")?;
        let (metadata, _, request) = request.into_parts();
        Ok(marked(send::send(&self.0, &key, &metadata, request).await?))
    }

    async fn send_raw_message(
        &self,
        request: Request<v1::SendRawMessageRequest>,
    ) -> Result<Response<v1::SendRawMessageResponse>, Status> {
        let key = self.0.gate.authorise(request.metadata(), "messages:send")?;
        let (metadata, _, request) = request.into_parts();
        Ok(marked(send::send_raw(&self.0, &key, &metadata, request).await?))
    }

    async fn batch_send_messages(
        &self,
        request: Request<v1::BatchSendMessagesRequest>,
    ) -> Result<Response<v1::BatchSendMessagesResponse>, Status> {
        let key = self.0.gate.authorise(request.metadata(), "messages:send")?;
        let (metadata, _, request) = request.into_parts();
        Ok(marked(send::send_batch(&self.0, &key, &metadata, request).await?))
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Result<Response<v1::GetMessageResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "messages:read")?;
        let message = find(&self.0, &request.get_ref().id).await?;
        Ok(Response::new(v1::GetMessageResponse { message: Some(message) }))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "messages:read")?;
        Ok(Response::new(list(&self.0, request.into_inner()).await?))
    }

    async fn get_message_content(
        &self,
        request: Request<v1::GetMessageContentRequest>,
    ) -> Result<Response<v1::GetMessageContentResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "messages:content")?;
        Ok(Response::new(content::get(&self.0, request.into_inner()).await?))
    }

    async fn resend_message(
        &self,
        request: Request<v1::ResendMessageRequest>,
    ) -> Result<Response<v1::ResendMessageResponse>, Status> {
        let by = self.0.admit(request.metadata(), "messages:send")?;
        let (metadata, _, request) = request.into_parts();
        if by.key.operator.is_some() && !request.validate_only {
            self.0.note(&by, "message.resend", &request.id, "").await?;
        }
        Ok(marked(content::resend(&self.0, &by.key, &metadata, request).await?))
    }

    async fn cancel_message(
        &self,
        request: Request<v1::CancelMessageRequest>,
    ) -> Result<Response<v1::CancelMessageResponse>, Status> {
        let by = self.0.admit(request.metadata(), "messages:send")?;
        let request_of = request.get_ref();
        // A client that takes its own mail back is no administrator.
        if by.key.operator.is_some() && !request_of.validate_only {
            self.0.note(&by, "message.cancel", &request_of.id, "").await?;
        }
        Ok(Response::new(cancel(&self.0, request.into_inner()).await?))
    }
}

async fn cancel(
    context: &Context,
    request: v1::CancelMessageRequest,
) -> Result<v1::CancelMessageResponse, Failure> {
    let mut message = find(context, &request.id).await?;
    let canceled = if request.validate_only {
        message.recipients.iter().filter(|recipient| is_cancelable(recipient)).count()
    } else {
        let id = parse_id(&request.id)?;
        let canceled = context.queue.cancel(id, context.clock.now_ms()).await?;
        message = find(context, &request.id).await?;
        canceled
    };
    if canceled == 0 {
        let text = "every recipient has been sent to, is being sent to, or has ended";
        return Err(Failure::new(Reason::MessageNotCancelable, text).with("name", request.id));
    }
    let canceled_count = canceled as i32;
    Ok(v1::CancelMessageResponse { message: Some(message), canceled_count })
}

/// Whether no attempt is under way and another one would follow, as the store decides it.
fn is_cancelable(recipient: &v1::RecipientStatus) -> bool {
    use v1::RecipientState::{Deferred, Queued, Scheduled};
    matches!(recipient.state(), Scheduled | Queued | Deferred)
}

/// Says in the metadata whether an answer is a stored one, and how long it is kept.
fn marked<T>(sent: Sent<T>) -> Response<T> {
    let mut response = Response::new(sent.response);
    let entries = response.metadata_mut();
    if sent.replayed {
        entries.insert(metadata::IDEMPOTENCY_REPLAYED, MetadataValue::from_static("true"));
    }
    let expires = sent.expire_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    if let Some(expires) = expires.and_then(|expires| format!("{expires:.3}").parse().ok()) {
        entries.insert(metadata::IDEMPOTENCY_EXPIRE_TIME, expires);
    }
    response
}

/// An id of a message; what is none cannot be found.
pub(super) fn parse_id(text: &str) -> Result<MessageId, Failure> {
    text.parse().map_err(|_| missing(&text.chars().take(64).collect::<String>()))
}

pub(super) async fn find(context: &Context, text: &str) -> Result<v1::Message, Failure> {
    let id = parse_id(text)?;
    let found = messages::message(&*context.db, id).await?;
    let (row, deliveries) = found.ok_or_else(|| missing(text))?;
    let mut message = convert::message(row, deliveries);
    explain(context, &mut message);
    Ok(message)
}

/// Mail waits the same way whether its campaign is held or its destination paused; this tells which.
fn explain(context: &Context, message: &mut v1::Message) {
    let known = context.directory.now();
    if known.is_held(&message.campaign_id) {
        return;
    }
    for recipient in &mut message.recipients {
        if recipient.reason == convert::CAMPAIGN_HELD && known.is_paused(&recipient.email) {
            "destination_paused".clone_into(&mut recipient.reason);
        }
    }
}

pub(super) fn missing(id: &str) -> Failure {
    let text = format!("there is no message '{id}'");
    Failure::new(Reason::MessageNotFound, text).with("name", id)
}

async fn list(
    context: &Context,
    request: v1::ListMessagesRequest,
) -> Result<v1::ListMessagesResponse, Failure> {
    let size = context.pages.size(request.page_size)?;
    let unpaged =
        v1::ListMessagesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let binding = unpaged.encode_to_vec();
    let before = context.pages.before(&binding, &request.page_token)?;
    let state = match v1::RecipientState::try_from(request.state) {
        Ok(v1::RecipientState::Unspecified) => None,
        Ok(state) => State::from_number(i64::from(state as i32)),
        Err(_) => return Err(convert::unknown_enum("state")),
    };
    let batch_id = match request.batch_id.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            Failure::field(Reason::BadFilter, "batch_id", "is not the id of a batch (bat_…)")
        })?),
    };
    let any_id = match request.any_id.as_str() {
        "" => None,
        text => Some(AnyId::parse(text).ok_or_else(|| {
            let problem = "is neither an id (msg_…, rcp_…, evt_…, snk_…) nor a Message-ID";
            Failure::field(Reason::BadFilter, "any_id", problem)
        })?),
    };
    let filter = MessageFilter {
        any_id,
        recipient: normalised(&request.recipient),
        state,
        tag: request.tag,
        campaign_id: request.campaign_id,
        external_id: request.external_id,
        batch_id,
        since_ms: convert::time("since", request.since)?,
        until_ms: convert::time("until", request.until)?,
    };
    let filter = &filter;
    let read =
        |db: Arc<dyn Database>| async move { messages::list(&*db, filter, before, size + 1).await };
    // Who looks for a message by its own id asks about the one it has just sent.
    let (found, complete) = match filter.external_id.is_empty() && filter.any_id.is_none() {
        true => context.reads.with(read).await?,
        false => read(context.db.clone()).await?,
    };
    let mut messages: Vec<_> =
        found.into_iter().map(|(row, list)| convert::message(row, list)).collect();
    messages.iter_mut().for_each(|message| explain(context, message));
    let size = size.min(complete).min(Pages::fitting(&messages));
    let next_page_token = context.pages.cut(&mut messages, size, &binding, |last| last.id.clone());
    Ok(v1::ListMessagesResponse { messages, next_page_token })
}

/// An address as it is stored; what is no address is left alone and fits nothing.
pub(super) fn normalised(address: &str) -> String {
    crate::intake::address::parse(address).unwrap_or_else(|_| address.to_owned())
}
