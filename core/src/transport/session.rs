//! One connection on which a server has answered EHLO, and the mails sent over it.

use postern_proto::settings::{
    Definition, SMTP_TIMEOUT_DATA_BLOCK, SMTP_TIMEOUT_DATA_DONE, SMTP_TIMEOUT_DATA_INIT,
    SMTP_TIMEOUT_MAIL, SMTP_TIMEOUT_RCPT,
};
use postern_smtp_wire::command::Command;
use postern_smtp_wire::data;
use postern_smtp_wire::extension::Extensions;
use tokio::time::{Duration, Instant};

use super::config::PoolLimits;
use super::dialogue::{Step, Transaction};
use super::judge::Peer;
use super::wire::{Broken, Wire};
use crate::in_force::InForce;
use crate::model::delivery::{Category, Mail, Outcome, Phase};

/// For what a server says about a body while it hangs up in the middle of it.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What became of a mail on this connection.
pub(super) enum Sent {
    /// An answer, or a failure that another connection would not mend.
    Done(Outcome),
    /// A connection kept from earlier turned out to be closed; nothing of the mail was accepted.
    Stale,
}

pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) offered: Extensions,
    pub(super) peer: Peer,
    pub(super) settings: InForce,
    pub(super) opened: Instant,
    pub(super) used: Instant,
    /// Mails tried on this connection.
    pub(super) mails: u32,
    /// An earlier transaction was left open.
    pub(super) dirty: bool,
    /// The conversation is in step and may go on.
    pub(super) usable: bool,
}

impl Session {
    /// Whether another mail may go over this connection.
    pub(super) fn is_reusable(&self, limits: &PoolLimits) -> bool {
        self.usable && self.mails < limits.messages && self.opened.elapsed() < limits.age
    }

    /// Whether a connection that lay idle can be used now.
    pub(super) fn is_fresh(&self, limits: &PoolLimits) -> bool {
        self.is_reusable(limits) && self.used.elapsed() < limits.idle && self.wire.is_quiet()
    }

    fn limit(&self, timeout: &Definition) -> Duration {
        self.settings.now().time(timeout)
    }

    /// Sends one mail.
    pub(super) async fn send(&mut self, mail: &Mail) -> Sent {
        let reused = self.mails > 0;
        if reused {
            self.wire.transcript.restart();
        }
        self.mails += 1;
        // Set again once the conversation is known to be in step.
        self.usable = false;
        let sent = self.transaction(mail, reused).await;
        self.used = Instant::now();
        match sent {
            Sent::Done(mut outcome) => {
                outcome.reply_mut().transcript = self.wire.transcript.take();
                Sent::Done(outcome)
            }
            Sent::Stale => Sent::Stale,
        }
    }

    async fn transaction(&mut self, mail: &Mail, reused: bool) -> Sent {
        let mut transaction = match Transaction::begin(mail, &self.offered) {
            Ok(transaction) => transaction,
            Err(unfit) => {
                self.usable = true;
                let (code, text) = (unfit.enhanced, unfit.text);
                return Sent::Done(self.peer.refuse(unfit.category, code, text, Phase::Local));
            }
        };
        let steps = [Step::Rset, Step::Mail, Step::Rcpt, Step::Data];
        let steps = if self.dirty { &steps[..] } else { &steps[1..] };
        if let Some(outcome) = self.unprintable(&transaction, steps) {
            return Sent::Done(outcome);
        }
        let group = if self.offered.pipelining { steps.len() } else { 1 };
        for group in steps.chunks(group) {
            if let Err((step, broken)) = self.exchange(&mut transaction, group).await {
                if reused && matches!(broken, Broken::Closed | Broken::Io(_)) {
                    return Sent::Stale;
                }
                return Sent::Done(match transaction.failed {
                    // It said why before it hung up.
                    Some((step, reply)) => self.peer.refused(&reply, step.phase()),
                    None => self.peer.broken(&broken, step.phase(), false),
                });
            }
            if transaction.failed.is_some() {
                break;
            }
        }
        self.dirty = transaction.open;
        if let Some((step, reply)) = transaction.failed {
            if reused && reply.code == 421 && matches!(step, Step::Rset | Step::Mail) {
                return Sent::Stale;
            }
            // A server that now waits for a body nobody wants is left alone, and 421 hangs up.
            self.usable = !transaction.ready && reply.code != 421;
            return Sent::Done(self.peer.refused(&reply, step.phase()));
        }
        Sent::Done(self.body(mail).await)
    }

    /// Checks that all commands can be printed, before the first is sent.
    fn unprintable(&mut self, transaction: &Transaction<'_>, steps: &[Step]) -> Option<Outcome> {
        let out = &mut self.wire.out;
        let error = steps.iter().find_map(|step| transaction.write(*step, out).err());
        self.wire.out.clear();
        let error = error?;
        self.usable = true;
        let text = error.to_string();
        Some(self.peer.refuse(Category::Protocol, "5.1.3", &text, Phase::Local))
    }

    /// Sends some steps in one write and takes their replies.
    async fn exchange(
        &mut self,
        transaction: &mut Transaction<'_>,
        steps: &[Step],
    ) -> Result<(), (Step, Broken)> {
        for step in steps {
            transaction.write(*step, &mut self.wire.out).expect("was printed once before");
        }
        self.wire.transcript.commands(&self.wire.out);
        let limit = self.limit(&SMTP_TIMEOUT_MAIL);
        self.wire.flush(limit).await.map_err(|broken| (steps[0], broken))?;
        for step in steps {
            let limit = match step {
                Step::Rset | Step::Mail => self.limit(&SMTP_TIMEOUT_MAIL),
                Step::Rcpt => self.limit(&SMTP_TIMEOUT_RCPT),
                Step::Data => self.limit(&SMTP_TIMEOUT_DATA_INIT),
            };
            let reply = self.wire.reply(limit).await.map_err(|broken| (*step, broken))?;
            transaction.on(*step, reply);
        }
        Ok(())
    }

    /// Sends the body and takes the answer to its final dot.
    async fn body(&mut self, mail: &Mail) -> Outcome {
        let stuffed = data::stuff(&mail.bytes);
        let limit = self.limit(&SMTP_TIMEOUT_DATA_BLOCK);
        if let Err(broken) = self.wire.body(&stuffed, limit).await {
            // It may have said why before it hung up. The dot was not sent, so nothing arrived.
            return match self.wire.reply(LAST_WORDS).await {
                Ok(reply) if !reply.is_success() => self.peer.refused(&reply, Phase::Data),
                _ => self.peer.broken(&broken, Phase::Data, false),
            };
        }
        let limit = self.limit(&SMTP_TIMEOUT_DATA_DONE);
        match self.wire.reply(limit).await {
            Ok(reply) if reply.is_success() => {
                self.dirty = false;
                self.usable = true;
                Outcome::Delivered { reply: self.peer.record(&reply, Phase::Data) }
            }
            Ok(reply) => {
                // The server ended the transaction whatever it answered (RFC 5321 §4.1.1.4).
                self.dirty = false;
                self.usable = reply.code != 421;
                self.peer.refused(&reply, Phase::Data)
            }
            // Whether the server took the mail is unknown.
            Err(broken) => self.peer.broken(&broken, Phase::Data, true),
        }
    }

    /// Says goodbye without waiting for the answer.
    pub(super) async fn quit(mut self) {
        if self.usable {
            // A connection that is closed anyway: nothing depends on this.
            let _ = self.wire.say(Command::Quit, Duration::from_secs(1)).await;
        }
    }
}
