//! The live settings, each with what it is for and what it may be.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::v1;
use serde::Deserialize;

use super::client::settings;
use super::list::with;
use super::view::{Block, Cell, Field, Form, Kind, Table, Tone};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::{Answer, asked, done, show};
use crate::App;

const PATH: &str = "/dashboard/settings";

#[derive(Debug, Default, Deserialize)]
pub(super) struct Chosen {
    /// The setting to change.
    #[serde(default)]
    name: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(chosen): Query<Chosen>,
) -> Answer {
    let w = visit.words();
    let request = asked(&app, &visit, v1::ListSettingsRequest::default());
    let all = settings(&app).list_settings(request).await?.into_inner().settings;
    let mut blocks = Vec::new();
    if visit.is_admin() {
        blocks.push(Block::Form(form(w, &all, &chosen.name)));
    }
    let group =
        |setting: &v1::Setting| setting.name.split('.').next().unwrap_or_default().to_owned();
    for part in all.chunk_by(|a, b| group(a) == group(b)) {
        blocks.push(Block::Table(table(w, &group(&part[0]), part)));
    }
    Ok(show(&visit, w.settings, &blocks))
}

fn form(w: &Words, all: &[v1::Setting], chosen: &str) -> Form {
    let value = all.iter().find(|one| one.name == chosen).map(|one| one.value.clone());
    let names = all.iter().map(|one| (one.name.clone(), format!("{} = {}", one.name, one.value)));
    Form {
        title: w.setting_change.to_owned(),
        path: PATH.to_owned(),
        fields: vec![
            Field::new("name", w.setting, Kind::Select(names.collect())).value(chosen),
            Field::new("value", w.value, Kind::Text)
                .hint(w.setting_hint)
                .value(value.unwrap_or_default()),
        ],
        submit: w.save.to_owned(),
        inline: true,
        ..Form::default()
    }
}

fn table(w: &Words, name: &str, settings: &[v1::Setting]) -> Table {
    let row = |one: &v1::Setting| {
        let range = match one.choices.as_slice() {
            [] => format!("{} – {}", one.minimum, one.maximum),
            choices => choices.join(", "),
        };
        let tone = if one.changed { Tone::Warn } else { Tone::Plain };
        vec![
            Cell::link(one.name.clone(), with(PATH, &[("name", &one.name)])),
            Cell::badge(one.value.clone(), tone),
            Cell::text(one.default_value.clone()),
            Cell::text(range),
            Cell::text(one.description.clone()),
        ]
    };
    Table {
        title: name.to_owned(),
        columns: vec![w.setting, w.value, w.default_value, w.range, w.details],
        rows: settings.iter().map(row).collect(),
        ..Table::default()
    }
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Posted { visit, fields }: Posted,
) -> Answer {
    let request = v1::UpdateSettingRequest {
        name: fields.text("name"),
        value: fields.text("value"),
        ..v1::UpdateSettingRequest::default()
    };
    let changed = settings(&app).update_setting(asked(&app, &visit, request)).await?.into_inner();
    let setting = changed.setting.unwrap_or_default();
    Ok(done(PATH, &format!("{} = {}", setting.name, setting.value)))
}
