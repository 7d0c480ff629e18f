//! Inputs that resemble a corpus: pieces of it put together, doubled, left out or spoiled, with the
//! bytes that parsers stumble over. Pure but for where the chance comes from.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// The largest input that is made.
const BYTES_MAX: usize = 16 * 1024;

/// Bytes that mean something to one parser or another.
const BYTES: &[u8] = b"\0\t\n\r\x1b !\"#$%&'()*+,-./0:;<=>?@[\\]^_`{|}~\x7f\x80\xc0\xed\xf0\xff";
/// The same of more than one byte.
const PIECES: [&[u8]; 22] = [
    b"\r\n",
    b"\r\n.\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"--",
    b"%00",
    b"%0d%0a",
    b"=\r\n",
    b"=?utf-8?q?",
    b"?=",
    b"0",
    b"-1",
    b"256",
    b"65536",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551616",
    b"1e999",
    "\u{e9}\u{20ac}".as_bytes(),
    "\u{1f600}".as_bytes(),
    "\u{202e}\u{2028}".as_bytes(),
    "\u{feff}".as_bytes(),
];

pub(crate) struct Mutator<'a> {
    corpus: &'a [&'a [u8]],
    /// Of SplitMix64.
    state: u64,
}

impl<'a> Mutator<'a> {
    pub(crate) fn new(corpus: &'a [&'a [u8]]) -> Self {
        Self { corpus, state: RandomState::new().build_hasher().finish() }
    }

    pub(crate) fn next(&mut self) -> Vec<u8> {
        if self.below(20) == 0 {
            return (0..self.below(64)).map(|_| self.byte()).collect();
        }
        let mut input = self.one_of_corpus().to_owned();
        for _ in 0..=self.below(6) {
            self.spoil(&mut input);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn spoil(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input.len());
        match self.below(9) {
            0 => drop(input.drain(range)),
            1 => input.truncate(range.start),
            2 => {
                if let Some(byte) = input.get_mut(range.start) {
                    *byte ^= 1 << self.below(8);
                }
            }
            3 => {
                let byte = self.byte();
                input.insert(range.start, byte);
            }
            4 => {
                let byte = self.byte();
                input.splice(range, [byte]);
            }
            5 => {
                let piece = PIECES[self.below(PIECES.len())];
                let end = if self.below(2) == 0 { range.start } else { range.end };
                input.splice(range.start..end, piece.iter().copied());
            }
            6 => {
                let times = 1 + [1, 1, 2, 40, 300][self.below(5)];
                let doubled = input[range.clone()].repeat(times);
                input.splice(range, doubled.into_iter().take(BYTES_MAX));
            }
            7 => {
                let other = self.one_of_corpus();
                let piece = &other[self.range(other.len())];
                input.splice(range.start..range.start, piece.iter().copied());
            }
            _ => {
                let other = self.one_of_corpus();
                let from = self.range(other.len()).start;
                input.truncate(range.start);
                input.extend_from_slice(&other[from..]);
            }
        }
    }

    fn one_of_corpus(&mut self) -> &'a [u8] {
        match self.corpus.len() {
            0 => &[],
            many => self.corpus[self.below(many)],
        }
    }

    fn byte(&mut self) -> u8 {
        match self.below(2) {
            0 => BYTES[self.below(BYTES.len())],
            _ => self.random().to_le_bytes()[0],
        }
    }

    /// Mostly short, so that most of the input stays what it was.
    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        let most = if self.below(4) == 0 { len - start } else { (len - start).min(8) };
        start..start + self.below(most + 1)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        usize::try_from(self.random() % end).unwrap_or_default()
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_resemble_the_corpus_and_differ() {
        let corpus: [&[u8]; 2] = [b"MAIL FROM:<ann@a.example>", b"QUIT"];
        let mut mutator = Mutator::new(&corpus);
        let made: Vec<_> = (0..1000).map(|_| mutator.next()).collect();
        assert!(made.iter().all(|input| input.len() <= BYTES_MAX));
        let alike = made.iter().filter(|input| input.windows(4).any(|four| four == b"FROM"));
        let alike = alike.count();
        assert!((100..1000).contains(&alike), "{alike}");
        let different: std::collections::BTreeSet<_> = made.iter().collect();
        assert!(different.len() > 500, "{}", different.len());
    }
}
