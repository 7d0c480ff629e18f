//! Reads the journal from where the core last acknowledged. The place is kept in the file `shipped`,
//! which is written over in place, because a full disk has no room for a new one just when shipping
//! would make some. A crash before it is written means that some records are shipped twice, and the
//! core knows them by their ids.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::record::{Read, Record};
use super::segment::{self, Position};

/// How much of a segment is read at a time; longer than any record.
const READ_OCTETS: usize = 512 << 10;
const PLACE: &str = "shipped";

/// What there is to be shipped next.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The records, oldest first.
    pub(crate) records: Vec<Record>,
    /// Where they end: to be given to [`Reader::acknowledge`].
    pub(crate) next: Position,
}

/// A place in the journal from which is read.
#[derive(Debug)]
pub(crate) struct Reader {
    folder: PathBuf,
    place: File,
    position: Position,
}

impl Reader {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let path = folder.join(PLACE);
        let place = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; 64];
        let read = place.read_at(&mut bytes, 0)?;
        let text = String::from_utf8_lossy(&bytes[..read]);
        // A place that cannot be read means the beginning: records known already do no harm.
        let found = text.trim().split_once(' ').and_then(|(segment, offset)| {
            Some(Position { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
        });
        let position = found.unwrap_or(Position { segment: 0, offset: 0 });
        let reader = Self { folder: folder.to_owned(), place, position };
        // Now, while there is room.
        reader.note_down(position)?;
        Ok(reader)
    }

    /// All numbers have the same width, so that each place covers the one before.
    fn note_down(&self, Position { segment, offset }: Position) -> io::Result<()> {
        self.place.write_all_at(format!("{segment:020} {offset:020}\n").as_bytes(), 0)
    }

    /// How far the core has acknowledged.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Reads up to `max` records before `end`; none when there are no more. What cannot be read as
    /// a record ends its segment: the rest is reported and passed over.
    pub(crate) fn read(&self, end: Position, max: usize) -> io::Result<Batch> {
        let (mut next, mut records) = (self.position, Vec::new());
        while next < end {
            let bytes = self.bytes(next, end)?;
            next.offset += split(&bytes, max, &mut records) as u64;
            if !records.is_empty() || next == end {
                break;
            }
            let octets = self.octets(next.segment).saturating_sub(next.offset);
            if octets > 0 {
                let Position { segment, offset } = next;
                tracing::error!(segment, offset, octets, "the rest of a segment cannot be read");
            }
            next = self.following(next.segment, end)?;
        }
        Ok(Batch { records, next })
    }

    /// The core has everything before `next`. Returns the bytes of the segments that were deleted.
    pub(crate) fn acknowledge(&mut self, next: Position) -> io::Result<u64> {
        self.note_down(next)?;
        self.position = next;
        let mut deleted = 0;
        for (number, octets) in segment::list(&self.folder)? {
            if number < next.segment {
                std::fs::remove_file(segment::path(&self.folder, number))?;
                deleted += octets;
            }
        }
        Ok(deleted)
    }

    /// What stands at a place, up to `end`.
    fn bytes(&self, at: Position, end: Position) -> io::Result<Vec<u8>> {
        let file = match File::open(segment::path(&self.folder, at.segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let wanted = match at.segment == end.segment {
            true => READ_OCTETS.min(usize::try_from(end.offset - at.offset).unwrap_or(READ_OCTETS)),
            false => READ_OCTETS,
        };
        let mut bytes = vec![0; wanted];
        let mut filled = 0;
        while filled < wanted {
            match file.read_at(&mut bytes[filled..], at.offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn octets(&self, segment: u64) -> u64 {
        std::fs::metadata(segment::path(&self.folder, segment)).map_or(0, |meta| meta.len())
    }

    /// The beginning of the next segment there is, or the end.
    fn following(&self, segment: u64, end: Position) -> io::Result<Position> {
        let all = segment::list(&self.folder)?;
        let next = all.into_iter().map(|(number, _)| number).find(|number| *number > segment);
        Ok(next.map_or(end, |segment| Position { segment, offset: 0 }).min(end))
    }
}

/// Takes up to `max` records off the front of `bytes`. Returns how many bytes they took.
fn split(bytes: &[u8], max: usize, records: &mut Vec<Record>) -> usize {
    let mut taken = 0;
    while records.len() < max
        && let Read::Record(record, len) = Record::read(&bytes[taken..])
    {
        records.push(*record);
        taken += len;
    }
    taken
}
