//! Content transfer encodings (RFC 2045 §6): picks the smallest that keeps the mail 7-bit clean and
//! its lines short, and never lets a body line look like a boundary.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) const HEX: &[u8; 16] = b"0123456789ABCDEF";
/// The longest encoded line (RFC 2045 §6.7, §6.8).
const ENCODED_COLUMNS: usize = 76;
/// Text with longer lines is encoded: some relays break them.
const PLAIN_COLUMNS: usize = 78;
/// As many bytes as one line of base64 holds.
const BASE64_LINE_BYTES: usize = 57;

/// Writes Content-Transfer-Encoding, the blank line and the text with CRLF line ends.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    let shape = Shape::of(text.as_bytes());
    if shape.plain {
        out.extend_from_slice(b"Content-Transfer-Encoding: 7bit\r\n\r\n");
        with_crlf(out, text);
    } else if text.len() + shape.escapes * 2 <= text.len().div_ceil(3) * 4 {
        out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        quoted_printable(out, text.as_bytes());
    } else {
        let mut normal = Vec::with_capacity(text.len() + text.len() / 16);
        with_crlf(&mut normal, text);
        data(out, &normal);
    }
}

/// Writes Content-Transfer-Encoding, the blank line and the bytes as base64.
pub(super) fn data(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n\r\n");
    base64_lines(out, bytes);
}

/// Writes bytes as lines of base64.
pub(crate) fn base64_lines(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut line = [0u8; ENCODED_COLUMNS];
    for chunk in bytes.chunks(BASE64_LINE_BYTES) {
        let len = STANDARD.encode_slice(chunk, &mut line).expect("57 bytes make 76 characters");
        out.extend_from_slice(&line[..len]);
        out.extend_from_slice(b"\r\n");
    }
}

fn with_crlf(out: &mut Vec<u8>, text: &str) {
    for (line, ended) in lines(text.as_bytes()) {
        out.extend_from_slice(line);
        if ended {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// What decides between the encodings.
struct Shape {
    /// Short lines of printable ASCII that no relay has a reason to touch.
    plain: bool,
    /// Bytes that quoted-printable would write as three.
    escapes: usize,
}

impl Shape {
    fn of(text: &[u8]) -> Self {
        let mut shape = Shape { plain: true, escapes: 0 };
        for (line, _) in lines(text) {
            let odd = line.iter().filter(|b| !matches!(b, b'\t' | b' '..=b'~')).count();
            shape.escapes += odd + line.iter().filter(|b| **b == b'=').count();
            let trailing = line.last().is_some_and(|b| matches!(b, b' ' | b'\t'));
            shape.plain &= odd == 0
                && !trailing
                && line.len() <= PLAIN_COLUMNS
                && !line.starts_with(b"From ")
                // All boundaries begin so; neither encoding can produce it.
                && !line.starts_with(b"--=_");
        }
        shape
    }
}

/// Writes text as quoted-printable. A line end in any form becomes CRLF.
pub(crate) fn quoted_printable(out: &mut Vec<u8>, text: &[u8]) {
    for (line, ended) in lines(text) {
        let mut column = 0;
        for (at, byte) in line.iter().enumerate() {
            let last = at + 1 == line.len();
            let first = column == 0;
            let literal = match byte {
                b' ' | b'\t' => !last,
                b'=' => false,
                // A dot or "From " at the start of a line meets broken relays.
                b'.' => !first,
                // Two dashes could be somebody's boundary.
                b'-' => !(first && line[at..].starts_with(b"--")),
                b'F' => !(first && line[at..].starts_with(b"From ")),
                b'!'..=b'~' => true,
                _ => false,
            };
            let width = if literal { 1 } else { 3 };
            // One column stays free for the soft line break, unless the line ends here.
            if column + width > ENCODED_COLUMNS - usize::from(!last) {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            column += width;
            if literal {
                out.push(*byte);
            } else {
                out.push(b'=');
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        if ended {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Reads quoted-printable; none when it is malformed.
pub(crate) fn from_quoted_printable(encoded: &[u8]) -> Option<Vec<u8>> {
    mail_parser::decoders::quoted_printable::quoted_printable_decode(encoded)
}

/// The lines of a text whose line ends may be CRLF, LF or CR, and whether each was ended.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(end) = rest.iter().position(|b| matches!(b, b'\r' | b'\n')) else {
            return Some((std::mem::take(&mut rest), false));
        };
        let (line, behind) = rest.split_at(end);
        rest = &behind[if behind.starts_with(b"\r\n") { 2 } else { 1 }..];
        Some((line, true))
    })
}
