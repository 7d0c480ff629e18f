//! What follows from the outcome of an attempt.

use std::time::Duration;

use crate::model::delivery::{HandOver, Outcome, Phase, Reply, State};
use crate::model::event::EventType;

use super::schedule::RetryPolicy;

/// The new state of a delivery, and the event that tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The state.
    pub state: State,
    /// When the next attempt is due, or for [`State::Sent`] when to ask what became of it; the present
    /// time in terminal states.
    pub due_ms: i64,
    /// What happened.
    pub event: EventType,
    /// Why, in one word; empty for no reason.
    pub reason: &'static str,
    /// The remote server's reply.
    pub reply: Reply,
    /// The recipient may have got the mail although the attempt failed.
    pub possible_duplicate: bool,
    /// How handing it to another system ended, where that was tried.
    pub hand_over: Option<HandOver>,
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
        hand_over: None,
    };
    match outcome {
        Outcome::Delivered { reply } => done(State::Delivered, EventType::Delivered, "", reply),
        Outcome::Refused { reply, category } => {
            // What was refused before any server was asked has not bounced.
            let local = reply.phase == Phase::Local.name();
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
        Outcome::Sent { reply, ticket, ask_after } => Transition {
            due_ms: now_ms.saturating_add(millis(ask_after)),
            hand_over: Some(HandOver::Taken(ticket)),
            ..done(State::Sent, EventType::Sent, "", reply)
        },
        // Even past the expiry it waits: a report may still say that it was delivered.
        Outcome::Unknown { reply, category, wait } => Transition {
            due_ms: now_ms.saturating_add(millis(wait)),
            possible_duplicate: true,
            hand_over: Some(HandOver::Unknown),
            ..done(State::Deferred, EventType::Deferred, category.name(), reply)
        },
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::delivery::{Category, Ticket};

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
    fn what_was_handed_over_is_neither_ended_nor_tried_again_at_once() {
        let ticket = Ticket { id: 7, token: "t".to_owned() };
        let ask_after = Duration::from_secs(60);
        let sent = Outcome::Sent { reply: Reply::default(), ticket: ticket.clone(), ask_after };
        let sent = after(sent, i64::MAX);
        assert_eq!((sent.state, sent.event, sent.due_ms), (State::Sent, EventType::Sent, 61_000));
        assert_eq!(sent.hand_over, Some(HandOver::Taken(ticket)));
        assert!(!State::Sent.is_terminal() && !State::Sent.is_waiting());
        let (reply, category) = (Reply::default(), Category::Timeout);
        let unknown = Outcome::Unknown { reply, category, wait: Duration::from_secs(2) };
        let unknown = after(unknown, 2000);
        assert_eq!((unknown.state, unknown.due_ms), (State::Deferred, 3000), "past the expiry too");
        assert_eq!((unknown.possible_duplicate, unknown.reason), (true, "timeout"));
        assert_eq!(unknown.hand_over, Some(HandOver::Unknown));
    }

    #[test]
    fn a_deferral_past_the_expiry_is_a_failure() {
        let given_up = after(deferred(false), 2000);
        assert_eq!((given_up.state, given_up.event), (State::Failed, EventType::Failed));
    }
}
