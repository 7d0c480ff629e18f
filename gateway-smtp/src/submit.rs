//! Hands a complete message to the core and turns its answer into a reply. 250 is said only for an
//! answer that says committed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use postern_kit::core_client::{Caller, CoreClient};
use postern_kit::spans::{Ended, KeyValue, Kind, Spans};
use postern_kit::trace::Trace;
use postern_proto::ids::{MessageId, RequestId};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::message_service_client::MessageServiceClient;
use postern_smtp_wire::path::ReversePath;

use crate::header::{Header, is_internal};
use crate::options::{self, Options};
use crate::outcome::Unanswered;
use crate::reply::Reply;
use crate::session::{Handover, Identity};
use crate::vendor;

/// Messages in one request are bounded by the core; the request adds little to them.
const ANSWER_OCTETS_MAX: usize = 8 << 20;

/// The way to the core.
pub(crate) struct Submitter {
    core: CoreClient,
    sink: CoreClient,
    timeout: Duration,
    unanswered: Unanswered,
    pub(crate) spans: Spans,
}

impl Submitter {
    pub(crate) fn new(core: CoreClient, timeout: Duration, spans: Spans) -> Self {
        let sink = core.with_door("sink");
        Self { core, sink, timeout, unanswered: Unanswered::default(), spans }
    }

    /// Remembers a message whose sender may not have heard that it was accepted.
    pub(crate) fn remember(&self, handover: &Handover, id: MessageId) {
        self.unanswered.remember(handover, id);
    }

    /// Hands a message over, in the first span of a trace. Returns the client's reply, and the
    /// message's id when it was accepted under the one that was proposed.
    pub(crate) async fn submit(
        &self,
        handover: &Handover,
        client_ip: std::net::IpAddr,
    ) -> (Reply, Option<MessageId>) {
        let (start, trace) = (Instant::now(), self.spans.request(None));
        let request_id = RequestId::generate().to_string();
        let (reply, id) = self.hand_over(handover, client_ip, &request_id, trace).await;
        self.spans.ended(&trace, start.elapsed(), || ended(handover, &reply, &request_id));
        (reply, id)
    }

    async fn hand_over(
        &self,
        handover: &Handover,
        client_ip: std::net::IpAddr,
        request_id: &str,
        trace: Trace,
    ) -> (Reply, Option<MessageId>) {
        let before = self.unanswered.find(handover);
        let id = before.unwrap_or_else(MessageId::generate);
        let mut message = match request(handover) {
            Ok(message) => message,
            Err(reply) => return (reply, None),
        };
        message.message_id = id.to_string();
        message.retry = before.is_some();
        let caller = Caller {
            authorization: handover.identity.authorization.to_string(),
            client_ip: Some(client_ip),
            request_id: request_id.to_owned(),
            trace: Some(trace),
        };
        match self.call(message, &caller).await {
            Ok(accepted) => {
                if before.is_some() {
                    self.unanswered.forget(handover);
                }
                let trace_id = trace.id();
                tracing::debug!(message.id = accepted, request.id = request_id, trace.id = trace_id, credential.id = %handover.identity.id, "accepted");
                let reply = Reply::new(250, "2.0.0", format!("Ok: queued as {accepted}"));
                (reply, (accepted == id.to_string()).then_some(id))
            }
            Err(failure) => {
                if may_be_accepted(failure.reason) {
                    self.unanswered.remember(handover, id);
                }
                let reason = failure.reason.meaning().name;
                let trace_id = trace.id();
                tracing::info!(request.id = request_id, trace.id = trace_id, reason, credential.id = %handover.identity.id, "not accepted");
                let mut reply = Reply::of(&failure, false);
                reply.text = format!("{} [{request_id}]", reply.text).into();
                (reply, None)
            }
        }
    }

    async fn call(
        &self,
        message: v1::SendRawMessageRequest,
        caller: &Caller,
    ) -> Result<String, Failure> {
        // Without a credential only the plain sink gets here.
        let core = if caller.authorization.is_empty() { &self.sink } else { &self.core };
        let mut request = core.request(message, caller);
        request.set_timeout(self.timeout);
        let mut client = MessageServiceClient::new(core.channel.clone())
            .max_decoding_message_size(ANSWER_OCTETS_MAX);
        let answer = tokio::time::timeout(self.timeout, client.send_raw_message(request)).await;
        let late = || {
            let text = "the core did not answer in time; the message may be sent again safely";
            Failure::new(Reason::DeadlineExceeded, text)
        };
        match answer {
            Err(_) => Err(late()),
            Ok(Ok(answer)) => {
                let message = answer.into_inner().message.unwrap_or_default();
                Ok(message.id)
            }
            Ok(Err(status)) => Err(match status.code() {
                // The channel's own words would tell about our network.
                tonic::Code::Unavailable | tonic::Code::Unknown if status.details().is_empty() => {
                    let text = "the core cannot be reached; the message may be sent again safely";
                    Failure::new(Reason::CoreUnavailable, text)
                }
                tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => late(),
                _ => Failure::from_status(&status),
            }),
        }
    }
}

/// The span of a message: from its last octet to our reply.
fn ended(handover: &Handover, reply: &Reply, request_id: &str) -> Ended {
    let attributes = vec![
        KeyValue::new("messaging.operation.name", "submit"),
        KeyValue::new("postern.smtp.reply_code", i64::from(reply.code)),
        KeyValue::new("postern.smtp.enhanced_code", reply.enhanced),
        KeyValue::new("postern.smtp.recipients", handover.recipients.len() as i64),
        KeyValue::new("postern.smtp.octets", handover.content.len() as i64),
        KeyValue::new("postern.request.id", request_id.to_owned()),
    ];
    // What the client did wrong is no fault of ours; that it is to come again is.
    let error = (400..500).contains(&reply.code).then(|| reply.enhanced.to_owned());
    Ended { name: "SMTP message".into(), kind: Kind::Server, attributes, error }
}

/// Whether the core may have accepted the message although it gave no such answer.
fn may_be_accepted(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DeadlineExceeded
            | Reason::CoreUnavailable
            | Reason::Internal
            | Reason::StoreUnavailable
            | Reason::IdempotencyInFlight
    )
}

/// The message with what its header asks for, and without what is not for recipients.
fn request(handover: &Handover) -> Result<v1::SendRawMessageRequest, Reply> {
    let identity = &handover.identity;
    let header = Header::split(&handover.content);
    let (options, stripped) = match &header {
        None => (Options::default(), None),
        // What is caught on purpose is shown as it came.
        Some(_) if identity.authorization.is_empty() => (Options::default(), None),
        Some(header) => {
            let aliases = &identity.header_aliases;
            let options = options::read(header, aliases).map_err(|bad| bad.reply())?;
            let drop = |name: &str| is_internal(name) || vendor::is_option(name, aliases);
            (options, header.without(drop))
        }
    };
    let mut metadata = options.metadata;
    if let Some(id) = &handover.envelope_id {
        metadata.entry("envid".to_owned()).or_insert_with(|| id.clone());
    }
    Ok(v1::SendRawMessageRequest {
        raw: stripped.map_or_else(|| handover.content.clone(), Bytes::from),
        envelope_from: envelope_from(&handover.sender, identity, header.as_ref()),
        recipients: handover.recipients.clone(),
        tags: options.tags,
        metadata,
        external_id: options.external_id,
        campaign_id: options.campaign_id,
        priority: options.priority as i32,
        send_time: options.send_time.map(timestamp),
        expire_time: options.expire_time.map(timestamp),
        request_id: options.request_id,
        test: options.test,
        tracking: Some(options.tracking).filter(|asked| *asked != v1::TrackingOptions::default()),
        unsubscribe: Some(options.unsubscribe)
            .filter(|asked| *asked != v1::UnsubscribeOptions::default()),
        ..v1::SendRawMessageRequest::default()
    })
}

/// The envelope sender. Where the client gave none that can be used, the one in its login or its
/// From field stands in.
fn envelope_from(sender: &ReversePath, identity: &Identity, header: Option<&Header<'_>>) -> String {
    match sender {
        ReversePath::Mailbox(address) => address.clone(),
        ReversePath::Null => String::new(),
        ReversePath::Unusable => match &identity.login_sender {
            Some(address) => address.to_string(),
            None => header.and_then(from_field).unwrap_or_default(),
        },
    }
}

/// The address of the From field, read as leniently as MAIL FROM.
fn from_field(header: &Header<'_>) -> Option<String> {
    let field = header.fields.iter().find(|field| field.name.eq_ignore_ascii_case("from"))?;
    match postern_smtp_wire::path::reverse_path(&field.value()) {
        Ok((ReversePath::Mailbox(address), _)) => Some(address),
        _ => None,
    }
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    postern_proto::time::timestamp(time.as_millisecond())
}
