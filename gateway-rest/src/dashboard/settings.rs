//! The live settings, each with what it is for and what it may be.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::v1;
use serde::Deserialize;

use super::client::settings;
use super::lang::Lang;
use super::list::with;
use super::view::{Block, Cell, Field, Form, Kind, Table, Tone};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::{Answer, asked, done, settings_ru, show};
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
        blocks.push(Block::Form(match all.iter().find(|one| one.name == chosen.name) {
            Some(setting) => change(w, setting),
            None => choose(w, &all),
        }));
    }
    let group = |setting: &v1::Setting| group(&setting.name).to_owned();
    for part in all.chunk_by(|a, b| group(a) == group(b)) {
        blocks.push(Block::Table(table(w, &group(&part[0]), part)));
    }
    Ok(show(&visit, w.settings, &blocks))
}

fn group(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

fn choose(w: &Words, all: &[v1::Setting]) -> Form {
    let names = all.iter().map(|one| (one.name.clone(), format!("{} = {}", one.name, one.value)));
    Form {
        title: w.setting_change.to_owned(),
        path: PATH.to_owned(),
        fields: vec![Field::new("name", w.setting, Kind::Select(names.collect()))],
        submit: w.change.to_owned(),
        get: true,
        inline: true,
        ..Form::default()
    }
}

/// Changes one setting, unless somebody else has changed it since the page was made.
fn change(w: &Words, setting: &v1::Setting) -> Form {
    let words = match setting.kind() {
        v1::SettingKind::Switch => vec!["on".to_owned(), "off".to_owned()],
        _ => setting.choices.clone(),
    };
    let kind = match words.is_empty() {
        true => Kind::Text,
        false => {
            let mut words: Vec<_> = words.into_iter().map(|word| (word.clone(), word)).collect();
            words.push((String::new(), w.default_value.to_owned()));
            Kind::Select(words)
        }
    };
    let default = format!("{}: {}", w.default_value, setting.default_value);
    let hints = [kind_name(w, setting.kind()).to_owned(), range(setting), default];
    let hints: Vec<_> = hints.into_iter().filter(|text| !text.is_empty()).collect();
    Form {
        title: format!("{}: {}", setting.name, description(w, setting)),
        path: PATH.to_owned(),
        fields: vec![
            Field::hidden("name", setting.name.clone()),
            Field::hidden("etag", setting.etag.clone()),
            Field::new("value", w.value, kind)
                .hint(format!("{}. {}", hints.join(" · "), w.setting_hint))
                .value(setting.value.clone()),
        ],
        submit: w.save.to_owned(),
        ..Form::default()
    }
}

fn description(w: &Words, setting: &v1::Setting) -> String {
    let russian = in_russian(w, || settings_ru::description(&setting.name));
    russian.unwrap_or(&setting.description).to_owned()
}

fn in_russian(w: &Words, text: impl Fn() -> Option<&'static str>) -> Option<&'static str> {
    match w.lang {
        Lang::Ru => text(),
        Lang::En => None,
    }
}

/// How a value is written.
fn kind_name(w: &Words, kind: v1::SettingKind) -> &'static str {
    match kind {
        v1::SettingKind::Count => w.kind_count,
        v1::SettingKind::Octets => w.kind_octets,
        v1::SettingKind::Duration => w.kind_duration,
        v1::SettingKind::Switch => w.kind_switch,
        v1::SettingKind::Choice => w.kind_choice,
        v1::SettingKind::Unspecified => "",
    }
}

fn range(setting: &v1::Setting) -> String {
    match setting.choices.as_slice() {
        [] => format!("{} – {}", setting.minimum, setting.maximum),
        choices => choices.join(", "),
    }
}

fn table(w: &Words, name: &str, settings: &[v1::Setting]) -> Table {
    let row = |one: &v1::Setting| {
        let tone = if one.changed { Tone::Warn } else { Tone::Plain };
        vec![
            Cell::link(one.name.clone(), with(PATH, &[("name", &one.name)])),
            Cell::badge(one.value.clone(), tone),
            Cell::text(one.default_value.clone()),
            Cell::text(kind_name(w, one.kind())),
            Cell::text(range(one)),
            Cell::text(description(w, one)),
        ]
    };
    Table {
        title: in_russian(w, || settings_ru::group(name)).unwrap_or(name).to_owned(),
        columns: vec![w.setting, w.value, w.default_value, w.kind, w.range, w.details],
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
        etag: fields.text("etag"),
        ..v1::UpdateSettingRequest::default()
    };
    let changed = settings(&app).update_setting(asked(&app, &visit, request)).await?.into_inner();
    let setting = changed.setting.unwrap_or_default();
    Ok(done(PATH, &format!("{} = {}", setting.name, setting.value)))
}
