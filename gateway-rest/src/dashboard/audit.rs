//! The audit log.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::v1;
use serde::Deserialize;

use super::client::audit;
use super::list::{Asked, List, Rows, day, with};
use super::view::{Block, Cell, Field, Form, Kind};
use super::visit::Visit;
use super::words::Words;
use super::{Answer, asked};
use crate::App;

const PATH: &str = "/dashboard/audit";

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    target: String,
    /// These two as they were searched for.
    #[serde(default)]
    id: String,
    #[serde(default)]
    request: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
}

impl Filter {
    fn path(&self) -> String {
        with(
            PATH,
            &[
                ("actor", &self.actor),
                ("action", &self.action),
                ("target", &self.target),
                ("id", &self.id),
                ("request", &self.request),
                ("since", &self.since),
                ("until", &self.until),
            ],
        )
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
        title: w.audit_log,
        file: "audit",
        columns: &[w.time, w.who, w.action, w.target, w.details, w.client_address, w.request],
        empty: w.nothing,
        path: &filter.path(),
        ..List::default()
    };
    let before = vec![Block::Form(form(w, &filter))];
    let fetch = move |app: Arc<App>, visit, token| {
        let filter = filter.clone();
        async move { rows(&app, &visit, &filter, token).await }
    };
    list.answer(app, visit, &asked, before, fetch).await
}

fn form(w: &Words, filter: &Filter) -> Form {
    Form {
        path: PATH.to_owned(),
        fields: vec![
            Field::text("actor", w.who, &filter.actor),
            Field::text("action", w.action, &filter.action),
            Field::text("target", w.target, &filter.target),
            Field::new("since", w.since, Kind::Date).value(filter.since.clone()),
            Field::new("until", w.until, Kind::Date).value(filter.until.clone()),
        ],
        submit: w.filter.to_owned(),
        get: true,
        inline: true,
        ..Form::default()
    }
}

async fn rows(app: &App, visit: &Visit, filter: &Filter, page_token: String) -> Rows {
    let request = v1::ListAuditEntriesRequest {
        page_size: 0,
        page_token,
        actor: filter.actor.trim().to_owned(),
        action: filter.action.trim().to_owned(),
        target: filter.target.trim().to_owned(),
        since: day(&filter.since, 0),
        until: day(&filter.until, 1),
        id: filter.id.trim().to_owned(),
        request: filter.request.trim().to_owned(),
    };
    let answer = audit(app).list_audit_entries(asked(app, visit, request)).await?.into_inner();
    let row = |entry: v1::AuditEntry| {
        let who = match entry.actor_name.as_str() {
            "" => entry.actor.clone(),
            name => name.to_owned(),
        };
        vec![
            Cell::time(entry.create_time),
            Cell::link(who, with(PATH, &[("actor", &entry.actor)])),
            Cell::code(entry.action),
            Cell::link(entry.target.clone(), with(PATH, &[("target", &entry.target)])),
            Cell::text(entry.detail),
            Cell::text(entry.client_ip),
            Cell::link(entry.request_id.clone(), with(PATH, &[("request", &entry.request_id)])),
        ]
    };
    Ok((answer.entries.into_iter().map(row).collect(), answer.next_page_token))
}
