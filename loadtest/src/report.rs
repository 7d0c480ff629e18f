//! One JSON line for each measurement.

use std::io::Write as _;

use serde::Serialize;

/// A measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: &'static str,
    /// How many happened.
    pub(crate) count: u64,
    /// In how long.
    pub(crate) seconds: f64,
    /// How many a second.
    pub(crate) per_second: f64,
    /// Half of the answers came within this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_ms: Option<f64>,
    /// All but one in a hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ms: Option<f64>,
    /// Answers that were no OK.
    pub(crate) errors: u64,
}

impl Figure {
    /// A figure without latencies.
    pub(crate) fn new(what: &'static str, count: u64, seconds: f64) -> Self {
        let per_second = (count as f64 / seconds).round();
        Self { what, count, seconds, per_second, p50_ms: None, p99_ms: None, errors: 0 }
    }
}

/// Prints a figure.
pub(crate) fn line(figure: &Figure) {
    let text = serde_json::to_string(figure).unwrap_or_default();
    let _gone = writeln!(std::io::stdout().lock(), "{text}");
}
