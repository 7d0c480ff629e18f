//! The life of deliveries: claimed under a lease, begun, finished.
//!
//! A lease belongs to a node, and a node that stops its heartbeat loses all of them. The fencing
//! token of an attempt is the pair of node and attempt number: a report that does not carry the
//! current pair changes nothing.

use async_trait::async_trait;
use bytes::Bytes;
use postern_proto::ids::{MessageId, RecipientId};
use uuid::Uuid;

use crate::model::delivery::{State, Ticket};
use crate::model::directory::Suppression;
use crate::model::event::NewEvent;
use crate::model::message::Claimed;

use super::Error;

/// Rows that are folded at once; a full batch means there are more.
pub const FOLD_MAX: usize = 10_000;

/// A delivery whose attempt may start: its state is `sending` and durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The delivery.
    pub id: RecipientId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// The result of an attempt, to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// The delivery.
    pub id: RecipientId,
    /// The attempt this is about; 0 ends a delivery that was claimed but not begun.
    pub attempt: u32,
    /// The new state.
    pub state: State,
    /// When the next attempt is due; ignored in terminal states.
    pub due_ms: i64,
    /// The event that reports it. Reason and reply are taken from it.
    pub event: NewEvent,
    /// What is to be remembered of a mail that was handed to another system.
    pub hand_over: Option<NewHandOver>,
    /// The address, when it is not to be written to any more.
    pub suppress: Option<Suppression>,
}

/// A mail that another system took over, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHandOver {
    /// By what its reports are recognised; none while it is not known whether it was taken. Reports
    /// are then recognised by Message-ID and address.
    pub ticket: Option<Ticket>,
    /// The Message-ID without angle brackets.
    pub rfc_message_id: String,
    /// The recipient's address in lower case.
    pub email: String,
    /// When to ask what became of it, if no end was reported by then.
    pub ask_ms: Option<i64>,
}

/// How many deliveries are in which open state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Scheduled.
    pub scheduled: i64,
    /// Queued.
    pub queued: i64,
    /// Sending.
    pub sending: i64,
    /// Deferred.
    pub deferred: i64,
    /// The earliest due time of a free delivery.
    pub oldest_due_ms: Option<i64>,
}

impl Depth {
    /// Adds `count` deliveries in the state with this number; `due_ms` is the earliest of them.
    pub(super) fn add(&mut self, state: i64, count: i64, due_ms: Option<i64>) {
        match State::from_number(state) {
            Some(State::Scheduled) => self.scheduled += count,
            Some(State::Queued) => self.queued += count,
            Some(State::Sending) => self.sending += count,
            Some(State::Deferred) => self.deferred += count,
            _ => {}
        }
        self.oldest_due_ms = self.oldest_due_ms.into_iter().chain(due_ms).min();
    }
}

/// Hands out deliveries and takes their results.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Says that a node lives.
    async fn heartbeat(&self, node: Uuid, now_ms: i64) -> Result<(), Error>;

    /// Leases up to `limit` free deliveries that are due, most urgent first, and marks those whose
    /// recipients were suppressed since acceptance.
    async fn claim(&self, node: Uuid, now_ms: i64, limit: usize) -> Result<Vec<Claimed>, Error>;

    /// Marks leased deliveries as `sending`. Returns those that really may start, in no particular
    /// order: a canceled one, or one whose lease is gone, is missing.
    async fn begin(
        &self,
        node: Uuid,
        ids: &[RecipientId],
        now_ms: i64,
    ) -> Result<Vec<Begun>, Error>;

    /// Records results: state, event and counters in one transaction. Returns, in order, whether
    /// the lease still held; a result without a lease changes nothing.
    async fn finish(&self, node: Uuid, results: &[Finish], now_ms: i64)
    -> Result<Vec<bool>, Error>;

    /// Gives leases of deliveries back that were not begun.
    async fn release(&self, node: Uuid, ids: &[RecipientId]) -> Result<(), Error>;

    /// Gives leases of deliveries back that were not begun and are not to be begun before the time
    /// given with each. No attempt is counted and no event written.
    async fn postpone(&self, node: Uuid, until: &[(RecipientId, i64)]) -> Result<(), Error>;

    /// Takes the leases of nodes not heard of since `stale_before_ms` away. Deliveries that were
    /// being sent go back to the queue with a `message.recovered` event. Returns how many deliveries
    /// were freed; a full batch means there are more.
    async fn reap(&self, stale_before_ms: i64, now_ms: i64) -> Result<usize, Error>;

    /// Cancels every delivery of a message that is not being sent and not ended. Returns how many.
    async fn cancel(&self, message: MessageId, now_ms: i64) -> Result<usize, Error>;

    /// The content of a message or batch.
    async fn content(&self, id: Uuid) -> Result<Option<Bytes>, Error>;

    /// When the next free delivery is due.
    async fn next_due(&self) -> Result<Option<i64>, Error>;

    /// What is in the queue.
    async fn depth(&self) -> Result<Depth, Error>;

    /// Drops contents that were stored before `before_ms` and that no open delivery needs, and
    /// idempotency keys that have expired. Returns how many contents went.
    async fn purge(&self, before_ms: i64, now_ms: i64) -> Result<usize, Error>;

    /// Makes one row of those that a counter of an hour before `before_ms` was spread over, so that
    /// adding hours up is quick. Nothing is counted differently by it. Returns how many rows were
    /// folded; a full batch means there are more.
    async fn fold_counts(&self, before_ms: i64) -> Result<usize, Error>;
}
