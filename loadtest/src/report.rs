//! Measurements as JSON lines, and the report that sums several runs of them up.
//!
//! Written line by line, so a crash loses the measurement under way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What the stores' own figures are called; others are shown as parts of them.
pub(crate) const STORE_ALONE: &str = "the store driven directly";

/// A measurement.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Which store, or what else was measured.
    pub(crate) store: String,
    /// What was measured.
    pub(crate) what: String,
    /// How many callers there were, or would be.
    pub(crate) callers: usize,
    /// How many happened.
    pub(crate) count: u64,
    /// In how long.
    pub(crate) seconds: f64,
    /// How many a second.
    pub(crate) per_second: f64,
    /// Half of the answers came within this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p50_ms: Option<f64>,
    /// All but one in a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ms: Option<f64>,
    /// Processor seconds of the server for a thousand of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_per_1000: Option<f64>,
    /// Resident memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mib: Option<f64>,
    /// Answers that were no OK.
    pub(crate) errors: u64,
}

impl Figure {
    /// A figure without latencies.
    pub(crate) fn new(store: &str, what: &str, callers: usize, count: u64, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        let per_second = if seconds > 0.0 { (count as f64 / seconds).round() } else { 0.0 };
        let (store, what) = (store.to_owned(), what.to_owned());
        let (p50_ms, p99_ms, cpu_per_1000, mib) = (None, None, None, None);
        Self {
            store,
            what,
            callers,
            count,
            seconds,
            per_second,
            p50_ms,
            p99_ms,
            cpu_per_1000,
            mib,
            errors: 0,
        }
    }

    /// The figure as a JSON line.
    pub(crate) fn line(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// Several runs of one measurement: medians, and the extremes of the rate.
#[derive(Debug, Serialize)]
struct Sum {
    store: String,
    what: String,
    callers: usize,
    runs: usize,
    per_second: f64,
    per_second_min: f64,
    per_second_max: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    of_the_store: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_per_1000: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mib: Option<f64>,
    errors: u64,
}

/// Reads JSON lines, writes their sums as JSON, and returns them as Markdown.
pub(crate) fn report(lines: &Path, json: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(lines)?;
    let figures = text.lines().map(serde_json::from_str::<Figure>);
    let figures = figures.collect::<Result<Vec<_>, _>>().context("not the lines of a run")?;
    let sums = sums(&figures);
    std::fs::write(json, serde_json::to_vec_pretty(&sums)?)?;
    markdown(&sums)
}

fn sums(figures: &[Figure]) -> Vec<Sum> {
    let mut order = Vec::new();
    let mut runs: BTreeMap<_, Vec<&Figure>> = BTreeMap::new();
    for figure in figures {
        let name = (&figure.store, &figure.what, figure.callers);
        let list = runs.entry(name).or_default();
        if list.is_empty() {
            order.push(name);
        }
        list.push(figure);
    }
    let sums = order.iter().map(|name| sum(&runs[name]));
    let mut sums: Vec<Sum> = sums.collect();
    let alone: BTreeMap<_, _> = sums
        .iter()
        .filter(|sum| sum.what == STORE_ALONE)
        .map(|sum| ((sum.store.clone(), sum.callers), sum.per_second))
        .collect();
    for sum in &mut sums {
        let ceiling = alone.get(&(sum.store.clone(), sum.callers));
        let ceiling = ceiling.filter(|_| sum.what != STORE_ALONE && sum.mib.is_none());
        sum.of_the_store = ceiling.map(|ceiling| (sum.per_second / ceiling * 100.0).round());
    }
    sums
}

fn sum(runs: &[&Figure]) -> Sum {
    let all = |of: fn(&Figure) -> Option<f64>| {
        let mut all: Vec<f64> = runs.iter().filter_map(|run| of(run)).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let median = |of| {
        let all = all(of);
        all.get(all.len() / 2).copied()
    };
    let rates = all(|run| Some(run.per_second));
    Sum {
        store: runs[0].store.clone(),
        what: runs[0].what.clone(),
        callers: runs[0].callers,
        runs: runs.len(),
        per_second: rates[rates.len() / 2],
        per_second_min: rates[0],
        per_second_max: rates[rates.len() - 1],
        of_the_store: None,
        p50_ms: median(|run| run.p50_ms),
        p99_ms: median(|run| run.p99_ms),
        cpu_per_1000: median(|run| run.cpu_per_1000),
        mib: median(|run| run.mib),
        errors: runs.iter().map(|run| run.errors).sum(),
    }
}

fn markdown(sums: &[Sum]) -> anyhow::Result<String> {
    let mut out = String::from(
        "| store | what | callers | a second: median | min to max | of the store | p50 ms | p99 ms \
         | CPU s of the server for 1000 | errors |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let cell = |value: Option<f64>, digits: usize, unit: &str| {
        value.map(|value| format!("{value:.digits$}{unit}")).unwrap_or_default()
    };
    for sum in sums.iter().filter(|sum| sum.mib.is_none()) {
        writeln!(
            out,
            "| {} | {} | {} | {:.0} | {:.0} to {:.0} | {} | {} | {} | {} | {} |",
            sum.store,
            sum.what,
            sum.callers,
            sum.per_second,
            sum.per_second_min,
            sum.per_second_max,
            cell(sum.of_the_store, 0, " %"),
            cell(sum.p50_ms, 1, ""),
            cell(sum.p99_ms, 1, ""),
            cell(sum.cpu_per_1000, 3, ""),
            sum.errors,
        )?;
    }
    out.push_str("\n| store | memory | MiB |\n|---|---|--:|\n");
    for sum in sums.iter().filter(|sum| sum.mib.is_some()) {
        writeln!(out, "| {} | {} | {} |", sum.store, sum.what, cell(sum.mib, 1, ""))?;
    }
    Ok(out)
}
