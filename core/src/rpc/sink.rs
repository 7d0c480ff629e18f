//! `SinkService`: the local inbox.

use std::time::Duration;

use postern_proto::ids::SinkId;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::{duration_millis, timestamp};
use postern_proto::v1;
use postern_proto::v1::sink_service_server::SinkService;
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::model::directory::SinkMail;
use crate::store::inbox::{self, InboxFilter};

use super::Context;
use super::messages::{normalised, parse_id};

const WAIT_DEFAULT_MS: u64 = 10_000;
const WAIT_MAX_MS: u64 = 60_000;
/// The store is asked at least this often while somebody waits.
const POLL: Duration = Duration::from_millis(200);

/// The service.
pub struct Sink(pub Context);

#[tonic::async_trait]
impl SinkService for Sink {
    async fn list_sink_messages(
        &self,
        request: Request<v1::ListSinkMessagesRequest>,
    ) -> Result<Response<v1::ListSinkMessagesResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "sink:read")?;
        Ok(Response::new(list(&self.0, request.into_inner()).await?))
    }

    async fn get_sink_message(
        &self,
        request: Request<v1::GetSinkMessageRequest>,
    ) -> Result<Response<v1::GetSinkMessageResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "sink:read")?;
        let mail = find(&self.0, parse_sink_id(&request.get_ref().id)?).await?;
        Ok(Response::new(v1::GetSinkMessageResponse { message: Some(shown(mail)) }))
    }

    async fn wait_for_sink_message(
        &self,
        request: Request<v1::WaitForSinkMessageRequest>,
    ) -> Result<Response<v1::WaitForSinkMessageResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "sink:read")?;
        let mail = wait(&self.0, request.into_inner()).await?;
        Ok(Response::new(v1::WaitForSinkMessageResponse { message: Some(shown(mail)) }))
    }

    async fn delete_sink_messages(
        &self,
        request: Request<v1::DeleteSinkMessagesRequest>,
    ) -> Result<Response<v1::DeleteSinkMessagesResponse>, Status> {
        let by = self.0.admit(request.metadata(), "sink:write")?;
        let v1::DeleteSinkMessagesRequest { ids, validate_only } = request.into_inner();
        let ids = ids.iter().map(|text| parse_sink_id(text)).collect::<Result<Vec<_>, _>>()?;
        if validate_only {
            return Ok(Response::new(v1::DeleteSinkMessagesResponse { deleted_count: 0 }));
        }
        let ids = (!ids.is_empty()).then_some(ids);
        let what = ids.as_ref().map_or_else(|| "all".to_owned(), |ids| ids.len().to_string());
        let db = self.0.audited(&by, "sink.delete", "", &format!("{what} mails"));
        let deleted = inbox::delete(&db, ids).await.map_err(Failure::from)?;
        let deleted_count = deleted as i64;
        Ok(Response::new(v1::DeleteSinkMessagesResponse { deleted_count }))
    }
}

async fn list(
    context: &Context,
    request: v1::ListSinkMessagesRequest,
) -> Result<v1::ListSinkMessagesResponse, Failure> {
    let size = context.pages.size(request.page_size)?;
    let unpaged =
        v1::ListSinkMessagesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let binding = unpaged.encode_to_vec();
    let filter = InboxFilter {
        recipient: normalised(&request.recipient),
        message_id: match request.message_id.as_str() {
            "" => None,
            text => Some(parse_id(text)?),
        },
        subject_contains: String::new(),
        before: context.pages.before(&binding, &request.page_token)?,
    };
    let mut found = inbox::list(&*context.db, &filter, size + 1).await?;
    let next_page_token = context.pages.cut(&mut found, size, &binding, |last| last.id.to_string());
    let messages = found.into_iter().map(shown).collect();
    Ok(v1::ListSinkMessagesResponse { messages, next_page_token })
}

async fn wait(
    context: &Context,
    request: v1::WaitForSinkMessageRequest,
) -> Result<SinkMail, Failure> {
    let asked = request.timeout.as_ref().map_or(Some(WAIT_DEFAULT_MS), duration_millis);
    let timeout_ms = asked.filter(|ms| *ms <= WAIT_MAX_MS).ok_or_else(|| {
        Failure::field(Reason::ValueOutOfRange, "timeout", "is not between 0 and 60 seconds")
    })?;
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let filter = InboxFilter {
        recipient: normalised(&request.recipient),
        message_id: match request.message_id.as_str() {
            "" => None,
            text => Some(parse_id(text)?),
        },
        subject_contains: request.subject_contains,
        before: None,
    };
    loop {
        let mut signal = context.db.events_signal();
        if let Some(mail) = inbox::list(&*context.db, &filter, 1).await?.pop() {
            return find(context, mail.id).await;
        }
        if Instant::now() >= deadline {
            let text = "no such mail was caught in time";
            return Err(Failure::new(Reason::DeadlineExceeded, text));
        }
        let next_look = deadline.min(Instant::now() + POLL);
        // A signal or its end, or the time for the next look.
        let _hint = tokio::time::timeout_at(next_look, signal.changed()).await;
    }
}

async fn find(context: &Context, id: SinkId) -> Result<SinkMail, Failure> {
    inbox::find(&*context.db, id).await?.ok_or_else(missing)
}

fn parse_sink_id(text: &str) -> Result<SinkId, Failure> {
    text.parse().map_err(|_| missing())
}

fn missing() -> Failure {
    Failure::new(Reason::SinkMessageNotFound, "there is no such mail in the inbox")
}

fn shown(mail: SinkMail) -> v1::SinkMessage {
    v1::SinkMessage {
        id: mail.id.to_string(),
        create_time: Some(timestamp(mail.create_ms)),
        envelope_from: mail.envelope_from,
        envelope_to: mail.envelope_to,
        subject: mail.subject,
        from: mail.from,
        size_bytes: mail.size,
        message_id: mail.message_id.to_string(),
        raw: mail.raw.into(),
    }
}
