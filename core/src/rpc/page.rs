//! Page tokens and resume tokens: opaque, bound to the request they belong to, and refused when
//! anybody changed them.
//!
//! A token is the cursor and a keyed digest over cursor and filter. The key is the installation's,
//! so a token is good on every node and after a restart.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// How many entries a page has when the client does not say.
pub const SIZE_DEFAULT: i32 = 50;
/// And at most.
pub const SIZE_MAX: i32 = 1000;
/// A page ends early rather than hold more octets than this, so that it fits the 4 MiB that gRPC
/// clients take by default. One entry is always shown.
pub const PAGE_BYTES_MAX: usize = 3 << 20;
const DIGEST_BYTES: usize = 12;

/// Makes and reads tokens.
pub struct Pages {
    secret: [u8; 32],
}

impl Pages {
    /// Tokens under a secret of the installation.
    pub fn new(secret: &str) -> Self {
        Self { secret: Sha256::digest(format!("page tokens {secret}").as_bytes()).into() }
    }

    /// The size of a page.
    pub fn size(&self, asked: i32) -> Result<usize, Failure> {
        match asked {
            0 => Ok(SIZE_DEFAULT as usize),
            ..0 => Err(Failure::field(Reason::WrongType, "page_size", "is negative")),
            more => Ok(more.min(SIZE_MAX) as usize),
        }
    }

    /// Cuts a list that was read one entry too long down to its page, and returns the token for
    /// going on; empty at the end.
    pub fn cut<T>(
        &self,
        list: &mut Vec<T>,
        size: usize,
        filter: &[u8],
        cursor: impl Fn(&T) -> String,
    ) -> String {
        let more = list.len() > size;
        list.truncate(size);
        let last = list.last().filter(|_| more);
        last.map(|last| self.token(filter, &cursor(last))).unwrap_or_default()
    }

    /// How many of the first entries, at least one, fit [`PAGE_BYTES_MAX`].
    pub fn fitting<T: prost::Message>(list: &[T]) -> usize {
        let mut bytes = 0;
        let fits = |entry: &&T| {
            bytes += entry.encoded_len();
            bytes <= PAGE_BYTES_MAX
        };
        list.iter().take_while(fits).count().max(1)
    }

    /// A token for going on behind `cursor` with the same `filter`.
    pub fn token(&self, filter: &[u8], cursor: &str) -> String {
        let mut bytes = self.digest(filter, cursor).to_vec();
        bytes.extend_from_slice(cursor.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The cursor in a token; none for the empty token.
    pub fn cursor(
        &self,
        field: &str,
        filter: &[u8],
        token: &str,
    ) -> Result<Option<String>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let bad = || {
            let text = "is not a token of this request; begin without one, with the same filters";
            Failure::field(Reason::BadPageToken, field, text)
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
        let (digest, cursor) = bytes.split_at_checked(DIGEST_BYTES).ok_or_else(bad)?;
        let cursor = std::str::from_utf8(cursor).map_err(|_| bad())?;
        if !bool::from(self.digest(filter, cursor).ct_eq(digest)) {
            return Err(bad());
        }
        Ok(Some(cursor.to_owned()))
    }

    /// The id to go on from, where lists are in the order of ids. `after=msg_…`, as other services
    /// have it, is taken as well: an id needs no seal to be looked up.
    pub fn before<I: FromStr>(&self, filter: &[u8], token: &str) -> Result<Option<I>, Failure> {
        if let Ok(id) = token.parse() {
            return Ok(Some(id));
        }
        let cursor = self.cursor("page_token", filter, token)?;
        let bad = |_| Failure::field(Reason::BadPageToken, "page_token", "is no id");
        cursor.map(|cursor| cursor.parse().map_err(bad)).transpose()
    }

    fn digest(&self, filter: &[u8], cursor: &str) -> [u8; DIGEST_BYTES] {
        // The secret stands first and last, so nothing can be appended to what was signed.
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update((filter.len() as u64).to_be_bytes());
        hash.update(filter);
        hash.update(cursor.as_bytes());
        hash.update(self.secret);
        let full: [u8; 32] = hash.finalize().into();
        let mut short = [0; DIGEST_BYTES];
        short.copy_from_slice(&full[..DIGEST_BYTES]);
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what we made is a token, of its request alone, in one spelling.
    #[test]
    fn fuzz_page_token() {
        postern_fuzz::check!("page_token", |input| {
            let pages = Pages::new("secret");
            let text = postern_fuzz::text(input);
            if let Ok(Some(cursor)) = pages.cursor("page_token", b"filter", &text) {
                assert_eq!(pages.token(b"filter", &cursor), text);
            }
            let token = pages.token(b"filter", &text);
            let read = pages.cursor("page_token", b"filter", &token);
            assert_eq!(read.unwrap().as_deref(), Some(&*text));
            assert!(pages.cursor("page_token", b"other", &token).is_err());
        });
    }

    #[test]
    fn a_token_is_good_for_its_own_request_only() {
        let pages = Pages::new("secret");
        let token = pages.token(b"filter", "cursor");
        assert_eq!(pages.cursor("t", b"filter", &token).unwrap().as_deref(), Some("cursor"));
        assert!(pages.cursor("t", b"other", &token).is_err());
        assert!(Pages::new("else").cursor("t", b"filter", &token).is_err());
        for bad in ["x", "!!", &token[1..], &format!("{token}AA")] {
            let failure = pages.cursor("page_token", b"filter", bad).unwrap_err();
            assert_eq!(failure.reason, Reason::BadPageToken);
        }
        assert_eq!(pages.cursor("t", b"filter", ""), Ok(None));
    }
}
