//! One mail in one transaction, as commands to print and replies to take. Pure: the session moves
//! the bytes.

use postern_smtp_wire::command::{Command, CommandError, MailParameters};
use postern_smtp_wire::extension::Extensions;
use postern_smtp_wire::reply::Reply;

use crate::mime;
use crate::model::delivery::{Category, Mail, Phase};

/// A command of the transaction, in the order they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ends what an earlier mail left open.
    Rset,
    Mail,
    Rcpt,
    Data,
}

impl Step {
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Rset | Self::Mail => Phase::Mail,
            Self::Rcpt => Phase::Rcpt,
            Self::Data => Phase::Data,
        }
    }
}

/// Why this server cannot be given this mail, known before a word is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) category: Category,
    pub(super) enhanced: &'static str,
    pub(super) text: &'static str,
}

/// The envelope of one mail for one server.
pub(super) struct Transaction<'a> {
    mail: &'a Mail,
    parameters: MailParameters,
    /// A MAIL was accepted and the transaction has not ended.
    pub(super) open: bool,
    /// The server waits for the body.
    pub(super) ready: bool,
    /// The first reply that was not the hoped-for one, and where.
    pub(super) failed: Option<(Step, Reply)>,
}

impl<'a> Transaction<'a> {
    /// Checks that the server offers what the mail needs.
    pub(super) fn begin(mail: &'a Mail, offered: &Extensions) -> Result<Self, Unfit> {
        let size = mail.bytes.len() as u64;
        if offered.size_max.is_some_and(|max| size > max) {
            let text = "the mail is larger than the server takes";
            return Err(Unfit { category: Category::TooLarge, enhanced: "5.3.4", text });
        }
        let plain = mime::is_7bit(&mail.bytes) && mail.from.is_ascii() && mail.to.is_ascii();
        let utf8 = !plain && mime::needs_smtputf8(&mail.from, &mail.to, &mail.bytes);
        if utf8 && !offered.smtputf8 {
            let text = "an address is not ASCII and the server does not offer SMTPUTF8";
            return Err(Unfit { category: Category::Protocol, enhanced: "5.6.7", text });
        }
        let parameters = MailParameters {
            size: offered.size.then_some(size),
            // Without the extension 8-bit bodies are sent as they are, like most senders do:
            // recoding would break the client's signature, and such servers are 8-bit clean today.
            eight_bit_mime: !plain && offered.eight_bit_mime,
            smtputf8: utf8,
        };
        Ok(Self { mail, parameters, open: false, ready: false, failed: None })
    }

    /// Appends the command of the step.
    pub(super) fn write(&self, step: Step, out: &mut Vec<u8>) -> Result<(), CommandError> {
        let command = match step {
            Step::Rset => Command::Rset,
            Step::Mail => Command::Mail { from: &self.mail.from, parameters: self.parameters },
            Step::Rcpt => Command::Rcpt { to: &self.mail.to, smtputf8: self.parameters.smtputf8 },
            Step::Data => Command::Data,
        };
        command.write(out)
    }

    /// Takes the reply to a step. After a failure the replies to steps that were already sent only
    /// keep the count.
    pub(super) fn on(&mut self, step: Step, reply: Reply) {
        let good = match step {
            Step::Data => reply.code == 354,
            _ => reply.is_success(),
        };
        match step {
            Step::Rset if good => self.open = false,
            Step::Mail if good => self.open = true,
            Step::Data if good => self.ready = true,
            _ => {}
        }
        if !good && self.failed.is_none() {
            self.failed = Some((step, reply));
        }
    }
}
