//! The report of a run: Markdown for people, JSON for programs, charts as SVG.
//!
//! Written into one folder at the end; a crash before leaves the JSON lines of what was measured.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::figure::{Figure, Sum, sums};
use crate::machine::Machine;
use crate::server::NO_LIMITS;
use crate::svg::{Row, chart};
use crate::target::{Verdict, verdicts};

/// All that is reported.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// When it began.
    pub(crate) began: String,
    /// How long it took.
    pub(crate) seconds: f64,
    /// What was typed.
    pub(crate) command: String,
    pub(crate) machine: Machine,
    /// Sizes and other settings.
    pub(crate) settings: Vec<(String, String)>,
    /// What was left out.
    pub(crate) notes: Vec<String>,
    pub(crate) targets: Vec<Verdict>,
    pub(crate) figures: Vec<Sum>,
}

impl Report {
    /// Sums the figures up and holds them against the targets.
    pub(crate) fn take(&mut self, figures: &[Figure]) {
        self.figures = sums(figures);
        self.targets = verdicts(&self.figures);
    }

    /// Writes all of it.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("report.json"), serde_json::to_vec_pretty(self)?)?;
        std::fs::write(folder.join("report.md"), self.markdown()?)?;
        let unit = "a second, logarithmic; behind it, in proportion to what it is held against";
        let svg = chart("Throughput", unit, &KINDS, &self.rates());
        std::fs::write(folder.join("throughput.svg"), svg)?;
        let unit = "milliseconds, logarithmic: the marks are p50, p99 and p99.9";
        let svg = chart("Latency", unit, &KINDS, &self.latencies());
        std::fs::write(folder.join("latency.svg"), svg)?;
        Ok(())
    }

    fn markdown(&self) -> anyhow::Result<String> {
        let mut out = String::from("# Load test\n\n");
        writeln!(out, "Begun {}, took {:.0} s.\n", self.began, self.seconds)?;
        let is = |met| self.targets.iter().filter(|target| target.met == Some(met)).count();
        let (met, missed) = (is(true), is(false));
        let left = self.targets.len() - met - missed;
        writeln!(out, "## Targets\n\n{met} met, {missed} not met, {left} not measured.\n")?;
        writeln!(out, "| what | at least or most | reached | |\n|---|---|--:|---|")?;
        for target in &self.targets {
            let reached = target.reached.map(number).unwrap_or_default();
            let verdict = match target.met {
                Some(true) => "met",
                Some(false) => "**not met**",
                None => "not measured",
            };
            writeln!(out, "| {} | {} | {reached} | {verdict} |", target.what, target.bound)?;
        }
        out.push_str("\n![Throughput](throughput.svg)\n\n![Latency](latency.svg)\n\n");
        self.tables(&mut out)?;
        if !self.notes.is_empty() {
            out.push_str("\n## Left out\n\n");
        }
        for note in &self.notes {
            writeln!(out, "- {note}")?;
        }
        self.commands(&mut out)?;
        self.surroundings(&mut out)?;
        Ok(out)
    }

    fn tables(&self, out: &mut String) -> std::fmt::Result {
        out.push_str(
            "## Figures\n\nMedians of all runs; latencies in milliseconds. CPU is that of the server, \
             in seconds for a thousand.\n\n| name | what | a second | min to max | p50 | p90 | p99 | \
             p99.9 | CPU | errors |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for sum in self.figures.iter().filter(|sum| sum.median.seconds > 0.0) {
            let figure = &sum.median;
            let latency = figure.latency.map_or_else(
                || " | | |".to_owned(),
                |l| format!("{:.2} | {:.2} | {:.2} | {:.2}", l.p50, l.p90, l.p99, l.p999),
            );
            let cpu = figure.cpu_per_1000.map(|cpu| format!("{cpu:.3}")).unwrap_or_default();
            writeln!(
                out,
                "| {} | {} | {:.0} | {:.0} to {:.0} | {latency} | {cpu} | {} |",
                figure.name,
                figure.what,
                figure.per_second,
                sum.per_second_min,
                sum.per_second_max,
                figure.errors,
            )?;
        }
        out.push_str("\n| name | what | MiB | else |\n|---|---|--:|--:|\n");
        for sum in &self.figures {
            let figure = &sum.median;
            if figure.mib.is_none() && figure.value.is_none() {
                continue;
            }
            let cell = |value: Option<f64>| value.map(number).unwrap_or_default();
            let (mib, value) = (cell(figure.mib), cell(figure.value));
            writeln!(out, "| {} | {} | {mib} | {value} |", figure.name, figure.what)?;
        }
        let failed = self.figures.iter().filter_map(|sum| Some((sum, sum.median.error.as_ref()?)));
        for (sum, error) in failed {
            let name = &sum.median.name;
            writeln!(out, "\nThe first failure of {name} said: `{}`", error.replace('`', "'"))?;
        }
        Ok(())
    }

    fn commands(&self, out: &mut String) -> std::fmt::Result {
        out.push_str(
            "\n## Commands\n\nA part again: `loadtest/run --only NAME`, where the name is what stands \
             before the `/` (those of other servers come with `smtp`, `relay` and `tracking`). One door of a \
             system that runs: `postern-loadtest drive`. This run was\n\n",
        );
        writeln!(out, "```sh\n{}\n```\n\nand each Postern of it was started with\n", self.command)?;
        out.push_str("```sh\n");
        for (name, value) in NO_LIMITS {
            writeln!(out, "{name}={value}")?;
        }
        out.push_str("```\n");
        Ok(())
    }

    fn surroundings(&self, out: &mut String) -> std::fmt::Result {
        let machine = &self.machine;
        writeln!(out, "\n## Where and how\n\n| | |\n|---|---|")?;
        writeln!(out, "| processor | {}, {} cores |", machine.processor, machine.cores)?;
        writeln!(out, "| memory | {} MiB |", machine.memory_mib)?;
        writeln!(out, "| disk | {} |", machine.disk)?;
        writeln!(out, "| system | {}, {} |", machine.system, machine.kernel)?;
        for (name, value) in machine.versions.iter().chain(&self.settings) {
            writeln!(out, "| {name} | {value} |")?;
        }
        Ok(())
    }

    fn rates(&self) -> Vec<Row> {
        let rate = |name: &str| {
            let found = self.figures.iter().find(|sum| sum.median.name == name);
            found.map(|sum| sum.median.per_second)
        };
        let bar = |sum: &Sum| {
            let (name, value) = (&sum.median.name, sum.median.per_second);
            let mut text = format!("{value:.0}");
            if let Some((other, rate)) = against(name).and_then(|o| Some((o, rate(o)?))) {
                text = format!("{text}  ({:.2} × {other})", value / rate);
            }
            row(name, vec![value], text)
        };
        // Where a number of its own kind was measured, the rate says nothing.
        let is_rate = |sum: &&Sum| sum.median.per_second > 0.0 && sum.median.value.is_none();
        self.figures.iter().filter(is_rate).map(bar).collect()
    }

    fn latencies(&self) -> Vec<Row> {
        let range = |sum: &Sum| {
            let (name, latency) = (&sum.median.name, sum.median.latency?);
            let values = vec![latency.p50, latency.p99, latency.p999];
            let text =
                format!("{} / {} / {}", number(values[0]), number(values[1]), number(values[2]));
            Some(row(name, values, text))
        };
        // What comes in a stream is not waited for one by one.
        let is_waited_for = |sum: &&Sum| !sum.median.name.contains("/stream");
        self.figures.iter().filter(is_waited_for).filter_map(range).collect()
    }
}

/// What a rate is shown in proportion to.
fn against(name: &str) -> Option<&'static str> {
    Some(match name {
        "sqlite/grpc-64" => "sqlite/store-64",
        "sqlite/grpc-256" => "sqlite/store-256",
        "sqlite/rest-64" => "sqlite/grpc-64",
        "postgresql/grpc-64" => "postgresql/store-64",
        "postgresql/grpc-256" => "postgresql/store-256",
        "postgresql/rest-64" => "postgresql/grpc-64",
        "smtp/kept" | "smtp-sink/kept" | "haraka/kept" => "postfix/kept",
        "smtp/new" | "smtp-sink/new" | "haraka/new" => "postfix/new",
        "relay/none" | "relay/both" => "postfix/relay",
        "tracking/pixel" => "nginx/pixel",
        "webhooks/accepted" => "webhooks/none",
        "queue/full" => "queue/thousand",
        "destinations/troubled" => "destinations/healthy",
        _ => return None,
    })
}

/// Others stand with what they are held beside.
fn row(name: &str, values: Vec<f64>, text: String) -> Row {
    let group = match name {
        "postfix/relay" => "relay",
        "nginx/pixel" => "tracking",
        _ if kind(name) == 1 => "smtp",
        _ => name.split('/').next().unwrap_or_default(),
    };
    Row { label: name.to_owned(), group: group.to_owned(), values, text, kind: kind(name) }
}

/// The names of the kinds.
const KINDS: [&str; 3] = ["Postern", "others", "the disk, the store alone"];

/// One colour for Postern, one for others, one for what the machine can do at all.
fn kind(name: &str) -> usize {
    let others = ["postfix/", "smtp-sink/", "haraka/", "nginx/"];
    if others.iter().any(|other| name.starts_with(other)) {
        return 1;
    }
    if name.contains("/store-") || name.ends_with("/fsync") { 2 } else { 0 }
}

/// A number with as many digits as say something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
