//! The end of a test: the load stops, everything comes to its end, and what was seen is judged.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use postern_tests::wait;
use serde_json::Value;

use crate::check::{Event, Seen, Verdict, all_ended, judge};
use crate::hits::Hits;
use crate::load::Load;
use crate::system::System;

/// So much more memory than under the first load a process may have at the end.
const MEMORY_MORE_KIB: u64 = 128 << 10;
/// Mails before memory is first looked at.
const WARM: usize = 40;

/// Load on a system from all sides, to be followed by [`Trial::end`].
pub(crate) struct Trial {
    pub(crate) system: System,
    load: Load,
    hits: Hits,
    memory: BTreeMap<&'static str, u64>,
    kills: usize,
    /// Hits may be missing that the edge says it could not write.
    pub(crate) disk_was_full: bool,
}

impl Trial {
    /// Puts a system under load and waits until mail flows.
    pub(crate) async fn start(system: System) -> anyhow::Result<Self> {
        let hits = Hits::start(&system).await?;
        let load = Load::start(&system.doors, &system.ledger, "mail");
        system.ledger.grow(WARM).await?;
        let memory = memory(&system)?;
        Ok(Self { system, load, hits, memory, kills: 0, disk_was_full: false })
    }

    /// Kills a process. It is not started again.
    pub(crate) async fn kill(&mut self, place: usize) -> anyhow::Result<()> {
        self.kills += 1;
        self.system.processes[place].kill_9().await
    }

    /// Waits until so many more answers were no, or none at all.
    pub(crate) async fn refused(&self, more: usize) -> anyhow::Result<()> {
        let count = || self.system.ledger.read().refused.values().sum::<usize>();
        let before = count();
        let refused = async || Ok((count() >= before + more).then_some(()));
        wait::until("mail is refused", refused).await
    }

    /// Waits until so many more mails are acknowledged.
    pub(crate) async fn grow(&self, more: usize) -> anyhow::Result<()> {
        self.system.ledger.grow(more).await
    }

    /// Waits until the end of everything, prints the totals and fails if anything is not as promised.
    pub(crate) async fn end(mut self, name: &str) -> anyhow::Result<Verdict> {
        self.load.stop().await?;
        for process in &mut self.system.processes {
            process.ensure_alive()?;
        }
        let (hits, uncounted) = self.hits.stop(&self.system, self.disk_was_full).await?;
        let seen = settle(&self.system).await?;
        let mut verdict = judge(&seen);
        verdict.wrong.extend(uncounted);
        for (process, now) in memory(&self.system)? {
            let before = self.memory[process];
            println!("{name}: memory of {process}: {before} KiB before, {now} KiB after");
            if now > before + MEMORY_MORE_KIB {
                verdict.wrong.push(format!("{process} grew from {before} to {now} KiB"));
            }
        }
        for (what, count) in self.system.ledger.read().refused {
            println!("{name}: {count} times {what}");
        }
        println!(
            "{name}: {} kills, {} acknowledged, {} delivered, {} recovered, {} duplicates, \
             {hits} hits, {} lost",
            self.kills,
            seen.acknowledged.len(),
            verdict.delivered,
            verdict.recovered,
            verdict.duplicates,
            verdict.lost.len()
        );
        let few: Vec<_> = verdict.lost.iter().chain(&verdict.wrong).take(10).collect();
        let count = verdict.lost.len() + verdict.wrong.len();
        ensure!(few.is_empty(), "{name}: {count} things are wrong, such as {few:#?}");
        Ok(verdict)
    }
}

/// Waits until every acknowledged message has ended and every event is posted, as far as that comes
/// to be, and returns what was seen.
async fn settle(system: &System) -> anyhow::Result<Seen> {
    let acknowledged = system.ledger.read().accepted;
    loop {
        let feed = system.feed().await?;
        let (every, ordered) = (posted(system, "every")?, posted(system, "ordered")?);
        let before = (feed.len(), every.len(), ordered.len());
        let mut seen = Seen {
            acknowledged: acknowledged.clone(),
            feed,
            posted: every,
            posted_in_order: ordered,
            ..Seen::default()
        };
        for to in system.receiver.mails()?.into_iter().flat_map(|mail| mail.to) {
            *seen.arrived.entry(to).or_default() += 1;
        }
        let verdict = judge(&seen);
        let done = all_ended(&acknowledged, &seen.feed);
        if done && verdict.wrong.is_empty() && verdict.lost.is_empty() {
            return Ok(seen);
        }
        let more = wait::until("more comes to its end", async || {
            let feed = system.feed().await?.len();
            let now = (feed, posted(system, "every")?.len(), posted(system, "ordered")?.len());
            Ok((now != before).then_some(()))
        });
        if more.await.is_err() {
            return Ok(seen);
        }
    }
}

fn posted(system: &System, endpoint: &str) -> anyhow::Result<Vec<String>> {
    let taken = system.hooks.taken(endpoint)?;
    let id = |body: Value| body["id"].as_str().map(str::to_owned);
    Ok(taken.into_iter().filter_map(id).collect())
}

fn memory(system: &System) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let of = |process: &crate::process::Process| Ok((process.name, process.memory_kib()?));
    system.processes.iter().map(of).collect()
}

impl System {
    /// All events about mail, in the order of the feed.
    pub(crate) async fn feed(&self) -> anyhow::Result<Vec<Event>> {
        let (mut feed, mut token) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/events?page_size=1000&page_token={token}")).await?;
            for event in page["events"].as_array().context("no events")? {
                feed.push(read(event));
            }
            match page["next_page_token"].as_str() {
                Some(next) if !next.is_empty() => next.clone_into(&mut token),
                _ => break,
            }
        }
        feed.retain(|event: &Event| event.kind.starts_with("message."));
        Ok(feed)
    }
}

fn read(event: &Value) -> Event {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    Event {
        id: text("id"),
        kind: text("type"),
        message: text("message_id"),
        recipient: text("recipient"),
        possible_duplicate: event["possible_duplicate"] == true,
    }
}
