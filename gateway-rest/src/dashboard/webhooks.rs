//! Webhooks: where events are posted.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::v1;

use super::client::webhooks;
use super::list::{Asked, List, Rows};
use super::view::{Block, Cell, Field, Form, Kind, Tone};
use super::visit::{Fields, Posted, Visit};
use super::words::Words;
use super::{Answer, asked, show};
use crate::App;
use crate::fault::Fault;

const PATH: &str = "/dashboard/webhooks";

pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let list = List {
        title: w.webhooks,
        file: "webhooks",
        columns: &["URL", w.state, w.events, w.kind, w.failing_since, w.created],
        empty: w.no_webhooks,
        path: PATH,
        ..List::default()
    };
    let add = visit.is_admin().then(|| {
        let form = form(w, PATH, &v1::Webhook::default());
        Block::Form(Form { title: w.webhook_add.to_owned(), folded: true, ..form })
    });
    let before = add.into_iter().collect();
    let fetch = async |app: Arc<App>, visit: Visit, token| rows(&app, &visit, token).await;
    list.answer(app, visit, &asked, before, fetch).await
}

async fn rows(app: &App, visit: &Visit, page_token: String) -> Rows {
    let w = visit.words();
    let request = v1::ListWebhooksRequest { page_size: 0, page_token };
    let answer = webhooks(app).list_webhooks(asked(app, visit, request)).await?.into_inner();
    let row = |one: v1::Webhook| {
        let events = match one.event_types.is_empty() {
            true => w.any.to_owned(),
            false => one.event_types.join(", "),
        };
        let format = one.format().as_str_name().trim_start_matches("WEBHOOK_FORMAT_");
        vec![
            Cell::link(one.url.clone(), format!("{PATH}/{}", one.id)),
            standing(w, &one),
            Cell::text(events),
            Cell::text(format.to_lowercase()),
            Cell::time(one.failing_time),
            Cell::time(one.create_time),
        ]
    };
    Ok((answer.webhooks.into_iter().map(row).collect(), answer.next_page_token))
}

/// How an endpoint is, for people.
pub(super) fn standing(w: &Words, one: &v1::Webhook) -> Cell {
    match (one.disabled, one.failing_time) {
        (true, _) if one.disable_reason.is_empty() => Cell::badge(w.disabled, Tone::Bad),
        (true, _) => Cell::badge(format!("{}: {}", w.disabled, one.disable_reason), Tone::Bad),
        (false, Some(_)) => Cell::badge(w.failing, Tone::Warn),
        (false, None) => Cell::badge(w.works, Tone::Good),
    }
}

/// The form of an endpoint.
pub(super) fn form(w: &Words, path: &str, webhook: &v1::Webhook) -> Form {
    let formats = ["POSTERN", "THIN", "LEGACY"];
    let formats = formats.map(|name| (name.to_owned(), name.to_lowercase())).to_vec();
    let format = webhook.format().as_str_name().trim_start_matches("WEBHOOK_FORMAT_");
    let headers = webhook.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    let headers: Vec<_> = headers.collect();
    let number = |name: &str, label: &str, value: i32| {
        Field::new(name, label, Kind::Text).value(value.to_string())
    };
    Form {
        path: path.to_owned(),
        fields: vec![
            Field::hidden("etag", webhook.etag.clone()),
            Field::new("url", "URL", Kind::Text).value(webhook.url.clone()).required(),
            Field::new("description", w.note, Kind::Text).value(webhook.description.clone()),
            Field::new("events", w.events, Kind::Area(2))
                .value(webhook.event_types.join(", "))
                .hint(w.events_hint),
            Field::new("campaigns", w.campaigns, Kind::Text).value(webhook.campaign_ids.join(", ")),
            Field::new("format", w.kind, Kind::Select(formats)).value(format),
            Field::new("headers", w.headers, Kind::Area(2)).value(headers.join("\n")),
            number("concurrency", w.max_concurrency, webhook.max_concurrency),
            number("rate", w.rate_per_second, webhook.rate_limit),
            Field::new("ordered", w.ordered, Kind::Check).value(if webhook.ordered {
                "on"
            } else {
                ""
            }),
        ],
        submit: w.save.to_owned(),
        ..Form::default()
    }
}

/// The endpoint that a form describes.
pub(super) fn read(fields: &Fields, id: String) -> Result<v1::Webhook, Fault> {
    let format = format!("WEBHOOK_FORMAT_{}", fields.raw("format"));
    let number = |name: &str| fields.number(name).map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    let headers = fields.raw("headers").lines().filter_map(|line| line.split_once(':'));
    Ok(v1::Webhook {
        id,
        url: fields.text("url"),
        description: fields.text("description"),
        event_types: fields.list("events"),
        campaign_ids: fields.list("campaigns"),
        format: v1::WebhookFormat::from_str_name(&format).unwrap_or_default().into(),
        ordered: fields.is_on("ordered"),
        max_concurrency: number("concurrency")?,
        rate_limit: number("rate")?,
        headers: headers.map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())).collect(),
        etag: fields.text("etag"),
        ..v1::Webhook::default()
    })
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let w = visit.words();
    let webhook = Some(read(&fields, String::new())?);
    let request = v1::CreateWebhookRequest { webhook, ..v1::CreateWebhookRequest::default() };
    let made = webhooks(&app).create_webhook(asked(&app, &visit, request)).await?.into_inner();
    let webhook = made.webhook.unwrap_or_default();
    let secret = Block::Secret {
        title: w.signing_secret.to_owned(),
        value: made.secret,
        note: w.shown_once.to_owned(),
    };
    let link = Cell::link(webhook.url, format!("{PATH}/{}", webhook.id));
    let facts = Block::Facts { title: String::new(), rows: vec![("URL".to_owned(), link)] };
    Ok(show(&visit, w.webhooks, &[secret, facts]))
}
