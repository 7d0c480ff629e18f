//! Measurements, and the medians of several runs of each.
//!
//! Each is also appended to a file of JSON lines when it is made, so a crash loses the one under way.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pace::Outcome;

/// A measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What others find it by: `sqlite/grpc-64`.
    pub(crate) name: String,
    /// What was measured, in words.
    pub(crate) what: String,
    /// How many were counted.
    pub(crate) count: u64,
    /// In how long.
    pub(crate) seconds: f64,
    /// How many a second.
    pub(crate) per_second: f64,
    /// The rate that was asked for, in an open loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked_per_second: Option<f64>,
    /// Milliseconds until the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latency>,
    /// Processor seconds of the server for a thousand of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_per_1000: Option<f64>,
    /// Resident memory in MiB, where memory is what was measured or watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mib: Option<f64>,
    /// A number that is neither a rate nor memory, such as seconds until ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    /// Calls that failed.
    pub(crate) errors: u64,
    /// What the first failure said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Milliseconds until the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Figure {
    /// So many in this time.
    pub(crate) fn rate(name: &str, what: &str, count: u64, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        let per_second = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Self { count, seconds, per_second, ..Self::named(name, what) }
    }

    /// What a driven door gave.
    pub(crate) fn of(name: &str, what: &str, outcome: &Outcome) -> Self {
        let ms = |quantile| outcome.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        let latency = Latency {
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
            p999: ms(0.999),
            max: outcome.latencies.max() as f64 / 1000.0,
        };
        Self {
            latency: (!outcome.latencies.is_empty()).then_some(latency),
            errors: outcome.errors,
            error: outcome.error.clone(),
            ..Self::rate(name, what, outcome.count, outcome.elapsed)
        }
    }

    /// Memory.
    pub(crate) fn memory(name: &str, what: &str, mib: f64) -> Self {
        Self { mib: Some(mib), ..Self::named(name, what) }
    }

    /// A number of its own kind.
    pub(crate) fn value(name: &str, what: &str, value: f64) -> Self {
        Self { value: Some(value), ..Self::named(name, what) }
    }

    /// Processor seconds that went by while they were counted.
    pub(crate) fn with_cpu(mut self, seconds: f64) -> Self {
        self.cpu_per_1000 = Some(seconds * 1000.0 / self.count.max(1) as f64);
        self
    }

    fn named(name: &str, what: &str) -> Self {
        Self { name: name.to_owned(), what: what.to_owned(), ..Self::default() }
    }
}

/// Several runs of one measurement: a figure of medians, and the extremes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sum {
    /// Medians; counts and errors are those of all runs together.
    #[serde(flatten)]
    pub(crate) median: Figure,
    /// How many runs there were.
    pub(crate) runs: usize,
    /// The slowest run.
    pub(crate) per_second_min: f64,
    /// The fastest run.
    pub(crate) per_second_max: f64,
}

/// Sums up, in the order in which the measurements came first.
pub(crate) fn sums(figures: &[Figure]) -> Vec<Sum> {
    let mut order = Vec::new();
    let mut runs: BTreeMap<&str, Vec<&Figure>> = BTreeMap::new();
    for figure in figures {
        let list = runs.entry(&figure.name).or_default();
        if list.is_empty() {
            order.push(figure.name.as_str());
        }
        list.push(figure);
    }
    order.iter().filter_map(|name| sum(runs.get(name)?)).collect()
}

fn sum(runs: &[&Figure]) -> Option<Sum> {
    let first = *runs.first()?;
    let middle = |of: &dyn Fn(&Figure) -> Option<f64>| {
        median(runs.iter().filter_map(|run| of(run)).collect())
    };
    let latency = |of: fn(&Latency) -> f64| middle(&|run| run.latency.as_ref().map(of));
    let latency = latency(|l| l.p50).map(|p50| Latency {
        p50,
        p90: latency(|l| l.p90).unwrap_or_default(),
        p99: latency(|l| l.p99).unwrap_or_default(),
        p999: latency(|l| l.p999).unwrap_or_default(),
        max: latency(|l| l.max).unwrap_or_default(),
    });
    let median = Figure {
        count: runs.iter().map(|run| run.count).sum(),
        seconds: runs.iter().map(|run| run.seconds).sum(),
        per_second: middle(&|run| Some(run.per_second)).unwrap_or_default(),
        asked_per_second: middle(&|run| run.asked_per_second),
        latency,
        cpu_per_1000: middle(&|run| run.cpu_per_1000),
        mib: middle(&|run| run.mib),
        value: middle(&|run| run.value),
        errors: runs.iter().map(|run| run.errors).sum(),
        error: runs.iter().find_map(|run| run.error.clone()),
        ..first.clone()
    };
    let rates = runs.iter().map(|run| run.per_second);
    Some(Sum {
        median,
        runs: runs.len(),
        per_second_min: rates.clone().fold(f64::INFINITY, f64::min),
        per_second_max: rates.fold(0.0, f64::max),
    })
}

/// The middle one; of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let even = values.len().is_multiple_of(2);
    let lower = if even { *values.get(values.len() / 2 - 1)? } else { upper };
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_name_become_their_median() {
        let second = Duration::from_secs(1);
        let figure = |name: &str, count| Figure::rate(name, "", count, second).with_cpu(2.0);
        let all = [figure("b", 10), figure("a", 7), figure("b", 30), figure("b", 20)];
        let sums = sums(&all);
        let seen: Vec<_> =
            sums.iter().map(|sum| (sum.median.name.as_str(), sum.median.per_second)).collect();
        assert_eq!(seen, [("b", 20.0), ("a", 7.0)]);
        assert_eq!((sums[0].per_second_min, sums[0].per_second_max), (10.0, 30.0));
        assert_eq!(sums[0].median.cpu_per_1000, Some(100.0));
        assert_eq!(median(vec![1.0, 4.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
