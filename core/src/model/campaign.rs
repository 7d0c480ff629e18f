//! A campaign as far as it can be held: why its mail waits, who said so, and how its mail went.

use super::delivery::Category;
use super::event::EventType;

/// A campaign that is held, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The client's name for it.
    pub campaign_id: String,
    /// Its mail waits.
    pub is_held: bool,
    /// The rules held it once; they do not do so a second time.
    pub automatic: bool,
    /// Why it was held last.
    pub note: String,
    /// When it was held or resumed last.
    pub change_ms: i64,
    /// Whether AMS knows.
    pub ams: AmsState,
}

/// Whether the campaign manager is to stop the mailing on its side. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AmsState {
    /// It need not know.
    None = 0,
    /// It was not told yet.
    ToBeTold = 1,
    /// It was told; the log says what it answered.
    Told = 2,
}

impl AmsState {
    /// The state with this number.
    pub fn from_number(number: i64) -> Self {
        match number {
            1 => Self::ToBeTold,
            2 => Self::Told,
            _ => Self::None,
        }
    }
}

/// What was done to a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Its mail waits from then on.
    Held,
    /// Its mail went on.
    Resumed,
    /// The campaign manager was asked to stop it.
    AmsTold,
}

impl Action {
    const ALL: [Self; 3] = [Self::Held, Self::Resumed, Self::AmsTold];

    /// The word shown to clients and stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Resumed => "resumed",
            Self::AmsTold => "ams_told",
        }
    }

    /// The action with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// One entry of the log of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The campaign.
    pub campaign_id: String,
    /// What was done.
    pub action: Action,
    /// Who did it: an API key, or `auto-stop`.
    pub actor: String,
    /// Why, for people.
    pub note: String,
    /// When.
    pub create_ms: i64,
}

/// How the mail of a campaign went in a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Taken over by the recipient's server.
    pub delivered: i64,
    /// Refused for good, or given up.
    pub refused: i64,
    /// Refusals, also for the time being, because of too much mail.
    pub rate_limited: i64,
    /// Refusals, also for the time being, as spam or for the sender's reputation.
    pub spam: i64,
    /// Refusals because there is no such mailbox.
    pub unknown_user: i64,
}

impl Outcomes {
    /// Counts `count` events of a type and reason.
    pub fn add(&mut self, kind: EventType, reason: &str, count: i64) {
        match kind {
            EventType::Delivered => self.delivered += count,
            EventType::Bounced | EventType::Failed => self.refused += count,
            EventType::Deferred => {}
            _ => return,
        }
        let is = |category: Category| reason == category.name();
        if is(Category::RateLimited) {
            self.rate_limited += count;
        } else if is(Category::SpamContent) || is(Category::Reputation) {
            self.spam += count;
        } else if is(Category::UnknownUser) {
            self.unknown_user += count;
        }
    }

    /// Mail whose end is known.
    pub fn ended(&self) -> i64 {
        self.delivered + self.refused
    }
}
