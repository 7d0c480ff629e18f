//! The plans of ghz, a client of gRPC by others, against a system of its own; left out when ghz is not on
//! the PATH. ghz calls a failed call slow and counts it: failures are taken out of the rate here.
//!
//! What it keeps is thrown away with the work folder.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::bench::Bench;
use crate::door::Mail;
use crate::door::grpc::{Call, bearer, callers, connect};
use crate::figure::{Figure, Latency};
use crate::rival::program;

/// Recipients of a batch, and events that a stream is read for.
const MANY: u64 = 1000;

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    if program("ghz").is_none() {
        bench.note("the plans of ghz are left out: it is not on the PATH".to_owned());
        return Ok(());
    }
    let ours = bench.binary.start(&bench.work.join("ghz"), &bench.store(None)).await?;
    let (channels, key) = (connect(&ours.core, 1).await?, bearer(&ours.key)?);
    let mut first = callers(&channels, &key, &Call::Send, &Mail::scheduled(), 1);
    let message = first[0].send(0).await?;
    let time = format!("{}s", bench.size.seconds.ceil());
    for plan in ["send", "batch", "raw", "status", "stream"] {
        for plan in [plan.to_owned(), format!("{plan}-rate")] {
            bench.progress.say(&format!("ghz: {plan}"));
            let cpu = ours.cpu()?;
            let address = ours.core.trim_start_matches("http://");
            let run = Command::new(bench.repository.join("loadtest/ghz/run"))
                .args([address, &ours.key, &plan])
                .env("MESSAGE", &message)
                .env("DURATION", &time)
                .output();
            let output = run.await?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "ghz {plan}: {said}");
            let answer = serde_json::from_slice(&output.stdout)
                .with_context(|| format!("ghz {plan}: {said}"))?;
            bench.keep(figure(&plan, &answer)?.with_cpu(ours.cpu()? - cpu))?;
        }
    }
    ours.stop().await
}

fn figure(plan: &str, answer: &Value) -> anyhow::Result<Figure> {
    let calls = answer["count"].as_u64().context("ghz counts its calls")?;
    let is_stream = plan.starts_with("stream");
    // ghz ends a stream when it has its thousand elements, and calls that cancelled.
    let good = answer["statusCodeDistribution"][if is_stream { "Canceled" } else { "OK" }].as_u64();
    let good = good.unwrap_or_default();
    let total = answer["total"].as_u64().context("ghz says how long it took")?;
    let each = if plan.starts_with("batch") || is_stream { MANY } else { 1 };
    let what = format!("ghz, plan {plan}{}", if each > 1 { ", times 1000" } else { "" });
    let figure =
        Figure::rate(&format!("ghz/{plan}"), &what, good * each, Duration::from_nanos(total));
    let at = |percent: u64| {
        let list = answer["latencyDistribution"].as_array();
        let one = list.and_then(|list| list.iter().find(|one| one["percentage"] == percent));
        one.and_then(|one| one["latency"].as_f64()).unwrap_or_default() / 1e6
    };
    let max = answer["slowest"].as_f64().unwrap_or_default() / 1e6;
    // ghz tells no 99.9th percentile.
    let latency = Latency { p50: at(50), p90: at(90), p99: at(99), p999: max, max };
    let error = answer["errorDistribution"].as_object().and_then(|all| all.keys().next().cloned());
    // It times none that it cancelled.
    let latency = (!is_stream).then_some(latency);
    let error = error.filter(|_| calls > good);
    Ok(Figure { latency, errors: calls - good, error, ..figure })
}
