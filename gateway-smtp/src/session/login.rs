//! AUTH (RFC 4954): waiting for responses, and for the verdict of the core.

use postern_smtp_wire::request::{self, Mechanism};

use super::open::{Greeted, Ready};
use super::{Checked, Effect, Login, Out, State, Step};

/// `VXNlcm5hbWU6` and `UGFzc3dvcmQ6` are what every client expects of AUTH LOGIN.
const ASK_USERNAME: &str = "VXNlcm5hbWU6";
const ASK_PASSWORD: &str = "UGFzc3dvcmQ6";

/// A response is awaited.
pub(super) enum Asking {
    /// The one of AUTH PLAIN.
    Plain,
    /// The user name of AUTH LOGIN.
    Username,
    /// The password of AUTH LOGIN.
    Password(String),
}

/// The core is looking at the login.
pub(super) struct Checking;

impl Asking {
    pub(super) fn begin(mechanism: Mechanism, initial: Option<&str>, out: &mut Out<'_>) -> Step {
        match (mechanism, initial) {
            (Mechanism::Plain, Some(response)) => plain(response, out),
            (Mechanism::Plain, None) => {
                out.text(334, "", "");
                (State::Asking(Self::Plain), Effect::Continue)
            }
            (Mechanism::Login, Some(response)) => username(response, out),
            (Mechanism::Login, None) => {
                out.text(334, "", ASK_USERNAME);
                (State::Asking(Self::Username), Effect::Continue)
            }
        }
    }

    /// Takes a response.
    pub(super) fn line(self, line: &str, more: bool, out: &mut Out<'_>) -> Step {
        if line == "*" {
            out.text(501, "5.7.0", "login cancelled");
            return (self.abandoned(), Effect::Continue);
        }
        match self {
            _ if more => {
                out.text(503, "5.5.0", "nothing may follow a response before its reply");
                (State::Closed, Effect::Close)
            }
            Self::Plain => plain(line, out),
            Self::Username => username(line, out),
            Self::Password(username) => match request::answer(line) {
                Some(password) if !password.is_empty() => check(Login { username, password }),
                _ => undecodable(out),
            },
        }
    }

    pub(super) fn abandoned(self) -> State {
        State::Greeted(Greeted)
    }
}

fn plain(response: &str, out: &mut Out<'_>) -> Step {
    match request::plain(response) {
        Some((username, password)) => check(Login { username, password }),
        None => undecodable(out),
    }
}

fn username(response: &str, out: &mut Out<'_>) -> Step {
    match request::answer(response) {
        Some(username) if !username.is_empty() => {
            out.text(334, "", ASK_PASSWORD);
            (State::Asking(Asking::Password(username)), Effect::Continue)
        }
        _ => undecodable(out),
    }
}

fn check(login: Login) -> Step {
    (State::Checking(Checking), Effect::Check(login))
}

fn undecodable(out: &mut Out<'_>) -> Step {
    out.text(501, "5.5.2", "this is no user name and password in base64");
    (State::Greeted(Greeted), Effect::Continue)
}

impl Checking {
    pub(super) fn checked(self, outcome: Checked, out: &mut Out<'_>) -> Step {
        match outcome {
            Checked::Welcome(identity) => {
                out.text(235, "2.7.0", "welcome");
                (State::Ready(Ready { identity, logged_in: true, messages: 0 }), Effect::Continue)
            }
            Checked::Refused(reply) => {
                out.say(&reply);
                if reply.code == 421 {
                    return (State::Closed, Effect::Close);
                }
                (State::Greeted(Greeted), Effect::Continue)
            }
        }
    }
}
