//! Answers that never came. When the core did not answer, nobody knows whether the message was
//! accepted; the client is told to try again, and when it brings the same bytes the core is asked
//! under the same id, so that one mail stays one mail.
//!
//! In memory and bounded; a crash forgets it, and then a retry may be a second mail. So may one that
//! reaches another gateway: clients that cannot bear it send `X-Postern-Idempotency-Key`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use postern_proto::ids::MessageId;
use postern_smtp_wire::path::ReversePath;
use sha2::{Digest as _, Sha256};

use crate::session::Handover;

/// How long a client may take to try again.
const KEPT: Duration = Duration::from_secs(6 * 3600);
/// How many are remembered; beyond, the oldest go.
const ENTRIES_MAX: usize = 20_000;

/// What was handed over without an answer.
#[derive(Debug, Default)]
pub(crate) struct Unanswered(Mutex<HashMap<[u8; 32], (MessageId, Instant)>>);

impl Unanswered {
    /// The id under which this very message was handed over before without an answer.
    pub(crate) fn find(&self, handover: &Handover) -> Option<MessageId> {
        // Nearly always empty: then no message is digested.
        {
            let mut entries = self.entries();
            entries.retain(|_, (_, at)| at.elapsed() < KEPT);
            if entries.is_empty() {
                return None;
            }
        }
        let digest = digest(handover);
        self.entries().get(&digest).map(|(id, _)| *id)
    }

    /// Remembers a message that got no answer.
    pub(crate) fn remember(&self, handover: &Handover, id: MessageId) {
        let digest = digest(handover);
        let mut entries = self.entries();
        if entries.len() >= ENTRIES_MAX {
            let now = Instant::now();
            let mut ages: Vec<Duration> = entries.values().map(|(_, at)| now - *at).collect();
            ages.sort_unstable();
            let limit = ages[ENTRIES_MAX * 9 / 10].min(KEPT);
            entries.retain(|_, (_, at)| now - *at < limit);
        }
        entries.insert(digest, (id, Instant::now()));
    }

    /// Forgets a message that has its answer now.
    pub(crate) fn forget(&self, handover: &Handover) {
        if !self.entries().is_empty() {
            self.entries().remove(&digest(handover));
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], (MessageId, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes a message the same one: who sends, from and to whom, and every byte.
fn digest(handover: &Handover) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(handover.identity.id.as_bytes());
    part(match &handover.sender {
        ReversePath::Mailbox(address) => address.as_bytes(),
        ReversePath::Null => b"<>",
        ReversePath::Unusable => b"?",
    });
    let mut recipients = handover.recipients.clone();
    recipients.sort_unstable();
    for recipient in &recipients {
        part(recipient.as_bytes());
    }
    part(&handover.content);
    hash.finalize().into()
}
