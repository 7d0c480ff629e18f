//! Campaigns: how far their mail came, and holding and resuming them.

use std::sync::Arc;

use axum::extract::{Query, State};
use postern_proto::v1;
use serde::Deserialize;

use super::chart::{Bar, Chart, Colour};
use super::client::{campaigns, stats};
use super::figures::{grouped, percent};
use super::list::{Asked, List, Rows, day, now_seconds, with};
use super::view::{Block, Cell, Field, Form, Kind, Moment, Tile, Tone, when};
use super::visit::{Posted, Visit};
use super::words::Words;
use super::{Answer, asked, done, show, unknown_act};
use crate::App;

const PATH: &str = "/dashboard/campaigns";
const SHOW: &str = "/dashboard/campaigns/show";

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Since {
    #[serde(default)]
    since: String,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(since): Query<Since>,
    Query(asked): Query<Asked>,
) -> Answer {
    let w = visit.words();
    let list = List {
        title: w.campaigns,
        file: "campaigns",
        columns: &[
            w.campaign,
            w.state,
            w.accepted,
            w.delivered,
            w.bounced_failed,
            w.opened,
            w.clicked,
            w.unsubscribed,
            w.complained,
        ],
        empty: w.no_campaigns,
        path: &with(PATH, &[("since", &since.since)]),
        ..List::default()
    };
    let filter = Form {
        path: PATH.to_owned(),
        fields: vec![
            Field::new("since", w.since, Kind::Date)
                .value(since.since.clone())
                .hint(w.campaigns_since),
        ],
        submit: w.filter.to_owned(),
        get: true,
        inline: true,
        ..Form::default()
    };
    let fetch = move |app: Arc<App>, visit, token| {
        let since = since.clone();
        async move { rows(&app, &visit, &since, token).await }
    };
    list.answer(app, visit, &asked, vec![Block::Form(filter)], fetch).await
}

async fn rows(app: &App, visit: &Visit, since: &Since, page_token: String) -> Rows {
    let w = visit.words();
    let since = day(&since.since, 0);
    let request = v1::ListCampaignsRequest { page_size: 0, page_token, since, until: None };
    let answer = campaigns(app).list_campaigns(asked(app, visit, request)).await?.into_inner();
    let row = |one: v1::Campaign| {
        let counts = one.counts.unwrap_or_default();
        let href = with(SHOW, &[("id", &one.campaign_id)]);
        vec![
            Cell::link(one.campaign_id, href),
            standing(w, one.held),
            Cell::Number(counts.accepted),
            Cell::Number(counts.delivered),
            Cell::Number(counts.bounced + counts.failed),
            Cell::Number(counts.opened),
            Cell::Number(counts.clicked),
            Cell::Number(counts.unsubscribed),
            Cell::Number(counts.complained),
        ]
    };
    Ok((answer.campaigns.into_iter().map(row).collect(), answer.next_page_token))
}

fn standing(w: &Words, held: bool) -> Cell {
    match held {
        true => Cell::badge(w.held, Tone::Warn),
        false => Cell::badge(w.flows, Tone::Good),
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct One {
    #[serde(default)]
    id: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(one): Query<One>,
) -> Answer {
    let w = visit.words();
    let month = now_seconds() - 30 * 86_400;
    let counted = v1::QueryStatsRequest {
        since: Some(prost_types::Timestamp { seconds: month, nanos: 0 }),
        until: None,
        campaign_id: one.id.clone(),
    };
    let asked_hold = v1::GetCampaignHoldRequest { campaign_id: one.id.clone() };
    let (mut counts, mut hold) = (stats(&app), campaigns(&app));
    let (counts, hold) = tokio::try_join!(
        counts.query_stats(asked(&app, &visit, counted)),
        hold.get_campaign_hold(asked(&app, &visit, asked_hold)),
    )?;
    let (counts, held) = (counts.into_inner(), hold.into_inner());
    let hold = held.hold.unwrap_or_default();
    let total = counts.total.unwrap_or_default();
    let mut rows = vec![(w.state.to_owned(), standing(w, hold.held))];
    if !hold.note.is_empty() {
        rows.push((w.note.to_owned(), Cell::text(hold.note)));
    }
    let auto = if hold.automatic { w.auto_stopped } else { w.auto_stop_never };
    rows.push((w.auto_stop.to_owned(), Cell::text(auto)));
    let messages = with("/dashboard/messages", &[("campaign", &one.id)]);
    rows.push((w.messages.to_owned(), Cell::link(w.show.to_owned(), messages)));
    let mut blocks = vec![
        Block::Facts { title: String::new(), rows },
        Block::Tiles(funnel(w, &total)),
        Block::Chart(by_day(w, &counts.buckets)),
    ];
    if visit.is_admin() {
        blocks.push(Block::Form(hold_form(w, &one.id, hold.held)));
    }
    let moments = held.log.iter().map(|entry| moment(w, entry)).collect();
    blocks.push(Block::Moments { title: w.log.to_owned(), moments });
    Ok(show(&visit, &one.id, &blocks))
}

/// From acceptance to the click, each as a share of the step before.
fn funnel(w: &Words, total: &v1::Counts) -> Vec<Tile> {
    let steps = [
        (w.accepted, total.accepted, 0),
        (w.delivered, total.delivered, total.accepted),
        (w.opened, total.opened, total.delivered),
        (w.clicked, total.clicked, total.delivered),
        (w.unsubscribed, total.unsubscribed, total.delivered),
        (w.complained, total.complained, total.delivered),
        (w.bounced_failed, total.bounced + total.failed, total.accepted),
    ];
    let tile = |(label, value, of): (&str, i64, i64)| Tile {
        label: label.to_owned(),
        value: grouped(value),
        hint: if of == 0 { String::new() } else { percent(value, of) },
        ..Tile::default()
    };
    steps.into_iter().map(tile).collect()
}

fn by_day(w: &Words, buckets: &[v1::StatsBucket]) -> Chart {
    let mut days: Vec<(i64, [i64; 2])> = Vec::new();
    for bucket in buckets {
        let day = bucket.start_time.map_or(0, |time| time.seconds / 86_400);
        let counts = bucket.counts.unwrap_or_default();
        if days.last().is_none_or(|(last, _)| *last != day) {
            days.push((day, [0, 0]));
        }
        if let Some((_, [good, bad])) = days.last_mut() {
            *good += counts.delivered;
            *bad += counts.bounced + counts.failed;
        }
    }
    let label =
        |day: i64| super::figures::rfc3339(day * 86_400_000).get(5..10).unwrap_or("").to_owned();
    let bar = |(day, counts): &(i64, [i64; 2])| Bar { label: label(*day), values: counts.to_vec() };
    Chart {
        title: w.by_day.to_owned(),
        series: vec![
            (w.delivered.to_owned(), Colour::Good),
            (w.bounced_failed.to_owned(), Colour::Bad),
        ],
        bars: days.iter().map(bar).collect(),
    }
}

fn hold_form(w: &Words, id: &str, held: bool) -> Form {
    let (act, submit) = if held { ("resume", w.resume) } else { ("hold", w.hold) };
    Form {
        path: format!("{PATH}/act"),
        fields: vec![
            Field::hidden("id", id),
            Field::hidden("act", act),
            Field::new("note", w.note, Kind::Text),
        ],
        submit: submit.to_owned(),
        danger: !held,
        inline: true,
        ..Form::default()
    }
}

fn moment(w: &Words, entry: &v1::CampaignLogEntry) -> Moment {
    let (title, tone) = match entry.action() {
        v1::CampaignAction::Held => (w.held, Tone::Warn),
        v1::CampaignAction::Resumed => (w.resumed, Tone::Good),
        _ => (w.ams_told, Tone::Plain),
    };
    Moment {
        time: when(entry.create_time),
        title: title.to_owned(),
        tone,
        text: format!("{} · {}", entry.actor, entry.note),
        code: String::new(),
    }
}

pub(super) async fn act(State(app): State<Arc<App>>, Posted { visit, fields }: Posted) -> Answer {
    let (campaign_id, note) = (fields.text("id"), fields.text("note"));
    let back = with(SHOW, &[("id", &campaign_id)]);
    let validate_only = false;
    match fields.raw("act") {
        "hold" => {
            let request = v1::HoldCampaignRequest { campaign_id, note, validate_only };
            campaigns(&app).hold_campaign(asked(&app, &visit, request)).await?;
        }
        "resume" => {
            let request = v1::ResumeCampaignRequest { campaign_id, note, validate_only };
            campaigns(&app).resume_campaign(asked(&app, &visit, request)).await?;
        }
        _ => return Err(unknown_act()),
    }
    Ok(done(&back, visit.words().saved))
}
