//! VALIDATE: from a request to something we are willing to promise.
//!
//! Parse, authorise, expand, spend the limits, persist, hand over. Until the store has committed,
//! nothing has happened: a crash or an error anywhere here leaves no trace.

pub mod limits;
pub use postern_smtp_wire::address;
pub mod draft;
pub mod expand;
mod wishes;
pub mod quota;

use std::sync::Arc;

use bytes::Bytes;
use postern_kit::clock::Clock;
use postern_proto::ids::MessageId;
use postern_proto::reason::Reason;
use postern_proto::settings::{DAILY_LIMIT, DAILY_LIMIT_PER_KEY};
use postern_proto::status::Failure;
use prost::Message as _;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use crate::directory::Directory;
use crate::metrics::Way;
use crate::model::content::domain_of;
use crate::model::delivery::State;
use crate::model::directory::ApiKey;
use crate::model::message::{Accepted, Claimed, NewMessage, Receipt, Submission};
use crate::rpc::auth::INBOX_KEY;
use crate::store::group::Group;
use crate::store::{Database, idempotency};
use crate::track::Tracker;
use crate::transport::TransportChoice;
use crate::worker::{Handle, Job, Prepared};

use self::expand::RequestKey;
use self::quota::Quota;

/// Contents up to this size stay in memory until they are delivered.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Which senders are allowed besides what a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderPolicy {
    /// Any domain.
    Any,
    /// Domains that are registered here or listed in `POSTERN_SENDER_DOMAINS`.
    Registered,
}

/// The rules of acceptance that an operator sets.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Which senders are allowed; none: any while all mail stays here, else the registered ones.
    pub senders: Option<SenderPolicy>,
    /// Allowed sender domains besides the registered ones.
    pub sender_domains: Vec<String>,
    /// Mail without an idempotency key is refused; what comes by SMTP has one of its gateway.
    pub idempotency_required: bool,
    /// Where mail goes.
    pub transports: TransportChoice,
    /// How tracking links are made; none without keys to sign them with.
    pub tracker: Option<Arc<Tracker>>,
}

/// Accepts messages.
pub struct Intake {
    /// The rules.
    pub policy: Policy,
    /// Keys, domains, templates.
    pub directory: Arc<Directory>,
    /// The time.
    pub clock: Clock,
    /// For reserving limits.
    pub db: Arc<dyn Database>,
    /// Collects submissions into transactions.
    pub group: Group<Submission, Vec<Accepted>>,
    /// The scheduler of this node.
    pub worker: Handle,
    /// This node.
    pub node: Uuid,
    /// What this node has reserved of the daily limits.
    pub quota: Quota,
}

/// A request that passed all checks and is ready to be stored.
pub struct Ready {
    /// Under which id the content is stored.
    pub content_id: Uuid,
    /// The content, compiled where it is Liquid.
    pub prepared: Arc<Prepared>,
    /// The messages.
    pub messages: Vec<NewMessage>,
}

/// What became of one message.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its answer.
    pub receipt: Receipt,
    /// The answer was stored by an earlier request.
    pub replayed: bool,
    /// Until when it is kept under its idempotency key; none without one.
    pub expire_ms: Option<i64>,
}

impl Intake {
    /// Stores what is ready and hands it to the scheduler. One result per message, in order.
    ///
    /// Goes on to the end even when the caller goes away: what the store commits under a lease of
    /// this node must reach its scheduler.
    pub async fn accept(
        self: &Arc<Self>,
        key: &ApiKey,
        ready: Ready,
        way: Way,
    ) -> Result<Vec<Result<Answer, Failure>>, Failure> {
        let (intake, key) = (self.clone(), key.clone());
        let storing = async move { intake.store(&key, ready, way).await };
        let task = tokio::spawn(storing.in_current_span());
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "acceptance panicked");
            Err(Failure::new(Reason::Internal, "something went wrong on our side"))
        })
    }

    async fn store(
        &self,
        key: &ApiKey,
        ready: Ready,
        way: Way,
    ) -> Result<Vec<Result<Answer, Failure>>, Failure> {
        let now_ms = self.clock.now_ms();
        let recipients: usize = ready.messages.iter().map(|m| m.recipients.len()).sum();
        let limits = self.daily_limits(key);
        self.quota.spend(&*self.db, &limits, recipients as i64, now_ms).await?;
        let reservation = self.worker.reserve(recipients);
        let submission = Submission {
            content_id: ready.content_id,
            content: Bytes::from(ready.prepared.content.encode_to_vec()),
            messages: ready.messages.clone(),
            lease: reservation.is_some().then_some(self.node),
        };
        let stored = self.group.call(submission).await;
        let Ok(accepted) = stored else {
            self.quota.refund(&limits, recipients as i64, now_ms).await;
            return Err(stored.map(|_| ()).expect_err("it is not Ok").into());
        };
        let mut unused = 0;
        for (message, accepted) in ready.messages.iter().zip(&accepted) {
            let recipients = message.recipients.len();
            match accepted {
                Accepted::New(_) => {
                    self.worker.metrics.accepted(way, recipients);
                    tracing::debug!(message.id = %message.row.id, recipients, "accepted");
                }
                Accepted::Replayed { .. } | Accepted::KeyReused => unused += recipients,
            }
        }
        if unused > 0 {
            self.quota.refund(&limits, unused as i64, now_ms).await;
        }
        if let Some(reservation) = reservation {
            let jobs = jobs(&ready, &accepted);
            self.worker.hand_over(reservation, jobs);
        } else {
            self.worker.wake();
        }
        let keys = ready.messages.iter().map(|message| message.idempotency.as_ref());
        let keys = keys.map(|key| key.map(|key| key.expire_ms));
        Ok(accepted.into_iter().zip(keys).map(|(accepted, kept)| answer(accepted, kept)).collect())
    }

    /// The daily limits that hold for a key, each with the scope in which it counts; 0 is none.
    pub fn daily_limits(&self, key: &ApiKey) -> [(String, i64); 2] {
        let known = self.directory.now();
        let of_all = known.settings().get(&DAILY_LIMIT);
        let of_key = match key.daily_limit {
            0 => known.settings().get(&DAILY_LIMIT_PER_KEY),
            own => own,
        };
        [(key.id.to_string(), of_key), (quota::TOTAL.to_owned(), of_all)]
    }

    /// The stored answer to a request that was accepted before, whatever has changed since: a limit
    /// used up, a template deleted, a time passed.
    pub async fn replay(
        &self,
        key: &ApiKey,
        operation: &str,
        request: &RequestKey,
    ) -> Result<Option<Answer>, Failure> {
        let Some((text, fingerprint)) = request else { return Ok(None) };
        let name = idempotency_name(key, operation, text);
        let stored = idempotency::find(&*self.db, &name, self.clock.now_ms()).await?;
        let Some(stored) = stored else { return Ok(None) };
        if stored.fingerprint != fingerprint {
            return Err(key_reused());
        }
        let receipt = Receipt::decode(&*stored.receipt).unwrap_or_default();
        Ok(Some(Answer { receipt, replayed: true, expire_ms: Some(stored.expire_ms) }))
    }

    /// Whether no mail leaves this machine now.
    pub fn is_local(&self) -> bool {
        self.policy.transports.is_local(self.directory.now().settings())
    }

    /// Where mail goes now, in words.
    pub fn transports(&self) -> String {
        self.policy.transports.describe(self.directory.now().settings())
    }

    fn senders(&self) -> SenderPolicy {
        let implied = || if self.is_local() { SenderPolicy::Any } else { SenderPolicy::Registered };
        self.policy.senders.unwrap_or_else(implied)
    }

    /// Whether a key may send from this address.
    pub fn authorise_sender(&self, key: &ApiKey, email: &str) -> Result<(), Failure> {
        let domain = domain_of(email);
        let listed = |list: &[String]| list.iter().any(|d| d.eq_ignore_ascii_case(&domain));
        let refused = |text: String| {
            Err(Failure::field(Reason::SenderNotAllowed, "from", text).with("domain", &domain))
        };
        // What goes to the open inbox leaves nothing and pretends nothing to anybody.
        if key.id == INBOX_KEY {
            return Ok(());
        }
        if !key.sender_domains.is_empty() && !listed(&key.sender_domains) {
            return refused(format!("this key may not send from {domain}"));
        }
        let known = match self.senders() {
            SenderPolicy::Any => true,
            SenderPolicy::Registered => {
                listed(&self.policy.sender_domains) || self.directory.now().has_domain(&domain)
            }
        };
        if known {
            return Ok(());
        }
        refused(format!("{domain} is not a sender domain here; add it first"))
    }
}

/// What the scheduler gets right away: everything that was stored now and is due.
fn jobs(ready: &Ready, accepted: &[Accepted]) -> Vec<Job> {
    let mut jobs = Vec::new();
    // Large contents are read again at the attempt, so that waiting mail does not fill the memory.
    let small = ready.prepared.content.encoded_len() <= KEPT_BYTES_MAX;
    let kept = small.then(|| ready.prepared.clone());
    for (message, accepted) in ready.messages.iter().zip(accepted) {
        let Accepted::New(receipt) = accepted else {
            continue;
        };
        let row = &message.row;
        for (recipient, stored) in message.recipients.iter().zip(&receipt.recipients) {
            if stored.state != State::Queued as u32 {
                continue;
            }
            let claimed = Claimed {
                id: recipient.id,
                message_id: row.id,
                content_id: row.content_id,
                mailbox: recipient.mailbox.clone(),
                variables: recipient.variables.clone(),
                campaign_id: row.campaign_id.clone(),
                priority: row.priority,
                attempts: 0,
                date_ms: row.create_ms,
                expire_ms: row.expire_ms,
                test: row.test,
                rfc_message_id: row.rfc_message_id.clone(),
                sender: row.from.email.clone(),
                trace: row.trace,
                suppressed: None,
            };
            jobs.push(Job { claimed, prepared: kept.clone(), span: Span::current() });
        }
    }
    jobs
}

/// The answer to one message; `expire_ms` is until when it is kept if it is new.
fn answer(accepted: Accepted, expire_ms: Option<i64>) -> Result<Answer, Failure> {
    match accepted {
        Accepted::New(receipt) => Ok(Answer { receipt, replayed: false, expire_ms }),
        Accepted::Replayed { receipt, expire_ms } => {
            Ok(Answer { receipt, replayed: true, expire_ms: Some(expire_ms) })
        }
        Accepted::KeyReused => Err(key_reused()),
    }
}

fn key_reused() -> Failure {
    let text = "this idempotency key was used for another request; use a new key";
    Failure::new(Reason::IdempotencyKeyReused, text)
}

/// Under which name an idempotency key is stored.
fn idempotency_name(key: &ApiKey, operation: &str, text: &str) -> String {
    let mode = if key.test { "test" } else { "live" };
    format!("{mode}/{operation}/{text}")
}

/// The message's id in a receipt.
pub fn message_id(receipt: &Receipt) -> MessageId {
    MessageId::from_uuid(Uuid::from_slice(&receipt.message_id).unwrap_or_default())
}
