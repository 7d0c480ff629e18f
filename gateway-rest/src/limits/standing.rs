//! How a caller stands with its limits, and how answers say so: in the `RateLimit` fields of the
//! IETF draft, in their older twins, and in `GET /v1/limits`.
//!
//! Pure; a crash has nothing to lose.

use std::time::Duration;

use axum::response::Response;
use http::HeaderValue;
use postern_proto::status::Failure;
use postern_proto::v1::RateLimit;

/// What is counted, and in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    name: &'static str,
    unit: &'static str,
    window_seconds: Option<u32>,
}

/// Requests of one API key.
pub(super) const API: Policy = requests("api");
/// Requests of one address without a key.
pub(super) const IP: Policy = requests("ip");
/// Webhooks of one address.
pub(super) const WEBHOOKS: Policy = requests("webhooks");
/// Refused credentials of one address.
pub(super) const FAILURES: Policy = requests("failures");
/// Requests under way.
pub(super) const CONC: Policy =
    Policy { name: "conc", unit: "concurrent-requests", window_seconds: None };

/// All of them; the core counts recipients.
const ALL: [Policy; 7] =
    [API, IP, WEBHOOKS, FAILURES, CONC, recipients("send"), recipients("send-total")];

const fn requests(name: &'static str) -> Policy {
    Policy { name, unit: "requests", window_seconds: Some(60) }
}

const fn recipients(name: &'static str) -> Policy {
    Policy { name, unit: "recipients", window_seconds: Some(86_400) }
}

impl Policy {
    /// A refusal that names this policy.
    pub(super) fn name_in(self, failure: Failure, quota: u32) -> Failure {
        failure.with("policy", self.name).with("limit", quota.to_string())
    }
}

/// How much of one limit is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(super) policy: Policy,
    pub(super) quota: u64,
    pub(super) remaining: u64,
    /// When all of it is there again.
    pub(super) reset_seconds: Option<u64>,
}

impl Standing {
    /// The name of the limit.
    pub(crate) fn limit(&self) -> &'static str {
        self.policy.name
    }

    /// The standing of someone who was refused.
    pub(crate) fn exhausted(failure: &Failure) -> Option<Self> {
        let value = |name: &str| failure.metadata.iter().find(|(key, _)| key == name);
        let (_, name) = value("policy")?;
        let policy = ALL.into_iter().find(|policy| policy.name == name)?;
        let quota = value("limit")?.1.parse().ok()?;
        let reset_seconds = whole_seconds(failure.retry_after.unwrap_or_default());
        let reset_seconds = policy.window_seconds.map(|_| reset_seconds);
        Some(Self { policy, quota, remaining: 0, reset_seconds })
    }
}

/// How a caller stands with every limit that was looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standings(Vec<Standing>);

impl Standings {
    pub(super) fn add(&mut self, standing: Standing) {
        self.0.push(standing);
    }

    /// A limit turned out to be used up. It comes first, because only the first one has twins.
    pub(crate) fn exhaust(&mut self, standing: Standing) {
        self.0.retain(|other| other.policy != standing.policy);
        self.0.insert(0, standing);
    }

    /// Writes the standings into an answer, where there are some.
    pub(crate) fn write(&self, response: &mut Response, with_twins: bool) {
        let Some(first) = self.0.first() else { return };
        let headers = response.headers_mut();
        let mut put = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        put("ratelimit-policy", self.list(policy_item));
        put("ratelimit", self.list(standing_item));
        if with_twins {
            put("x-ratelimit-limit", first.quota.to_string());
            put("x-ratelimit-remaining", first.remaining.to_string());
            put("x-ratelimit-reset", first.reset_seconds.unwrap_or(1).to_string());
        }
    }

    /// The standings as the contract has them.
    pub(crate) fn rate_limits(&self) -> impl Iterator<Item = RateLimit> {
        let seconds = |seconds| prost_types::Duration { seconds, nanos: 0 };
        self.0.iter().map(move |standing| RateLimit {
            policy: standing.policy.name.to_owned(),
            unit: standing.policy.unit.to_owned(),
            quota: standing.quota as i64,
            window: standing.policy.window_seconds.map(|window| seconds(window.into())),
            remaining: standing.remaining as i64,
            reset: standing.reset_seconds.map(|reset| seconds(reset as i64)),
        })
    }

    fn list(&self, item: fn(&Standing) -> String) -> String {
        self.0.iter().map(item).collect::<Vec<_>>().join(", ")
    }
}

fn policy_item(standing: &Standing) -> String {
    let Standing { policy: Policy { name, unit, window_seconds }, quota, .. } = standing;
    match (window_seconds, *unit) {
        (None, unit) => format!("\"{name}\";q={quota};qu=\"{unit}\""),
        // What is counted goes without saying when it is requests.
        (Some(window), "requests") => format!("\"{name}\";q={quota};w={window}"),
        (Some(window), unit) => format!("\"{name}\";q={quota};w={window};qu=\"{unit}\""),
    }
}

fn standing_item(standing: &Standing) -> String {
    let Standing { policy: Policy { name, .. }, remaining, reset_seconds, .. } = standing;
    match reset_seconds {
        Some(reset) => format!("\"{name}\";r={remaining};t={reset}"),
        None => format!("\"{name}\";r={remaining}"),
    }
}

pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1) as u64
}
