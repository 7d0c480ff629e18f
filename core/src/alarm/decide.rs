//! What is to be done about a trouble: tell it, tell it again, tell that it is over, or forget it. Pure.

use crate::store::troubles::Trouble;

/// How patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// It is told once it has lasted for this long.
    pub(super) after_ms: i64,
    /// It is over once nobody has seen it for this long.
    pub(super) gone_ms: i64,
    /// It is told again when it still lasts this long after it was told.
    pub(super) repeat_ms: i64,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Tell it.
    Tell,
    /// Tell that it is over.
    Resolve,
    /// It is over, and nobody was told of it.
    Forget,
}

/// What is to be done about a trouble now; none: nothing.
pub(super) fn turn(trouble: &Trouble, now_ms: i64, pace: Pace) -> Option<Turn> {
    if now_ms - trouble.seen_ms >= pace.gone_ms {
        return Some(if trouble.told > 0 { Turn::Resolve } else { Turn::Forget });
    }
    // What was not seen for a moment may be over: only what was seen counts.
    let is_due = match trouble.told_ms {
        None => trouble.seen_ms - trouble.since_ms >= pace.after_ms,
        Some(told_ms) => trouble.seen_ms - told_ms >= pace.repeat_ms,
    };
    is_due.then_some(Turn::Tell)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { after_ms: 100, gone_ms: 200, repeat_ms: 1000 };

    fn trouble(since_ms: i64, seen_ms: i64, told_ms: Option<i64>) -> Trouble {
        Trouble {
            kind: "redis".to_owned(),
            subject: String::new(),
            since_ms,
            seen_ms,
            detail: String::new(),
            told: i64::from(told_ms.is_some()),
            told_ms,
        }
    }

    #[test]
    fn it_is_told_once_it_lasts_and_not_when_it_only_flickers() {
        let at = |seen_ms, now_ms| turn(&trouble(0, seen_ms, None), now_ms, PACE);
        assert_eq!(at(0, 0), None);
        assert_eq!(at(99, 99), None);
        assert_eq!(at(99, 150), None, "nobody has seen that it lasts");
        assert_eq!(at(100, 100), Some(Turn::Tell));
        assert_eq!(at(99, 299), Some(Turn::Forget));
        let hasty = Pace { after_ms: 0, ..PACE };
        assert_eq!(turn(&trouble(5, 5, None), 5, hasty), Some(Turn::Tell));
    }

    #[test]
    fn it_is_told_again_only_when_it_still_lasts_after_a_while() {
        let at = |seen_ms, now_ms| turn(&trouble(0, seen_ms, Some(100)), now_ms, PACE);
        assert_eq!(at(101, 101), None);
        assert_eq!(at(1099, 1099), None);
        assert_eq!(at(1099, 1200), None, "it was not seen since");
        assert_eq!(at(1100, 1100), Some(Turn::Tell));
    }

    #[test]
    fn its_end_is_told_when_nobody_has_seen_it_for_a_while() {
        let at = |now_ms| turn(&trouble(0, 150, Some(100)), now_ms, PACE);
        assert_eq!(at(349), None);
        assert_eq!(at(350), Some(Turn::Resolve));
    }
}
