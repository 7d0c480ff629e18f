//! Webhooks out: mail is accepted, each message makes an event, and the time is taken when the last event
//! has come to a receiver that answers at once; beside the same accepting without a webhook. Then a
//! backlog: events are made while the webhook is off, and are drained while more mail is accepted.
//!
//! What it keeps is thrown away with the work folder.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use crate::bench::Bench;
use crate::door::Mail;
use crate::door::grpc::{Call, bearer, callers, connect};
use crate::door::http::Rest;
use crate::figure::Figure;
use crate::hooks::Hooks;
use crate::pace::Pace;
use crate::server::{Server, vars};

const CALLERS: usize = 64;
/// The longest way of an event.
const ARRIVAL_MAX: Duration = Duration::from_secs(180);

/// A system with a webhook, and its receiver.
struct Hooked {
    ours: Server,
    hooks: Hooks,
    channels: Vec<Channel>,
    key: MetadataValue<Ascii>,
    mail: Mail,
}

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let vars = vars(&[("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow")]);
    let ours = bench.binary.start(&bench.work.join("webhooks"), &vars).await?;
    let (channels, key) = (connect(&ours.core, 4).await?, bearer(&ours.key)?);
    let hooks = Hooks::start().await?;
    let hooked = Hooked { ours, hooks, channels, key, mail: Mail::scheduled() };
    for _ in 0..bench.size.runs {
        let what = "gRPC SendMessage, 64 callers, no webhook";
        hooked.accept(bench, "webhooks/none", what).await?;
    }
    let mut rest = Rest::new(hooked.ours.rest, &hooked.ours.key);
    let hook = json!({ "url": format!("http://{}/", hooked.hooks.address),
        "event_types": ["message.scheduled"], "max_concurrency": 32 });
    let hook = rest.post("/v1/webhooks", &hook).await?;
    let id = hook["id"].as_str().with_context(|| format!("no id in the answer {hook}"))?;
    for _ in 0..bench.size.runs {
        let (before, began, cpu) = (hooked.hooks.taken(), Instant::now(), hooked.ours.cpu()?);
        let what = "gRPC SendMessage, 64 callers, each with a webhook";
        let count = hooked.accept(bench, "webhooks/accepted", what).await?;
        hooked.until(before + count, began).await?;
        let what = "webhooks that arrived, with the accepting of their messages";
        let figure = Figure::rate("webhooks/arrived", what, count, began.elapsed());
        bench.keep(figure.with_cpu(hooked.ours.cpu()? - cpu))?;
    }
    for _ in 0..bench.size.runs {
        let since = prost_types::Timestamp::from(SystemTime::now()).to_string();
        rest.post(&format!("/v1/webhooks/{id}/disable"), &json!({})).await?;
        let before = hooked.hooks.taken();
        let what = "gRPC SendMessage, 64 callers, the webhook is off";
        let backlog = hooked.accept(bench, "webhooks/off", what).await?;
        let began = Instant::now();
        let since = json!({ "recover_since": since });
        rest.post(&format!("/v1/webhooks/{id}/enable"), &since).await?;
        let what = "gRPC SendMessage, 64 callers, while a backlog is drained";
        let more = hooked.accept(bench, "webhooks/beside-backlog", what).await?;
        hooked.until(before + backlog + more, began).await?;
        let what = "webhooks of a backlog, with those of what was accepted meanwhile";
        let count = backlog + more;
        bench.keep(Figure::rate("webhooks/backlog", what, count, began.elapsed()))?;
    }
    let what = "webhooks that came again, of all; none need to, nobody was killed";
    bench.keep(Figure::value("webhooks/repeated", what, hooked.hooks.repeated() as f64))?;
    hooked.ours.stop().await
}

impl Hooked {
    /// Accepts for a while; returns how many.
    async fn accept(&self, bench: &mut Bench, name: &str, what: &str) -> anyhow::Result<u64> {
        let doors = callers(&self.channels, &self.key, &Call::Send, &self.mail, CALLERS);
        bench.drive(name, what, Some(self.ours.pid), doors, Pace::Closed).await?;
        Ok(bench.figures.last().map_or(0, |figure| figure.count))
    }

    /// Waits until so many events have come.
    async fn until(&self, wanted: u64, began: Instant) -> anyhow::Result<()> {
        while self.hooks.taken() < wanted {
            let came = self.hooks.taken();
            ensure!(began.elapsed() < ARRIVAL_MAX, "{came} of {wanted} webhooks came");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}
