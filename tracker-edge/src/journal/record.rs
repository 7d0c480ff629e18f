//! One record of the journal: how it stands in the file, and how it is found again.
//!
//! ```text
//! length of the payload, u32 little endian | CRC-32 of the payload, u32 | payload
//! payload: one octet for the kind, then the message of the contract (protobuf)
//! ```
//!
//! Pure. A record that a crash cut off fails its length or its checksum and ends its segment.

use postern_proto::v1;
use prost::Message as _;

/// No record is longer; what claims to be is damage.
pub(crate) const OCTETS_MAX: usize = 16 << 10;
const HEAD: usize = 8;
const HIT: u8 = b'H';
const UNSUBSCRIBE: u8 = b'U';

/// What the edge has promised to tell the core.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    /// An open or a click.
    Hit(v1::Hit),
    /// An unsubscription that the core could not take when it was asked for.
    Unsubscribe(v1::UnsubscribeRequest),
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    /// A record, and how many bytes it takes.
    Record(Box<Record>, usize),
    /// There may be more later.
    Partial,
    /// No record: the rest of the segment cannot be trusted.
    Damaged,
}

impl Record {
    /// Appends the record to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD]);
        let encoded = match self {
            Self::Hit(hit) => {
                out.push(HIT);
                hit.encode(out)
            }
            Self::Unsubscribe(request) => {
                out.push(UNSUBSCRIBE);
                request.encode(out)
            }
        };
        debug_assert!(encoded.is_ok(), "a Vec grows as needed");
        let payload = &out[start + HEAD..];
        let (len, sum) = (payload.len() as u32, crc32fast::hash(payload));
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
        out[start + 4..start + HEAD].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads the record at the beginning of `bytes`.
    pub(crate) fn read(bytes: &[u8]) -> Read {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Read::Partial };
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let len = number(0) as usize;
        if len == 0 || len > OCTETS_MAX {
            return Read::Damaged;
        }
        let Some(payload) = rest.get(..len) else { return Read::Partial };
        if crc32fast::hash(payload) != number(4) {
            return Read::Damaged;
        }
        let record = match payload[0] {
            HIT => v1::Hit::decode(&payload[1..]).map(Self::Hit),
            UNSUBSCRIBE => v1::UnsubscribeRequest::decode(&payload[1..]).map(Self::Unsubscribe),
            _ => return Read::Damaged,
        };
        record.map_or(Read::Damaged, |record| Read::Record(Box::new(record), HEAD + len))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hit(url: &str) -> Record {
        let user_agent = "Mozilla/5.0".to_owned();
        Record::Hit(v1::Hit { url: url.to_owned(), user_agent, ..v1::Hit::default() })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(urls in prop::collection::vec(".{0,300}", 1..8)) {
            let mut bytes = Vec::new();
            for url in &urls {
                hit(url).write(&mut bytes);
            }
            let mut rest = &bytes[..];
            for url in &urls {
                let Read::Record(record, taken) = Record::read(rest) else { panic!("no record") };
                prop_assert_eq!(*record, hit(url));
                rest = &rest[taken..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn a_record_cut_off_or_changed_is_none(cut in 0usize..400, at in 0usize..400, bit in 0u8..8) {
            let mut bytes = Vec::new();
            hit("https://shop.example/a").write(&mut bytes);
            let cut = cut % bytes.len();
            prop_assert_eq!(Record::read(&bytes[..cut]), Read::Partial);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(!matches!(Record::read(&bytes), Read::Record(..)));
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _any = Record::read(&bytes);
        }
    }
}
