//! What happened to one delivery, and what must not have. Pure.

use crate::model::delivery::State;
use crate::model::event::EventType;

/// One thing that happened, in the order of the store and the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// A node was told by the store that it may begin an attempt, whether it heard that or not.
    Begun { node: usize, attempt: u32 },
    /// The recipient has got the mail.
    Taken,
    /// A node reported a result; the store recorded it or not.
    Reported { node: usize, attempt: u32, state: State, recorded: bool },
    /// The message was canceled as far as it could be.
    Canceled,
}

/// Everything about one delivery.
#[derive(Debug, Clone)]
pub(super) struct Story {
    /// What happened, in order.
    pub(super) facts: Vec<Fact>,
    /// The feed: type, attempt, whether it is a possible duplicate.
    pub(super) events: Vec<(EventType, u32, bool)>,
    /// How it stands in the end.
    pub(super) state: State,
    /// How many attempts the store has counted.
    pub(super) attempts: u32,
}

/// What must not be.
pub(super) fn breaches(story: &Story) -> Vec<String> {
    let mut breaches = Vec::new();
    type Rule = (&'static str, fn(&Story) -> bool);
    let rules: [Rule; 6] = [
        ("a delivery is lost", is_kept),
        ("an attempt has two owners", has_one_owner),
        ("an attempt does not end exactly once", ends_each_attempt_once),
        ("attempts are not counted as they were", counts_attempts),
        ("an end is undone", keeps_its_end),
        ("a duplicate is not marked", marks_duplicates),
    ];
    for (what, holds) in rules {
        if !holds(story) {
            breaches.push(what.to_owned());
        }
    }
    breaches
}

/// It has an end, and what is called delivered was taken.
fn is_kept(story: &Story) -> bool {
    let taken = story.facts.contains(&Fact::Taken);
    story.state.is_terminal() && (story.state != State::Delivered || taken)
}

/// Attempts are begun as 1, 2, 3, …, so none twice, and each result that counts is of the node that
/// began the newest.
fn has_one_owner(story: &Story) -> bool {
    let (mut owner, mut newest) = (None, 0);
    story.facts.iter().all(|fact| match *fact {
        Fact::Begun { node, attempt } => {
            (owner, newest) = (Some(node), newest + 1);
            attempt == newest
        }
        Fact::Reported { node, attempt, recorded: true, .. } if attempt > 0 => {
            owner == Some(node) && attempt == newest
        }
        _ => true,
    })
}

/// Each begun attempt has one result that counts, or was recovered from a node called dead.
fn ends_each_attempt_once(story: &Story) -> bool {
    story.facts.iter().all(|fact| {
        let Fact::Begun { attempt, .. } = *fact else { return true };
        let results = story.facts.iter().filter(|fact| {
            matches!(fact, Fact::Reported { attempt: of, recorded: true, .. } if *of == attempt)
        });
        let recovered = story
            .events
            .iter()
            .filter(|(kind, of, _)| *kind == EventType::Recovered && *of == attempt);
        results.count() + recovered.count() == 1
    })
}

/// The store has counted each beginning, and there is a reason for each attempt after the first.
fn counts_attempts(story: &Story) -> bool {
    let count = |kinds: &[EventType]| {
        story.events.iter().filter(|(kind, _, _)| kinds.contains(kind)).count()
    };
    let begun = story.facts.iter().filter(|fact| matches!(fact, Fact::Begun { .. })).count();
    begun == story.attempts as usize
        && begun <= 1 + count(&[EventType::Deferred, EventType::Recovered])
}

/// The feed begins with the acceptance, which is in it once, and its only end is its last event; no
/// result counts after the one that ended it.
fn keeps_its_end(story: &Story) -> bool {
    let kinds: Vec<_> = story.events.iter().map(|(kind, _, _)| *kind).collect();
    let is_last = |kind: &EventType| {
        use EventType::{Bounced, Canceled, Delivered, Expired, Failed};
        matches!(kind, Delivered | Bounced | Failed | Expired | Canceled)
    };
    let accepted = kinds.iter().filter(|kind| **kind == EventType::Accepted).count();
    let ended = story.facts.iter().position(is_end);
    let later = ended.map_or(&[][..], |end| &story.facts[end + 1..]);
    let changed = later.iter().any(|fact| {
        matches!(fact, Fact::Begun { .. } | Fact::Reported { recorded: true, .. } | Fact::Canceled)
    });
    kinds.first() == Some(&EventType::Accepted)
        && accepted == 1
        && kinds.iter().position(is_last) == kinds.len().checked_sub(1)
        && !changed
}

fn is_end(fact: &Fact) -> bool {
    match fact {
        Fact::Reported { state, recorded, .. } => *recorded && state.is_terminal(),
        Fact::Canceled => true,
        _ => false,
    }
}

/// Whether something that happened has ended the delivery.
pub(super) fn has_ended(facts: &[Fact]) -> bool {
    facts.iter().any(is_end)
}

/// A mail that arrived again was called a possible duplicate as often.
fn marks_duplicates(story: &Story) -> bool {
    let taken = story.facts.iter().filter(|fact| **fact == Fact::Taken).count();
    let marked = story.events.iter().filter(|(_, _, marked)| *marked).count();
    taken <= 1 + marked
}

/// Deferred once, recovered once, then delivered a second time.
fn good() -> Story {
    let report = |node, attempt, state| Fact::Reported { node, attempt, state, recorded: true };
    Story {
        facts: vec![
            Fact::Begun { node: 0, attempt: 1 },
            report(0, 1, State::Deferred),
            Fact::Begun { node: 0, attempt: 2 },
            Fact::Taken,
            Fact::Begun { node: 1, attempt: 3 },
            Fact::Reported { node: 0, attempt: 2, state: State::Delivered, recorded: false },
            Fact::Taken,
            report(1, 3, State::Delivered),
        ],
        events: vec![
            (EventType::Accepted, 0, false),
            (EventType::Deferred, 1, false),
            (EventType::Recovered, 2, true),
            (EventType::Delivered, 3, false),
        ],
        state: State::Delivered,
        attempts: 3,
    }
}

#[test]
fn a_good_story_has_no_breach_and_each_breach_is_seen() {
    assert!(breaches(&good()).is_empty(), "{:?}", breaches(&good()));
    type Breach = (&'static str, fn(&mut Story));
    let all: [Breach; 9] = [
        ("lost", |story| story.state = State::Deferred),
        ("lost", |story| story.facts.retain(|fact| *fact != Fact::Taken)),
        ("two owners", |story| story.facts[4] = Fact::Begun { node: 1, attempt: 2 }),
        ("exactly once", |story| {
            let state = State::Delivered;
            story.facts[5] = Fact::Reported { node: 0, attempt: 2, state, recorded: true };
        }),
        ("exactly once", |story| {
            story.facts.remove(1);
        }),
        ("counted", |story| story.attempts = 2),
        ("undone", |story| story.events.push((EventType::Deferred, 4, false))),
        ("undone", |story| story.facts.push(Fact::Canceled)),
        ("not marked", |story| story.events[2].2 = false),
    ];
    for (what, breach) in all {
        let mut story = good();
        breach(&mut story);
        let found = breaches(&story);
        assert!(found.iter().any(|one| one.contains(what)), "{what}: {found:?}");
    }
}
