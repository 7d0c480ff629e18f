//! When a campaign goes so badly that its mail had better wait. Pure.

use postern_proto::settings::{
    AUTOSTOP_BOUNCE_PERCENT, AUTOSTOP_MINIMUM, AUTOSTOP_RATE_LIMITED, AUTOSTOP_SPAM,
    AUTOSTOP_UNKNOWN_USER, Settings,
};

use crate::model::campaign::Outcomes;

/// The thresholds; a threshold of 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Fewer ends than these say nothing.
    pub minimum: i64,
    /// Refused of those that ended, in percent.
    pub bounce_percent: i64,
    /// Refusals because of too much mail.
    pub rate_limited: i64,
    /// Refusals as spam or for the sender's reputation.
    pub spam: i64,
    /// Refusals because there is no such mailbox.
    pub unknown_user: i64,
}

impl Rules {
    /// Reads the settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            minimum: settings.get(&AUTOSTOP_MINIMUM),
            bounce_percent: settings.get(&AUTOSTOP_BOUNCE_PERCENT),
            rate_limited: settings.get(&AUTOSTOP_RATE_LIMITED),
            spam: settings.get(&AUTOSTOP_SPAM),
            unknown_user: settings.get(&AUTOSTOP_UNKNOWN_USER),
        }
    }

    /// Which rule these results break, in words for people; none when they break none.
    pub fn broken(&self, outcomes: &Outcomes) -> Option<String> {
        let ended = outcomes.ended();
        if ended < self.minimum || ended == 0 {
            return None;
        }
        if self.bounce_percent > 0 && outcomes.refused * 100 > self.bounce_percent * ended {
            let (refused, limit) = (outcomes.refused, self.bounce_percent);
            return Some(format!("{refused} of {ended} mails were refused, more than {limit} %"));
        }
        let counts = [
            (self.spam, outcomes.spam, "as spam or for the sender's reputation"),
            (self.rate_limited, outcomes.rate_limited, "because of too much mail"),
            (self.unknown_user, outcomes.unknown_user, "because there is no such mailbox"),
        ];
        let over = counts.into_iter().find(|(limit, count, _)| *limit > 0 && count > limit);
        over.map(|(limit, count, why)| format!("{count} refusals {why}, more than {limit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_setting() {
        let outcomes =
            Outcomes { delivered: 90, refused: 10, rate_limited: 2, spam: 3, unknown_user: 4 };
        let verdict = |name: &str, value: &str| {
            let mut settings = Settings::default();
            settings.set(name, value).unwrap();
            Rules::of(&settings).broken(&outcomes).unwrap_or_default()
        };
        for (name, holds, broken, words) in [
            ("autostop.bounce_percent", "10", "9", "more than 9 %"),
            ("autostop.rate_limited", "2", "1", "2 refusals because of too much mail"),
            ("autostop.spam", "3", "2", "3 refusals as spam"),
            ("autostop.unknown_user", "4", "3", "4 refusals because there is no such mailbox"),
        ] {
            assert_eq!(verdict(name, holds), "", "{name}");
            assert!(verdict(name, broken).contains(words), "{name}: {}", verdict(name, broken));
        }
    }

    #[test]
    fn a_campaign_is_judged_by_its_worst_figure_and_never_by_a_handful() {
        let rules =
            Rules { minimum: 100, bounce_percent: 10, rate_limited: 5, spam: 3, unknown_user: 0 };
        let good = Outcomes { delivered: 90, refused: 10, ..Outcomes::default() };
        for (outcomes, expected) in [
            (good, None),
            (Outcomes { refused: 11, ..good }, Some("11 of 101 mails were refused")),
            (Outcomes { delivered: 0, refused: 99, ..good }, None),
            (Outcomes { spam: 3, rate_limited: 5, unknown_user: 50, ..good }, None),
            (Outcomes { spam: 4, ..good }, Some("4 refusals as spam")),
            (Outcomes { rate_limited: 6, ..good }, Some("6 refusals because of too much mail")),
            (Outcomes::default(), None),
        ] {
            let broken = rules.broken(&outcomes);
            let fits = match (&broken, expected) {
                (Some(note), Some(start)) => note.starts_with(start),
                (broken, expected) => broken.is_none() && expected.is_none(),
            };
            assert!(fits, "{outcomes:?}: {broken:?}");
        }
        let none =
            Rules { minimum: 0, bounce_percent: 0, rate_limited: 0, spam: 0, unknown_user: 0 };
        assert_eq!(none.broken(&Outcomes { refused: 9, spam: 9, ..good }), None);
    }
}
