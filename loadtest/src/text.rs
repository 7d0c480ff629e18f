//! Text for mails: different in every mail, and no easy prey for a store that compresses.
//!
//! Pure; keeps nothing.

/// Octets of the pool that texts are cut from; no multiple of [`STEP`].
const POOL_BYTES: usize = 4 << 20;
/// How far the next text begins behind the one before.
const STEP: usize = 1009;
const LINE: usize = 72;

/// A pool of made-up text.
#[derive(Debug)]
pub(crate) struct Texts(Vec<u8>);

impl Texts {
    /// Fills the pool; the same each time.
    pub(crate) fn new() -> Self {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ,";
        let (mut pool, mut seed) = (Vec::with_capacity(POOL_BYTES), 0x9E37_79B9_7F4A_7C15_u64);
        while pool.len() < POOL_BYTES {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let end_of_line = pool.len() % LINE == LINE - 1;
            pool.push(if end_of_line { b'\n' } else { letters[(seed >> 32) as usize % 64] });
        }
        Self(pool)
    }

    /// The `n`th text of this length.
    pub(crate) fn text(&self, n: u64, bytes: usize) -> String {
        let room = (POOL_BYTES - bytes.min(POOL_BYTES)).max(1);
        let from = (n as usize).wrapping_mul(STEP) % room;
        let end = (from + bytes).min(POOL_BYTES);
        String::from_utf8_lossy(&self.0[from..end]).into_owned()
    }
}
