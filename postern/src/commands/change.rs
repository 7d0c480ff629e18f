//! What `update` and `rotate` of both kinds of credentials have in common. Pure.

use anyhow::{Context as _, bail};
use postern_kit::env::parse_duration;
use postern_proto::time::timestamp;
use postern_proto::v1::{TrackingOptions, UnsubscribeOptions};
use prost_types::{Duration, FieldMask, Timestamp};

use super::wishes;
use crate::cli::Changes;

/// What empties a list.
const ANY: &str = "any";
/// What takes an end away.
const NEVER: &str = "never";

/// The fields to change, with the values of those that both kinds have.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) mask: FieldMask,
    pub(super) display_name: String,
    pub(super) sender_domains: Vec<String>,
    pub(super) daily_limit: i64,
    pub(super) ip_allow: Vec<String>,
    pub(super) expire_time: Option<Timestamp>,
    pub(super) tracking: Option<TrackingOptions>,
    pub(super) unsubscribe: Option<UnsubscribeOptions>,
}

impl Change {
    /// Reads the options.
    pub(super) fn new(changes: Changes) -> anyhow::Result<Self> {
        let mut change = Self {
            tracking: wishes::tracking(&changes.wishes),
            unsubscribe: wishes::unsubscribe(&changes.wishes),
            ..Self::default()
        };
        change.names("display_name", changes.name.is_some());
        change.names("sender_domains", !changes.domains.is_empty());
        change.names("daily_limit", changes.daily_limit.is_some());
        change.names("ip_allow", !changes.allow_ip.is_empty());
        change.names("expire_time", changes.expire.is_some());
        change.names("tracking", change.tracking.is_some());
        change.names("unsubscribe", change.unsubscribe.is_some());
        change.display_name = changes.name.unwrap_or_default();
        change.sender_domains = list(changes.domains, ANY);
        change.daily_limit = changes.daily_limit.unwrap_or_default();
        change.ip_allow = list(changes.allow_ip, ANY);
        change.expire_time = changes.expire.as_deref().map(time).transpose()?.flatten();
        Ok(change)
    }

    /// Notes that a field is to change, if it is.
    pub(super) fn names(&mut self, path: &str, is_given: bool) {
        if is_given {
            self.mask.paths.push(path.to_owned());
        }
    }

    /// The mask of at least one field.
    pub(super) fn mask(&self) -> anyhow::Result<Option<FieldMask>> {
        if self.mask.paths.is_empty() {
            bail!("say what is to change; --help lists the options");
        }
        Ok(Some(self.mask.clone()))
    }
}

/// What was given, or nothing when that is the word for it.
pub(super) fn list(given: Vec<String>, nothing: &str) -> Vec<String> {
    if given == [nothing] { Vec::new() } else { given }
}

/// How long the old secret works on.
pub(super) fn overlap(text: &str) -> anyhow::Result<Option<Duration>> {
    let overlap = parse_duration(text);
    let overlap = overlap.with_context(|| format!("--overlap {text}: write 30m, 24h or 7d"))?;
    let seconds = i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX);
    Ok(Some(Duration { seconds, nanos: overlap.subsec_nanos() as i32 }))
}

fn time(text: &str) -> anyhow::Result<Option<Timestamp>> {
    if text == NEVER {
        return Ok(None);
    }
    let time: jiff::Timestamp = text
        .parse()
        .with_context(|| format!("--expire {text}: write 2027-01-31T00:00:00Z, or never"))?;
    Ok(Some(timestamp(time.as_millisecond())))
}
