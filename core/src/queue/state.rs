//! What follows from the outcome of an attempt.

use crate::model::delivery::{Outcome, Reply, State};
use crate::model::event::EventType;

use super::schedule::RetryPolicy;

/// The new state of a delivery, and the event that tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The state.
    pub state: State,
    /// When the next attempt is due; the present time in terminal states.
    pub due_ms: i64,
    /// What happened.
    pub event: EventType,
    /// Why, in one word; empty for no reason.
    pub reason: &'static str,
    /// The remote server's reply.
    pub reply: Reply,
    /// The recipient may have got the mail although the attempt failed.
    pub possible_duplicate: bool,
}

/// Decides what follows. `attempt` is the one that ended, from 1; `random` is in 0..1.
pub fn step(
    outcome: Outcome,
    attempt: u32,
    now_ms: i64,
    expire_ms: i64,
    policy: &RetryPolicy,
    random: f64,
) -> Transition {
    let done = |state, event, reason, reply| Transition {
        state,
        due_ms: now_ms,
        event,
        reason,
        reply,
        possible_duplicate: false,
    };
    match outcome {
        Outcome::Delivered { reply } => done(State::Delivered, EventType::Delivered, "", reply),
        Outcome::Refused { reply, category } => {
            // What was refused before any server was asked has not bounced.
            let local = reply.phase == crate::model::delivery::Phase::Local.name();
            let (state, event) = match local {
                true => (State::Failed, EventType::Failed),
                false => (State::Bounced, EventType::Bounced),
            };
            done(state, event, category.name(), reply)
        }
        Outcome::Deferred { reply, category, may_duplicate } => {
            let next = policy.next(attempt, now_ms, expire_ms, random);
            let mut transition = match next {
                Some(due_ms) => Transition {
                    due_ms,
                    ..done(State::Deferred, EventType::Deferred, category.name(), reply)
                },
                None => done(State::Failed, EventType::Failed, category.name(), reply),
            };
            transition.possible_duplicate = may_duplicate;
            transition
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::delivery::Category;

    fn after(outcome: Outcome, expire_ms: i64) -> Transition {
        step(outcome, 1, 1000, expire_ms, &RetryPolicy::default(), 0.5)
    }

    fn deferred(may_duplicate: bool) -> Outcome {
        let category = Category::Timeout;
        Outcome::Deferred { reply: Reply::default(), category, may_duplicate }
    }

    #[test]
    fn outcomes_lead_to_their_states() {
        let delivered = after(Outcome::Delivered { reply: Reply::default() }, i64::MAX);
        assert_eq!((delivered.state, delivered.event), (State::Delivered, EventType::Delivered));
        let category = Category::UnknownUser;
        let bounced = after(Outcome::Refused { reply: Reply::default(), category }, i64::MAX);
        assert_eq!((bounced.state, bounced.reason), (State::Bounced, "unknown_user"));
        let local = after(Outcome::Refused { reply: Reply::local("x"), category }, i64::MAX);
        assert_eq!(local.state, State::Failed);
        let later = after(deferred(true), i64::MAX);
        assert_eq!((later.state, later.possible_duplicate), (State::Deferred, true));
        assert!(later.due_ms > 1000);
    }

    #[test]
    fn a_deferral_past_the_expiry_is_a_failure() {
        let given_up = after(deferred(false), 2000);
        assert_eq!((given_up.state, given_up.event), (State::Failed, EventType::Failed));
    }
}
