//! Header fields: folding (RFC 5322 §2.2.3), encoded words (RFC 2047), mailbox lists, dates.
//!
//! Everything written here first loses its control characters, which is what makes header injection
//! impossible whatever the caller failed to check.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Unsubscribe;
use super::encode::HEX;
use crate::model::content::Mailbox;

/// Lines are folded to this many columns where the text allows it.
const COLUMNS: usize = 76;
/// A longer word cannot be folded and is encoded instead, to keep within the line limit.
const WORD_BYTES_MAX: usize = 900;
/// Field names above this would not leave room on the line.
const NAME_BYTES_MAX: usize = 76;
/// Payload of one encoded word: 75 characters less `=?utf-8?B?` and `?=`.
const PAYLOAD_CHARS: usize = 63;
/// Longer display names are written as encoded words, which can be folded anywhere.
const QUOTED_NAME_BYTES_MAX: usize = 64;

/// Writes `Date` in UTC (RFC 5322 §3.3).
pub(super) fn date(out: &mut Vec<u8>, date_ms: i64) {
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(rfc5322_date(date_ms).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn rfc5322_date(date_ms: i64) -> String {
    // Years with more or fewer than four digits have no RFC 5322 form.
    const YEAR_1900_MS: i64 = -2_208_988_800_000;
    const YEAR_9999_MS: i64 = 253_370_764_800_000;
    let at = jiff::Timestamp::from_millisecond(date_ms.clamp(YEAR_1900_MS, YEAR_9999_MS))
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC);
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// Writes an unstructured field such as Subject: literally when it can, encoded when it must.
pub(super) fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    let value = clean(value);
    // "=?" written literally would be decoded by the reader.
    unstructured(out, name, &value, value.contains("=?"));
}

/// Writes a custom field. ASCII goes out as it was given, so a client may encode words itself.
pub(super) fn custom(out: &mut Vec<u8>, name: &str, value: &str) {
    unstructured(out, name, &clean(value), false);
}

/// Writes List-Unsubscribe (RFC 2369) and, for one click, List-Unsubscribe-Post (RFC 8058).
pub(super) fn unsubscribe(out: &mut Vec<u8>, how: &Unsubscribe) {
    // Not folded: readers have been seen that take only the first line for the url.
    out.extend_from_slice(format!("List-Unsubscribe: <{}>\r\n", clean(&how.url)).as_bytes());
    if how.one_click {
        out.extend_from_slice(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
    }
}

/// Whether the field is one of those.
pub(super) fn unsubscribes(name: &str) -> bool {
    ["List-Unsubscribe", "List-Unsubscribe-Post"].iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn unstructured(out: &mut Vec<u8>, name: &str, value: &str, encode: bool) {
    let mut line = Line::begin(out, name);
    let long_word = value.split([' ', '\t']).any(|word| word.len() > WORD_BYTES_MAX);
    if encode || !value.is_ascii() || long_word {
        line.encoded(value);
    } else {
        line.folded(value);
    }
    line.end();
}

/// Writes a mailbox list; nothing when it is empty.
pub(super) fn mailboxes(out: &mut Vec<u8>, name: &str, list: &[Mailbox]) {
    let Some(last) = list.len().checked_sub(1) else {
        return;
    };
    let mut line = Line::begin(out, name);
    for (index, mailbox) in list.iter().enumerate() {
        line.mailbox(mailbox);
        if index < last {
            line.out.push(b',');
            line.column += 1;
        }
    }
    line.end();
}

/// Writes `<id>`, dropping whatever could not stand between the brackets.
pub(super) fn message_id(out: &mut Vec<u8>, name: &str, id: &str) {
    let id: String = id.chars().filter(|c| c.is_ascii_graphic() && !"<>".contains(*c)).collect();
    let mut line = Line::begin(out, name);
    let id = id.get(..id.len().min(WORD_BYTES_MAX)).unwrap_or_default();
    line.word(&format!("<{id}>"));
    line.end();
}

/// Whether this is a field name: printable ASCII without colon, of a length that fits the line.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

/// Controls become spaces, and the ends are trimmed.
pub(super) fn clean(value: &str) -> Cow<'_, str> {
    let value = value.trim();
    if value.chars().any(|c| c.is_control() && c != '\t') {
        let spaced = |c: char| if c.is_control() && c != '\t' { ' ' } else { c };
        return Cow::Owned(value.chars().map(spaced).collect::<String>().trim().to_owned());
    }
    Cow::Borrowed(value)
}

/// A field under construction, which knows its column.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    column: usize,
}

impl<'a> Line<'a> {
    fn begin(out: &'a mut Vec<u8>, name: &str) -> Self {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        Self { out, column: name.len() + 1 }
    }

    fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes a space and the word, or folds before the word when it would stick out.
    fn word(&mut self, word: &str) {
        if self.column + 1 + word.len() > COLUMNS && self.column > 1 {
            self.out.extend_from_slice(b"\r\n");
            self.column = 0;
        }
        self.out.push(b' ');
        self.out.extend_from_slice(word.as_bytes());
        self.column += 1 + word.len();
    }

    /// Writes ASCII text, folding at its own white space, which is kept.
    fn folded(&mut self, value: &str) {
        let mut rest = value;
        let mut gap = " ";
        loop {
            let end = rest.find([' ', '\t']).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            if self.column + gap.len() + word.len() > COLUMNS && !word.is_empty() {
                self.out.extend_from_slice(b"\r\n");
                self.column = 0;
            }
            self.out.extend_from_slice(gap.as_bytes());
            self.out.extend_from_slice(word.as_bytes());
            self.column += gap.len() + word.len();
            let next = behind.find(|c| c != ' ' && c != '\t').unwrap_or(behind.len());
            if next == behind.len() {
                return;
            }
            (gap, rest) = behind.split_at(next);
            // White space this long leaves no room for the word behind it on one line.
            if gap.len() > COLUMNS {
                gap = " ";
            }
        }
    }

    /// Writes encoded words, cut between characters. The space between two of them is not text.
    fn encoded(&mut self, value: &str) {
        let quoted_chars: usize = value.bytes().map(|b| if is_q_safe(b) { 1 } else { 3 }).sum();
        let quoted = quoted_chars < value.len().div_ceil(3) * 4;
        let mut rest = value;
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(word_end(rest, quoted));
            self.word(&if quoted { q_word(head) } else { b_word(head) });
            rest = tail;
        }
    }

    fn mailbox(&mut self, mailbox: &Mailbox) {
        let email = clean_address(&mailbox.email);
        let name = clean(&mailbox.name);
        if name.is_empty() {
            self.word(&email);
            return;
        }
        if !name.is_ascii() || name.contains("=?") || name.len() > QUOTED_NAME_BYTES_MAX {
            self.encoded(&name);
        } else if name.bytes().all(|b| is_atom(b) || b == b' ') {
            self.folded(&name);
        } else {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            self.word(&format!("\"{escaped}\""));
        }
        self.word(&format!("<{email}>"));
    }
}

/// Addresses were checked at acceptance; this only keeps a mistake there from becoming a header.
fn clean_address(email: &str) -> Cow<'_, str> {
    if email.chars().any(char::is_control) {
        return Cow::Owned(email.chars().filter(|c| !c.is_control()).collect());
    }
    Cow::Borrowed(email)
}

/// How many bytes of the text fit one encoded word; always at least one character.
fn word_end(text: &str, quoted: bool) -> usize {
    let mut chars = 0;
    for (at, c) in text.char_indices() {
        chars = if quoted {
            let bytes = &text.as_bytes()[at..at + c.len_utf8()];
            chars + bytes.iter().map(|b| if is_q_safe(*b) { 1 } else { 3 }).sum::<usize>()
        } else {
            (at + c.len_utf8()).div_ceil(3) * 4
        };
        if chars > PAYLOAD_CHARS && at > 0 {
            return at;
        }
    }
    text.len()
}

fn b_word(text: &str) -> String {
    format!("=?utf-8?B?{}?=", STANDARD.encode(text))
}

fn q_word(text: &str) -> String {
    let mut word = String::from("=?utf-8?Q?");
    for byte in text.bytes() {
        match byte {
            b' ' => word.push('_'),
            safe if is_q_safe(safe) => word.push(char::from(safe)),
            other => {
                word.push('=');
                word.push(char::from(HEX[usize::from(other >> 4)]));
                word.push(char::from(HEX[usize::from(other & 15)]));
            }
        }
    }
    word.push_str("?=");
    word
}

/// Safe in encoded words everywhere, display names included (RFC 2047 §5 rule 3).
fn is_q_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!*+-/ ".contains(&byte)
}

fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}
