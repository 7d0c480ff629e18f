//! Command lines of a client, framed strictly: a line ends at CRLF and nowhere else
//! (RFC 5321 §2.3.8), and is bounded. A bare LF or CR, a NUL or another control character makes the
//! line unusable, which closes every trick that hides one command within another.

use memchr::memchr2;

/// Why a line cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It goes on beyond the limit.
    #[error("the line is longer than {0} bytes")]
    TooLong(usize),
    /// A LF without CR, or a CR without LF.
    #[error("the line holds a bare CR or LF; end lines with CRLF")]
    BareLineEnd,
    /// NUL or another control character.
    #[error("the line holds a control character")]
    Control,
    /// Bytes that are not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
}

/// What the beginning of the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed<'a> {
    /// Not a whole line yet; read on.
    Partial,
    /// A line without its CRLF, and how many bytes it took from the input.
    Line(&'a str, usize),
    /// A line that is of no use, and how many bytes it took. After [`LineError::TooLong`] the rest
    /// of the line is still to come, so the conversation cannot go on.
    Bad(LineError, usize),
}

/// Takes the first line off the input.
pub fn frame(input: &[u8], bytes_max: usize) -> Framed<'_> {
    let Some(end) = memchr2(b'\r', b'\n', input) else {
        if input.len() > bytes_max {
            return Framed::Bad(LineError::TooLong(bytes_max), input.len());
        }
        return Framed::Partial;
    };
    if end > bytes_max {
        return Framed::Bad(LineError::TooLong(bytes_max), end);
    }
    let (line, behind) = input.split_at(end);
    match behind {
        [b'\r', b'\n', ..] => {}
        [b'\r'] => return Framed::Partial,
        // The line ends, for what follows, at the LF; a bare CR ends nothing that can be named.
        _ => {
            let ended = memchr::memchr(b'\n', behind).map_or(input.len(), |at| end + at + 1);
            return Framed::Bad(LineError::BareLineEnd, ended);
        }
    }
    let taken = end + 2;
    let tab = |b: &u8| b.is_ascii_control() && *b != b'\t';
    if line.iter().any(tab) {
        return Framed::Bad(LineError::Control, taken);
    }
    match std::str::from_utf8(line) {
        Ok(line) => Framed::Line(line, taken),
        Err(_) => Framed::Bad(LineError::NotUtf8, taken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(frame(b"NOOP\r\nQUIT\r\n", 100), Framed::Line("NOOP", 6));
        assert_eq!(frame(b"NOOP", 100), Framed::Partial);
        assert_eq!(frame(b"NOOP\r", 100), Framed::Partial);
        assert_eq!(frame(b"\r\n", 100), Framed::Line("", 2));
        for bad in ["NOOP\nQUIT\r\n", "NOOP\rQUIT\r\n", "NOOP\r\r\n"] {
            let framed = frame(bad.as_bytes(), 100);
            assert!(
                matches!(framed, Framed::Bad(LineError::BareLineEnd, _)),
                "{bad:?}: {framed:?}"
            );
        }
    }

    #[test]
    fn lines_are_bounded_and_clean() {
        assert_eq!(frame(&[b'x'; 11], 10), Framed::Bad(LineError::TooLong(10), 11));
        assert_eq!(frame(b"0123456789\r\n", 10), Framed::Line("0123456789", 12));
        assert_eq!(frame(b"0123456789x\r\n", 10), Framed::Bad(LineError::TooLong(10), 11));
        assert_eq!(frame(b"NO\0OP\r\n", 100), Framed::Bad(LineError::Control, 7));
        assert_eq!(frame(b"NO\x1bOP\r\n", 100), Framed::Bad(LineError::Control, 7));
        assert_eq!(frame(b"NO\xffOP\r\n", 100), Framed::Bad(LineError::NotUtf8, 7));
    }
}
