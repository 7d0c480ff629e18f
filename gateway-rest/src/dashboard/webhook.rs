//! One webhook: its deliveries with what was posted and answered, and replaying.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use postern_proto::v1;
use serde::Deserialize;

use super::client::webhooks;
use super::figures::{encoded, grouped};
use super::list::{Asked, List, Rows, day, with};
use super::view::{Action, Block, Cell, Field, Form, Kind, Moment, Tone, when};
use super::visit::{Posted, Visit};
use super::webhooks::{form, read, standing};
use super::words::Words;
use super::work::{Steps, Work};
use super::{Answer, asked, done, show, unknown_act};
use crate::App;

const PATH: &str = "/dashboard/webhooks";

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    state: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    Query(filter): Query<Filter>,
    Query(asked): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let request = v1::GetWebhookRequest { id: id.clone() };
    let found = webhooks(&app).get_webhook(self::asked(&app, &visit, request)).await?.into_inner();
    let webhook = found.webhook.unwrap_or_default();
    let path = format!("{PATH}/{}", webhook.id);
    let mut before = vec![Block::Facts {
        title: String::new(),
        rows: vec![
            (w.state.to_owned(), standing(w, &webhook)),
            (w.id.to_owned(), Cell::code(webhook.id.clone())),
            (w.failing_since.to_owned(), Cell::time(webhook.failing_time)),
        ],
    }];
    if visit.is_admin() {
        before.push(Block::Actions(actions(w, &webhook, &path)));
        before.push(Block::Form(replay_form(w, &path)));
        let change = form(w, &path, &webhook);
        before.push(Block::Form(Form { title: w.change.to_owned(), folded: true, ..change }));
    }
    let tabs =
        [("", w.any), ("PENDING", w.pending), ("DELIVERED", w.delivered), ("FAILED", w.failed)];
    let tab = |(state, label): (&str, &str)| {
        (label.to_owned(), with(&path, &[("state", state)]), filter.state == state)
    };
    before.push(Block::Tabs(tabs.map(tab).to_vec()));
    let list = List {
        title: &webhook.url,
        table: w.deliveries,
        file: "webhook-deliveries",
        columns: &[w.event, w.state, w.attempts, w.next_attempt, w.created],
        empty: w.nothing,
        path: &with(&path, &[("state", &filter.state)]),
        ..List::default()
    };
    let fetch = move |app: Arc<App>, visit, token| {
        let (id, filter) = (id.clone(), filter.clone());
        async move { rows(&app, &visit, &id, &filter, token).await }
    };
    list.answer(app, visit, &asked, before, fetch).await
}

fn actions(w: &Words, webhook: &v1::Webhook, path: &str) -> Vec<Action> {
    let act = |what: &str, label: &str| Action::new(format!("{path}/act"), what, label);
    let serious = |what: &str, label: &str| act(what, label).danger().confirmed("");
    let switch = match webhook.disabled {
        true => act("enable", w.enable),
        false => serious("disable", w.disable),
    };
    vec![
        act("test", w.test),
        switch,
        serious("rotate", w.rotate_secret),
        serious("delete", w.delete),
    ]
}

fn replay_form(w: &Words, path: &str) -> Form {
    Form {
        title: w.replay.to_owned(),
        path: format!("{path}/replay"),
        fields: vec![
            Field::new("since", w.since, Kind::Date).required(),
            Field::new("until", w.until, Kind::Date),
            Field::new("events", w.events, Kind::Text).hint(w.events_hint),
            Field::new("campaign", w.campaign, Kind::Text),
        ],
        submit: w.replay.to_owned(),
        folded: true,
        long: true,
        ..Form::default()
    }
}

async fn rows(app: &App, visit: &Visit, id: &str, filter: &Filter, page_token: String) -> Rows {
    let w = visit.words();
    let state = format!("WEBHOOK_DELIVERY_STATE_{}", filter.state);
    let state = v1::WebhookDeliveryState::from_str_name(&state).unwrap_or_default();
    let request = v1::ListWebhookDeliveriesRequest {
        id: id.to_owned(),
        page_size: 0,
        page_token,
        state: state.into(),
    };
    let answer = webhooks(app).list_webhook_deliveries(asked(app, visit, request)).await?;
    let answer = answer.into_inner();
    let row = |one: v1::WebhookDelivery| {
        let href = format!("{PATH}/{}/events/{}", one.webhook_id, one.event_id);
        vec![
            Cell::link(one.event_id.clone(), href),
            state_of(w, &one),
            Cell::Number(i64::from(one.attempts)),
            Cell::time(one.next_attempt_time),
            Cell::time(one.create_time),
        ]
    };
    Ok((answer.deliveries.into_iter().map(row).collect(), answer.next_page_token))
}

fn state_of(w: &Words, one: &v1::WebhookDelivery) -> Cell {
    match one.state() {
        v1::WebhookDeliveryState::Delivered => Cell::badge(w.delivered, Tone::Good),
        v1::WebhookDeliveryState::Failed => Cell::badge(w.failed, Tone::Bad),
        _ => Cell::badge(w.pending, Tone::Plain),
    }
}

pub(super) async fn delivery(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path((id, event_id)): Path<(String, String)>,
) -> Answer {
    let w = visit.words();
    let request = v1::GetWebhookDeliveryRequest { id: id.clone(), event_id: event_id.clone() };
    let found = webhooks(&app).get_webhook_delivery(asked(&app, &visit, request)).await?;
    let delivery = found.into_inner().delivery.unwrap_or_default();
    let mut blocks = vec![Block::Facts {
        title: String::new(),
        rows: vec![
            (w.webhooks.to_owned(), Cell::link(id.clone(), format!("{PATH}/{id}"))),
            (w.state.to_owned(), state_of(w, &delivery)),
            (w.attempts.to_owned(), Cell::Number(i64::from(delivery.attempts))),
            (w.next_attempt.to_owned(), Cell::time(delivery.next_attempt_time)),
        ],
    }];
    if visit.is_admin() {
        let again = Action::new(format!("{PATH}/{id}/act"), "resend", w.resend);
        blocks.push(Block::Actions(vec![again.field("event", &event_id)]));
    }
    blocks.push(Block::Moments {
        title: w.attempts.to_owned(),
        moments: delivery.tries.iter().map(moment).collect(),
    });
    blocks.push(Block::Code { title: w.payload.to_owned(), text: pretty(&delivery.body) });
    Ok(show(&visit, &event_id, &blocks))
}

fn moment(one: &v1::WebhookAttempt) -> Moment {
    let good = (200..300).contains(&one.status);
    let took =
        one.duration.map_or(0, |took| took.seconds * 1000 + i64::from(took.nanos) / 1_000_000);
    let title = match one.status {
        0 => one.error.clone(),
        status => format!("HTTP {status}"),
    };
    Moment {
        time: when(one.create_time),
        title: format!("{}. {title}", one.number),
        tone: if good { Tone::Good } else { Tone::Bad },
        text: format!("{took} ms"),
        code: one.response.clone(),
    }
}

fn pretty(body: &str) -> String {
    let parsed = serde_json::from_str::<serde_json::Value>(body);
    parsed
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or(body.to_owned())
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let webhook = Some(read(&fields, id.clone())?);
    let request = v1::UpdateWebhookRequest { webhook, validate_only: false };
    webhooks(&app).update_webhook(asked(&app, &visit, request)).await?;
    Ok(done(&format!("{PATH}/{id}"), visit.words().saved))
}

pub(super) async fn act(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let w = visit.words();
    let (mut client, back) = (webhooks(&app), format!("{PATH}/{}", encoded(&id)));
    let validate_only = false;
    match fields.raw("act") {
        "test" => {
            let request = v1::TestWebhookRequest { id };
            let tried = client.test_webhook(asked(&app, &visit, request)).await?.into_inner();
            let attempt = tried.attempt.unwrap_or_default();
            let moments = vec![moment(&attempt)];
            let blocks = [Block::Moments { title: w.test.to_owned(), moments }];
            return Ok(show(&visit, w.test, &blocks));
        }
        "rotate" => {
            let request = v1::RotateWebhookSecretRequest { id, overlap: None, validate_only };
            let made = client.rotate_webhook_secret(asked(&app, &visit, request)).await?;
            let secret = Block::Secret {
                title: w.signing_secret.to_owned(),
                value: made.into_inner().secret,
                note: w.shown_once.to_owned(),
            };
            return Ok(show(&visit, w.webhooks, &[secret]));
        }
        "resend" => {
            let event_id = fields.text("event");
            let request = v1::ResendWebhookDeliveryRequest { id, event_id, validate_only };
            client.resend_webhook_delivery(asked(&app, &visit, request)).await?;
        }
        "enable" => {
            let request = v1::EnableWebhookRequest { id, recover_since: None, validate_only };
            client.enable_webhook(asked(&app, &visit, request)).await?;
        }
        "disable" => {
            let request = v1::DisableWebhookRequest { id, validate_only };
            client.disable_webhook(asked(&app, &visit, request)).await?;
        }
        "delete" => {
            let request = v1::DeleteWebhookRequest { id, ..v1::DeleteWebhookRequest::default() };
            client.delete_webhook(asked(&app, &visit, request)).await?;
            return Ok(done(PATH, w.deleted));
        }
        _ => return Err(unknown_act()),
    }
    Ok(done(&back, w.saved))
}

pub(super) async fn replay(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    work: Work,
    Posted { visit, fields }: Posted,
) -> Answer {
    let request = v1::ReplayWebhookRequest {
        id,
        event_types: fields.list("events"),
        campaign_id: fields.text("campaign"),
        since: day(fields.raw("since"), 0),
        until: day(fields.raw("until"), 1),
        ..v1::ReplayWebhookRequest::default()
    };
    work.run(|steps| async move { again(&app, &visit, request, &steps).await }).await
}

/// Replays call by call, each of many events.
async fn again(
    app: &App,
    visit: &Visit,
    mut request: v1::ReplayWebhookRequest,
    steps: &Steps,
) -> Answer {
    let (w, mut client) = (visit.words(), webhooks(app));
    let mut count = 0;
    loop {
        let answer = client.replay_webhook(asked(app, visit, request.clone())).await?;
        let answer = answer.into_inner();
        count += answer.count;
        steps.at(answer.progress, format!("{}: {}", w.replayed, grouped(count)));
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page_token = answer.next_page_token;
    }
    let webhook = Cell::link(request.id.clone(), format!("{PATH}/{}", encoded(&request.id)));
    let facts = Block::Facts {
        title: String::new(),
        rows: vec![(w.webhooks.to_owned(), webhook), (w.replayed.to_owned(), Cell::Number(count))],
    };
    Ok(show(visit, w.replay, &[facts]))
}
