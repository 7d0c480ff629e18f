//! Hits on tracking links all the while. The edge is told to answer only when a hit is on the disk, so
//! what it answered with 200 must be counted; what had no answer may be. On a full disk it answers all
//! the same and says how many hits that has cost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use postern_tests::wait;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::check::Event;
use crate::load::ticks;
use crate::system::System;

const MAILS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of the hits on one mail's link.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    answered: usize,
    unknown: usize,
}

/// Hits that go on until they are stopped.
pub(crate) struct Hits {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    tallies: Arc<Mutex<BTreeMap<String, Tally>>>,
}

impl Hits {
    /// Sends a few tracked mails and begins to follow their pixels.
    pub(crate) async fn start(system: &System) -> anyhow::Result<Self> {
        let mut links = Vec::new();
        for number in 0..MAILS {
            let to = format!("tracked{number}@good.test");
            let id = send(system, &to).await?;
            system.ledger.accepted(&to, &id);
            let mail = wait::until("a tracked mail", async || {
                Ok(system.receiver.mails_to(&to)?.pop().map(|mail| mail.text()))
            });
            let link = pixel(&mail.await?).context("no pixel in the mail")?;
            links.push((id, format!("http://{}{link}", system.doors.edge)));
        }
        let (stop, stopped) = watch::channel(false);
        let tallies: Arc<Mutex<BTreeMap<String, Tally>>> = Arc::default();
        let task = tokio::spawn(hit(links, tallies.clone(), stopped));
        Ok(Self { stop, task, tallies })
    }

    /// Ends it. Returns how many were answered, and what is not counted as it was answered.
    /// Only a full disk excuses the edge from what it says it has lost.
    pub(crate) async fn stop(
        self,
        system: &System,
        disk_was_full: bool,
    ) -> anyhow::Result<(usize, Vec<String>)> {
        self.stop.send_replace(true);
        self.task.await?;
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answered = tallies.values().map(|tally| tally.answered).sum();
        ensure!(answered > 0, "no hit was ever answered");
        let lost = if disk_was_full { lost(system).await? } else { 0 };
        let missing = |counted: &BTreeMap<String, usize>| -> usize {
            let of = |(id, tally): (&String, &Tally)| {
                tally.answered.saturating_sub(counted.get(id).copied().unwrap_or(0))
            };
            tallies.iter().map(of).sum()
        };
        let counted = wait::until("the hits are counted", async || {
            let counted = opens(&system.feed().await?);
            Ok((missing(&counted) <= lost).then_some(counted))
        });
        // What is missing is told below, with its numbers.
        let counted = match counted.await {
            Ok(counted) => counted,
            Err(_) => opens(&system.feed().await?),
        };
        let mut wrong = Vec::new();
        if missing(&counted) > lost {
            let missing = missing(&counted);
            wrong.push(format!("{missing} of {answered} hits are missing, {lost} called lost"));
        }
        for (id, Tally { answered, unknown }) in &tallies {
            let counted = counted.get(id).copied().unwrap_or(0);
            if counted > answered + unknown {
                wrong.push(format!(
                    "{id}: {answered} hits answered, {unknown} without an answer, {counted} counted"
                ));
            }
        }
        Ok((answered, wrong))
    }
}

/// How many hits the edge says it could not record.
async fn lost(system: &System) -> anyhow::Result<usize> {
    let url = format!("http://{}/health/ready", system.doors.edge);
    let health: Value = Client::new().get(url).send().await?.json().await?;
    let lost = health["hits_lost"].as_u64().with_context(|| health.to_string())?;
    Ok(usize::try_from(lost)?)
}

fn opens(feed: &[Event]) -> BTreeMap<String, usize> {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for event in feed.iter().filter(|event| event.kind == "message.opened") {
        *counted.entry(event.message.clone()).or_default() += 1;
    }
    counted
}

async fn send(system: &System, to: &str) -> anyhow::Result<String> {
    let mail = json!({
        "from": "Shop <hi@shop.test>", "to": to, "subject": "News",
        "html": "<body><p>Look</p></body>", "tracking": {"opens": true},
    });
    // Just after the start the store may not be open yet.
    wait::until("a tracked mail is accepted", async || {
        let request = Client::new().post(format!("http://{}/v1/messages", system.doors.rest));
        let request = request.bearer_auth(&system.doors.key).header("idempotency-key", to);
        let answer = request.json(&mail).send().await?;
        let early = [401, 503].contains(&answer.status().as_u16());
        let body: Value = answer.json().await?;
        let id = body["id"].as_str().map(str::to_owned);
        ensure!(early || id.is_some(), "{body}");
        Ok(id)
    })
    .await
}

/// The path of the pixel in a mail.
fn pixel(mail: &str) -> Option<String> {
    let text = mail.replace("=\r\n", "").replace("=3D", "=");
    let start = text.find("/o/")?;
    let end = |c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c));
    let rest = &text[start..];
    Some(rest[..rest.find(end)?].to_owned())
}

async fn hit(
    links: Vec<(String, String)>,
    tallies: Arc<Mutex<BTreeMap<String, Tally>>>,
    stopped: watch::Receiver<bool>,
) {
    let (http, mut ticks) = (Client::new(), ticks());
    for (id, url) in links.iter().cycle() {
        ticks.tick().await;
        if *stopped.borrow() {
            return;
        }
        let answer = http.get(url).timeout(PATIENCE).send().await;
        let answered = answer.is_ok_and(|answer| answer.status() == 200);
        let mut tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry(id.clone()).or_default();
        *if answered { &mut tally.answered } else { &mut tally.unknown } += 1;
    }
}
