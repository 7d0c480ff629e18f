//! A bulk campaign beside transactional mail: batches are put in as fast as they are taken, and meanwhile
//! and thereafter five messages a second are sent one by one: the campaign with the lowest priority, the
//! messages in turns with the highest and with the one that holds when nobody says any. Each is timed
//! from the instant at which it was due until it arrives at the receiver.
//!
//! What it keeps is thrown away with the work folder.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use postern_proto::v1::Priority;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::queue::Queue;
use super::relay::relaying;
use crate::bench::Bench;
use crate::door::http::Rest;
use crate::figure::{Figure, Latency};
use crate::sink::Sink;

/// Between two transactional messages.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the last ones may be under way.
const DELIVERY_MAX: Duration = Duration::from_secs(120);

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sink = Sink::start(any).await?;
    let ours = bench.binary.start(&bench.work.join("bulk"), &relaying(&sink)).await?;
    let mut queue = Queue::of(&ours).await?;
    queue.mail.priority = Priority::Low;
    let size = bench.size.bulk;
    bench.progress.say(&format!("a campaign of {size} beside transactional messages"));
    let filling = tokio::spawn(async move {
        let began = Instant::now();
        queue.fill(size).await?;
        anyhow::Ok((queue, began.elapsed()))
    });
    let (mut due, mut sending) = (BTreeMap::new(), JoinSet::new());
    let (began, mut after) = (Instant::now(), None);
    // Some time longer than the filling, while the queue is as long as it gets.
    let longer = bench.time() * 2;
    while after.is_none_or(|since: Instant| since.elapsed() < longer) {
        let number = due.len();
        let at = began + PAUSE * number as u32;
        tokio::time::sleep_until(at).await;
        let priority = if number % 2 == 0 { "high" } else { "normal" };
        let subject = format!("marked {priority} {number}");
        let message = json!({ "from": "shop@example.com", "to": format!("ann{number}@example.net"),
            "subject": subject, "priority": priority, "text": "Your code is 123456." });
        // Each by itself: one that waits for its answer holds up none behind it.
        let mut rest = Rest::new(ours.rest, &ours.key);
        sending.spawn(async move {
            rest.post("/v1/messages", &message).await?;
            anyhow::Ok(at.elapsed())
        });
        due.insert(subject, at);
        if after.is_none() && filling.is_finished() {
            after = Some(Instant::now());
        }
    }
    let mut accepted = Histogram::<u64>::new(3)?;
    while let Some(took) = sending.join_next().await {
        accepted.record(took??.as_micros() as u64)?;
    }
    let what = "transactional messages beside a campaign, until they are accepted; worst in s";
    bench.keep(times("bulk/accepted", what, &accepted, began.elapsed()))?;
    let (queue, filled_in) = filling.await??;
    let waiting = queue.waiting().await?;
    let since = Instant::now();
    while sink.behaviour.marked().len() < due.len() {
        ensure!(since.elapsed() < DELIVERY_MAX, "transactional messages did not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let what = "recipients of a campaign, accepted beside transactional messages";
    bench.keep(Figure::rate("bulk/filled", what, size, filled_in))?;
    let what = format!("recipients of the campaign that still waited, of {size}");
    bench.keep(Figure::value("bulk/waiting", &what, waiting as f64))?;
    let time = began.elapsed();
    bench.keep(transactional(&due, &sink, ("bulk/transactional", "high"), time)?)?;
    bench.keep(transactional(&due, &sink, ("bulk/normal", "normal"), time)?)
}

fn transactional(
    due: &BTreeMap<String, Instant>,
    sink: &Sink,
    (name, priority): (&str, &str),
    time: Duration,
) -> anyhow::Result<Figure> {
    let mut all = Histogram::<u64>::new(3)?;
    let is_asked = |subject: &str| subject.split(' ').nth(1) == Some(priority);
    for (subject, at) in sink.behaviour.marked() {
        let due = due.get(&subject).context("a message that nobody sent")?;
        if is_asked(&subject) {
            all.record(at.saturating_duration_since(*due).as_micros() as u64)?;
        }
    }
    let what = format!("{priority} messages beside a campaign, until they arrive; worst in s");
    Ok(times(name, &what, &all, time))
}

fn times(name: &str, what: &str, all: &Histogram<u64>, time: Duration) -> Figure {
    let ms = |quantile| all.value_at_quantile(quantile) as f64 / 1000.0;
    let max = all.max() as f64 / 1000.0;
    let latency = Latency { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), p999: ms(0.999), max };
    let figure = Figure::rate(name, what, all.len(), time);
    Figure { latency: Some(latency), value: Some(max / 1000.0), ..figure }
}
