//! The targets: what must be reached, computed from figures of one run. A target whose figures were not
//! measured says so; nothing here is written by hand after a run.
//!
//! Pure; keeps nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figure::{Figure, Sum};

/// What a number is held against.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// What is computed.
#[derive(Debug, Clone, Copy)]
enum Number {
    /// The rate of one over that of the other.
    Ratio(&'static str, &'static str),
    Rate(&'static str),
    Cpu(&'static str),
    Mib(&'static str),
    Value(&'static str),
    /// The 99th percentile, in syncs of the disk.
    P99(&'static str),
    /// The 99.9th.
    P999(&'static str),
}

/// The name of the figure that says how long one sync takes, by its rate.
pub(crate) const FSYNC: &str = "disk/fsync";

type Row = (&'static str, Number, Bound);

/// A verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    /// What was to be reached.
    pub(crate) what: &'static str,
    /// The bound, as text.
    pub(crate) bound: String,
    /// What was reached; unset when a figure is missing.
    pub(crate) reached: Option<f64>,
    /// Whether that is enough.
    pub(crate) met: Option<bool>,
}

use Bound::{AtLeast, AtMost};
use Number::{Cpu, Mib, P99, P999, Rate, Ratio, Value};

const ROWS: &[Row] = &[
    ("SMTP accept, 20 kept, over Postfix", Ratio("smtp/kept", "postfix/kept"), AtLeast(10.0)),
    ("SMTP accept, 20 kept, over smtp-sink", Ratio("smtp/kept", "smtp-sink/kept"), AtLeast(0.5)),
    ("SMTP accept, 20 kept, CPU s per 1000", Cpu("smtp/kept"), AtMost(0.3)),
    ("SMTP accept, new connections, over Postfix", Ratio("smtp/new", "postfix/new"), AtLeast(6.0)),
    ("SMTP in and out, unsigned, over Postfix", Ratio("relay/none", "postfix/relay"), AtLeast(8.0)),
    ("SMTP in and out, unsigned, CPU s per 1000", Cpu("relay/none"), AtMost(0.7)),
    (
        "SMTP in and out, Ed25519 alone, over Postfix",
        Ratio("relay/ed25519", "postfix/relay"),
        AtLeast(7.0),
    ),
    (
        "SMTP in and out, RSA-2048 and Ed25519, over Postfix",
        Ratio("relay/both", "postfix/relay"),
        AtLeast(3.0),
    ),
    ("gRPC, SQLite, 64, over the store", Ratio("sqlite/grpc-64", "sqlite/store-64"), AtLeast(0.5)),
    (
        "gRPC, SQLite, 256, over the store",
        Ratio("sqlite/grpc-256", "sqlite/store-256"),
        AtLeast(0.65),
    ),
    ("gRPC, SQLite, 64, CPU s per 1000", Cpu("sqlite/grpc-64"), AtMost(0.15)),
    (
        "gRPC, PostgreSQL, 64, over the store",
        Ratio("postgresql/grpc-64", "postgresql/store-64"),
        AtLeast(0.5),
    ),
    ("REST over gRPC, SQLite", Ratio("sqlite/rest-64", "sqlite/grpc-64"), AtLeast(0.75)),
    (
        "REST over gRPC, PostgreSQL",
        Ratio("postgresql/rest-64", "postgresql/grpc-64"),
        AtLeast(0.75),
    ),
    ("BatchSend of 1000, SQLite, recipients/s", Rate("sqlite/batch"), AtLeast(15_000.0)),
    ("Tracking pixel over nginx", Ratio("tracking/pixel", "nginx/pixel"), AtLeast(0.8)),
    (
        "Delivery, full queue over 1,000 queued",
        Ratio("queue/full", "queue/thousand"),
        AtLeast(0.85),
    ),
    ("Start with a full queue, seconds", Value("queue/start"), AtMost(3.0)),
    ("All-in-one idle, MiB", Mib("idle/sqlite"), AtMost(40.0)),
    ("Idle SMTP connection, KiB", Value("idle/connection"), AtMost(8.0)),
    ("Accept at half the rate, p99 in fsyncs", P99("sqlite/half"), AtMost(4.0)),
    ("Accept at half the rate, p99.9 in fsyncs", P999("sqlite/half"), AtMost(10.0)),
    (
        "Healthy destinations, with 10 dead and 10 slow over without",
        Ratio("destinations/troubled", "destinations/healthy"),
        AtLeast(0.85),
    ),
    ("Transactional beside bulk, worst seconds", Value("bulk/transactional"), AtMost(1.0)),
];

/// Holds the figures against the targets.
pub(crate) fn verdicts(sums: &[Sum]) -> Vec<Verdict> {
    let by_name: BTreeMap<&str, &Figure> =
        sums.iter().map(|sum| (sum.median.name.as_str(), &sum.median)).collect();
    let verdict = |(what, number, bound): &Row| {
        let reached = reached(*number, &by_name).filter(|number| number.is_finite());
        let (text, met) = match bound {
            AtLeast(least) => (format!("≥ {least}"), reached.map(|number| number >= *least)),
            AtMost(most) => (format!("≤ {most}"), reached.map(|number| number <= *most)),
        };
        Verdict { what, bound: text, reached, met }
    };
    ROWS.iter().map(verdict).collect()
}

fn reached(number: Number, figures: &BTreeMap<&str, &Figure>) -> Option<f64> {
    let rate = |name| figures.get(name).map(|figure| figure.per_second);
    let syncs = |ms: f64| Some(ms / 1000.0 * rate(FSYNC)?);
    let latency = |name| figures.get(name)?.latency;
    match number {
        Ratio(one, other) => Some(rate(one)? / rate(other)?),
        Rate(name) => rate(name),
        Cpu(name) => figures.get(name)?.cpu_per_1000,
        Mib(name) => figures.get(name)?.mib,
        Value(name) => figures.get(name)?.value,
        P99(name) => syncs(latency(name)?.p99),
        P999(name) => syncs(latency(name)?.p999),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::figure::{Latency, sums};

    #[test]
    fn verdicts_are_computed_and_missing_figures_are_told() {
        let second = Duration::from_secs(1);
        let figure = |name: &str, count| Figure::rate(name, "", count, second);
        let half = Figure {
            latency: Some(Latency { p99: 1.5, p999: 6.0, ..Latency::default() }),
            ..figure("sqlite/half", 100)
        };
        let all = [
            figure("smtp/kept", 900).with_cpu(0.18),
            figure("postfix/kept", 100),
            figure("sqlite/rest-64", 80),
            figure("sqlite/grpc-64", 100),
            figure(FSYNC, 2000),
            half,
        ];
        let verdicts = verdicts(&sums(&all));
        let of = |what: &str| verdicts.iter().find(|v| v.what == what).map(|v| (v.reached, v.met));
        let near = |what: &str, number: f64, met| {
            let (reached, seen) = of(what).expect("it is a target");
            assert!((reached.expect("it was measured") - number).abs() < 1e-9, "{reached:?}");
            assert_eq!(seen, Some(met), "{what}");
        };
        near("SMTP accept, 20 kept, over Postfix", 9.0, false);
        near("SMTP accept, 20 kept, CPU s per 1000", 0.2, true);
        near("REST over gRPC, SQLite", 0.8, true);
        near("Accept at half the rate, p99 in fsyncs", 3.0, true);
        near("Accept at half the rate, p99.9 in fsyncs", 12.0, false);
        assert_eq!(of("Tracking pixel over nginx"), Some((None, None)));
    }
}
