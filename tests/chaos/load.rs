//! Constant load from every door. What is refused, or has no answer, is sent again under the same
//! idempotency key, as a client of ours does it, until there is a yes or the load ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use postern_proto::v1::message_service_client::MessageServiceClient;
use postern_proto::v1::{BatchItem, BatchSendMessagesRequest, Recipient, SendMessageRequest};
use postern_tests::smtp_client::SmtpClient;
use postern_tests::stack::{mail_to, outgoing, request_with};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::ledger::Ledger;

/// Where a client goes: `host:port` each.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    pub(crate) rest: String,
    pub(crate) grpc: String,
    pub(crate) smtp: String,
    pub(crate) edge: String,
    pub(crate) key: String,
}

/// Each door is knocked at this often.
const PACE: Duration = Duration::from_millis(50);
/// A client that has waited so long for an answer asks again.
const PATIENCE: Duration = Duration::from_secs(10);
const BATCH: usize = 4;

/// Load that goes on until it is stopped.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Starts to send; addresses begin with `name`.
    pub(crate) fn start(doors: &Doors, ledger: &Arc<Ledger>, name: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for door in [Door::Rest, Door::Grpc, Door::Batch, Door::Smtp] {
            let client = Client {
                door,
                name: name.to_owned(),
                doors: doors.clone(),
                ledger: ledger.clone(),
                http: reqwest::Client::new(),
                channel: None,
                session: None,
            };
            tasks.spawn(client.run(stopped.clone()));
        }
        Self { stop, tasks }
    }

    /// Ends it. A mail that has no yes yet is not tried again.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a client failed")?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Door {
    Rest,
    Grpc,
    Batch,
    Smtp,
}

impl Door {
    fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Grpc => "grpc",
            Self::Batch => "batch",
            Self::Smtp => "smtp",
        }
    }
}

struct Client {
    door: Door,
    name: String,
    doors: Doors,
    ledger: Arc<Ledger>,
    http: reqwest::Client,
    channel: Option<Channel>,
    session: Option<SmtpClient>,
}

impl Client {
    async fn run(mut self, stopped: watch::Receiver<bool>) {
        let mut ticks = ticks();
        for number in 0.. {
            let door = self.door.name();
            let address = format!("{}-{door}{number}@good.test", self.name);
            loop {
                ticks.tick().await;
                if *stopped.borrow() {
                    return;
                }
                let sending = timeout(PATIENCE, self.send(&address)).await;
                let error = match sending {
                    Ok(Ok(accepted)) => {
                        accepted.iter().for_each(|(to, id)| self.ledger.accepted(to, id));
                        break;
                    }
                    Ok(Err(error)) => format!("{error:#}"),
                    Err(_) => "no answer in time".to_owned(),
                };
                self.ledger.refused(door, &error);
                // As any client does it: what may be broken is not used again.
                (self.channel, self.session) = (None, None);
            }
        }
    }

    /// Sends once. Returns the addresses and ids that were acknowledged.
    async fn send(&mut self, address: &str) -> anyhow::Result<Vec<(String, String)>> {
        match self.door {
            Door::Rest => self.rest(address).await,
            Door::Grpc => self.grpc(address).await,
            Door::Batch => self.batch(address).await,
            Door::Smtp => self.smtp(address).await,
        }
    }

    async fn rest(&self, address: &str) -> anyhow::Result<Vec<(String, String)>> {
        let request = self.http.post(format!("http://{}/v1/messages", self.doors.rest));
        let request = request.bearer_auth(&self.doors.key).header("idempotency-key", address);
        let answer = request.json(&mail_to(address)).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        match (status.as_u16(), body["id"].as_str()) {
            (202, Some(id)) => Ok(vec![(address.to_owned(), id.to_owned())]),
            _ => bail!("{status} {}", body["code"]),
        }
    }

    async fn grpc(&mut self, address: &str) -> anyhow::Result<Vec<(String, String)>> {
        let request = SendMessageRequest {
            message: Some(outgoing(address)),
            request_id: address.to_owned(),
            ..SendMessageRequest::default()
        };
        let request = request_with(request, &self.doors.key)?;
        let answer = self.messages()?.send_message(request).await.map_err(told)?.into_inner();
        let id = answer.message.context("no message")?.id;
        Ok(vec![(address.to_owned(), id)])
    }

    async fn batch(&mut self, address: &str) -> anyhow::Result<Vec<(String, String)>> {
        let item = |number| {
            let email = format!("{number}-{address}");
            let to = Some(Recipient { email, ..Recipient::default() });
            BatchItem { to, ..BatchItem::default() }
        };
        let mut message = outgoing(address);
        message.to.clear();
        let request = BatchSendMessagesRequest {
            message: Some(message),
            items: (0..BATCH).map(item).collect(),
            request_id: address.to_owned(),
            ..BatchSendMessagesRequest::default()
        };
        let request = request_with(request, &self.doors.key)?;
        let answer = self.messages()?.batch_send_messages(request).await.map_err(told)?;
        let results = answer.into_inner().results;
        let refused = results.iter().find_map(|result| result.error.as_ref());
        if let Some(error) = refused {
            bail!("an item was refused: {}", error.message);
        }
        Ok(results.into_iter().map(|result| (result.email, result.message_id)).collect())
    }

    async fn smtp(&mut self, address: &str) -> anyhow::Result<Vec<(String, String)>> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => SmtpClient::login_at(&self.doors.smtp, "u", &self.doors.key).await?,
        };
        let envelope = format!("MAIL FROM:<hi@shop.test>\r\nRCPT TO:<{address}>\r\n");
        let mail = format!(
            "From: hi@shop.test\r\nTo: {address}\r\nSubject: Hello\r\n\
             X-Postern-Idempotency-Key: {address}\r\n\r\nIt works."
        );
        let reply = session.mail_with(&envelope, &mail).await?;
        let id = reply.strip_prefix("250 2.0.0 Ok: queued as ").map(str::trim);
        match id {
            Some(id) => {
                self.session = Some(session);
                Ok(vec![(address.to_owned(), id.to_owned())])
            }
            None => bail!("{}", reply.trim()),
        }
    }

    fn messages(&mut self) -> anyhow::Result<MessageServiceClient<Channel>> {
        let channel = match self.channel.clone() {
            Some(channel) => channel,
            None => Endpoint::from_shared(format!("http://{}", self.doors.grpc))?.connect_lazy(),
        };
        self.channel = Some(channel.clone());
        Ok(MessageServiceClient::new(channel))
    }
}

/// A status without its details.
fn told(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{:?} {}", status.code(), status.message())
}

/// The pace of a client.
pub(crate) fn ticks() -> Interval {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
