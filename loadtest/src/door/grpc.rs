//! The calls of gRPC: a message, a batch of a thousand, a raw message, a message's status.
//!
//! Nothing is kept; a crash loses the measurement under way.

use anyhow::Context as _;
use postern_kit::core_client::tuned;
use postern_proto::v1;
use postern_proto::v1::message_service_client::MessageServiceClient;
use postern_proto::v1::template_service_client::TemplateServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use super::Mail;
use crate::pace::Door;

/// Recipients of a batch.
const BATCH: u64 = 1000;
/// Octets that one answer may have; a batch's is longer than the default.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What a caller asks for.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// SendMessage.
    Send,
    /// BatchSendMessages of a thousand, with this template.
    Batch(String),
    /// SendRawMessage.
    Raw,
    /// GetMessage of this message.
    Status(String),
}

/// A caller of gRPC.
#[derive(Debug)]
pub(crate) struct Grpc {
    service: MessageServiceClient<Channel>,
    key: MetadataValue<Ascii>,
    call: Call,
    mail: Mail,
}

/// Opens connections to a core.
pub(crate) async fn connect(core: &str, connections: usize) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..connections.max(1) {
        let endpoint = tuned(Endpoint::from_shared(core.to_owned())?);
        channels.push(endpoint.connect().await.context("the core cannot be reached")?);
    }
    Ok(channels)
}

/// A request that carries the key.
pub(crate) fn request<T>(key: &MetadataValue<Ascii>, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", key.clone());
    request
}

/// The key as metadata.
pub(crate) fn bearer(key: &str) -> anyhow::Result<MetadataValue<Ascii>> {
    Ok(format!("Bearer {key}").parse()?)
}

/// So many callers over these connections.
pub(crate) fn callers(
    channels: &[Channel],
    key: &MetadataValue<Ascii>,
    call: &Call,
    mail: &Mail,
    count: usize,
) -> Vec<Grpc> {
    (0..count)
        .map(|n| Grpc {
            service: MessageServiceClient::new(channels[n % channels.len()].clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            key: key.clone(),
            call: call.clone(),
            mail: mail.clone(),
        })
        .collect()
}

/// Makes the template that batches use.
pub(crate) async fn template(
    channel: &Channel,
    key: &MetadataValue<Ascii>,
    bytes: usize,
) -> anyhow::Result<String> {
    let text = crate::text::Texts::new().text(0, bytes);
    let template = v1::Template {
        alias: "load".to_owned(),
        subject: "Hello {{name}}".to_owned(),
        text: format!("Hello {{{{name}}}}\n{text}"),
        ..v1::Template::default()
    };
    let ask = v1::CreateTemplateRequest { template: Some(template), ..Default::default() };
    let mut service = TemplateServiceClient::new(channel.clone());
    let made = service.create_template(request(key, ask)).await?.into_inner();
    Ok(made.template.context("no template in the answer")?.id)
}

impl Grpc {
    /// Sends one message; its id.
    pub(crate) async fn send(&mut self, number: u64) -> anyhow::Result<String> {
        let to = v1::Recipient { email: self.mail.to(number), ..Default::default() };
        let message = v1::OutgoingMessage {
            to: vec![to],
            subject: "Load".to_owned(),
            text: self.mail.text(number),
            ..self.outgoing()
        };
        let message = Some(message);
        let ask = v1::SendMessageRequest { message, ..Default::default() };
        let answer = self.service.send_message(request(&self.key, ask)).await?;
        Ok(answer.into_inner().message.context("no message in the answer")?.id)
    }

    fn outgoing(&self) -> v1::OutgoingMessage {
        let from = v1::EmailAddress { email: self.mail.from.clone(), ..Default::default() };
        let send_time = self.mail.send_time();
        let priority = self.mail.priority.into();
        v1::OutgoingMessage { from: Some(from), send_time, priority, ..Default::default() }
    }

    async fn batch(&mut self, template: &str, number: u64) -> anyhow::Result<u64> {
        let template = v1::TemplateRef { id: template.to_owned(), ..Default::default() };
        let message = v1::OutgoingMessage {
            template: Some(template),
            campaign_id: "load".to_owned(),
            ..self.outgoing()
        };
        let item = |n: u64| {
            let name = prost_types::value::Kind::StringValue(format!("Reader {n}"));
            let name = prost_types::Value { kind: Some(name) };
            let fields = [("name".to_owned(), name)].into();
            let to = v1::Recipient {
                email: format!("user{n}@{}", self.mail.domain),
                variables: Some(prost_types::Struct { fields }),
                ..v1::Recipient::default()
            };
            v1::BatchItem { to: Some(to), ..v1::BatchItem::default() }
        };
        let items = (0..BATCH).map(|n| item(number * BATCH + n)).collect();
        let ask =
            v1::BatchSendMessagesRequest { message: Some(message), items, ..Default::default() };
        let answer = self.service.batch_send_messages(request(&self.key, ask)).await?.into_inner();
        let refused = answer.results.iter().filter(|result| result.message_id.is_empty()).count();
        anyhow::ensure!(refused == 0, "{refused} of a batch were refused");
        Ok(answer.results.len() as u64)
    }

    async fn raw(&mut self, number: u64) -> anyhow::Result<u64> {
        let ask = v1::SendRawMessageRequest {
            raw: self.mail.raw(number).into(),
            envelope_from: self.mail.from.clone(),
            recipients: vec![self.mail.to(number)],
            send_time: self.mail.send_time(),
            ..v1::SendRawMessageRequest::default()
        };
        self.service.send_raw_message(request(&self.key, ask)).await?;
        Ok(1)
    }
}

impl Door for Grpc {
    async fn call(&mut self, number: u64) -> anyhow::Result<u64> {
        match self.call.clone() {
            Call::Send => self.send(number).await.map(|_| 1),
            Call::Batch(template) => self.batch(&template, number).await,
            Call::Raw => self.raw(number).await,
            Call::Status(id) => {
                let ask = v1::GetMessageRequest { id };
                self.service.get_message(request(&self.key, ask)).await?;
                Ok(1)
            }
        }
    }
}
