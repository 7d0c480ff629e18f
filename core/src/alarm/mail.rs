//! What a mail about a trouble says, and what makes it the only one. Pure.

use jiff::Timestamp;

use super::Kind;
use super::decide::Turn;
use crate::intake::draft::Draft;
use crate::notice::{self, NoticeConfig};
use crate::store::troubles::Trouble;

/// The idempotency key of the mail of a turn. A client's key has no spaces.
pub(super) fn once(trouble: &Trouble, turn: Turn) -> String {
    let Trouble { kind, subject, since_ms, seen_ms, told, .. } = trouble;
    match turn {
        Turn::Resolve => format!("trouble {kind} {subject} {since_ms} over {seen_ms}"),
        _ => format!("trouble {kind} {subject} {since_ms} told {told}"),
    }
}

/// The mail of a turn.
pub(super) fn draft(config: &NoticeConfig, trouble: &Trouble, turn: Turn) -> Draft {
    let (subject, text) = words(trouble, turn);
    notice::mail(config, subject, text)
}

fn words(trouble: &Trouble, turn: Turn) -> (String, String) {
    let Trouble { kind, subject, since_ms, seen_ms, detail, told, .. } = trouble;
    let title = Kind::from_name(kind).map_or(kind.as_str(), |kind| kind.title());
    // What others say of themselves may have anything in it.
    let subject: String = subject.chars().filter(|c| !c.is_control()).collect();
    let place = if subject.is_empty() { String::new() } else { format!(" ({subject})") };
    let (since, seen) = (time(*since_ms), time(*seen_ms));
    match turn {
        Turn::Resolve => (
            format!("Resolved: {title}{place}"),
            format!(
                "This is over: {title}{place}.\n\nIt began at {since} and was seen last at {seen}.\n\
                 What was said then: {detail}.\n"
            ),
        ),
        _ => (
            match told {
                0 => format!("Trouble: {title}{place}"),
                _ => format!("Still trouble: {title}{place}"),
            },
            format!(
                "{detail}.\n\nSince {since}. While it lasts, this is told again now and then \
                 (notice.repeat), and once when it is over.\nWhat to do is in the operations \
                 handbook under \"Notifications\": {kind}.\n"
            ),
        ),
    }
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|time| format!("{time:.0}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(told: i64) -> Trouble {
        Trouble {
            kind: "gateway_silent".to_owned(),
            subject: "smtp@edge\r\n1".to_owned(),
            since_ms: 1_800_000_000_000,
            seen_ms: 1_800_000_060_000,
            detail: "it was heard of 60 s ago".to_owned(),
            told,
            told_ms: None,
        }
    }

    #[test]
    fn first_again_and_over_read_differently_and_are_different_mails() {
        let (subject, text) = words(&trouble(0), Turn::Tell);
        assert_eq!(subject, "Trouble: a gateway is not heard of (smtp@edge1)");
        assert!(
            text.starts_with("it was heard of 60 s ago.\n\nSince 2027-01-15T08:00:00Z."),
            "{text}"
        );
        let (again, _) = words(&trouble(1), Turn::Tell);
        assert!(again.starts_with("Still trouble: a gateway"), "{again}");
        let (over, text) = words(&trouble(1), Turn::Resolve);
        assert!(over.starts_with("Resolved: a gateway"), "{over}");
        assert!(text.contains("seen last at 2027-01-15T08:01:00Z"), "{text}");
        let keys = [
            once(&trouble(0), Turn::Tell),
            once(&trouble(1), Turn::Tell),
            once(&trouble(1), Turn::Resolve),
        ];
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
    }
}
