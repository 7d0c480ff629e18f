//! What went wrong, by category and by destination.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::v1;
use prost_types::Timestamp;
use serde::Deserialize;

use super::client::stats;
use super::lang::Lang;
use super::list::{Asked, csv_of, now_seconds, with};
use super::names::CATEGORIES;
use super::view::{Block, Cell, Field, Form, Kind, Table, Tone};
use super::visit::Visit;
use super::words::Words;
use super::{Answer, asked, csv, show};
use crate::App;
use crate::fault::Fault;

const PATH: &str = "/dashboard/errors";
/// Rows that are read at once for a file.
const FILE_PAGE: i32 = 1000;
const HOURS: [&str; 5] = ["1", "6", "24", "48", "168"];

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    hours: String,
    #[serde(default)]
    campaign: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    domain: String,
}

impl Filter {
    fn path(&self) -> String {
        with(
            PATH,
            &[
                ("hours", &self.hours),
                ("campaign", &self.campaign),
                ("category", &self.category),
                ("domain", &self.domain),
            ],
        )
    }

    fn request(&self, page_token: String, page_size: i32) -> v1::ListErrorsRequest {
        let hours: i64 = self.hours.parse().unwrap_or(24);
        let seconds = now_seconds() - hours.clamp(1, 31 * 24) * 3600;
        v1::ListErrorsRequest {
            since: Some(Timestamp { seconds: seconds + 1, nanos: 0 }),
            campaign_id: self.campaign.trim().to_owned(),
            category: self.category.trim().to_owned(),
            domain: self.domain.trim().to_owned(),
            page_size,
            page_token,
        }
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(filter): Query<Filter>,
    Query(query): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let columns = [w.time, w.recipient, w.event, w.category, w.last_reply, w.campaign, w.message];
    if query.is_csv() {
        return Ok(csv::export("errors", &columns, move |token| {
            let (app, visit, filter) = (app.clone(), visit.clone(), filter.clone());
            async move {
                let answer = found(&app, &visit, filter.request(token, FILE_PAGE)).await?;
                // A file keeps the words of the contract.
                Ok((newest(Lang::En.words(), &answer), answer.next_page_token))
            }
        }));
    }
    let answer = found(&app, &visit, filter.request(query.token(), 0)).await?;
    let mut blocks = vec![Block::Form(form(w, &filter))];
    if query.is_first() {
        blocks.extend(counts(w, &filter, &answer));
    }
    let next = &answer.next_page_token;
    blocks.push(Block::Table(Table {
        title: w.newest.to_owned(),
        columns: columns.to_vec(),
        rows: newest(w, &answer),
        empty: w.no_errors.to_owned(),
        next: if next.is_empty() { String::new() } else { with(&filter.path(), &[("page", next)]) },
        csv: csv_of(&filter.path()),
    }));
    Ok(show(&visit, w.errors, &blocks))
}

/// How many there were, by category and by destination.
fn counts(w: &Words, filter: &Filter, answer: &v1::ListErrorsResponse) -> Vec<Block> {
    let mut blocks = Vec::new();
    if answer.partial {
        blocks.push(Block::Notice { tone: Tone::Warn, text: w.errors_partial.to_owned() });
    }
    let by = |name: &str, value: &str| {
        let mut filter = filter.clone();
        match name {
            "category" => value.clone_into(&mut filter.category),
            _ => value.clone_into(&mut filter.domain),
        }
        filter.path()
    };
    let table = |title: &'static str, name: &str, list: &[v1::ErrorCount]| Table {
        title: title.to_owned(),
        columns: vec![title, w.deferred, w.failed],
        rows: list
            .iter()
            .take(20)
            .map(|one| {
                let link = Cell::link(w.name(&one.name), by(name, &one.name));
                vec![link, Cell::Number(one.deferred), Cell::Number(one.failed)]
            })
            .collect(),
        empty: w.no_errors.to_owned(),
        ..Table::default()
    };
    blocks.push(Block::Table(table(w.category, "category", &answer.categories)));
    blocks.push(Block::Table(table(w.destination, "domain", &answer.destinations)));
    blocks
}

async fn found(
    app: &App,
    visit: &Visit,
    request: v1::ListErrorsRequest,
) -> Result<v1::ListErrorsResponse, Fault> {
    let request = asked(app, visit, request);
    Ok(stats(app).list_errors(request).await?.into_inner())
}

fn form(w: &Words, filter: &Filter) -> Form {
    let hours = HOURS.map(|hours| (hours.to_owned(), format!("{hours} h"))).to_vec();
    let category = |name: &&str| ((*name).to_owned(), w.name(name).to_owned());
    let any = [(String::new(), w.any.to_owned())];
    let categories = any.into_iter().chain(CATEGORIES.iter().map(category)).collect();
    let chosen = if filter.hours.is_empty() { "24" } else { filter.hours.as_str() };
    Form {
        path: PATH.to_owned(),
        fields: vec![
            Field::new("hours", w.within, Kind::Select(hours)).value(chosen),
            Field::text("campaign", w.campaign, &filter.campaign),
            Field::new("category", w.category, Kind::Select(categories))
                .value(filter.category.clone()),
            Field::text("domain", w.destination, &filter.domain),
        ],
        submit: w.filter.to_owned(),
        get: true,
        inline: true,
        ..Form::default()
    }
}

fn newest(w: &Words, answer: &v1::ListErrorsResponse) -> Vec<Vec<Cell>> {
    let row = |one: &v1::DeliveryError| {
        let tone = if one.r#type == "deferred" { Tone::Warn } else { Tone::Bad };
        vec![
            Cell::time(one.create_time),
            Cell::text(one.email.clone()),
            Cell::badge(w.name(&one.r#type), tone),
            Cell::text(w.name(&one.category)),
            Cell::text(one.reply.clone()),
            Cell::text(one.campaign_id.clone()),
            Cell::link(one.message_id.clone(), format!("/dashboard/messages/{}", one.message_id)),
        ]
    };
    answer.errors.iter().map(row).collect()
}
