//! What waits, by destination.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::v1;

use super::client::{queue, stats};
use super::figures::{grouped, span};
use super::list::{Asked, csv_of};
use super::view::{Action, Block, Cell, Field, Form, Kind, Table, Tile, Tone};
use super::visit::{Posted, Visit};
use super::{Answer, asked, csv, done, show_live, unknown_act};
use crate::App;
use crate::fault::Fault;

const PATH: &str = "/dashboard/queue";
/// Seconds until the page reads itself again.
const LIVE: u32 = 5;

pub(super) async fn page(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(query): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let columns = [w.destination, w.waiting, w.sending, w.deferred, w.oldest_due, w.state];
    if query.is_csv() {
        return Ok(csv::export("queue", &columns, move |_| {
            let (app, visit) = (app.clone(), visit.clone());
            async move { Ok((rows(&app, &visit).await?.0, String::new())) }
        }));
    }
    let depth = stats(&app).get_queue(asked(&app, &visit, v1::GetQueueRequest {})).await?;
    let depth = depth.into_inner();
    let (rows, partial) = rows(&app, &visit).await?;
    let tile =
        |label: &str, value: String| Tile { label: label.to_owned(), value, ..Tile::default() };
    let mut blocks = vec![Block::Tiles(vec![
        tile(w.queued, grouped(depth.queued)),
        tile(w.sending, grouped(depth.sending)),
        tile(w.deferred, grouped(depth.deferred)),
        tile(w.scheduled, grouped(depth.scheduled)),
        tile(w.oldest_due, span(depth.oldest_due_seconds)),
    ])];
    if partial {
        blocks.push(Block::Notice { tone: Tone::Warn, text: w.queue_partial.to_owned() });
    }
    blocks.push(Block::Table(Table {
        title: w.destinations.to_owned(),
        columns: [&columns[..], &[w.actions]].concat(),
        rows,
        empty: w.queue_empty.to_owned(),
        csv: csv_of(PATH),
        ..Table::default()
    }));
    if visit.is_admin() {
        blocks.push(Block::Form(Form {
            title: w.pause_destination.to_owned(),
            path: format!("{PATH}/act"),
            fields: vec![
                Field::hidden("act", "pause"),
                Field::new("domain", w.domain, Kind::Text).required(),
                Field::new("note", w.note, Kind::Text),
            ],
            submit: w.pause.to_owned(),
            folded: true,
            ..Form::default()
        }));
    }
    Ok(show_live(&visit, w.queue, &blocks, LIVE))
}

async fn rows(app: &App, visit: &Visit) -> Result<(Vec<Vec<Cell>>, bool), Fault> {
    let w = visit.words();
    let request = asked(app, visit, v1::ListDestinationsRequest {});
    let answer = queue(app).list_destinations(request).await?.into_inner();
    let row = |one: v1::Destination| {
        let act = |what: &str, label: &str| {
            Action::new(format!("{PATH}/act"), what, label).field("domain", &one.domain)
        };
        let mut actions = Vec::new();
        if visit.is_admin() {
            actions.push(match one.paused {
                true => act("resume", w.resume),
                false => act("pause", w.pause),
            });
            if one.deferred > 0 {
                actions.push(act("retry", w.retry_now));
            }
        }
        let state = match (one.paused, one.note.as_str()) {
            (true, "") => Cell::badge(w.paused, Tone::Warn),
            (true, note) => Cell::badge(format!("{}: {note}", w.paused), Tone::Warn),
            (false, _) => Cell::badge(w.flows, Tone::Good),
        };
        vec![
            Cell::text(one.domain.clone()),
            Cell::Number(one.queued),
            Cell::Number(one.sending),
            Cell::Number(one.deferred),
            Cell::text(span(one.oldest_due_seconds)),
            state,
            Cell::Actions(actions),
        ]
    };
    Ok((answer.destinations.into_iter().map(row).collect(), answer.partial))
}

pub(super) async fn act(State(app): State<Arc<App>>, Posted { visit, fields }: Posted) -> Answer {
    let w = visit.words();
    let domain = fields.text("domain");
    let told = match fields.raw("act") {
        "retry" => {
            let request = v1::RetryDestinationRequest { domain, validate_only: false };
            let due = queue(&app).retry_destination(asked(&app, &visit, request)).await?;
            format!("{}: {}", w.due_now, due.into_inner().count)
        }
        "resume" => {
            let request = v1::ResumeDestinationRequest { domain, validate_only: false };
            queue(&app).resume_destination(asked(&app, &visit, request)).await?;
            w.saved.to_owned()
        }
        "pause" => {
            let note = fields.text("note");
            let request = v1::PauseDestinationRequest { domain, note, validate_only: false };
            queue(&app).pause_destination(asked(&app, &visit, request)).await?;
            w.saved.to_owned()
        }
        _ => return Err(unknown_act()),
    };
    Ok(done(PATH, &told))
}
