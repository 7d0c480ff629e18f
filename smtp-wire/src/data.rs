//! Message data: dot-stuffing in both directions (RFC 5321 §4.5.2) with one idea of where data ends:
//! at `CRLF . CRLF`. Any other mix of CR, LF and dot is content, which closes SMTP smuggling.

use std::borrow::Cow;

/// What ends the data after content that ended with CRLF.
pub const END: &[u8] = b".\r\n";

/// The wire form of a message without [`END`]: dots doubled at line starts, every line ended by
/// CRLF, bare CR and LF turned into CRLF. Borrows when there is nothing to change, which is so for
/// nearly all mail this system composed.
pub fn stuff(message: &[u8]) -> Cow<'_, [u8]> {
    if is_ready(message) {
        return Cow::Borrowed(message);
    }
    let mut out = Vec::with_capacity(message.len() + message.len() / 32 + 16);
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        let (line, behind) = rest.split_at(end);
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        let ended = if behind.starts_with(b"\r\n") { 2 } else { 1 };
        rest = behind.get(ended..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// Whether the message is its own wire form.
fn is_ready(message: &[u8]) -> bool {
    let mut previous = b'\n';
    for byte in message {
        let ready = match (previous, byte) {
            (b'\r', b'\n') => true,
            (b'\r', _) | (_, b'\n') => false,
            (b'\n', b'.') => false,
            _ => true,
        };
        if !ready {
            return false;
        }
        previous = *byte;
    }
    previous == b'\n'
}

/// What has been seen of the current line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// Directly behind CRLF, or at the start.
    #[default]
    LineStart,
    /// Behind a dot at the start of a line; the dot is not content.
    Dot,
    /// Behind that dot and a CR, which is not decided yet.
    DotCr,
    /// Within a line.
    Text,
    /// Behind a CR within a line.
    Cr,
}

/// Takes dot-stuffed data that arrives in any pieces.
#[derive(Debug, Default)]
pub struct Unstuffer {
    at: At,
    bare: bool,
}

impl Unstuffer {
    /// Appends content to `out`. Returns how many bytes of `input` were taken once the end of the
    /// data was among them; until then all of it was. The caller watches the size of `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let mut index = 0;
        while let Some(byte) = input.get(index) {
            index += 1;
            self.at = match (self.at, byte) {
                (At::LineStart, b'.') => At::Dot,
                (At::Dot, b'\r') => At::DotCr,
                (At::DotCr, b'\n') => {
                    self.at = At::LineStart;
                    return Some(index);
                }
                (at, byte) => self.content(at, *byte, out),
            };
            if self.at == At::Text {
                // Nothing but the end of the line matters now.
                let rest = &input[index..];
                let len = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..len]);
                index += len;
            }
        }
        None
    }

    fn content(&mut self, at: At, byte: u8, out: &mut Vec<u8>) -> At {
        if at == At::DotCr {
            // The CR was content, behind a dot that was stuffed.
            out.push(b'\r');
        }
        out.push(byte);
        let behind_cr = matches!(at, At::Cr | At::DotCr);
        self.bare |= behind_cr != (byte == b'\n');
        match byte {
            b'\r' => At::Cr,
            b'\n' if behind_cr => At::LineStart,
            _ => At::Text,
        }
    }

    /// Whether the content held a CR or LF that was not part of a CRLF.
    pub fn has_bare_line_end(&self) -> bool {
        self.bare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unstuff(wire: &[u8]) -> Option<(Vec<u8>, usize, bool)> {
        let (mut unstuffer, mut out) = (Unstuffer::default(), Vec::new());
        let taken = unstuffer.feed(wire, &mut out)?;
        Some((out, taken, unstuffer.has_bare_line_end()))
    }

    #[test]
    fn data_ends_at_crlf_dot_crlf_and_nowhere_else() {
        let ends = ["", "\r", "\n", "\r\n", "\r\r\n", "\n\r", "\0\r\n", "\r\0\n"];
        for before in ends {
            for after in ends {
                let wire = format!("a{before}.{after}b\r\n.\r\n");
                let (content, taken, bare) = unstuff(wire.as_bytes()).unwrap();
                let real = before.ends_with("\r\n") && after == "\r\n";
                assert_eq!(taken < wire.len(), real, "{wire:?}");
                if real {
                    assert_eq!(content, format!("a{before}").as_bytes());
                } else {
                    let odd = |end: &str| end.replace("\r\n", "").contains(['\r', '\n']);
                    assert_eq!(bare, odd(before) || odd(after), "{wire:?}");
                }
            }
        }
        assert_eq!(unstuff(b".\r\n").unwrap(), (Vec::new(), 3, false));
        let stuffed = unstuff(b"..\r\n.x\r\n.\r\nQUIT").unwrap();
        assert_eq!(stuffed, (b".\r\nx\r\n".to_vec(), 11, false));
    }
}
