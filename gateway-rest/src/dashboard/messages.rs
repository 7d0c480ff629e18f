//! The list of messages, and the field that finds anything by whatever its reader has at hand.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::v1;
use serde::Deserialize;

use super::client::messages;
use super::list::{Asked, List, Rows, day, with};
use super::view::{Block, Cell, Field, Form, Kind, Tone};
use super::visit::Visit;
use super::words::Words;
use super::{Answer, asked};
use crate::App;

const PATH: &str = "/dashboard/messages";
/// Seconds until the first page reads itself again.
const LIVE: u32 = 5;

/// Which messages are wanted.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    recipient: String,
    #[serde(default)]
    campaign: String,
    #[serde(default)]
    tag: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    external: String,
    #[serde(default)]
    batch: String,
    /// An id that has to do with them, as it was searched for.
    #[serde(default)]
    any: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
}

impl Filter {
    /// The address of the list with this filter.
    fn path(&self) -> String {
        with(
            PATH,
            &[
                ("recipient", &self.recipient),
                ("campaign", &self.campaign),
                ("tag", &self.tag),
                ("state", &self.state),
                ("external", &self.external),
                ("batch", &self.batch),
                ("any", &self.any),
                ("since", &self.since),
                ("until", &self.until),
            ],
        )
    }

    fn request(&self, page_token: String) -> v1::ListMessagesRequest {
        let trimmed = |text: &str| text.trim().to_owned();
        let state = v1::RecipientState::from_str_name(&format!("RECIPIENT_STATE_{}", self.state));
        v1::ListMessagesRequest {
            page_size: 0,
            page_token,
            recipient: trimmed(&self.recipient),
            state: state.unwrap_or_default().into(),
            tag: trimmed(&self.tag),
            campaign_id: trimmed(&self.campaign),
            external_id: trimmed(&self.external),
            batch_id: trimmed(&self.batch),
            any_id: trimmed(&self.any),
            since: day(&self.since, 0),
            until: day(&self.until, 1),
        }
    }
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(filter): Query<Filter>,
    Query(asked): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let list = List {
        title: w.messages,
        file: "messages",
        columns: &[w.subject, w.recipients, w.state, w.campaign, w.accepted_at, w.id],
        empty: w.no_messages,
        path: &filter.path(),
        live: if asked.is_first() { LIVE } else { 0 },
        ..List::default()
    };
    let before = vec![Block::Form(form(w, &filter))];
    let fetch = move |app: Arc<App>, visit, token| {
        let filter = filter.clone();
        async move { rows(&app, &visit, &filter, token).await }
    };
    list.answer(app, visit, &asked, before, fetch).await
}

fn form(w: &'static Words, filter: &Filter) -> Form {
    let states = [
        "",
        "SCHEDULED",
        "QUEUED",
        "SENDING",
        "DEFERRED",
        "SENT",
        "DELIVERED",
        "BOUNCED",
        "FAILED",
        "SUPPRESSED",
        "EXPIRED",
        "CANCELED",
    ];
    let label =
        |name: &str| match v1::RecipientState::from_str_name(&format!("RECIPIENT_STATE_{name}")) {
            Some(state) => state_name(w, state).to_owned(),
            None => w.any.to_owned(),
        };
    let states = states.iter().map(|name| ((*name).to_owned(), label(name))).collect();
    Form {
        path: PATH.to_owned(),
        fields: vec![
            Field::text("recipient", w.recipient, &filter.recipient),
            Field::new("state", w.state, Kind::Select(states)).value(filter.state.clone()),
            Field::text("campaign", w.campaign, &filter.campaign),
            Field::text("tag", w.tag, &filter.tag),
            Field::new("since", w.since, Kind::Date).value(filter.since.clone()),
            Field::new("until", w.until, Kind::Date).value(filter.until.clone()),
        ],
        submit: w.filter.to_owned(),
        get: true,
        inline: true,
        ..Form::default()
    }
}

async fn rows(app: &App, visit: &Visit, filter: &Filter, token: String) -> Rows {
    let w = visit.words();
    let request = asked(app, visit, filter.request(token));
    let answer = messages(app).list_messages(request).await?.into_inner();
    let row = |message: v1::Message| {
        let path = format!("{PATH}/{}", message.id);
        let subject = match message.subject.as_str() {
            "" => w.no_subject.to_owned(),
            subject => subject.to_owned(),
        };
        let first = message.recipients.first();
        let to = first.map_or_else(String::new, |first| match message.recipients.len() {
            1 => first.email.clone(),
            more => format!("{} +{}", first.email, more - 1),
        });
        let (state, tone) = standing(w, &message);
        vec![
            Cell::link(subject, path.clone()),
            Cell::text(to),
            Cell::badge(state, tone),
            Cell::text(message.campaign_id),
            Cell::time(message.create_time),
            Cell::link(message.id, path),
        ]
    };
    Ok((answer.messages.into_iter().map(row).collect(), answer.next_page_token))
}

/// How a message stands: as its recipients do when all do alike, and otherwise the worst.
fn standing(w: &'static Words, message: &v1::Message) -> (String, Tone) {
    use v1::RecipientState::{Bounced, Deferred, Expired, Failed};
    let states: Vec<_> = message.recipients.iter().map(v1::RecipientStatus::state).collect();
    let Some(first) = states.first().copied() else { return (String::new(), Tone::Plain) };
    if states.iter().all(|state| *state == first) {
        return (state_name(w, first).to_owned(), tone(first));
    }
    let worst = [Bounced, Failed, Expired, Deferred];
    let worst = worst.into_iter().find(|one| states.contains(one)).unwrap_or(first);
    let count = states.iter().filter(|state| **state == worst).count();
    (format!("{} {count}/{}", state_name(w, worst), states.len()), tone(worst))
}

/// What a state is called.
pub(super) fn state_name(w: &'static Words, state: v1::RecipientState) -> &'static str {
    use v1::RecipientState as S;
    match state {
        S::Scheduled => w.state_scheduled,
        S::Queued => w.state_queued,
        S::Sending => w.state_sending,
        S::Deferred => w.state_deferred,
        S::Delivered => w.state_delivered,
        S::Bounced => w.state_bounced,
        S::Failed => w.state_failed,
        S::Suppressed => w.state_suppressed,
        S::Expired => w.state_expired,
        S::Canceled => w.state_canceled,
        S::Sent => w.state_sent,
        S::Unspecified => w.any,
    }
}

/// How good a state is.
pub(super) fn tone(state: v1::RecipientState) -> Tone {
    use v1::RecipientState as S;
    match state {
        S::Delivered => Tone::Good,
        S::Deferred | S::Suppressed | S::Canceled => Tone::Warn,
        S::Bounced | S::Failed | S::Expired => Tone::Bad,
        _ => Tone::Plain,
    }
}
