//! Tracking links: what the core writes into mail and the edge answers from, without a lookup.
//!
//! A token is the unpadded base64url form (RFC 4648 section 5) of
//!
//! ```text
//! version 1 octet (1) | key id 1 octet | kind 1 octet | delivery 16 octets | payload | tag 16 octets
//! ```
//!
//! The tag is HMAC-SHA256 over everything before it, cut to 16 octets. The payload of a click is the
//! link's index (two octets, big endian) and the target; that of the other kinds is empty. A token
//! names a delivery by its random-looking id, so it reveals no address.
//!
//! Pure functions; a crash has nothing to lose. The forms that the old system left in mail already
//! sent are read by [`legacy`]; where a link may lead is decided by [`target`].

pub mod keys;
pub mod legacy;
pub mod target;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::ids::RecipientId;

pub use keys::{BadKeys, Keys};

/// The longest token in characters that is looked at; longer ones are refused unread.
pub const TOKEN_CHARS_MAX: usize = 4096;
/// The longest target of a click in octets.
pub const TARGET_OCTETS_MAX: usize = 2048;
/// The index of the honeypot: a link that people cannot see, so only machines follow it. Its target
/// is empty.
pub const HONEYPOT_INDEX: u16 = u16::MAX;
/// Paths at the edge begin with these: `/o/<token>.gif` (or `.png`), `/c/<token>`, `/u/<token>`.
pub const OPEN_PATH: &str = "/o/";
/// See [`OPEN_PATH`].
pub const CLICK_PATH: &str = "/c/";
/// See [`OPEN_PATH`].
pub const UNSUBSCRIBE_PATH: &str = "/u/";

const VERSION: u8 = 1;
const HEAD_OCTETS: usize = 3;
const ID_OCTETS: usize = 16;
const TAG_OCTETS: usize = 16;
const INDEX_OCTETS: usize = 2;

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The pixel: the mail was opened.
    Open,
    /// A link of the mail was followed.
    Click {
        /// Which link of the mail, from 0; [`HONEYPOT_INDEX`] for the honeypot.
        index: u16,
        /// Where it leads, at most [`TARGET_OCTETS_MAX`] octets.
        target: String,
    },
    /// The recipient wants no more mail.
    Unsubscribe,
}

impl Kind {
    fn number(&self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Click { .. } => 2,
            Self::Unsubscribe => 3,
        }
    }
}

/// One link in the mail of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whose mail it is in.
    pub delivery: RecipientId,
    /// What it is for.
    pub kind: Kind,
}

/// Why a token opens nothing. Which of them it was is for logs; whoever asked is told the same page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is too long, too short, or no canonical base64url.
    #[error("the token is malformed")]
    Malformed,
    /// A version this build does not know.
    #[error("the token has an unknown version")]
    UnknownVersion,
    /// Signed with a key that is not, or no longer, in the ring.
    #[error("the token's key is not known")]
    UnknownKey,
    /// It was changed, or made by somebody else.
    #[error("the token's signature does not match")]
    BadSignature,
}

impl Keys {
    /// The token of a link, signed with the first key. A target longer than [`TARGET_OCTETS_MAX`]
    /// makes a token that no edge opens, so do not track such links.
    pub fn sign(&self, link: &Link) -> String {
        let (key_id, key) = self.signing();
        let mut octets = Vec::with_capacity(64);
        octets.extend([VERSION, key_id, link.kind.number()]);
        octets.extend(link.delivery.uuid().as_bytes());
        if let Kind::Click { index, target } = &link.kind {
            octets.extend(index.to_be_bytes());
            octets.extend(target.as_bytes());
        }
        let tag = key.tag(&octets);
        octets.extend(&tag[..TAG_OCTETS]);
        URL_SAFE_NO_PAD.encode(octets)
    }

    /// The link of a token, if a key of the ring signed exactly these characters.
    pub fn open(&self, token: &str) -> Result<Link, LinkError> {
        if token.len() > TOKEN_CHARS_MAX {
            return Err(LinkError::Malformed);
        }
        // The engine refuses padding, foreign letters and spare bits that are not zero, so a token
        // has one spelling only.
        let octets = URL_SAFE_NO_PAD.decode(token).map_err(|_| LinkError::Malformed)?;
        if octets.len() < HEAD_OCTETS + ID_OCTETS + TAG_OCTETS {
            return Err(LinkError::Malformed);
        }
        let (signed, tag) = octets.split_at(octets.len() - TAG_OCTETS);
        let (head, rest) = signed.split_at(HEAD_OCTETS);
        if head[0] != VERSION {
            return Err(LinkError::UnknownVersion);
        }
        let key = self.by_id(head[1]).ok_or(LinkError::UnknownKey)?;
        if !key.matches(signed, tag) {
            return Err(LinkError::BadSignature);
        }
        let (id, payload) = rest.split_at(ID_OCTETS);
        let id = Uuid::from_slice(id).map_err(|_| LinkError::Malformed)?;
        Ok(Link { delivery: RecipientId::from_uuid(id), kind: kind(head[2], payload)? })
    }
}

fn kind(number: u8, payload: &[u8]) -> Result<Kind, LinkError> {
    match (number, payload) {
        (1, []) => Ok(Kind::Open),
        (3, []) => Ok(Kind::Unsubscribe),
        (2, payload) if payload.len() >= INDEX_OCTETS => {
            let (index, target) = payload.split_at(INDEX_OCTETS);
            let target = std::str::from_utf8(target).map_err(|_| LinkError::Malformed)?;
            if target.len() > TARGET_OCTETS_MAX {
                return Err(LinkError::Malformed);
            }
            let index = u16::from_be_bytes([index[0], index[1]]);
            Ok(Kind::Click { index, target: target.to_owned() })
        }
        _ => Err(LinkError::Malformed),
    }
}
