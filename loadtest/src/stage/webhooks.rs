//! Webhooks out: mail is accepted, each message makes an event, and the time is taken when the last event
//! has come to a receiver that answers at once; beside the same accepting without a webhook.
//!
//! What it keeps is thrown away with the work folder.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::time::Instant;

use crate::bench::Bench;
use crate::door::Mail;
use crate::door::grpc::{Call, bearer, callers, connect};
use crate::door::http::Rest;
use crate::figure::Figure;
use crate::hooks::Hooks;
use crate::pace::Pace;
use crate::server::vars;

const CALLERS: usize = 64;
/// The longest way of an event.
const ARRIVAL_MAX: Duration = Duration::from_secs(180);

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let vars = vars(&[("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow")]);
    let ours = bench.binary.start(&bench.work.join("webhooks"), &vars).await?;
    let hooks = Hooks::start().await?;
    let channels = connect(&ours.core, 4).await?;
    let (key, mail) = (bearer(&ours.key)?, Mail::scheduled());
    let doors = || callers(&channels, &key, &Call::Send, &mail, CALLERS);
    for _ in 0..bench.size.runs {
        let what = "gRPC SendMessage, 64 callers, no webhook";
        bench.drive("webhooks/none", what, Some(ours.pid), doors(), Pace::Closed).await?;
    }
    let mut rest = Rest::new(ours.rest, &ours.key);
    let hook = json!({ "url": format!("http://{}/", hooks.address),
        "event_types": ["message.scheduled"], "max_concurrency": 32 });
    rest.post("/v1/webhooks", &hook).await?;
    for _ in 0..bench.size.runs {
        let (before, began, cpu) = (hooks.taken(), Instant::now(), ours.cpu()?);
        let what = "gRPC SendMessage, 64 callers, each with a webhook";
        bench.drive("webhooks/accepted", what, None, doors(), Pace::Closed).await?;
        let count = bench.figures.last().map_or(0, |figure| figure.count);
        while hooks.taken() - before < count {
            let came = hooks.taken() - before;
            ensure!(began.elapsed() < ARRIVAL_MAX, "{came} of {count} webhooks came");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let what = "webhooks that arrived, with the accepting of their messages";
        let figure = Figure::rate("webhooks/arrived", what, count, began.elapsed());
        bench.keep(figure.with_cpu(ours.cpu()? - cpu))?;
    }
    ours.stop().await
}
