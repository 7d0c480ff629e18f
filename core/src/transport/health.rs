//! What is remembered of a server that could not be reached, so that not every mail in its queue
//! waits out a time limit of its own.
//!
//! While the memory lasts, new connections are not tried and the mails are deferred with the
//! remembered reason. Whoever comes after that tries, and the memory is prolonged for the others
//! while he does. Pure; in memory only, so a crash forgets it.

use tokio::time::{Duration, Instant};

use crate::model::delivery::{Outcome, Phase};

/// How one server fares.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// When it last spoke.
    answered: Option<Instant>,
    /// Why it could not be reached, and until when that is taken for granted.
    dead: Option<(Outcome, Instant)>,
}

impl Health {
    /// A mail was tried on a connection; only what the server says itself proves that it lives.
    pub(super) fn tried(&mut self, outcome: &Outcome, now: Instant) {
        let (Outcome::Delivered { reply }
        | Outcome::Deferred { reply, .. }
        | Outcome::Refused { reply, .. }
        | Outcome::Sent { reply, .. }
        | Outcome::Unknown { reply, .. }) = outcome;
        if reply.code != 0 {
            self.answered(now);
        }
    }

    /// It spoke.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
        self.dead = None;
    }

    /// No connection could be opened. A server that still answers on other connections only limits
    /// their number, and is not taken for dead.
    pub(super) fn failed(&mut self, outcome: &Outcome, now: Instant, memory: Duration) {
        let alive = self.answered.is_some_and(|at| now.duration_since(at) < memory);
        if !alive && is_unreachable(outcome) {
            self.dead = Some((remembered(outcome), now + memory));
        }
    }

    /// Why a connection is not worth trying now; none when it is.
    pub(super) fn verdict(&mut self, now: Instant, memory: Duration) -> Option<Outcome> {
        let (outcome, until) = self.dead.as_mut()?;
        if now < *until {
            return Some(outcome.clone());
        }
        *until = now + memory;
        None
    }

    /// Whether there is something that is still worth keeping.
    pub(super) fn is_of_use(&self, now: Instant, memory: Duration) -> bool {
        let recent = self.answered.is_some_and(|at| now.duration_since(at) < memory);
        recent || self.dead.as_ref().is_some_and(|(_, until)| now < *until)
    }
}

/// Nothing was heard from a server: no address, no connection, or no greeting.
fn is_unreachable(outcome: &Outcome) -> bool {
    let Outcome::Deferred { reply, .. } = outcome else {
        return false;
    };
    reply.code == 0 && [Phase::Dns, Phase::Connect].map(Phase::name).contains(&reply.phase.as_str())
}

fn remembered(outcome: &Outcome) -> Outcome {
    let mut outcome = outcome.clone();
    if let Outcome::Deferred { reply, .. } = &mut outcome {
        reply.text.push_str(" (found with an earlier mail; not tried again so soon)");
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::delivery::{Category, Reply};

    const MEMORY: Duration = Duration::from_secs(30);

    fn failure(code: u32, phase: Phase) -> Outcome {
        let (text, phase) = ("timed out".to_owned(), phase.name().to_owned());
        let reply = Reply { code, text, phase, ..Reply::default() };
        Outcome::Deferred { reply, category: Category::Timeout, may_duplicate: false }
    }

    #[test]
    fn an_unreachable_server_is_left_alone_for_a_while() {
        let (mut health, begin) = (Health::default(), Instant::now());
        assert_eq!(health.verdict(begin, MEMORY), None);
        health.failed(&failure(0, Phase::Connect), begin, MEMORY);
        let verdict = health.verdict(begin + MEMORY / 2, MEMORY).unwrap();
        let Outcome::Deferred { reply, category, .. } = verdict else { panic!("{verdict:?}") };
        assert!(reply.text.starts_with("timed out (found"), "{}", reply.text);
        assert_eq!(category, Category::Timeout);
    }

    #[test]
    fn one_tries_again_and_the_others_wait_for_him() {
        let (mut health, begin) = (Health::default(), Instant::now());
        health.failed(&failure(0, Phase::Connect), begin, MEMORY);
        let later = begin + MEMORY;
        assert_eq!(health.verdict(later, MEMORY), None, "the first tries");
        assert!(health.verdict(later, MEMORY).is_some(), "the second does not");
        health.answered(later + MEMORY / 2);
        assert_eq!(health.verdict(later + MEMORY / 2, MEMORY), None, "it is back");
    }

    #[test]
    fn a_server_that_speaks_is_not_dead() {
        let (mut health, begin) = (Health::default(), Instant::now());
        health.failed(&failure(421, Phase::Connect), begin, MEMORY);
        health.failed(&failure(0, Phase::Ehlo), begin, MEMORY);
        assert_eq!(health.verdict(begin, MEMORY), None);
        health.tried(&failure(0, Phase::Data), begin - MEMORY);
        health.tried(&failure(451, Phase::Data), begin);
        health.failed(&failure(0, Phase::Connect), begin + MEMORY / 2, MEMORY);
        assert_eq!(health.verdict(begin + MEMORY / 2, MEMORY), None, "others get through");
        health.failed(&failure(0, Phase::Connect), begin + MEMORY, MEMORY);
        assert!(health.verdict(begin + MEMORY, MEMORY).is_some(), "nobody does any more");
    }

    #[test]
    fn the_memory_is_worth_keeping_until_it_is_over() {
        let (mut health, begin) = (Health::default(), Instant::now());
        assert!(!health.is_of_use(begin, MEMORY));
        health.failed(&failure(0, Phase::Dns), begin, MEMORY);
        assert!(health.is_of_use(begin, MEMORY));
        assert!(!health.is_of_use(begin + MEMORY, MEMORY));
        health.failed(&failure(0, Phase::Dns), begin, Duration::ZERO);
        assert_eq!(health.verdict(begin, Duration::ZERO), None, "no memory is wanted");
    }
}
