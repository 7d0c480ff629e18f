//! Typed ids: a prefix that names the kind, and a UUIDv7 in Crockford base32 (TypeID).
//!
//! Ids sort by the time they were made, fit a URL and a double click, and cannot be taken for an id
//! of another kind.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadId {
    /// The prefix that was wanted.
    pub prefix: &'static str,
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an id of the form {}_ followed by 26 letters and digits", self.prefix)
    }
}

impl std::error::Error for BadId {}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What every id of this kind begins with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Makes a new id from the current time and randomness.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Takes an id from storage.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The stored form.
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), Base32(self.0))
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or(BadId { prefix: $prefix })
            }
        }
    )*};
}

ids! {
    /// A message.
    MessageId = "msg";
    /// One recipient of a message.
    RecipientId = "rcp";
    /// A batch of messages.
    BatchId = "bat";
    /// An event.
    EventId = "evt";
    /// A template.
    TemplateId = "tpl";
    /// A sender domain.
    DomainId = "dom";
    /// A hit at the tracking edge: an open or a click.
    HitId = "hit";
    /// A suppression.
    SuppressionId = "sup";
    /// An API key.
    KeyId = "key";
    /// An SMTP credential.
    SmtpCredentialId = "smc";
    /// An endpoint that events are posted to.
    WebhookId = "whk";
    /// A person who may log in to the dashboard.
    OperatorId = "opr";
    /// An entry of the audit log.
    AuditId = "aud";
    /// A mail caught by the local inbox.
    SinkId = "snk";
    /// A request, for logs and error answers.
    RequestId = "req";
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 26 digits of 5 bits hold 128 bits and two spare ones at the top.
const DIGITS: usize = 26;

struct Base32(Uuid);

impl fmt::Display for Base32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0.as_u128();
        let mut text = [0u8; DIGITS];
        for (position, digit) in text.iter_mut().enumerate() {
            let shift = 5 * (DIGITS - 1 - position);
            *digit = ALPHABET[(value >> shift) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

fn decode(text: &str) -> Option<Uuid> {
    let digits = text.as_bytes();
    // A first digit above 7 would need more than 128 bits.
    if digits.len() != DIGITS || digits[0] > b'7' {
        return None;
    }
    let mut value = 0u128;
    for digit in digits {
        let position = ALPHABET.iter().position(|letter| letter == digit)?;
        value = value << 5 | position as u128;
    }
    Some(Uuid::from_u128(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_id(value: u128) {
            let id = MessageId::from_uuid(Uuid::from_u128(value));
            prop_assert_eq!(id.to_string().parse::<MessageId>(), Ok(id));
        }
    }

    #[test]
    fn the_published_vector_of_the_format_holds() {
        let uuid = Uuid::from_u128(0x0188_bac7_4afa_78aa_bc3b_bd1e_ef28_d881);
        assert_eq!(MessageId::from_uuid(uuid).to_string(), "msg_01h2xcejqtf2nbrexx3vqjhp41");
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id = KeyId::generate().to_string();
        assert_eq!(id.parse::<MessageId>(), Err(BadId { prefix: "msg" }));
        assert!("msg_81h2xcejqtf2nbrexx3vqjhp41".parse::<MessageId>().is_err());
        assert!("msg_01H2XCEJQTF2NBREXX3VQJHP41".parse::<MessageId>().is_err());
    }

    #[test]
    fn later_ids_sort_behind_earlier_ones() {
        let earlier = MessageId::generate();
        let later = MessageId::generate();
        assert!(earlier.to_string() < later.to_string());
    }
}
