//! The states outside a transaction: connected, greeted, and ready to send.

use postern_proto::settings::{
    SMTP_MESSAGE_OCTETS_MAX, SMTP_MESSAGES_PER_SESSION_MAX, SMTP_RECIPIENTS_MAX,
};
use postern_smtp_wire::request::Request;

use crate::reply::Reply;

use super::content::Skipping;
use super::login::Asking;
use super::transaction::Envelope;
use super::{Effect, Identity, Out, Session, State, Step};

/// Why a password is not taken in clear.
const NEEDS_TLS: &str = "there is no AUTH without encryption; use port 465 or STARTTLS";

/// Nobody has said a name yet.
pub(super) struct Connected;

/// The client has said its name; it has not logged in.
pub(super) struct Greeted;

/// The client may send.
pub(super) struct Ready {
    pub(super) identity: Identity,
    /// By a login; otherwise by its address, and a login is still welcome.
    pub(super) logged_in: bool,
    /// Transactions so far.
    pub(super) messages: usize,
}

impl Ready {
    /// The session after EHLO or HELO, which forget everything but who the client is.
    fn greeted_again(&self) -> Self {
        Self { identity: self.identity.clone(), ..*self }
    }
}

/// Commands that are the same in every state. Returns none for the others.
pub(super) fn always(request: &Request<'_>, out: &mut Out<'_>) -> Option<Effect> {
    match request {
        Request::Noop => out.text(250, "2.0.0", "Ok"),
        // Who exists is nobody's business here (RFC 5321 §7.3).
        Request::Vrfy => out.text(252, "2.5.0", "send some mail, and it will be tried"),
        Request::Expn => out.text(502, "5.5.1", "there are no lists here"),
        Request::Help => out.text(214, "2.0.0", "EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET QUIT"),
        Request::Quit => {
            out.text(221, "2.0.0", "Bye");
            return Some(Effect::Close);
        }
        _ => return None,
    }
    Some(Effect::Continue)
}

/// HELO, EHLO and what follows from them, in any state.
pub(super) fn greeting(
    request: &Request<'_>,
    ready: Option<&Ready>,
    session: &Session,
    out: &mut Out<'_>,
) -> Option<State> {
    match request {
        Request::Helo(_) => {
            Reply::new(250, "", session.rules.hostname.to_string()).write(out.bytes);
        }
        Request::Ehlo(_) => extensions(session, ready.is_some_and(|ready| ready.logged_in), out),
        _ => return None,
    }
    let known = || {
        let identity = session.rules.known.clone()?;
        Some(Ready { identity, logged_in: false, messages: 0 })
    };
    Some(match ready.map(Ready::greeted_again).or_else(known) {
        Some(ready) => State::Ready(ready),
        None => State::Greeted(Greeted),
    })
}

fn extensions(session: &Session, logged_in: bool, out: &mut Out<'_>) {
    let (rules, settings) = (&session.rules, &session.settings);
    let mut lines = vec![
        format!("{} greets you", rules.hostname),
        "PIPELINING".to_owned(),
        format!("SIZE {}", settings.count(&SMTP_MESSAGE_OCTETS_MAX)),
        "8BITMIME".to_owned(),
        "SMTPUTF8".to_owned(),
        "ENHANCEDSTATUSCODES".to_owned(),
        "CHUNKING".to_owned(),
        "DSN".to_owned(),
        format!(
            "LIMITS MAILMAX={} RCPTMAX={}",
            settings.count(&SMTP_MESSAGES_PER_SESSION_MAX),
            settings.count(&SMTP_RECIPIENTS_MAX)
        ),
    ];
    if rules.starttls {
        lines.push("STARTTLS".to_owned());
    }
    // Who is known by address needs no login, but may have one of its own.
    if rules.auth && !logged_in {
        lines.push("AUTH PLAIN LOGIN".to_owned());
    }
    let last = lines.len() - 1;
    for (n, line) in lines.iter().enumerate() {
        let mark = if n == last { ' ' } else { '-' };
        out.bytes.extend_from_slice(format!("250{mark}{line}\r\n").as_bytes());
    }
}

impl Connected {
    pub(super) fn command(
        self,
        request: Request<'_>,
        session: &Session,
        out: &mut Out<'_>,
    ) -> Step {
        if let Some(state) = greeting(&request, None, session, out) {
            return (state, Effect::Continue);
        }
        match request {
            Request::Rset => out.text(250, "2.0.0", "Ok"),
            _ => out.text(503, "5.5.1", "say EHLO first"),
        }
        (State::Connected(self), Effect::Continue)
    }
}

impl Greeted {
    pub(super) fn command(
        self,
        request: Request<'_>,
        session: &Session,
        out: &mut Out<'_>,
    ) -> Step {
        if let Some(state) = greeting(&request, None, session, out) {
            return (state, Effect::Continue);
        }
        let rules = &session.rules;
        match request {
            Request::StartTls if rules.starttls => {
                out.text(220, "2.0.0", "go ahead");
                return (State::Closed, Effect::StartTls);
            }
            Request::StartTls => out.text(502, "5.5.1", "there is no STARTTLS here now"),
            Request::Auth(mechanism, initial) if rules.auth => {
                return Asking::begin(mechanism, initial, out);
            }
            Request::Auth(..) if rules.starttls => {
                out.text(538, "5.7.11", "say STARTTLS first; a password needs encryption");
            }
            Request::Auth(..) => {
                out.text(538, "5.7.11", NEEDS_TLS);
            }
            Request::Rset => out.text(250, "2.0.0", "Ok"),
            Request::Mail(..) if rules.starttls && !rules.auth => {
                out.text(530, "5.7.0", "say STARTTLS and log in first");
            }
            Request::Mail(..) => out.text(530, "5.7.0", "log in first, with AUTH PLAIN or LOGIN"),
            _ => out.text(503, "5.5.1", "log in first, then say MAIL"),
        }
        (State::Greeted(self), Effect::Continue)
    }
}

impl Ready {
    pub(super) fn command(
        self,
        request: Request<'_>,
        session: &Session,
        out: &mut Out<'_>,
    ) -> Step {
        if let Some(state) = greeting(&request, Some(&self), session, out) {
            return (state, Effect::Continue);
        }
        match request {
            Request::Mail(sender, parameters) => {
                return Envelope::begin(self, sender, parameters, session, out);
            }
            Request::Rset => out.text(250, "2.0.0", "Ok"),
            Request::Auth(mechanism, initial) if session.rules.auth && !self.logged_in => {
                return Asking::begin(mechanism, initial, out);
            }
            Request::Auth(..) if self.logged_in => {
                out.text(503, "5.5.1", "you are logged in already");
            }
            Request::Auth(..) => out.text(538, "5.7.11", NEEDS_TLS),
            Request::Bdat(size, _) => return Skipping::begin(self, size, session, out),
            Request::StartTls if session.rules.starttls => {
                out.text(220, "2.0.0", "go ahead");
                return (State::Closed, Effect::StartTls);
            }
            Request::StartTls => out.text(502, "5.5.1", "there is no STARTTLS here now"),
            _ => out.text(503, "5.5.1", "say MAIL first"),
        }
        (State::Ready(self), Effect::Continue)
    }
}
