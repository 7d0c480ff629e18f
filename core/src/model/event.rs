//! What happens to a message. Events are written once, in the transaction of the change they
//! report, and never edited.

use postern_proto::ids::{EventId, MessageId, RecipientId};

pub use postern_proto::v1::{Engagement, EventSubject as Subject};

use super::delivery::Reply;

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// What happened. The numbers are stored.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum EventType {
            $($(#[$doc])* $variant = $number,)*
        }

        impl EventType {
            /// All types.
            pub const ALL: &'static [EventType] = &[$(EventType::$variant,)*];

            /// The name shown to clients.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The type with this number.
            pub fn from_number(number: i64) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| *kind as i64 == number)
            }

            /// The type with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }
    };
}

event_types! {
    /// Durable, and to be sent at once.
    Accepted = 1, "message.accepted";
    /// Durable, and to be sent later.
    Scheduled = 2, "message.scheduled";
    /// Durable, and not sent: the address is suppressed.
    Suppressed = 3, "message.suppressed";
    /// An attempt failed for the time being.
    Deferred = 4, "message.deferred";
    /// The remote server took responsibility.
    Delivered = 5, "message.delivered";
    /// The remote server refused for good.
    Bounced = 6, "message.bounced";
    /// Given up.
    Failed = 7, "message.failed";
    /// Too old.
    Expired = 8, "message.expired";
    /// Canceled.
    Canceled = 9, "message.canceled";
    /// Its attempt was under way when its node died; it is tried again.
    Recovered = 10, "message.recovered";
    /// The pixel was loaded.
    Opened = 11, "message.opened";
    /// A link was followed.
    Clicked = 12, "message.clicked";
    /// The recipient wants no more mail.
    Unsubscribed = 13, "message.unsubscribed";
    /// The recipient wants mail again.
    Resubscribed = 14, "message.resubscribed";
    /// Handed to a system that sends it and reports later what became of it.
    Sent = 15, "message.sent";
    /// The recipient reported it as unwanted.
    Complained = 16, "message.complained";
    /// A credential is about to expire. About no message.
    KeyExpiring = 17, "key.expiring";
    /// An endpoint gets no more events. About no message.
    WebhookDisabled = 18, "webhook.disabled";
    /// Something is wrong with the installation. About no message.
    SystemTrouble = 19, "system.trouble";
    /// It is no longer. About no message.
    SystemResolved = 20, "system.resolved";
}

impl EventType {
    /// It happened to a message.
    pub fn is_about_mail(self) -> bool {
        !matches!(
            self,
            Self::KeyExpiring | Self::WebhookDisabled | Self::SystemTrouble | Self::SystemResolved
        )
    }
}

/// What is counted by hour and campaign. The numbers are stored; those of event types are theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Events of this type.
    Events(EventType),
    /// Recipients who opened, each once, bots left out.
    UniqueOpens,
    /// Recipients who clicked, each once, bots left out.
    UniqueClicks,
    /// Opens by bots.
    BotOpens,
    /// Clicks by bots.
    BotClicks,
}

impl Counter {
    /// The stored number.
    pub fn number(self) -> i64 {
        match self {
            Self::Events(kind) => kind as i64,
            Self::UniqueOpens => 101,
            Self::UniqueClicks => 102,
            Self::BotOpens => 103,
            Self::BotClicks => 104,
        }
    }

    /// The counter with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            101 => Some(Self::UniqueOpens),
            102 => Some(Self::UniqueClicks),
            103 => Some(Self::BotOpens),
            104 => Some(Self::BotClicks),
            other => EventType::from_number(other).map(Self::Events),
        }
    }
}

/// An event to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The id.
    pub id: EventId,
    /// What happened.
    pub kind: EventType,
    /// When, in milliseconds since 1970.
    pub create_ms: i64,
    /// The message; nil for an event about none.
    pub message_id: MessageId,
    /// The delivery; nil for an event about none.
    pub delivery_id: RecipientId,
    /// The campaign, for counting; empty for none.
    pub campaign_id: String,
    /// Which attempt it was; 0 where there was none.
    pub attempt: u32,
    /// Why, in one word; empty for no reason.
    pub reason: String,
    /// The remote server's reply.
    pub reply: Option<Reply>,
    /// The recipient may have got the mail before.
    pub possible_duplicate: bool,
    /// When the next attempt is due.
    pub next_ms: Option<i64>,
}

/// An event as it is read back.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// Strictly increasing; gaps are normal.
    pub sequence: i64,
    /// The event.
    pub event: NewEvent,
    /// What the recipient did, for the types that are about that.
    pub engagement: Option<Engagement>,
    /// What it is about, where that is no message.
    pub subject: Option<Subject>,
    /// The recipient's address.
    pub recipient: String,
    /// The client's own id of the message.
    pub external_id: String,
    /// Accepted with a test key.
    pub test: bool,
}

/// Which events are wanted. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only of this message.
    pub message_id: Option<MessageId>,
    /// Only of these types; empty for all.
    pub kinds: Vec<EventType>,
    /// Only of this campaign; empty for all.
    pub campaign_id: String,
    /// Only at or after this time.
    pub since_ms: Option<i64>,
    /// Only before this time.
    pub until_ms: Option<i64>,
}
