//! Replies of a server (RFC 5321 §4.2) with enhanced status codes (RFC 2034, RFC 3463).
//!
//! The grammar is our own: strict about codes and continuation, bounded in lines and bytes, and
//! lenient only in taking a bare LF for a line end, which cannot change where a reply ends.

use std::fmt;

use crate::limits::{REPLY_BYTES_MAX, REPLY_LINE_BYTES_MAX, REPLY_LINES_MAX};

/// A complete reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The code, 200 to 599.
    pub code: u16,
    /// The enhanced status code of the first line that has one.
    pub enhanced: Option<Enhanced>,
    /// The text of all lines joined by `\n`, without codes. Holds no other control characters.
    pub text: String,
}

impl Reply {
    /// 2xx.
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// The text of each line.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }
}

/// An enhanced status code (RFC 3463 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Enhanced {
    /// 2, 4 or 5.
    pub class: u16,
    /// What it is about, for example 1 for addresses.
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

impl Enhanced {
    /// Parses the code at the beginning of a text; also returns what follows it and its blanks.
    pub fn split_from(text: &str) -> Option<(Self, &str)> {
        let end = text.find([' ', '\t']).unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(number);
        let class = numbers.next()??;
        let subject = numbers.next()??;
        let detail = numbers.next()??;
        if numbers.next().is_some() || !matches!(class, 2 | 4 | 5) {
            return None;
        }
        Some((Self { class, subject, detail }, text[end..].trim_start()))
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

fn number(text: &str) -> Option<u16> {
    let valid = matches!(text.len(), 1..=3) && text.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}

/// Why bytes are no reply. The connection is of no further use then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line does not begin with a code from 200 to 599 and a blank or hyphen.
    #[error("a line is not an SMTP reply")]
    NotAReply,
    /// A continuation has another code than the first line.
    #[error("the lines of a reply have different codes")]
    CodeChanged,
    /// Above [`REPLY_LINE_BYTES_MAX`].
    #[error("a reply line is longer than {REPLY_LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// Above [`REPLY_LINES_MAX`] or [`REPLY_BYTES_MAX`].
    #[error("a reply is longer than {REPLY_LINES_MAX} lines or {REPLY_BYTES_MAX} bytes")]
    TooLong,
}

/// Collects replies from bytes that arrive in any pieces.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// The line that has not ended yet.
    line: Vec<u8>,
    reply: Option<Reply>,
    lines: usize,
    bytes: usize,
}

impl ReplyReader {
    /// Takes bytes off `input` up to the end of one reply, and returns it once it is complete. What
    /// remains in `input` belongs to the next reply.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        while !input.is_empty() {
            let ended = input.iter().position(|b| *b == b'\n');
            let (piece, rest) = input.split_at(ended.map_or(input.len(), |at| at + 1));
            *input = rest;
            self.bytes += piece.len();
            if self.line.len() + piece.len() > REPLY_LINE_BYTES_MAX + 2 {
                return Err(ReplyError::LineTooLong);
            }
            if self.bytes > REPLY_BYTES_MAX {
                return Err(ReplyError::TooLong);
            }
            self.line.extend_from_slice(piece);
            if ended.is_some() && self.line_ended()? {
                self.lines = 0;
                self.bytes = 0;
                return Ok(self.reply.take());
            }
        }
        Ok(None)
    }

    /// Whether a part of a reply has been taken.
    pub fn is_within_reply(&self) -> bool {
        self.bytes > 0
    }

    /// Adds the line to the reply; true when it was the last one.
    fn line_ended(&mut self) -> Result<bool, ReplyError> {
        self.lines += 1;
        if self.lines > REPLY_LINES_MAX {
            return Err(ReplyError::TooLong);
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (code, last, text) = split_line(line).ok_or(ReplyError::NotAReply)?;
        let text = clean(text);
        let (enhanced, text) = match Enhanced::split_from(&text) {
            Some((enhanced, text)) => (Some(enhanced), text),
            None => (None, text.as_str()),
        };
        match &mut self.reply {
            None => self.reply = Some(Reply { code, enhanced, text: text.to_owned() }),
            Some(reply) if reply.code == code => {
                reply.enhanced = reply.enhanced.or(enhanced);
                reply.text.push('\n');
                reply.text.push_str(text);
            }
            Some(_) => return Err(ReplyError::CodeChanged),
        }
        self.line.clear();
        Ok(last)
    }
}

/// Code, whether it is the last line, and the text behind them.
fn split_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) || !matches!(code[0], b'2'..=b'5') {
        return None;
    }
    let code = code.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match rest {
        [] => Some((code, true, rest)),
        [b' ', text @ ..] => Some((code, true, text)),
        [b'-', text @ ..] => Some((code, false, text)),
        _ => None,
    }
}

/// The text as UTF-8 with spaces for control characters, so that it can be logged and stored.
fn clean(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Reply>, ReplyError> {
        let (mut reader, mut input, mut replies) = (ReplyReader::default(), bytes, Vec::new());
        while let Some(reply) = reader.feed(&mut input)? {
            replies.push(reply);
        }
        assert!(input.is_empty());
        Ok(replies)
    }

    #[test]
    fn one_read_may_hold_several_replies() {
        let replies = all(b"250-2.1.0 one\r\n250 2.1.0 two\r\n550 5.1.1\r\n354\n2").unwrap();
        assert_eq!(replies[0].text, "one\ntwo");
        assert_eq!(replies[0].enhanced.unwrap().to_string(), "2.1.0");
        assert_eq!((replies[1].code, replies[1].text.as_str()), (550, ""));
        assert_eq!((replies[2].code, replies[2].enhanced), (354, None));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for bad in ["hello", "25", "250x", "600 x", "150 x", "", " 250 a"] {
            let line = format!("{bad}\r\n");
            assert_eq!(all(line.as_bytes()), Err(ReplyError::NotAReply), "{bad:?}");
        }
        assert_eq!(all(b"250-a\r\n251 b\r\n"), Err(ReplyError::CodeChanged));
        assert_eq!(all(&[b'2'; 5000]), Err(ReplyError::LineTooLong));
        assert_eq!(all("250-a\r\n".repeat(1_000_000).as_bytes()), Err(ReplyError::TooLong));
        let long = format!("250-{}\r\n", "x".repeat(2000));
        assert_eq!(all(long.repeat(9).as_bytes()), Err(ReplyError::TooLong));
    }

    #[test]
    fn controls_do_not_survive() {
        assert_eq!(all(b"550 a\0b\x1b[0m\rc\r\n").unwrap()[0].text, "a b [0m c");
    }
}
