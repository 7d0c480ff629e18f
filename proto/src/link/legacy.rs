//! Links of the old system, which mail already sent still carries:
//!
//! ```text
//! /track/o?eid=&cid=&mid=     /track/c?url=&eid=&cid=&mid=     /unsubscribe?eid=&cid=
//! /go/<slug>-<16 characters of the token>     /t/c/<token>     /t/o/<token>[.gif]
//! ```
//!
//! Parameters are base64url (RFC 4648 section 5), padded or not. Nothing of it is signed, so what is
//! read here is a claim: the core is asked before anything is believed.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::{TARGET_OCTETS_MAX, TOKEN_CHARS_MAX};

/// The longest value of a parameter besides `url`, decoded, in octets.
pub const VALUE_OCTETS_MAX: usize = 512;
/// How many characters of a token a `/go/` link carries.
pub const GO_CHARS: usize = 16;

const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the parameters of an old link say. Empty where one is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// `eid`: the recipient's address.
    pub address: String,
    /// `cid`: the campaign.
    pub campaign_id: String,
    /// `mid`: the client's id of the message, or the old system's.
    pub message_id: String,
    /// `url`: where the click leads.
    pub url: String,
}

impl Parameters {
    /// Reads a query string, without its question mark. None when a known parameter stands twice, or
    /// cannot be decoded. Unknown parameters are passed over. Percent-encoding and `&amp;` are taken
    /// off, because mail clients put them on.
    pub fn parse(query: &str) -> Option<Self> {
        if query.len() > 2 * TOKEN_CHARS_MAX {
            return None;
        }
        let mut found = [const { None::<String> }; 4];
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let name = name.strip_prefix("amp;").unwrap_or(&name);
            let Some(place) = ["eid", "cid", "mid", "url"].iter().position(|one| *one == name)
            else {
                continue;
            };
            let limit = if name == "url" { TARGET_OCTETS_MAX } else { VALUE_OCTETS_MAX };
            let value = decode(&value).filter(|value| value.len() <= limit)?;
            if found[place].replace(value).is_some() {
                return None;
            }
        }
        let [address, campaign_id, message_id, url] = found.map(Option::unwrap_or_default);
        Some(Self { address, campaign_id, message_id, url })
    }
}

/// Decodes one value: base64url, padded or not, of UTF-8 text without control characters.
pub fn decode(value: &str) -> Option<String> {
    // The engine would also take half a padding.
    let half_padded = value.contains('=') && !value.len().is_multiple_of(4);
    if value.len() > TOKEN_CHARS_MAX || half_padded {
        return None;
    }
    let text = String::from_utf8(PADDED_OR_NOT.decode(value).ok()?).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

/// The part of a token that a `/go/` link carries: the last [`GO_CHARS`] characters of its slug,
/// which may themselves contain a dash.
pub fn go_token(slug: &str) -> Option<&str> {
    let at = slug.len().checked_sub(GO_CHARS)?;
    let (before, token) = slug.split_at_checked(at)?;
    let fits = before.is_empty() || before.ends_with('-');
    (fits && is_token(token)).then_some(token)
}

/// Whether this can be a token of `/t/c/` or `/t/o/` (there without `.gif`).
pub fn is_token(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=');
    !text.is_empty() && text.len() <= 128 && text.bytes().all(letter)
}
