//! The first page: how much goes out, how well, and how every part is.

use std::sync::Arc;

use axum::extract::State;
use postern_proto::v1;
use prost_types::Timestamp;

use super::chart::{Bar, Chart, Colour};
use super::client::{stats, system};
use super::figures::{grouped, percent, span};
use super::list::{now_seconds, with};
use super::view::{Block, Cell, Table, Tile, Tone};
use super::visit::Visit;
use super::words::Words;
use super::{Answer, asked, show_live};
use crate::App;

/// Seconds until the page reads itself again.
const LIVE: u32 = 10;
const HOURS: i64 = 24;

pub(super) async fn page(State(app): State<Arc<App>>, visit: Visit) -> Answer {
    let w = visit.words();
    let (mut counts, mut depth, mut parts, mut troubles) =
        (stats(&app), stats(&app), system(&app), stats(&app));
    let (counts, depth, parts, troubles) = tokio::try_join!(
        counts.query_stats(asked(&app, &visit, v1::QueryStatsRequest::default())),
        depth.get_queue(asked(&app, &visit, v1::GetQueueRequest {})),
        parts.get_system(asked(&app, &visit, v1::GetSystemRequest {})),
        troubles.list_errors(asked(&app, &visit, v1::ListErrorsRequest::default())),
    )?;
    let (counts, depth, system) = (counts.into_inner(), depth.into_inner(), parts.into_inner());
    let troubles = troubles.into_inner();
    let total = counts.total.unwrap_or_default();
    let hours = hours(&counts.buckets, now_seconds());
    let mut blocks = vec![
        Block::Tiles(day(w, &total)),
        Block::Tiles(queue(w, &depth, hours.last().map(|(_, counts)| counts))),
        Block::Chart(deliveries(w, &hours)),
        Block::Table(parts_table(w, &system)),
    ];
    if !troubles.categories.is_empty() {
        blocks.push(Block::Table(errors(w, &troubles.categories)));
    }
    blocks.push(Block::Facts {
        title: w.installation.to_owned(),
        rows: vec![
            (w.version.to_owned(), Cell::text(system.version)),
            (w.started.to_owned(), Cell::time(system.start_time)),
            (w.store.to_owned(), Cell::text(system.store)),
            (w.mail_goes_to.to_owned(), Cell::text(system.transports)),
        ],
    });
    Ok(show_live(&visit, w.overview, &blocks, LIVE))
}

fn tile(label: &str, value: String, hint: String, tone: Tone, href: &str) -> Tile {
    Tile { label: label.to_owned(), value, hint, tone, href: href.to_owned() }
}

/// What happened in the last day.
fn day(w: &Words, total: &v1::Counts) -> Vec<Tile> {
    let ended = total.delivered + total.bounced + total.failed;
    let bad = total.bounced + total.failed;
    let tone = match bad * 100 > ended * 5 {
        true => Tone::Bad,
        false => Tone::Plain,
    };
    let of = |part: i64, whole: i64| percent(part, whole);
    vec![
        tile(
            w.accepted,
            grouped(total.accepted),
            w.last_day.into(),
            Tone::Plain,
            "/dashboard/messages",
        ),
        tile(w.delivered, grouped(total.delivered), of(total.delivered, ended), Tone::Good, ""),
        tile(w.bounced_failed, grouped(bad), of(bad, ended), tone, "/dashboard/errors"),
        tile(w.opened, grouped(total.opened), of(total.opened, total.delivered), Tone::Plain, ""),
        tile(
            w.clicked,
            grouped(total.clicked),
            of(total.clicked, total.delivered),
            Tone::Plain,
            "",
        ),
        tile(
            w.unsubscribed,
            grouped(total.unsubscribed),
            String::new(),
            Tone::Plain,
            "/dashboard/suppressions",
        ),
    ]
}

/// What waits, and how fast it goes.
fn queue(w: &Words, depth: &v1::GetQueueResponse, hour: Option<&v1::Counts>) -> Vec<Tile> {
    let waits = depth.queued + depth.deferred;
    let old = match depth.oldest_due_seconds {
        ..60 => Tone::Plain,
        60..600 => Tone::Warn,
        _ => Tone::Bad,
    };
    let this_hour = hour.map_or(0, |counts| counts.delivered);
    let path = "/dashboard/queue";
    vec![
        tile(w.waiting, grouped(waits), w.now.into(), Tone::Plain, path),
        tile(w.sending, grouped(depth.sending), w.now.into(), Tone::Plain, path),
        tile(w.scheduled, grouped(depth.scheduled), w.now.into(), Tone::Plain, path),
        tile(w.oldest_due, span(depth.oldest_due_seconds), w.now.into(), old, path),
        tile(w.delivered, grouped(this_hour), w.this_hour.into(), Tone::Plain, ""),
    ]
}

/// The counts of each of the last hours, also of those in which nothing happened.
fn hours(buckets: &[v1::StatsBucket], now: i64) -> Vec<(i64, v1::Counts)> {
    let last = now - now.rem_euclid(3600);
    let at = |time: &Option<Timestamp>| time.as_ref().map(|time| time.seconds);
    (0..HOURS)
        .map(|n| {
            let start = last - (HOURS - 1 - n) * 3600;
            let found = buckets.iter().find(|bucket| at(&bucket.start_time) == Some(start));
            (start, found.and_then(|bucket| bucket.counts).unwrap_or_default())
        })
        .collect()
}

fn deliveries(w: &Words, hours: &[(i64, v1::Counts)]) -> Chart {
    let bar = |(start, counts): &(i64, v1::Counts)| Bar {
        label: format!("{:02}:00", start / 3600 % 24),
        values: vec![counts.delivered, counts.deferred, counts.bounced + counts.failed],
    };
    Chart {
        title: w.by_hour.to_owned(),
        series: vec![
            (w.delivered.to_owned(), Colour::Good),
            (w.deferred.to_owned(), Colour::Warn),
            (w.bounced_failed.to_owned(), Colour::Bad),
        ],
        bars: hours.iter().map(bar).collect(),
    }
}

fn parts_table(w: &Words, system: &v1::GetSystemResponse) -> Table {
    let row = |part: &v1::Part| {
        let (text, tone) = match part.condition() {
            v1::PartCondition::Up => (w.up, Tone::Good),
            v1::PartCondition::Degraded => (w.degraded, Tone::Warn),
            v1::PartCondition::Off => (w.off, Tone::Plain),
            _ => (w.down, Tone::Bad),
        };
        let latency = match part.latency_ms {
            0.0 => String::new(),
            ms => format!("{ms:.1} ms"),
        };
        let detail = Cell::text(part.detail.clone());
        vec![Cell::text(w.name(&part.name)), Cell::badge(text, tone), detail, Cell::text(latency)]
    };
    Table {
        title: w.health.to_owned(),
        columns: vec![w.part, w.state, w.details, w.latency],
        rows: system.parts.iter().map(row).collect(),
        ..Table::default()
    }
}

fn errors(w: &Words, categories: &[v1::ErrorCount]) -> Table {
    let row = |count: &v1::ErrorCount| {
        let href = with("/dashboard/errors", &[("category", &count.name)]);
        vec![
            Cell::link(w.name(&count.name), href),
            Cell::Number(count.deferred),
            Cell::Number(count.failed),
        ]
    };
    Table {
        title: w.top_errors.to_owned(),
        columns: vec![w.category, w.deferred, w.failed],
        rows: categories.iter().take(5).map(row).collect(),
        ..Table::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_without_mail_are_shown_as_such() {
        let now = 1_800_000_000;
        let start = now - now % 3600 - 3600;
        let counts = Some(v1::Counts { delivered: 3, ..v1::Counts::default() });
        let start_time = Some(Timestamp { seconds: start, nanos: 0 });
        let hours = hours(&[v1::StatsBucket { start_time, counts }], now);
        assert_eq!(hours.len(), 24);
        assert_eq!((hours[22].0, hours[22].1.delivered), (start, 3));
        assert!(hours[23].1.delivered == 0 && hours[23].0 == start + 3600);
    }
}
