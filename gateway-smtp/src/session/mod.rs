//! A session (RFC 5321 §3) without I/O: one type for each state, bytes in, replies and wishes out.
//!
//! Who drives it reads lines while [`Session::input`] says so and content otherwise, fulfils each
//! [`Effect`] and reports back. There is one place where a transaction ends ([`open::Ready`] is made
//! anew), so nothing of a message can survive into the next.

mod content;
mod login;
mod open;
mod transaction;

use std::sync::Arc;

use bytes::Bytes;
use ipnet::IpNet;
use postern_proto::settings::{SMTP_COMMANDS_MAX, SMTP_ERRORS_MAX, Settings};
use postern_smtp_wire::line::LineError;
use postern_smtp_wire::parameters::ParameterError;
use postern_smtp_wire::path::ReversePath;
use postern_smtp_wire::request::{self, Request, RequestError};

use crate::reply::Reply;

pub(crate) use content::{Receiving, Skipping};
use login::{Asking, Checking};
use open::{Connected, Greeted, Ready};
use transaction::Envelope;

/// Who is logged in, and what the core said about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// What the core is shown; empty for the plain sink.
    pub(crate) authorization: Arc<str>,
    /// The credential's id, for logs and counting.
    pub(crate) id: Arc<str>,
    /// The domains it may send from; empty for any.
    pub(crate) sender_domains: Arc<[String]>,
    /// Messages per window; 0 for no limit of its own.
    pub(crate) rate_limit: u64,
    /// Whose option headers it may use, as numbers of the contract.
    pub(crate) header_aliases: Arc<[i32]>,
    /// The networks it may be used from; empty for any.
    pub(crate) ip_allow: Arc<[IpNet]>,
    /// The sender that was written into the login: `login:::from@domain`.
    pub(crate) login_sender: Option<Arc<str>>,
}

/// A user name and a password to be checked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// A message with its envelope, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handover {
    pub(crate) identity: Identity,
    pub(crate) sender: ReversePath,
    pub(crate) recipients: Vec<String>,
    /// ENVID (RFC 3461).
    pub(crate) envelope_id: Option<String>,
    pub(crate) content: Bytes,
}

/// What a limit is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spending {
    Message,
    Recipient,
}

/// What the driver has to do before it goes on.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Go on.
    Continue,
    /// Send what is to be sent, then begin TLS and call [`Session::encrypted`].
    StartTls,
    /// Check the login and call [`Session::checked`].
    Check(Login),
    /// Count against the credential's limit and call [`Session::spent`].
    Spend(Spending, Identity),
    /// Hand the message to the core and call [`Session::handed_over`].
    HandOver(Box<Handover>),
    /// Send what is to be sent and close.
    Close,
}

/// What a login came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The core knows them.
    Welcome(Identity),
    /// Refused, or not to be checked now.
    Refused(Reply),
}

/// What is the same for the whole session.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Our name.
    pub(crate) hostname: Arc<str>,
    /// STARTTLS can be had.
    pub(crate) starttls: bool,
    /// AUTH may be used now.
    pub(crate) auth: bool,
    /// Who the client is without AUTH.
    pub(crate) known: Option<Identity>,
    /// Bare CR and LF are made line ends instead of refused.
    pub(crate) normalize_line_ends: bool,
}

/// What the session wants to read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// A line of at most so many bytes.
    Line(usize),
    /// Content, for [`Session::content`].
    Content,
}

enum State {
    Connected(Connected),
    Greeted(Greeted),
    Asking(Asking),
    Checking(Checking),
    Ready(Ready),
    Envelope(Envelope),
    Receiving(Receiving),
    Skipping(Skipping),
    HandedOver(Ready),
    Closed,
}

/// A session.
pub(crate) struct Session {
    rules: Rules,
    settings: Arc<Settings>,
    state: State,
    commands: usize,
    errors: usize,
}

/// A state's answer: the next state, and what is to be done.
type Step = (State, Effect);

/// The longest line that is no response of AUTH, with room for long DSN parameters.
const LINE_BYTES_MAX: usize = 2048;

/// Writes replies and keeps count of refusals.
pub(crate) struct Out<'a> {
    bytes: &'a mut Vec<u8>,
    refused: bool,
}

impl Out<'_> {
    fn say(&mut self, reply: &Reply) {
        self.refused |= reply.is_refusal();
        reply.write(self.bytes);
    }

    fn text(&mut self, code: u16, enhanced: &'static str, text: &'static str) {
        self.say(&Reply::new(code, enhanced, text));
    }
}

impl Session {
    /// A new session; the greeting has not been said.
    pub(crate) fn new(rules: Rules, settings: Arc<Settings>) -> Self {
        let state = State::Connected(Connected);
        Self { rules, settings, state, commands: 0, errors: 0 }
    }

    /// Says the greeting.
    pub(crate) fn greet(&self, out: &mut Vec<u8>) {
        Reply::new(220, "", format!("{} ESMTP Postern", self.rules.hostname)).write(out);
    }

    /// Whether the content of a message has begun and not ended.
    pub(crate) fn has_content(&self) -> bool {
        match &self.state {
            State::Receiving(_) | State::Skipping(_) => true,
            State::Envelope(envelope) => envelope.chunks.is_some(),
            _ => false,
        }
    }

    /// How many octets of content it holds.
    pub(crate) fn held(&self) -> usize {
        match &self.state {
            State::Receiving(receiving) => receiving.held(),
            State::Envelope(envelope) => envelope.chunks.as_ref().map_or(0, Vec::len),
            _ => 0,
        }
    }

    /// Takes settings that have changed into use.
    pub(crate) fn set_settings(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// What to read next.
    pub(crate) fn input(&self) -> Input {
        match &self.state {
            State::Receiving(_) | State::Skipping(_) => Input::Content,
            State::Asking(_) => Input::Line(postern_smtp_wire::limits::AUTH_LINE_BYTES_MAX),
            _ => Input::Line(LINE_BYTES_MAX),
        }
    }

    /// Takes a line. `more` says that further bytes came with it, which some commands forbid.
    pub(crate) fn line(&mut self, line: &str, more: bool, out: &mut Vec<u8>) -> Effect {
        self.commands += 1;
        if self.commands > self.settings.count(&SMTP_COMMANDS_MAX) {
            return self.hang_up("4.7.0", "too many commands in one session; connect again", out);
        }
        let state = std::mem::replace(&mut self.state, State::Closed);
        let mut said = Out { bytes: out, refused: false };
        let (state, effect) = match state {
            // The line of a login is no command and must never be taken for one.
            State::Asking(asking) => asking.line(line, more, &mut said),
            state => match request::parse(line) {
                Ok(request) if more && ends_a_group(&request) => {
                    let text = "nothing may follow this command before its reply (RFC 2920)";
                    said.text(503, "5.5.0", text);
                    (State::Closed, Effect::Close)
                }
                Ok(request) => self.command(state, request, &mut said),
                Err(error) => {
                    said.say(&refusal(&error));
                    // A chunk may follow, of a size that nobody can tell.
                    let is_bdat =
                        line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case("BDAT"));
                    match is_bdat {
                        true => (State::Closed, Effect::Close),
                        false => (state, Effect::Continue),
                    }
                }
            },
        };
        self.state = state;
        let refused = said.refused;
        self.count(refused, effect, out)
    }

    /// A line that is none.
    pub(crate) fn bad_line(&mut self, error: LineError, out: &mut Vec<u8>) -> Effect {
        if let LineError::TooLong(_) = error {
            Reply::new(500, "5.5.6", error.to_string()).write(out);
            self.state = State::Closed;
            return Effect::Close;
        }
        Reply::new(500, "5.5.2", error.to_string()).write(out);
        // A login that was interrupted has failed.
        let state = std::mem::replace(&mut self.state, State::Closed);
        if let State::Asking(asking) = state
            && error != LineError::BareLineEnd
        {
            self.state = asking.abandoned();
            return self.count(true, Effect::Continue, out);
        }
        // What follows a line that two readers end at different places cannot be trusted.
        Effect::Close
    }

    /// Takes content off the input while [`Self::input`] wants it.
    pub(crate) fn content(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Effect {
        let mut said = Out { bytes: out, refused: false };
        let (state, effect) = match std::mem::replace(&mut self.state, State::Closed) {
            State::Receiving(mut receiving) => match receiving.feed(input, &self.settings) {
                false => (State::Receiving(receiving), Effect::Continue),
                true => receiving.ended(&self.rules, &self.settings, &mut said),
            },
            State::Skipping(skipping) => skipping.feed(input, &mut said),
            _ => return Effect::Close,
        };
        self.state = state;
        let refused = said.refused;
        self.count(refused, effect, out)
    }

    /// TLS has begun: everything learnt in clear is forgotten (RFC 3207 §4.2).
    pub(crate) fn encrypted(&mut self) {
        self.rules.starttls = false;
        self.rules.auth = true;
        self.state = State::Connected(Connected);
    }

    /// The login was checked.
    pub(crate) fn checked(&mut self, outcome: Checked, out: &mut Vec<u8>) -> Effect {
        let State::Checking(checking) = std::mem::replace(&mut self.state, State::Closed) else {
            return Effect::Close;
        };
        let mut said = Out { bytes: out, refused: false };
        let (state, effect) = checking.checked(outcome, &mut said);
        self.state = state;
        let refused = said.refused;
        self.count(refused, effect, out)
    }

    /// The limit was counted; a refusal says why.
    pub(crate) fn spent(&mut self, refused: Option<Reply>, out: &mut Vec<u8>) -> Effect {
        let State::Envelope(envelope) = std::mem::replace(&mut self.state, State::Closed) else {
            return Effect::Close;
        };
        let mut said = Out { bytes: out, refused: false };
        self.state = envelope.spent(refused, &mut said);
        let refused = said.refused;
        self.count(refused, Effect::Continue, out)
    }

    /// The core has answered.
    pub(crate) fn handed_over(&mut self, reply: &Reply, out: &mut Vec<u8>) -> Effect {
        let State::HandedOver(ready) = std::mem::replace(&mut self.state, State::Closed) else {
            return Effect::Close;
        };
        reply.write(out);
        self.state = State::Ready(ready);
        self.count(reply.is_refusal(), Effect::Continue, out)
    }

    /// Ends the session from our side (RFC 5321 §3.8).
    pub(crate) fn hang_up(
        &mut self,
        enhanced: &'static str,
        text: &'static str,
        out: &mut Vec<u8>,
    ) -> Effect {
        Reply::new(421, enhanced, text).write(out);
        self.state = State::Closed;
        Effect::Close
    }

    fn command(&self, state: State, request: Request<'_>, out: &mut Out<'_>) -> Step {
        if let Some(effect) = open::always(&request, out) {
            return match effect {
                Effect::Close => (State::Closed, Effect::Close),
                effect => (state, effect),
            };
        }
        match state {
            State::Envelope(envelope) => envelope.command(request, self, out),
            State::Ready(ready) => ready.command(request, self, out),
            // A chunk follows its command whatever we answer, and must not be read as commands.
            _ if matches!(request, Request::Bdat(..)) => {
                out.text(503, "5.5.1", "say MAIL and RCPT before BDAT");
                (State::Closed, Effect::Close)
            }
            State::Connected(connected) => connected.command(request, self, out),
            State::Greeted(greeted) => greeted.command(request, self, out),
            // No line is read in these.
            State::Asking(_)
            | State::Checking(_)
            | State::Receiving(_)
            | State::Skipping(_)
            | State::HandedOver(_)
            | State::Closed => (State::Closed, Effect::Close),
        }
    }

    fn count(&mut self, refused: bool, effect: Effect, out: &mut Vec<u8>) -> Effect {
        self.errors += usize::from(refused);
        if self.errors >= self.settings.count(&SMTP_ERRORS_MAX) && effect == Effect::Continue {
            return self.hang_up("4.7.0", "too many errors; connect again", out);
        }
        effect
    }
}

/// Whether nothing may be sent behind the command before it is answered (RFC 2920 §3.1, 3207, 4954).
fn ends_a_group(request: &Request<'_>) -> bool {
    matches!(
        request,
        Request::Ehlo(_) | Request::Helo(_) | Request::StartTls | Request::Auth(..) | Request::Data
    )
}

/// What is said about a line that is no command.
fn refusal(error: &RequestError) -> Reply {
    let (code, enhanced) = match error {
        RequestError::Unknown => (500, "5.5.1"),
        RequestError::Syntax(_) | RequestError::NotAscii => (501, "5.5.4"),
        RequestError::Mechanism => (504, "5.5.4"),
        RequestError::Sender(_) => (553, "5.1.7"),
        RequestError::Recipient(_) => (553, "5.1.3"),
        RequestError::Parameter(ParameterError::Unknown(_)) => (555, "5.5.4"),
        RequestError::Parameter(_) => (501, "5.5.4"),
    };
    Reply::new(code, enhanced, error.to_string())
}

#[cfg(test)]
mod tests;
