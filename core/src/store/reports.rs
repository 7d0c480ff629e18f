//! What a system that took mail over reports of it later.
//!
//! Taking a report in is a transaction: its key, the state, the event, its counters and a suppression
//! are on stable storage together. A key that was there before changes nothing, so whoever reports
//! and gets no answer reports again.

use async_trait::async_trait;
use postern_proto::ids::{EventId, MessageId, RecipientId, SuppressionId};

use crate::model::delivery::{Phase, Reply, State, Ticket};
use crate::model::directory::{Suppression, SuppressionReason};
use crate::model::event::{EventType, NewEvent};

use super::Error;

/// Which mail a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// By what the other system calls it.
    pub ticket: Ticket,
    /// The Message-ID without angle brackets, by which a mail is found whose ticket we never got;
    /// empty when the report does not say.
    pub rfc_message_id: String,
    /// The recipient's address in lower case.
    pub email: String,
}

/// What happened to a mail that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The event that tells of it.
    pub event: EventType,
    /// The state it leads to; none when it leaves the state as it is.
    pub state: Option<State>,
    /// Why, in one word; empty for no reason.
    pub reason: &'static str,
    /// What the recipient's server said.
    pub reply: Option<Reply>,
    /// The address is not to be written to any more.
    pub suppress: Option<SuppressionReason>,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Tells it from all others.
    pub key: String,
    /// Which mail it is about.
    pub subject: Subject,
    /// What happened.
    pub news: News,
    /// When it was heard of, in milliseconds since 1970.
    pub create_ms: i64,
    /// When to ask about a mail that turns out to have been taken and has not ended.
    pub ask_ms: i64,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It took effect.
    Applied,
    /// It was taken in before.
    Repeated,
    /// It came too late to change anything: the delivery had ended.
    Late,
    /// No mail that was handed over is the one it is about. Nothing was stored.
    Unknown,
}

/// Takes reports in.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Applies a report to the delivery that was handed over under its ticket; or, when that is not
    /// known, to the one with its Message-ID and address whose hand-over had no known outcome, which
    /// thereby gets its ticket.
    async fn report(&self, report: Report) -> Result<Reported, Error>;
}

/// The delivery that a report is about, as it stands.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) delivery: RecipientId,
    pub(super) message: MessageId,
    pub(super) campaign_id: String,
    pub(super) email: String,
    pub(super) state: State,
    pub(super) attempts: u32,
}

/// What a report changes.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) state: State,
    pub(super) event: NewEvent,
    /// Whether reason and reply become those of the delivery.
    pub(super) is_turn: bool,
    pub(super) suppress: Option<Suppression>,
    /// When to ask what became of it; none when it has ended.
    pub(super) ask_ms: Option<i64>,
}

/// Decides what a report changes; none when it comes too late. Pure.
pub(super) fn change(standing: &Standing, report: &Report) -> Option<Change> {
    let (news, now) = (&report.news, standing.state);
    let state = match news.state {
        Some(state) if !now.is_terminal() => state,
        None if !now.is_terminal() => now,
        // Nothing leaves a terminal state. Of what is delivered, though, more may be heard.
        _ if now == State::Delivered && is_aftermath(news) => now,
        _ => return None,
    };
    let suppress = news.suppress.map(|reason| Suppression {
        id: SuppressionId::generate(),
        email: standing.email.to_lowercase(),
        reason,
        campaign_id: String::new(),
        note: String::new(),
        create_ms: report.create_ms,
    });
    let event = NewEvent {
        id: EventId::generate(),
        kind: news.event,
        create_ms: report.create_ms,
        message_id: standing.message,
        delivery_id: standing.delivery,
        campaign_id: standing.campaign_id.clone(),
        attempt: standing.attempts,
        reason: news.reason.to_owned(),
        reply: news.reply.clone(),
        possible_duplicate: false,
        next_ms: None,
    };
    let is_turn = news.state.is_some() && !now.is_terminal();
    let ask_ms = (!state.is_terminal()).then_some(report.ask_ms);
    Some(Change { state, event, is_turn, suppress, ask_ms })
}

/// What can be heard of a mail after it was delivered: a complaint, or a bounce message.
fn is_aftermath(news: &News) -> bool {
    let late = |reply: &Reply| reply.phase == Phase::OutOfBand.name();
    news.event == EventType::Complained
        || (news.event == EventType::Bounced && news.reply.as_ref().is_some_and(late))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(state: State) -> Standing {
        Standing {
            delivery: RecipientId::generate(),
            message: MessageId::generate(),
            campaign_id: String::new(),
            email: "Ann@example.net".to_owned(),
            state,
            attempts: 1,
        }
    }

    fn report(event: EventType, state: Option<State>, phase: Phase) -> Report {
        let reply = Reply { phase: phase.name().to_owned(), ..Reply::default() };
        Report {
            key: "k".to_owned(),
            subject: Subject {
                ticket: Ticket { id: 1, token: "t".to_owned() },
                rfc_message_id: String::new(),
                email: String::new(),
            },
            news: News {
                event,
                state,
                reason: "",
                reply: Some(reply),
                suppress: Some(SuppressionReason::HardBounce),
            },
            create_ms: 1,
            ask_ms: 9,
        }
    }

    #[test]
    fn open_deliveries_go_where_the_report_says() {
        let bounced = report(EventType::Bounced, Some(State::Bounced), Phase::Data);
        for state in [State::Queued, State::Sending, State::Deferred, State::Sent] {
            let change = change(&standing(state), &bounced).unwrap();
            assert_eq!((change.state, change.is_turn, change.ask_ms), (State::Bounced, true, None));
            assert_eq!(change.suppress.unwrap().email, "ann@example.net");
        }
        let delayed = report(EventType::Deferred, Some(State::Sent), Phase::Data);
        let delayed = change(&standing(State::Deferred), &delayed).unwrap();
        assert_eq!((delayed.state, delayed.ask_ms), (State::Sent, Some(9)));
    }

    #[test]
    fn nothing_leaves_a_terminal_state() {
        let ended = State::ALL.into_iter().filter(|state| state.is_terminal());
        let all = [
            report(EventType::Delivered, Some(State::Delivered), Phase::Data),
            report(EventType::Deferred, Some(State::Sent), Phase::Data),
            report(EventType::Bounced, Some(State::Bounced), Phase::Data),
        ];
        for state in ended {
            for report in &all {
                assert!(change(&standing(state), report).is_none(), "{state:?} {report:?}");
            }
        }
    }

    #[test]
    fn of_what_is_delivered_a_bounce_message_or_a_complaint_may_be_heard() {
        let bounce = report(EventType::Bounced, Some(State::Bounced), Phase::OutOfBand);
        let complaint = report(EventType::Complained, None, Phase::Data);
        for report in [bounce, complaint] {
            let heard = change(&standing(State::Delivered), &report).unwrap();
            assert_eq!((heard.state, heard.is_turn), (State::Delivered, false));
            assert!(heard.suppress.is_some());
            assert!(change(&standing(State::Failed), &report).is_none());
        }
    }
}
