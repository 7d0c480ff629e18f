//! What happens to a message. Events are written once, in the transaction of the change they
//! report, and never edited.

use postern_proto::ids::{EventId, MessageId, RecipientId};

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
    /// The message.
    pub message_id: MessageId,
    /// The delivery.
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
