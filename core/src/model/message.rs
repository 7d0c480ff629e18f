//! A message as it is accepted, and as it is read back.

use std::collections::BTreeMap;

use bytes::Bytes;
use postern_kit::trace::Trace;
use postern_proto::ids::{BatchId, KeyId, MessageId, RecipientId};
use uuid::Uuid;

use super::content::Mailbox;
use super::delivery::{Kind, Reply, State};
use super::directory::SuppressionReason;

/// Which messages leave first. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Before all others.
    High = 1,
    /// The default.
    Normal = 2,
    /// After all others.
    Low = 3,
}

impl Priority {
    /// The priority with this number; unknown numbers are read as normal.
    pub fn from_number(number: i64) -> Self {
        match number {
            1 => Self::High,
            3 => Self::Low,
            _ => Self::Normal,
        }
    }
}

/// What is stored about a message besides its content and its recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// The id.
    pub id: MessageId,
    /// Under which id the content is stored: the message's own, or the batch's.
    pub content_id: Uuid,
    /// The batch it came in.
    pub batch_id: Option<BatchId>,
    /// The API key it was accepted for.
    pub key_id: KeyId,
    /// The sender.
    pub from: Mailbox,
    /// The subject as asked for.
    pub subject: String,
    /// The client's own id; empty for none.
    pub external_id: String,
    /// The campaign; empty for none.
    pub campaign_id: String,
    /// Labels.
    pub tags: Vec<String>,
    /// The client's own data.
    pub metadata: BTreeMap<String, String>,
    /// Which messages leave first.
    pub priority: Priority,
    /// When it was accepted, in milliseconds since 1970.
    pub create_ms: i64,
    /// When it is to be sent, if not at once.
    pub send_ms: Option<i64>,
    /// When to give up.
    pub expire_ms: i64,
    /// Accepted with a test key.
    pub test: bool,
    /// The Message-ID without angle brackets.
    pub rfc_message_id: String,
    /// The span of the call that it was accepted in.
    pub trace: Option<Trace>,
}

/// A recipient to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecipient {
    /// The id of the delivery.
    pub id: RecipientId,
    /// How the recipient is addressed.
    pub kind: Kind,
    /// The recipient.
    pub mailbox: Mailbox,
    /// The recipient's own variables as a JSON object; empty for none.
    pub variables: String,
}

/// How a request is recognised when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, with the operation and the mode before it.
    pub key: String,
    /// SHA-256 over the normalised request.
    pub fingerprint: [u8; 32],
    /// Until when the answer is kept.
    pub expire_ms: i64,
}

/// One message of a submission.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The message.
    pub row: MessageRow,
    /// Its recipients, at least one.
    pub recipients: Vec<NewRecipient>,
    /// Set when the client gave an idempotency key.
    pub idempotency: Option<Idempotency>,
}

/// What one request asks to be accepted: one content, and one message or the messages of a batch.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Under which id the content is stored.
    pub content_id: Uuid,
    /// The encoded content.
    pub content: Bytes,
    /// The messages, in the order of the request.
    pub messages: Vec<NewMessage>,
    /// The node that will deliver the messages right away; none leaves them to whoever claims them.
    pub lease: Option<Uuid>,
}

/// One recipient in a stored answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReceiptRecipient {
    /// The delivery's id.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The state's number right after acceptance.
    #[prost(uint32, tag = "2")]
    pub state: u32,
    /// Why it is suppressed; empty otherwise.
    #[prost(string, tag = "3")]
    pub reason: String,
}

/// The answer to one accepted message, kept under its idempotency key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Receipt {
    /// The message's id.
    #[prost(bytes = "vec", tag = "1")]
    pub message_id: Vec<u8>,
    /// When it was accepted.
    #[prost(int64, tag = "2")]
    pub create_ms: i64,
    /// Its recipients, in order.
    #[prost(message, repeated, tag = "3")]
    pub recipients: Vec<ReceiptRecipient>,
    /// The batch's id; empty for single messages.
    #[prost(bytes = "vec", tag = "4")]
    pub batch_id: Vec<u8>,
}

/// What became of one message of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// Stored now.
    New(Receipt),
    /// The same request was accepted before.
    Replayed {
        /// Its answer.
        receipt: Receipt,
        /// Until when that is kept.
        expire_ms: i64,
    },
    /// The idempotency key belongs to another request.
    KeyReused,
}

/// A recipient as it is read back.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryRow {
    /// The delivery's id.
    pub id: RecipientId,
    /// How the recipient is addressed.
    pub kind: Kind,
    /// The recipient.
    pub mailbox: Mailbox,
    /// Where it stands.
    pub state: State,
    /// Why; empty for no reason.
    pub reason: String,
    /// How many attempts were started.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due_ms: i64,
    /// The last reply of a remote server.
    pub reply: Option<Reply>,
    /// When the state last changed.
    pub update_ms: i64,
}

/// A delivery that this node holds a lease for.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The delivery.
    pub id: RecipientId,
    /// The message.
    pub message_id: MessageId,
    /// Where the content is.
    pub content_id: Uuid,
    /// The recipient.
    pub mailbox: Mailbox,
    /// The recipient's own variables as a JSON object; empty for none.
    pub variables: String,
    /// The campaign; empty for none.
    pub campaign_id: String,
    /// Which messages leave first.
    pub priority: Priority,
    /// How many attempts were started before.
    pub attempts: u32,
    /// The Date of the mail: when the message was accepted, or was to be sent. The same at every
    /// attempt, so that every attempt makes the same bytes.
    pub date_ms: i64,
    /// When to give up.
    pub expire_ms: i64,
    /// Accepted with a test key.
    pub test: bool,
    /// The Message-ID without angle brackets.
    pub rfc_message_id: String,
    /// The address in the From field.
    pub sender: String,
    /// The span of the call that the message was accepted in.
    pub trace: Option<Trace>,
    /// The recipient was suppressed since the message was accepted. Only looked at when a delivery
    /// is claimed from the store: acceptance has just looked.
    pub suppressed: Option<SuppressionReason>,
}
