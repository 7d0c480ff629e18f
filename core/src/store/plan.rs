//! What a group of submissions becomes, row by row. Pure, and the same for both backends: the
//! backend reads what the plan needs to know, and writes what the plan says.

use std::collections::HashMap;

use postern_proto::ids::EventId;
use prost::Message as _;

use crate::model::delivery::State;
use crate::model::directory::SuppressionReason;
use crate::model::event::{EventType, NewEvent};
use crate::model::message::{
    Accepted, Claimed, MessageRow, NewMessage, NewRecipient, Receipt, ReceiptRecipient, Submission,
};
use uuid::Uuid;

/// A stored idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The fingerprint of its request.
    pub fingerprint: Vec<u8>,
    /// Until when it counts.
    pub expire_ms: i64,
    /// Its encoded answer.
    pub receipt: Vec<u8>,
}

/// Suppressed addresses: address in lower case and campaign (empty: all), with the reason.
pub type Suppressed = HashMap<(String, String), SuppressionReason>;

/// What the store knows that decides about a group.
#[derive(Debug, Default)]
pub struct Known {
    /// Stored idempotency keys among those of the group.
    pub keys: HashMap<String, StoredKey>,
    /// Suppressed addresses among those of the group.
    pub suppressed: Suppressed,
}

/// A delivery to be inserted.
#[derive(Debug)]
pub struct DeliveryInsert<'a> {
    /// The recipient.
    pub recipient: &'a NewRecipient,
    /// Its message.
    pub message: &'a MessageRow,
    /// The position in the message.
    pub ordinal: i64,
    /// The first state.
    pub state: State,
    /// Why it is suppressed; empty otherwise.
    pub reason: &'static str,
    /// When it is due.
    pub due_ms: i64,
    /// The node that holds it.
    pub lease: Option<Uuid>,
}

/// An idempotency key to be inserted.
#[derive(Debug)]
pub struct KeyInsert<'a> {
    /// The key.
    pub key: &'a str,
    /// The fingerprint.
    pub fingerprint: &'a [u8],
    /// Until when it counts.
    pub expire_ms: i64,
    /// The encoded answer.
    pub receipt: Vec<u8>,
}

/// The rows of a group, and the answers.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Messages.
    pub messages: Vec<&'a MessageRow>,
    /// Contents: id, time, bytes.
    pub bodies: Vec<(Uuid, i64, &'a [u8])>,
    /// Deliveries.
    pub deliveries: Vec<DeliveryInsert<'a>>,
    /// Events, in the order of their sequence.
    pub events: Vec<NewEvent>,
    /// Idempotency keys.
    pub keys: Vec<KeyInsert<'a>>,
    /// What became of each message of each submission.
    pub answers: Vec<Vec<Accepted>>,
}

/// The addresses whose suppression decides about a group, in lower case, without repetition.
pub fn addresses(submissions: &[Submission]) -> Vec<String> {
    let messages = submissions.iter().flat_map(|submission| &submission.messages);
    let recipients = messages.flat_map(|message| &message.recipients);
    lower(recipients.map(|recipient| &recipient.mailbox.email))
}

/// The addresses whose suppression decides about claimed deliveries, likewise.
pub fn claimed_addresses(claimed: &[Claimed]) -> Vec<String> {
    lower(claimed.iter().map(|delivery| &delivery.mailbox.email))
}

fn lower<'a>(emails: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut list: Vec<_> = emails.map(|email| email.to_lowercase()).collect();
    list.sort_unstable();
    list.dedup();
    list
}

/// Marks the claimed deliveries whose recipients were suppressed since they were accepted.
pub fn mark(claimed: &mut [Claimed], suppressed: &Suppressed) {
    for delivery in claimed {
        let email = &delivery.mailbox.email;
        delivery.suppressed = suppression(suppressed, email, &delivery.campaign_id);
    }
}

/// The idempotency keys of a group.
pub fn keys(submissions: &[Submission]) -> Vec<String> {
    let messages = submissions.iter().flat_map(|submission| &submission.messages);
    messages.filter_map(|message| Some(message.idempotency.as_ref()?.key.clone())).collect()
}

/// Decides about every message of a group.
pub fn plan<'a>(submissions: &'a [Submission], known: &mut Known, now_ms: i64) -> Plan<'a> {
    let mut plan = Plan::default();
    for submission in submissions {
        let before = plan.messages.len();
        let answers =
            submission.messages.iter().map(|m| plan.decide(m, submission.lease, known, now_ms));
        let answers = answers.collect();
        if plan.messages.len() > before {
            plan.bodies.push((submission.content_id, now_ms, &submission.content));
        }
        plan.answers.push(answers);
    }
    plan
}

impl<'a> Plan<'a> {
    fn decide(
        &mut self,
        message: &'a NewMessage,
        lease: Option<Uuid>,
        known: &mut Known,
        now_ms: i64,
    ) -> Accepted {
        let key = message.idempotency.as_ref();
        let stored = key.and_then(|key| known.keys.get(&key.key));
        if let (Some(key), Some(stored)) = (key, stored)
            && stored.expire_ms > now_ms
        {
            if stored.fingerprint != key.fingerprint {
                return Accepted::KeyReused;
            }
            let receipt = Receipt::decode(&*stored.receipt).unwrap_or_default();
            return Accepted::Replayed { receipt, expire_ms: stored.expire_ms };
        }
        let receipt = self.add(message, lease, known, now_ms);
        if let Some(key) = key {
            let encoded = receipt.encode_to_vec();
            let stored = StoredKey {
                fingerprint: key.fingerprint.to_vec(),
                expire_ms: key.expire_ms,
                receipt: encoded.clone(),
            };
            // The same key may come twice within one group.
            known.keys.insert(key.key.clone(), stored);
            self.keys.push(KeyInsert {
                key: &key.key,
                fingerprint: &key.fingerprint,
                expire_ms: key.expire_ms,
                receipt: encoded,
            });
        }
        Accepted::New(receipt)
    }

    fn add(
        &mut self,
        message: &'a NewMessage,
        lease: Option<Uuid>,
        known: &Known,
        now_ms: i64,
    ) -> Receipt {
        let row = &message.row;
        self.messages.push(row);
        let mut recipients = Vec::with_capacity(message.recipients.len());
        for (ordinal, recipient) in message.recipients.iter().enumerate() {
            let later = row.send_ms.filter(|send_ms| *send_ms > now_ms);
            let reason = suppression(&known.suppressed, &recipient.mailbox.email, &row.campaign_id);
            let (state, kind) = match (reason, later) {
                (Some(_), _) => (State::Suppressed, EventType::Suppressed),
                (None, Some(_)) => (State::Scheduled, EventType::Scheduled),
                (None, None) => (State::Queued, EventType::Accepted),
            };
            let reason = reason.map(SuppressionReason::name).unwrap_or_default();
            self.events.push(NewEvent {
                id: EventId::generate(),
                kind,
                create_ms: now_ms,
                message_id: row.id,
                delivery_id: recipient.id,
                campaign_id: row.campaign_id.clone(),
                attempt: 0,
                reason: reason.to_owned(),
                reply: None,
                possible_duplicate: false,
                next_ms: later,
            });
            self.deliveries.push(DeliveryInsert {
                recipient,
                message: row,
                ordinal: ordinal as i64,
                state,
                reason,
                due_ms: later.unwrap_or(now_ms),
                lease: lease.filter(|_| state == State::Queued),
            });
            recipients.push(ReceiptRecipient {
                id: recipient.id.uuid().as_bytes().to_vec(),
                state: state as u32,
                reason: reason.to_owned(),
            });
        }
        Receipt {
            message_id: row.id.uuid().as_bytes().to_vec(),
            create_ms: row.create_ms,
            recipients,
            batch_id: row.batch_id.map(|id| id.uuid().as_bytes().to_vec()).unwrap_or_default(),
        }
    }
}

fn suppression(suppressed: &Suppressed, email: &str, campaign: &str) -> Option<SuppressionReason> {
    if suppressed.is_empty() {
        return None;
    }
    let email = email.to_lowercase();
    let global = suppressed.get(&(email.clone(), String::new()));
    global.or_else(|| suppressed.get(&(email, campaign.to_owned()))).copied()
}

/// An hour's count of one type of event in one campaign.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// The start of the hour.
    pub hour_ms: i64,
    /// The campaign; empty for none.
    pub campaign_id: String,
    /// The number of the type.
    pub kind: i64,
    /// How many.
    pub count: i64,
}

/// Counts events by hour, campaign and type, sorted, so that transactions lock counters in the same
/// order.
pub fn counts<'e>(events: impl IntoIterator<Item = &'e NewEvent>) -> Vec<Count> {
    let mut counts = std::collections::BTreeMap::new();
    for event in events {
        let hour_ms = event.create_ms - event.create_ms.rem_euclid(3_600_000);
        *counts.entry((hour_ms, event.campaign_id.as_str(), event.kind as i64)).or_insert(0) += 1;
    }
    let count = |((hour_ms, campaign, kind), count): ((i64, &str, i64), i64)| Count {
        hour_ms,
        campaign_id: campaign.to_owned(),
        kind,
        count,
    };
    counts.into_iter().map(count).collect()
}
