//! What was said on a connection, line by line, for the timeline of a message. Passwords and bodies
//! are left out, and what is long is cut.
//!
//! Plain data; a crash loses what was not recorded with an attempt's result.

use postern_smtp_wire::command::Command;
use postern_smtp_wire::reply::Reply;

const LINES_MAX: usize = 64;
const LINE_CHARS_MAX: usize = 512;
const BYTES_MAX: usize = 8 << 10;

/// The lines of a conversation: `C:` is what we said, `S:` what the server said.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    lines: Vec<String>,
    bytes: usize,
}

impl Transcript {
    /// Begins anew for another mail on the same connection.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
        self.line("-", "on a connection that was open already");
    }

    /// Everything so far; forgets it.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(self).lines
    }

    /// A command, as it was printed. What authenticates us is not shown.
    pub(super) fn command(&mut self, command: &Command<'_>, printed: &[u8]) {
        match command {
            Command::AuthPlain { .. } => self.line("C", "AUTH PLAIN ***"),
            Command::AuthAnswer(_) => self.line("C", "***"),
            _ => self.commands(printed),
        }
    }

    /// Commands that authenticate nobody, as they were printed.
    pub(super) fn commands(&mut self, printed: &[u8]) {
        for line in String::from_utf8_lossy(printed).lines() {
            self.line("C", line);
        }
    }

    /// The body, of which only the size is shown.
    pub(super) fn body(&mut self, octets: usize) {
        self.line("C", &format!("({octets} octets)"));
        self.line("C", ".");
    }

    /// A reply.
    pub(super) fn reply(&mut self, reply: &Reply) {
        // The enhanced code is that of the whole reply, so each line shows it.
        let enhanced = reply.enhanced.map(|code| format!("{code} ")).unwrap_or_default();
        for line in reply.lines() {
            self.line("S", &format!("{} {enhanced}{line}", reply.code));
        }
    }

    fn line(&mut self, who: &str, text: &str) {
        if self.lines.len() >= LINES_MAX || self.bytes >= BYTES_MAX {
            return;
        }
        let text: String = text.chars().take(LINE_CHARS_MAX).collect();
        let line = format!("{who}: {text}");
        self.bytes += line.len();
        self.lines.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_bodies_are_left_out() {
        let mut transcript = Transcript::default();
        let plain = Command::AuthPlain { user: "u", password: "p" };
        transcript.command(&plain, b"AUTH PLAIN AHUAcA==\r\n");
        transcript.command(&Command::AuthAnswer("c2VjcmV0"), b"c2VjcmV0\r\n");
        transcript.commands(b"MAIL FROM:<a@x.io>\r\nDATA\r\n");
        transcript.body(7);
        let wanted = [
            "C: AUTH PLAIN ***",
            "C: ***",
            "C: MAIL FROM:<a@x.io>",
            "C: DATA",
            "C: (7 octets)",
            "C: .",
        ];
        assert_eq!(transcript.take(), wanted);
        assert!(transcript.take().is_empty());
    }

    #[test]
    fn a_talkative_server_fills_no_memory() {
        let mut transcript = Transcript::default();
        let text = "x".repeat(2000);
        for _ in 0..1000 {
            transcript.reply(&Reply { code: 250, enhanced: None, text: text.clone() });
        }
        let lines = transcript.take();
        assert!(lines.len() <= LINES_MAX && lines.iter().map(String::len).sum::<usize>() < 10_000);
    }
}
