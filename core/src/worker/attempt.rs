//! One attempt: begin → build → sign → deliver → record.
//!
//! Everything before `begin` may be repeated freely. Between `begin` and `record` a crash leaves the
//! delivery `sending`; the reaper then puts it back and marks that the recipient may get it twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postern_kit::backoff;
use postern_kit::clock::Clock;
use postern_kit::spans::Spans;
use postern_proto::ids::{EventId, RecipientId, SuppressionId};
use prost::Message as _;
use tokio::sync::Semaphore;

use crate::directory::Directory;
use crate::metrics::Metrics;
use crate::model::content::{Content, domain_of};
use crate::model::delivery::{Category, HandOver, Mail, Outcome, Reply, State};
use crate::model::directory::{Suppression, SuppressionReason};
use crate::model::event::{EventType, NewEvent};
use crate::model::message::Claimed;
use crate::queue::schedule::RetryPolicy;
use crate::queue::state::{Transition, step};
use crate::store::campaigns::HOLD_MS;
use crate::store::group::Group;
use crate::store::queue::{Begun, Finish, NewHandOver};
use crate::store::{Error, Queue};
use crate::track::Tracker;
use crate::transport::Transports;

use super::{Job, Prepared, build, span};

/// Longest pause between two tries while the store is down.
const STORE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Unsigned mail up to this size is built where the attempt runs.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// What an attempt needs.
pub struct Lab {
    /// For contents that are not in memory.
    pub queue: Arc<dyn Queue>,
    /// Begins attempts, many at a time.
    pub begin: Group<RecipientId, Option<Begun>>,
    /// Records results, many at a time.
    pub finish: Group<Finish, bool>,
    /// Lets deliveries wait until a time, many at a time.
    pub postpone: Group<(RecipientId, i64), ()>,
    /// Signers, compiling, and which campaigns are held.
    pub directory: Arc<Directory>,
    /// How tracking links are made; none without keys.
    pub tracker: Option<Arc<Tracker>>,
    /// Where mail goes.
    pub transports: Transports,
    /// When to try again.
    pub retry: RetryPolicy,
    /// The time.
    pub clock: Clock,
    /// How many mails are built and signed at once: as many as there are processors.
    pub builders: Arc<Semaphore>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where the spans of attempts go.
    pub spans: Spans,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// It ended in this state, and that is recorded.
    Ended(State),
    /// It was canceled meanwhile, or another node has it.
    NotOurs,
    /// None was made: its campaign is held, or the transport takes nothing now.
    Postponed,
}

/// Makes one attempt.
pub async fn attempt(lab: &Lab, job: Job) -> Attempted {
    let (claimed, start) = (job.claimed, Instant::now());
    let now_ms = lab.clock.now_ms();
    if let Some(over) = over(&claimed, now_ms) {
        return record(lab, &claimed, 0, over, start).await;
    }
    let known = lab.directory.now();
    if known.is_held(&claimed.campaign_id) || known.is_paused(&claimed.mailbox.email) {
        return postpone(lab, &claimed, now_ms.saturating_add(HOLD_MS)).await;
    }
    let transport = lab.transports.of(&claimed);
    if let Err(wait) = transport.admit() {
        return postpone(lab, &claimed, now_ms.saturating_add(wait.as_millis() as i64)).await;
    }
    let Some(begun) = begin(lab, &claimed).await else { return Attempted::NotOurs };
    let outcome = match mail(lab, &claimed, job.prepared).await {
        Ok(mail) => refined(lab, transport.deliver(mail).await),
        Err(outcome) => outcome,
    };
    let now_ms = lab.clock.now_ms();
    let next = step(outcome, begun.attempt, now_ms, claimed.expire_ms, &lab.retry, rand::random());
    record(lab, &claimed, begun.attempt, next, start).await
}

/// An outcome with the reason that the operator's own patterns give, where one fits.
fn refined(lab: &Lab, mut outcome: Outcome) -> Outcome {
    if let Outcome::Refused { reply, category } | Outcome::Deferred { reply, category, .. } =
        &mut outcome
    {
        *category = lab.directory.now().patterns().refine(reply, *category);
    }
    outcome
}

/// What ends a delivery before an attempt.
fn over(claimed: &Claimed, now_ms: i64) -> Option<Transition> {
    let (state, event, reason, text) = match claimed.suppressed {
        Some(reason) => {
            let text = "the recipient was suppressed after the message was accepted";
            (State::Suppressed, EventType::Suppressed, reason.name(), text)
        }
        None if claimed.expire_ms <= now_ms => {
            let text = "the message expired before it could be delivered";
            (State::Expired, EventType::Expired, "", text)
        }
        None => return None,
    };
    Some(Transition {
        state,
        due_ms: now_ms,
        event,
        reason,
        reply: Reply::local(text),
        possible_duplicate: false,
        hand_over: None,
    })
}

/// Gives a delivery back that is to wait. When the store cannot be reached the lease stays, and the
/// keeper finds that it is in nobody's memory.
async fn postpone(lab: &Lab, claimed: &Claimed, until_ms: i64) -> Attempted {
    if let Err(error) = lab.postpone.call((claimed.id, until_ms)).await {
        tracing::warn!(message.id = %claimed.message_id, %error, "waiting delivery not given back yet");
    }
    Attempted::Postponed
}

/// Begins an attempt, for as long as it takes. None when it is not ours any more.
async fn begin(lab: &Lab, claimed: &Claimed) -> Option<Begun> {
    for tries in 0.. {
        match lab.begin.call(claimed.id).await {
            Ok(begun) => return begun,
            Err(Error::Unavailable(cause)) => {
                tracing::warn!(message.id = %claimed.message_id, cause, "attempt not begun yet");
                pause(tries).await;
            }
            Err(error) => {
                tracing::error!(message.id = %claimed.message_id, %error, "attempt cannot begin");
                return None;
            }
        }
    }
    None
}

/// Waits before the store is asked again.
async fn pause(tries: u32) {
    let base = Duration::from_millis(100);
    let delay = backoff::delay(tries, base, STORE_PAUSE_MAX, 20, rand::random());
    tokio::time::sleep(delay).await;
}

/// Builds and signs the mail, or says why that will never, or not now, be possible.
async fn mail(
    lab: &Lab,
    claimed: &Claimed,
    prepared: Option<Arc<Prepared>>,
) -> Result<Mail, Outcome> {
    let prepared = match prepared {
        Some(prepared) => prepared,
        None => load(lab, claimed).await?,
    };
    let content = &prepared.content;
    let from_domain = content.from.as_ref().map(|from| domain_of(&from.email)).unwrap_or_default();
    let signers = lab.directory.now().signer(&from_domain);
    // Accepted while all mail stayed here, a mail may leave now: better without links than with ours.
    let fits = |tracker: &Arc<Tracker>| tracker.reaches_recipients(lab.transports.is_local());
    let tracker = content.tracking.and_then(|_| lab.tracker.clone().filter(fits));
    let envelope_from = content.envelope_from.clone();
    let date_ms = claimed.date_ms;
    let job = claimed.clone();
    let bytes = if signers.is_none() && content.encoded_len() <= INLINE_BYTES_MAX {
        build(&prepared, &job, tracker.as_deref(), date_ms, None)
    } else {
        // Signing costs up to a millisecond of a processor, and so does a large mail: not on the
        // threads that wait for sockets.
        let slot = lab.builders.clone().acquire_owned().await;
        let build = move || {
            let signers = signers.as_deref().map(Vec::as_slice);
            let bytes = build(&prepared, &job, tracker.as_deref(), date_ms, signers);
            drop(slot);
            bytes
        };
        let built = tokio::task::spawn_blocking(build).await;
        built.unwrap_or_else(|error| Err(format!("building panicked: {error}")))
    };
    let bytes = bytes.map_err(|text| refused(&text))?;
    Ok(Mail {
        delivery: claimed.id,
        message: claimed.message_id,
        from: envelope_from,
        to: claimed.mailbox.email.clone(),
        bytes: Bytes::from(bytes),
    })
}

async fn load(lab: &Lab, claimed: &Claimed) -> Result<Arc<Prepared>, Outcome> {
    let encoded = lab.queue.content(claimed.content_id).await.map_err(|error| {
        tracing::warn!(message.id = %claimed.message_id, %error, "content not read");
        let (reply, category) = (Reply::local("the store cannot be reached"), Category::Other);
        Outcome::Deferred { reply, category, may_duplicate: false }
    })?;
    let encoded = encoded.ok_or_else(|| refused("the content is no longer stored"))?;
    let content = Content::decode(encoded).map_err(|error| refused(&error.to_string()))?;
    let compiled = Prepared::compile(&lab.directory, &content);
    let compiled = compiled.map_err(|error| refused(&error.to_string()))?;
    Ok(Arc::new(Prepared { content, compiled, required: Vec::new() }))
}

fn refused(text: &str) -> Outcome {
    Outcome::Refused { reply: Reply::local(text), category: Category::Content }
}

/// Records a result, for as long as it takes: it must not be lost while this process lives.
async fn record(
    lab: &Lab,
    claimed: &Claimed,
    attempt: u32,
    next: Transition,
    start: Instant,
) -> Attempted {
    let create_ms = lab.clock.now_ms();
    let event = NewEvent {
        id: EventId::generate(),
        kind: next.event,
        create_ms,
        message_id: claimed.message_id,
        delivery_id: claimed.id,
        campaign_id: claimed.campaign_id.clone(),
        attempt,
        reason: next.reason.to_owned(),
        reply: Some(next.reply),
        possible_duplicate: next.possible_duplicate,
        next_ms: next.state.is_waiting().then_some(next.due_ms),
    };
    let finish = Finish {
        id: claimed.id,
        attempt,
        state: next.state,
        due_ms: next.due_ms,
        hand_over: next.hand_over.map(|how| handed_over(how, claimed, next.due_ms)),
        suppress: suppression(next.event, next.reason, &claimed.mailbox.email, create_ms),
        event,
    };
    for tries in 0.. {
        match lab.finish.call(finish.clone()).await {
            Ok(true) => {
                lab.metrics.attempt_ended(&finish, start.elapsed());
                span::ended(&lab.spans, claimed, &finish, start.elapsed());
                log(&finish, claimed);
                return Attempted::Ended(next.state);
            }
            Ok(false) => {
                tracing::warn!(message.id = %claimed.message_id, "lease lost; result not recorded");
                return Attempted::NotOurs;
            }
            Err(Error::Unavailable(cause)) => {
                tracing::warn!(message.id = %claimed.message_id, cause, "result not recorded yet");
                pause(tries).await;
            }
            Err(error) => {
                tracing::error!(message.id = %claimed.message_id, %error, "result cannot be recorded");
                return Attempted::NotOurs;
            }
        }
    }
    Attempted::NotOurs
}

fn handed_over(how: HandOver, claimed: &Claimed, due_ms: i64) -> NewHandOver {
    let ticket = match how {
        HandOver::Taken(ticket) => Some(ticket),
        HandOver::Unknown => None,
    };
    NewHandOver {
        ask_ms: ticket.is_some().then_some(due_ms),
        ticket,
        rfc_message_id: claimed.rfc_message_id.clone(),
        email: claimed.mailbox.email.to_lowercase(),
    }
}

/// An address that bounced because there is no mailbox behind it is not written to any more, by
/// anybody. Whatever else was refused says nothing about the address.
fn suppression(event: EventType, reason: &str, email: &str, now_ms: i64) -> Option<Suppression> {
    let is_dead = event == EventType::Bounced && Category::is_dead_address(reason);
    is_dead.then(|| Suppression {
        id: SuppressionId::generate(),
        email: email.to_lowercase(),
        reason: SuppressionReason::HardBounce,
        campaign_id: String::new(),
        note: String::new(),
        create_ms: now_ms,
    })
}

/// Who wants to follow mail in the log finds each result here; the event feed has them in any case.
fn log(finish: &Finish, claimed: &Claimed) {
    tracing::debug!(
        message.id = %claimed.message_id,
        recipient.id = %claimed.id,
        event = finish.event.kind.name(),
        attempt = finish.attempt,
        reason = finish.event.reason,
        "attempt ended"
    );
}
