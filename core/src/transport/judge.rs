//! From what was heard, or not heard, to an outcome. Pure.

use postern_smtp_wire::reply::Reply as WireReply;

use super::classify::classify;
use super::wire::Broken;
use crate::model::delivery::{Category, Outcome, Phase, Reply};

/// Who was talked to, for the record.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// The host name, with the address when one is known.
    pub(super) host: String,
    /// The TLS version; empty for none.
    pub(super) tls: &'static str,
}

impl Peer {
    /// The reply as it is stored.
    pub(super) fn record(&self, reply: &WireReply, phase: Phase) -> Reply {
        Reply {
            code: reply.code.into(),
            enhanced: reply.enhanced.map(|code| code.to_string()).unwrap_or_default(),
            text: cut(reply.text.replace('\n', " ")),
            host: self.host.clone(),
            phase: phase.name().to_owned(),
            tls: self.tls.to_owned(),
            transcript: Vec::new(),
        }
    }

    /// What a reply that is not the hoped-for one means for the delivery.
    pub(super) fn refused(&self, reply: &WireReply, phase: Phase) -> Outcome {
        let verdict = classify(reply.code, reply.enhanced, &reply.text, phase);
        let (reply, category) = (self.record(reply, phase), verdict.category);
        if verdict.permanent {
            Outcome::Refused { reply, category }
        } else {
            Outcome::Deferred { reply, category, may_duplicate: false }
        }
    }

    /// What a broken connection means for the delivery.
    pub(super) fn broken(&self, broken: &Broken, phase: Phase, may_duplicate: bool) -> Outcome {
        let (category, enhanced) = match broken {
            Broken::Timeout => (Category::Timeout, "4.4.2"),
            Broken::Closed | Broken::Io(_) => (Category::Connection, "4.4.2"),
            Broken::Reply(_) | Broken::Unasked | Broken::Command(_) => {
                (Category::Protocol, "4.5.0")
            }
            Broken::Tls(_) => (Category::Tls, "4.7.0"),
        };
        let reply = self.own(enhanced, broken.to_string(), phase);
        Outcome::Deferred { reply, category, may_duplicate }
    }

    /// Something that was decided here while talking to this peer; later may be better.
    pub(super) fn defer(
        &self,
        category: Category,
        code: &str,
        text: &str,
        phase: Phase,
    ) -> Outcome {
        let reply = self.own(code, text.to_owned(), phase);
        Outcome::Deferred { reply, category, may_duplicate: false }
    }

    /// Something that was decided here while talking to this peer and that will not change.
    pub(super) fn refuse(
        &self,
        category: Category,
        code: &str,
        text: &str,
        phase: Phase,
    ) -> Outcome {
        Outcome::Refused { reply: self.own(code, text.to_owned(), phase), category }
    }

    fn own(&self, enhanced: &str, text: String, phase: Phase) -> Reply {
        Reply {
            code: 0,
            enhanced: enhanced.to_owned(),
            text: cut(text),
            host: self.host.clone(),
            phase: phase.name().to_owned(),
            tls: self.tls.to_owned(),
            transcript: Vec::new(),
        }
    }
}

/// Of two failures at different servers, the one that stands: hope beats certainty.
pub(super) fn better(first: Option<Outcome>, second: Outcome) -> Outcome {
    match (first, second) {
        (Some(first @ Outcome::Deferred { .. }), Outcome::Refused { .. }) => first,
        (_, second) => second,
    }
}

fn cut(mut text: String) -> String {
    let end =
        (0..=text.len().min(Reply::TEXT_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    text
}
