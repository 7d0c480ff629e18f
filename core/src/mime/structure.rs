//! Walks the part structure of a message line by line with a stack of boundaries: no recursion, no
//! decoding, memory bounded by the allowed depth. What cannot be understood counts as a plain body.

use super::inspect::{MIME_DEPTH_MAX, MIME_PARTS_MAX, RawError};

/// A longer boundary is none (RFC 2046 §5.1.1 allows 70).
const BOUNDARY_BYTES_MAX: usize = 256;
/// As much of a Content-Type field as is looked at.
const TYPE_BYTES_MAX: usize = 8192;

/// The number of parts of a message with CRLF line ends, 1 when it is not multipart.
pub(super) fn walk(message: &[u8]) -> Result<usize, RawError> {
    let mut walk = Walk { stack: Vec::new(), parts: 1, in_header: true, kind: Vec::new() };
    let mut rest = message;
    // Outside any container no line can open a part any more.
    while !rest.is_empty() && (walk.in_header || !walk.stack.is_empty()) {
        // There is no LF without its CR.
        let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
        let (line, behind) = rest.split_at(len);
        rest = behind;
        walk.line(line.strip_suffix(b"\r\n").unwrap_or(line))?;
    }
    Ok(walk.parts)
}

struct Walk {
    /// One entry for each open container; empty bytes stand for an embedded message.
    stack: Vec<Vec<u8>>,
    parts: usize,
    in_header: bool,
    /// The Content-Type field of the current header, unfolded; empty before it was seen.
    kind: Vec<u8>,
}

impl Walk {
    fn line(&mut self, line: &[u8]) -> Result<(), RawError> {
        if line.starts_with(b"--") && self.boundary(line) {
            self.parts += 1;
            return if self.parts > MIME_PARTS_MAX { Err(RawError::TooManyParts) } else { Ok(()) };
        }
        if !self.in_header {
            return Ok(());
        }
        if line.is_empty() {
            return self.header_ended();
        }
        let continued = matches!(line[0], b' ' | b'\t') && !self.kind.is_empty();
        if is_content_type(line) || (continued && !self.kind.ends_with(b"\n")) {
            let room = TYPE_BYTES_MAX.saturating_sub(self.kind.len());
            self.kind.extend_from_slice(&line[..line.len().min(room)]);
        } else if !self.kind.is_empty() && !self.kind.ends_with(b"\n") {
            // Another field has begun: its continuation lines are not ours.
            self.kind.push(b'\n');
        }
        Ok(())
    }

    /// Whether the line is a boundary of an open container; closes what lies inside it.
    fn boundary(&mut self, line: &[u8]) -> bool {
        let mark = line[2..].trim_ascii_end();
        let matching = |open: &Vec<u8>| {
            !open.is_empty()
                && (mark == open.as_slice() || mark.strip_suffix(b"--") == Some(open.as_slice()))
        };
        let Some(depth) = self.stack.iter().rposition(matching) else {
            return false;
        };
        let closes = mark.len() > self.stack[depth].len();
        self.stack.truncate(if closes { depth } else { depth + 1 });
        self.in_header = !closes;
        self.kind.clear();
        // A closing line opens no part.
        !closes
    }

    fn header_ended(&mut self) -> Result<(), RawError> {
        self.in_header = false;
        let kind = std::mem::take(&mut self.kind);
        let text = String::from_utf8_lossy(&kind);
        let media = text.split_once(':').map_or("", |(_, value)| value).trim_start();
        let lower = media.to_ascii_lowercase();
        if lower.starts_with("multipart/") {
            if let Some(boundary) = boundary_of(media, &lower) {
                self.stack.push(boundary);
            }
        } else if lower.starts_with("message/rfc822") || lower.starts_with("message/global") {
            self.stack.push(Vec::new());
            self.in_header = true;
        }
        if self.stack.len() > MIME_DEPTH_MAX { Err(RawError::TooDeep) } else { Ok(()) }
    }
}

fn is_content_type(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|b| *b == b':') else {
        return false;
    };
    line[..colon].trim_ascii_end().eq_ignore_ascii_case(b"content-type")
}

fn boundary_of(media: &str, lower: &str) -> Option<Vec<u8>> {
    let at = lower.find("boundary")? + "boundary".len();
    let value = media.get(at..)?.trim_start().strip_prefix('=')?.trim_start();
    let boundary = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?.replace('\\', ""),
        None => value.split([';', ' ', '\t', '\n']).next()?.to_owned(),
    };
    let fits = !boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX;
    fits.then(|| boundary.trim_end().as_bytes().to_vec())
}
