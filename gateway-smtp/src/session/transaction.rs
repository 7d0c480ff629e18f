//! The transaction: a sender, recipients, and how the content will come.

use postern_proto::settings::{
    SMTP_CREDENTIAL_MESSAGES, SMTP_CREDENTIAL_RECIPIENTS, SMTP_MESSAGE_OCTETS_MAX,
    SMTP_MESSAGES_PER_SESSION_MAX, SMTP_RECIPIENTS_MAX,
};
use postern_smtp_wire::parameters::MailParameters;
use postern_smtp_wire::path::ReversePath;
use postern_smtp_wire::request::Request;

use crate::reply::Reply;

use super::content::Receiving;
use super::open::{self, Ready};
use super::{Effect, Handover, Out, Session, Spending, State, Step};

/// A transaction that has begun.
pub(crate) struct Envelope {
    pub(super) ready: Ready,
    sender: ReversePath,
    parameters: MailParameters,
    recipients: Vec<String>,
    waiting: Option<Waiting>,
    /// What BDAT has brought so far; DATA is no longer allowed then.
    pub(super) chunks: Option<Vec<u8>>,
}

/// What is being counted before it is granted.
enum Waiting {
    Sender,
    Recipient(String),
}

impl Envelope {
    /// MAIL.
    pub(super) fn begin(
        mut ready: Ready,
        sender: ReversePath,
        parameters: MailParameters,
        session: &Session,
        out: &mut Out<'_>,
    ) -> Step {
        if let Some(reply) = refused_sender(&ready, &sender, &parameters, session) {
            out.say(&reply);
            return (State::Ready(ready), Effect::Continue);
        }
        ready.messages += 1;
        let limited =
            ready.identity.rate_limit > 0 || session.settings.get(&SMTP_CREDENTIAL_MESSAGES) > 0;
        let identity = ready.identity.clone();
        let mut envelope =
            Self { ready, sender, parameters, recipients: Vec::new(), waiting: None, chunks: None };
        if limited {
            envelope.waiting = Some(Waiting::Sender);
            return (State::Envelope(envelope), Effect::Spend(Spending::Message, identity));
        }
        out.text(250, "2.1.0", "Ok");
        (State::Envelope(envelope), Effect::Continue)
    }

    /// The limit was counted.
    pub(super) fn spent(mut self, refused: Option<Reply>, out: &mut Out<'_>) -> State {
        match (self.waiting.take(), refused) {
            (Some(Waiting::Sender), Some(reply)) => {
                out.say(&reply);
                return State::Ready(self.ready);
            }
            (Some(Waiting::Recipient(_)), Some(reply)) => out.say(&reply),
            (Some(Waiting::Sender), None) => out.text(250, "2.1.0", "Ok"),
            (Some(Waiting::Recipient(recipient)), None) => {
                self.recipients.push(recipient);
                out.text(250, "2.1.5", "Ok");
            }
            (None, _) => {}
        }
        State::Envelope(self)
    }

    pub(super) fn command(
        self,
        request: Request<'_>,
        session: &Session,
        out: &mut Out<'_>,
    ) -> Step {
        if let Some(state) = open::greeting(&request, Some(&self.ready), session, out) {
            return (state, Effect::Continue);
        }
        match request {
            Request::Rset => {
                out.text(250, "2.0.0", "Ok");
                return (State::Ready(self.ready), Effect::Continue);
            }
            Request::Rcpt(..) if self.chunks.is_some() => {
                out.text(503, "5.5.1", "the content has begun; send BDAT or RSET");
            }
            Request::Rcpt(recipient, _) => return self.recipient(recipient, session, out),
            Request::Data if self.chunks.is_some() => {
                out.text(503, "5.5.1", "BDAT and DATA do not mix; send BDAT LAST or RSET");
            }
            Request::Data if self.recipients.is_empty() => {
                out.text(554, "5.5.1", "there is no valid recipient");
            }
            Request::Data => {
                out.text(354, "", "end with <CRLF>.<CRLF>");
                return (State::Receiving(Receiving::data(self)), Effect::Continue);
            }
            Request::Bdat(size, last) => {
                return Receiving::chunk(self, size, last, session, out);
            }
            Request::Mail(..) => {
                out.text(503, "5.5.1", "a transaction is under way; send RSET first")
            }
            _ => out.text(503, "5.5.1", "send RCPT, DATA, BDAT or RSET"),
        }
        (State::Envelope(self), Effect::Continue)
    }

    /// Whether anybody is to get the message.
    pub(super) fn has_recipients(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// The message is complete: the session is free for the next one.
    pub(super) fn complete(self, content: Vec<u8>) -> Step {
        let handover = Handover {
            identity: self.ready.identity.clone(),
            sender: self.sender,
            recipients: self.recipients,
            envelope_id: self.parameters.envelope_id,
            content: content.into(),
        };
        (State::HandedOver(self.ready), Effect::HandOver(Box::new(handover)))
    }

    fn recipient(mut self, recipient: String, session: &Session, out: &mut Out<'_>) -> Step {
        if self.recipients.len() >= session.settings.count(&SMTP_RECIPIENTS_MAX) {
            let text = "too many recipients for one message; send the rest in another one";
            out.text(452, "4.5.3", text);
            return (State::Envelope(self), Effect::Continue);
        }
        if !recipient.is_ascii() && !self.parameters.smtputf8 {
            let text = "the address is not US-ASCII; say MAIL with SMTPUTF8";
            out.text(553, "5.6.7", text);
            return (State::Envelope(self), Effect::Continue);
        }
        if session.settings.get(&SMTP_CREDENTIAL_RECIPIENTS) > 0 {
            self.waiting = Some(Waiting::Recipient(recipient));
            let effect = Effect::Spend(Spending::Recipient, self.ready.identity.clone());
            return (State::Envelope(self), effect);
        }
        self.recipients.push(recipient);
        out.text(250, "2.1.5", "Ok");
        (State::Envelope(self), Effect::Continue)
    }
}

/// Why MAIL is refused.
fn refused_sender(
    ready: &Ready,
    sender: &ReversePath,
    parameters: &MailParameters,
    session: &Session,
) -> Option<Reply> {
    let settings = &session.settings;
    if ready.messages >= settings.count(&SMTP_MESSAGES_PER_SESSION_MAX) {
        let text = "too many messages in one session; connect again";
        return Some(Reply::new(452, "4.5.3", text));
    }
    let max = settings.count(&SMTP_MESSAGE_OCTETS_MAX);
    if parameters.size.is_some_and(|size| size > max as u64) {
        let text = format!("the message is too large; at most {max} octets are taken");
        return Some(Reply::new(552, "5.3.4", text));
    }
    let ReversePath::Mailbox(address) = sender else { return None };
    if !address.is_ascii() && !parameters.smtputf8 {
        let text = "the address is not US-ASCII; say MAIL with SMTPUTF8";
        return Some(Reply::new(553, "5.6.7", text));
    }
    let domain = address.rsplit('@').next().unwrap_or_default();
    let allowed = &ready.identity.sender_domains;
    if !allowed.is_empty() && !allowed.iter().any(|one| one.eq_ignore_ascii_case(domain)) {
        let text = format!("this credential may not send from {domain}");
        return Some(Reply::new(550, "5.7.1", text));
    }
    None
}
