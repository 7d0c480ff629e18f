//! Pairs of DKIM keys: how they are named and made.

use crate::dkim;
use crate::model::domain::{DkimAlgorithm, DkimKey, Domain, KeyState};

/// How long keys stay published after they have been replaced, when nobody says: longer than mail is
/// tried, and than receivers look at it again.
pub const OVERLAP_MS: i64 = 7 * 24 * 3600 * 1000;
/// The most keys of one domain: what is checked and shown stays small.
pub const KEYS_MAX: usize = 16;

/// A pair, RSA-2048 and Ed25519, in the order in which they are read back: by selector. Takes a good part
/// of a second of computing.
pub fn pair(
    selector: &str,
    state: KeyState,
    overlap_ms: i64,
    create_ms: i64,
) -> Result<Vec<DkimKey>, dkim::Error> {
    let key = |algorithm: DkimAlgorithm| {
        let made = dkim::generate(algorithm)?;
        Ok(DkimKey {
            selector: format!("{selector}{}", algorithm.suffix()),
            algorithm,
            private_der: made.private_der,
            record: made.record,
            create_ms,
            state,
            overlap_ms,
            remove_ms: None,
        })
    };
    Ok(vec![key(DkimAlgorithm::Ed25519)?, key(DkimAlgorithm::Rsa)?])
}

/// The selector of a pair made at this time: year and month, such as `p202611`, and a letter behind it
/// when the domain has keys of that name.
pub fn free_selector(now_ms: i64, domain: Option<&Domain>) -> String {
    let date = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default().to_string();
    let month = format!("p{}{}", &date[..4], &date[5..7]);
    let taken = |name: &String| domain.is_some_and(|d| d.keys.iter().any(|k| k.pair() == *name));
    let letters = ('b'..='z').map(|letter| format!("{month}{letter}"));
    std::iter::once(month.clone()).chain(letters).find(|name| !taken(name)).unwrap_or(month)
}
