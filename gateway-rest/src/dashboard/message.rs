//! One message: what became of it, step by step, and what it looks like.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse as _};
use http::HeaderValue;
use postern_proto::v1;
use serde::Deserialize;

use super::client::{events, messages};
use super::figures::{encoded, escaped};
use super::list::with;
use super::messages::{state_name, tone};
use super::view::{Action, Block, Cell, Moment, Table, Tone, when};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::{Answer, asked, done, show_live, unknown_act};
use crate::App;
use crate::fault::Fault;
use crate::inbox::mail;

/// The mail itself: nothing runs, nothing is loaded, nothing leaves the frame.
const MAIL_POLICY: &str = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
    font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'";
/// Events that are shown.
const EVENTS_MAX: i32 = 500;
/// Recipients that are shown.
const RECIPIENTS_MAX: usize = 200;
/// Seconds until the page of a message that is under way reads itself again.
const LIVE: u32 = 5;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Tab {
    #[serde(default)]
    tab: String,
    #[serde(default)]
    recipient: String,
    /// Where the timeline goes on.
    #[serde(default)]
    events: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    Query(tab): Query<Tab>,
) -> Answer {
    let w = visit.words();
    let request = v1::GetMessageRequest { id: id.clone() };
    let found = messages(&app).get_message(asked(&app, &visit, request)).await?.into_inner();
    let message = found.message.unwrap_or_default();
    let path = format!("/dashboard/messages/{}", message.id);
    let tabs = [("", w.timeline), ("look", w.appearance), ("source", w.source)];
    let tabs = tabs
        .map(|(name, label)| (label.to_owned(), with(&path, &[("tab", name)]), tab.tab == name));
    let mut blocks = vec![Block::Facts { title: String::new(), rows: facts(w, &message) }];
    if visit.is_admin() {
        blocks.push(Block::Actions(actions(w, &message, &path)));
    }
    blocks.push(Block::Tabs(tabs.to_vec()));
    let mut live = 0;
    match tab.tab.as_str() {
        "look" => {
            let query = [("recipient", tab.recipient.as_str())];
            let src = with(&format!("{path}/html"), &query);
            blocks.push(Block::Frame { title: w.appearance.to_owned(), src });
        }
        "source" => {
            let raw = content(&app, &visit, &message.id, &tab.recipient).await?;
            let text = mail::read(&raw).source;
            let query = [("recipient", tab.recipient.as_str())];
            let file = with(&format!("{path}/source"), &query);
            let link = Cell::link(format!("{}.eml", message.id), file);
            let rows = vec![(w.file.to_owned(), link)];
            blocks.push(Block::Facts { title: String::new(), rows });
            blocks.push(Block::Code { title: w.source.to_owned(), text });
        }
        _ => {
            blocks.push(Block::Table(recipients(w, &message, &path)));
            if message.recipients.len() > RECIPIENTS_MAX {
                let text = w.more_recipients.to_owned();
                blocks.push(Block::Notice { tone: Tone::Plain, text });
            }
            blocks.extend(timeline(&app, &visit, &message.id, &path, tab.events).await?);
            let over =
                matches!(message.state(), v1::MessageState::Completed | v1::MessageState::Canceled);
            live = if over { 0 } else { LIVE };
        }
    }
    let title = match message.subject.as_str() {
        "" => w.no_subject,
        subject => subject,
    };
    Ok(show_live(&visit, title, &blocks, live))
}

fn facts(w: &Words, message: &v1::Message) -> Vec<(String, Cell)> {
    let from = message.from.clone().unwrap_or_default();
    let from = match from.display_name.as_str() {
        "" => from.email,
        name => format!("{name} <{}>", from.email),
    };
    let mut rows = vec![
        (w.id.to_owned(), Cell::code(message.id.clone())),
        (w.from.to_owned(), Cell::text(from)),
        (w.accepted_at.to_owned(), Cell::time(message.create_time)),
    ];
    let mut add = |label: &str, text: &str, cell: Cell| {
        if !text.is_empty() {
            rows.push((label.to_owned(), cell));
        }
    };
    let campaign = &message.campaign_id;
    let href = with("/dashboard/campaigns/show", &[("id", campaign)]);
    add(w.campaign, campaign, Cell::link(campaign.clone(), href));
    add(w.external_id, &message.external_id, Cell::code(message.external_id.clone()));
    let batch = &message.batch_id;
    let href = with("/dashboard/messages", &[("batch", batch)]);
    add(w.batch, batch, Cell::link(batch.clone(), href));
    let tags = message.tags.join(", ");
    add(w.tag, &tags, Cell::text(tags.clone()));
    add("Message-ID", &message.rfc_message_id, Cell::code(message.rfc_message_id.clone()));
    if message.test {
        rows.push((w.test_mail.to_owned(), Cell::badge(w.yes, Tone::Warn)));
    }
    if message.send_time.is_some() {
        rows.push((w.send_time.to_owned(), Cell::time(message.send_time)));
    }
    rows
}

fn actions(w: &Words, message: &v1::Message, path: &str) -> Vec<Action> {
    let act =
        |what: &str, label: &str| Action::new(format!("{path}/act"), what, label).confirmed("");
    let waits = message.recipients.iter().any(|recipient| {
        use v1::RecipientState::{Deferred, Queued, Scheduled};
        matches!(recipient.state(), Deferred | Queued | Scheduled)
    });
    // Of this look at the page, so that its button sends once, however often it is pressed.
    let look = format!("{:032x}", rand::random::<u128>());
    let mut actions = vec![act("resend", w.resend).field("request_id", &look)];
    if waits {
        actions.push(act("cancel", w.cancel).danger());
    }
    actions
}

fn recipients(w: &'static Words, message: &v1::Message, path: &str) -> Table {
    let row = |one: &v1::RecipientStatus| {
        let look = with(path, &[("tab", "look"), ("recipient", &one.id)]);
        let reply = one.last_reply.as_ref().map(reply).unwrap_or_default();
        vec![
            Cell::link(one.email.clone(), look),
            Cell::badge(state_name(w, one.state()), tone(one.state())),
            Cell::text(w.name(&one.reason)),
            Cell::Number(i64::from(one.attempts)),
            Cell::text(reply),
            Cell::time(one.next_attempt_time),
        ]
    };
    Table {
        title: w.recipients.to_owned(),
        columns: vec![w.recipient, w.state, w.reason, w.attempts, w.last_reply, w.next_attempt],
        rows: message.recipients.iter().take(RECIPIENTS_MAX).map(row).collect(),
        ..Table::default()
    }
}

fn reply(reply: &v1::SmtpReply) -> String {
    match reply.code {
        0 => reply.text.clone(),
        code => format!("{code} {} {}", reply.enhanced_code, reply.text),
    }
}

async fn timeline(
    app: &App,
    visit: &Visit,
    id: &str,
    path: &str,
    page_token: String,
) -> Result<Vec<Block>, Fault> {
    let w = visit.words();
    let request = v1::ListEventsRequest {
        page_size: EVENTS_MAX,
        page_token,
        message_id: id.to_owned(),
        ..v1::ListEventsRequest::default()
    };
    let found = events(app).list_events(asked(app, visit, request)).await?.into_inner();
    let moments: Vec<_> = found.events.iter().map(|event| moment(w, event)).collect();
    let mut blocks = vec![Block::Moments { title: w.timeline.to_owned(), moments }];
    if !found.next_page_token.is_empty() {
        let next = with(path, &[("events", &found.next_page_token)]);
        let rows = vec![(w.timeline.to_owned(), Cell::link(w.more_events, next))];
        blocks.push(Block::Facts { title: String::new(), rows });
    }
    Ok(blocks)
}

fn moment(w: &Words, event: &v1::Event) -> Moment {
    let mut text = event.recipient.clone();
    let mut add = |part: String| {
        if !part.is_empty() {
            text.push_str(" · ");
            text.push_str(&part);
        }
    };
    if event.attempt > 0 {
        add(format!("{} {}", w.attempt, event.attempt));
    }
    add(w.name(&event.reason).to_owned());
    let mut code = String::new();
    if let Some(said) = &event.reply {
        add(said.host.clone());
        add(said.tls.clone());
        add(reply(said));
        code = said.transcript.join("\n");
    }
    if let Some(seen) = &event.engagement {
        add(w.name(&format!("{:?}", seen.verdict()).to_lowercase()).to_owned());
        let reasons: Vec<_> = seen.reasons.iter().map(|reason| w.name(reason)).collect();
        add(reasons.join(", "));
        add(seen.url.clone());
        add(seen.client_ip.clone());
        add(seen.user_agent.clone());
    }
    if event.possible_duplicate {
        add(w.possible_duplicate.to_owned());
    }
    let name = event.r#type.trim_start_matches("message.");
    let tone = match name {
        "delivered" | "opened" | "clicked" => Tone::Good,
        "deferred" | "suppressed" | "canceled" | "unsubscribed" | "recovered" => Tone::Warn,
        "bounced" | "failed" | "expired" | "complained" => Tone::Bad,
        _ => Tone::Plain,
    };
    let time = when(event.create_time);
    let title = w.name(name).to_owned();
    Moment { time, title, tone, text, code }
}

async fn content(app: &App, visit: &Visit, id: &str, recipient: &str) -> Result<Vec<u8>, Fault> {
    let request =
        v1::GetMessageContentRequest { id: id.to_owned(), recipient_id: recipient.to_owned() };
    let found = messages(app).get_message_content(asked(app, visit, request)).await?;
    Ok(found.into_inner().raw.to_vec())
}

/// The html of the mail, or its text, for the frame.
pub(super) async fn html(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    Query(tab): Query<Tab>,
) -> Answer {
    let raw = content(&app, &visit, &id, &tab.recipient).await?;
    let read = mail::read(&raw);
    let html = match (mail::html_of(&raw).filter(|_| read.html.is_some()), read.text) {
        (Some(html), _) => html,
        (None, text) => {
            let text = escaped(&text.unwrap_or_default());
            format!("<pre style=\"white-space:pre-wrap\">{text}</pre>")
        }
    };
    Ok(framed(html))
}

/// Foreign html, locked into the frame that shows it.
pub(super) fn framed(html: String) -> axum::response::Response {
    let mut response = Html(html).into_response();
    super::guard(response.headers_mut(), MAIL_POLICY);
    let headers = response.headers_mut();
    headers.insert("x-frame-options", HeaderValue::from_static("SAMEORIGIN"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    response
}

/// The mail as a file.
pub(super) async fn source(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    Query(tab): Query<Tab>,
) -> Answer {
    let raw = content(&app, &visit, &id, &tab.recipient).await?;
    let name: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let mut response = raw.into_response();
    super::guard(response.headers_mut(), "sandbox; default-src 'none'");
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("message/rfc822"));
    if let Ok(file) = HeaderValue::try_from(format!("attachment; filename=\"{name}.eml\"")) {
        headers.insert("content-disposition", file);
    }
    Ok(response)
}

pub(super) async fn act(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let w = visit.words();
    let (id, told) = match fields.raw("act") {
        "cancel" => {
            let request = v1::CancelMessageRequest { id: id.clone(), validate_only: false };
            messages(&app).cancel_message(asked(&app, &visit, request)).await?;
            (id, w.canceled)
        }
        "resend" => {
            let request_id = fields.text("request_id");
            let request = v1::ResendMessageRequest { id, request_id, ..Default::default() };
            let sent = messages(&app).resend_message(asked(&app, &visit, request)).await?;
            (sent.into_inner().message.unwrap_or_default().id, w.resent)
        }
        _ => return Err(unknown_act()),
    };
    Ok(done(&format!("/dashboard/messages/{}", encoded(&id)), told))
}
