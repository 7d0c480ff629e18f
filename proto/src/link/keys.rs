//! The ring of secrets that tracking links are signed with. Keys rotate with overlap: put a new one
//! first, keep the old ones behind it for as long as mail that carries them is read.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The most keys a ring holds.
pub const KEYS_MAX: usize = 8;
/// No secret shorter than this is taken.
pub const SECRET_OCTETS_MIN: usize = 32;

/// A text that is no ring of keys. Holds no part of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// There is no key, or there are too many.
    #[error("needs 1 to {KEYS_MAX} keys, such as 1:<64 hex digits>, separated by commas")]
    Count,
    /// An entry without a colon, or whose id is no number from 0 to 255.
    #[error("key {0} does not begin with its id, a number from 0 to 255, and a colon")]
    Id(usize),
    /// Two keys have the same id.
    #[error("the key id {0} occurs twice")]
    Repeated(u8),
    /// The secret is neither hex nor base64, or is too short.
    #[error("the secret of key {0} needs at least {SECRET_OCTETS_MIN} octets as hex or base64")]
    Secret(u8),
}

/// The keys. The first one signs, all of them verify. The `Debug` form shows no secret.
#[derive(Clone)]
pub struct Keys(Vec<(u8, Key)>);

/// One key, prepared so that a signature costs no key schedule.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    pub(super) fn tag(&self, octets: &[u8]) -> [u8; 32] {
        self.0.clone().chain_update(octets).finalize().into_bytes().into()
    }

    /// In constant time.
    pub(super) fn matches(&self, octets: &[u8], tag: &[u8]) -> bool {
        bool::from(self.tag(octets)[..tag.len()].ct_eq(tag))
    }
}

impl Keys {
    pub(super) fn signing(&self) -> (u8, &Key) {
        let (id, key) = self.0.first().expect("a ring has at least one key");
        (*id, key)
    }

    pub(super) fn by_id(&self, id: u8) -> Option<&Key> {
        self.0.iter().find(|(own, _)| *own == id).map(|(_, key)| key)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

impl FromStr for Keys {
    type Err = BadKeys;

    /// Reads `id:secret,id:secret,…` with secrets in hex, or in base64 of either alphabet with or
    /// without padding.
    fn from_str(text: &str) -> Result<Self, BadKeys> {
        let entries: Vec<_> =
            text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
        if entries.is_empty() || entries.len() > KEYS_MAX {
            return Err(BadKeys::Count);
        }
        let mut keys: Vec<(u8, Key)> = Vec::with_capacity(entries.len());
        for (n, entry) in entries.into_iter().enumerate() {
            let (id, secret) = entry.split_once(':').ok_or(BadKeys::Id(n + 1))?;
            let id = id.parse().map_err(|_| BadKeys::Id(n + 1))?;
            if keys.iter().any(|(other, _)| *other == id) {
                return Err(BadKeys::Repeated(id));
            }
            let secret = octets(secret).filter(|octets| octets.len() >= SECRET_OCTETS_MIN);
            let secret = secret.ok_or(BadKeys::Secret(id))?;
            let mac = Hmac::new_from_slice(&secret).map_err(|_| BadKeys::Secret(id))?;
            keys.push((id, Key(mac)));
        }
        Ok(Self(keys))
    }
}

fn octets(text: &str) -> Option<Vec<u8>> {
    if text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let octet = |n: usize| u8::from_str_radix(&text[n..n + 2], 16).ok();
        return (0..text.len()).step_by(2).map(octet).collect();
    }
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabets = [alphabet::STANDARD, alphabet::URL_SAFE];
    alphabets.iter().find_map(|letters| GeneralPurpose::new(letters, lenient).decode(text).ok())
}
