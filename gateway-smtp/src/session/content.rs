//! The content: DATA (RFC 5321 §4.1.1.4) and BDAT (RFC 3030).
//!
//! Once it is refused, the rest is read and thrown away, so that what follows in the stream is the
//! next command and nothing else; how much may be thrown away is bounded.

use memchr::memchr_iter;
use postern_proto::settings::{SMTP_LINE_OCTETS_MAX, SMTP_MESSAGE_OCTETS_MAX, Settings};
use postern_smtp_wire::data::Unstuffer;

use crate::reply::Reply;

use super::open::Ready;
use super::transaction::Envelope;
use super::{Effect, Out, Rules, Session, State, Step};

/// Content is coming in.
pub(crate) struct Receiving {
    envelope: Envelope,
    content: Vec<u8>,
    /// Bytes that came after the content had become too large.
    thrown_away: usize,
    way: Way,
    /// What is said at the end instead of taking the content.
    refused: Option<Reply>,
}

enum Way {
    Data(Unstuffer),
    Chunk {
        remaining: u64,
        last: bool,
    },
    /// Too much came; the connection has to end.
    Flood,
}

/// A chunk that came without a transaction, as when MAIL was refused and the client had sent the
/// rest along with it (RFC 3030 §4.2): read, thrown away, refused.
pub(crate) struct Skipping {
    ready: Ready,
    remaining: u64,
}

impl Skipping {
    /// BDAT outside a transaction.
    pub(super) fn begin(ready: Ready, size: u64, session: &Session, out: &mut Out<'_>) -> Step {
        let max = session.settings.count(&SMTP_MESSAGE_OCTETS_MAX);
        if size > max as u64 {
            // Not worth reading to its end.
            out.say(&too_large(max));
            return (State::Closed, Effect::Close);
        }
        Self { ready, remaining: size }.feed(&mut &[][..], out)
    }

    /// Takes bytes off the input.
    pub(super) fn feed(mut self, input: &mut &[u8], out: &mut Out<'_>) -> Step {
        skip(&mut self.remaining, input);
        if self.remaining > 0 {
            return (State::Skipping(self), Effect::Continue);
        }
        out.text(503, "5.5.1", "say MAIL and RCPT before BDAT");
        (State::Ready(self.ready), Effect::Continue)
    }
}

/// Takes what belongs to a chunk off the input.
fn skip<'a>(remaining: &mut u64, input: &mut &'a [u8]) -> &'a [u8] {
    let wanted = usize::try_from(*remaining).unwrap_or(usize::MAX);
    let (taken, rest) = input.split_at(input.len().min(wanted));
    *input = rest;
    *remaining -= taken.len() as u64;
    taken
}

impl Receiving {
    /// DATA was answered with 354.
    pub(super) fn data(envelope: Envelope) -> Self {
        let way = Way::Data(Unstuffer::default());
        Self { envelope, content: Vec::new(), thrown_away: 0, way, refused: None }
    }

    /// BDAT: the chunk follows at once, whether we want it or not.
    pub(super) fn chunk(
        mut envelope: Envelope,
        size: u64,
        last: bool,
        session: &Session,
        out: &mut Out<'_>,
    ) -> Step {
        let max = session.settings.count(&SMTP_MESSAGE_OCTETS_MAX);
        let content = envelope.chunks.take().unwrap_or_default();
        let mut refused = None;
        if !envelope.has_recipients() {
            refused = Some(Reply::new(554, "5.5.1", "there is no valid recipient"));
        } else if content.len() as u64 + size > max as u64 {
            refused = Some(too_large(max));
        }
        if refused.is_some() && size > max as u64 {
            // Not worth reading to its end.
            out.say(&too_large(max));
            return (State::Closed, Effect::Close);
        }
        let way = Way::Chunk { remaining: size, last };
        let receiving = Self { envelope, content, thrown_away: 0, way, refused };
        if size == 0 {
            return receiving.ended(&session.rules, &session.settings, out);
        }
        (State::Receiving(receiving), Effect::Continue)
    }

    /// How many octets of content there are.
    pub(super) fn held(&self) -> usize {
        self.content.capacity()
    }

    /// Takes bytes off the input; true when this was the end.
    pub(super) fn feed(&mut self, input: &mut &[u8], settings: &Settings) -> bool {
        let max = settings.count(&SMTP_MESSAGE_OCTETS_MAX);
        match &mut self.way {
            Way::Data(unstuffer) => {
                let ended = unstuffer.feed(input, &mut self.content);
                *input = &input[ended.unwrap_or(input.len())..];
                if self.content.len() > max {
                    self.thrown_away += self.content.len();
                    self.content = Vec::new();
                    self.refused = Some(too_large(max));
                } else if self.refused.is_some() {
                    self.thrown_away += self.content.len();
                    self.content.clear();
                }
                if ended.is_none() && self.thrown_away > max.saturating_mul(2) {
                    self.way = Way::Flood;
                    return true;
                }
                ended.is_some()
            }
            Way::Chunk { remaining, .. } => {
                let taken = skip(remaining, input);
                if self.refused.is_none() {
                    self.content.extend_from_slice(taken);
                }
                *remaining == 0
            }
            Way::Flood => true,
        }
    }

    /// The content, or the chunk, is complete.
    pub(super) fn ended(self, rules: &Rules, settings: &Settings, out: &mut Out<'_>) -> Step {
        let Self { mut envelope, content, way, refused, .. } = self;
        if let Some(reply) = refused {
            out.say(&reply);
            return match way {
                Way::Flood => (State::Closed, Effect::Close),
                // Sender and recipients go together with the content, never one without the other.
                _ => (State::Ready(envelope.ready), Effect::Continue),
            };
        }
        if let Way::Chunk { last: false, .. } = way {
            envelope.chunks = Some(content);
            out.text(250, "2.0.0", "Ok");
            return (State::Envelope(envelope), Effect::Continue);
        }
        let bare = match &way {
            Way::Data(unstuffer) => unstuffer.has_bare_line_end(),
            _ => has_bare_line_end(&content),
        };
        if let Some(reply) = unfit(&content, bare && !rules.normalize_line_ends, settings) {
            out.say(&reply);
            return (State::Ready(envelope.ready), Effect::Continue);
        }
        envelope.complete(content)
    }
}

fn too_large(max: usize) -> Reply {
    Reply::new(552, "5.3.4", format!("the message is too large; at most {max} octets are taken"))
}

/// Why complete content is not taken.
fn unfit(content: &[u8], bare: bool, settings: &Settings) -> Option<Reply> {
    if bare {
        let text = "the message holds a bare CR or LF; end lines with CRLF (RFC 5321 2.3.8)";
        return Some(Reply::new(554, "5.6.0", text));
    }
    let line_max = settings.count(&SMTP_LINE_OCTETS_MAX);
    if longest_line(content) > line_max {
        let text = format!(
            "a line is longer than {line_max} octets; encode the body as quoted-printable or base64"
        );
        return Some(Reply::new(554, "5.6.0", text));
    }
    None
}

fn longest_line(content: &[u8]) -> usize {
    let (mut longest, mut start) = (0, 0);
    for end in memchr_iter(b'\n', content) {
        longest = longest.max((end - start).saturating_sub(1));
        start = end + 1;
    }
    longest.max(content.len() - start)
}

fn has_bare_line_end(content: &[u8]) -> bool {
    let before = |at: usize| at.checked_sub(1).map(|at| content[at]);
    memchr_iter(b'\n', content).any(|at| before(at) != Some(b'\r'))
        || memchr_iter(b'\r', content).any(|at| content.get(at + 1) != Some(&b'\n'))
}
