//! Replies as they go out: a code, an enhanced code (RFC 2034) and a line of text that cannot break
//! the protocol.

use std::borrow::Cow;
use std::time::Duration;

use postern_proto::status::Failure;

/// The longest text of a reply line; a line has 512 octets (RFC 5321 §4.5.3.1.5).
const TEXT_BYTES_MAX: usize = 440;

/// A reply of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// Empty where RFC 2034 wants none: greetings, EHLO and 3xx.
    pub(crate) enhanced: &'static str,
    pub(crate) text: Cow<'static, str>,
}

impl Reply {
    pub(crate) fn new(
        code: u16,
        enhanced: &'static str,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { code, enhanced, text: text.into() }
    }

    /// What a failure says in SMTP. `closing` allows 421, after which the connection ends.
    pub(crate) fn of(failure: &Failure, closing: bool) -> Self {
        let (code, enhanced) = failure.reason.meaning().smtp;
        let code = if code == 421 && !closing { 451 } else { code };
        let mut text = failure.message.clone();
        if let Some(wait) = failure.retry_after {
            text += &format!("; {}", hint(wait));
        }
        Self::new(code, enhanced, text)
    }

    /// The command was refused.
    pub(crate) fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// Appends the line.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.code.to_string().as_bytes());
        out.push(b' ');
        if !self.enhanced.is_empty() {
            out.extend_from_slice(self.enhanced.as_bytes());
            out.push(b' ');
        }
        let mut end = self.text.len().min(TEXT_BYTES_MAX);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        // Texts quote what clients sent; a line end in them would be a reply of the client's making.
        let safe = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        out.extend(self.text[..end].chars().map(|c| safe(c) as u8));
        out.extend_from_slice(b"\r\n");
    }
}

/// When to come back, in words.
pub(crate) fn hint(wait: Duration) -> String {
    format!("try again in {} s", wait.as_millis().div_ceil(1000).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_proto::reason::Reason;

    #[test]
    fn a_reply_is_one_line_whatever_its_text() {
        let mut out = Vec::new();
        Reply::new(550, "5.1.1", "a\r\n250 ok\u{2028}é").write(&mut out);
        assert_eq!(out, b"550 5.1.1 a??250 ok??\r\n");
        out.clear();
        Reply::new(250, "2.0.0", "é".repeat(1000)).write(&mut out);
        assert!(out.len() <= 512 && out.ends_with(b"\r\n"));
    }

    #[test]
    fn only_a_closing_connection_says_421() {
        let failure = Failure::new(Reason::Overloaded, "the server is busy")
            .retry_after(Duration::from_millis(1500));
        assert_eq!(Reply::of(&failure, true).code, 421);
        let reply = Reply::of(&failure, false);
        assert_eq!((reply.code, reply.enhanced), (451, "4.3.2"));
        assert_eq!(reply.text, "the server is busy; try again in 2 s");
    }
}
