//! Times on the command line. Pure.

use anyhow::Context as _;
use jiff::Timestamp;
use postern_proto::time::timestamp;

/// The time that an option says.
pub(super) fn time(option: &str, text: &str) -> anyhow::Result<prost_types::Timestamp> {
    let time: Timestamp = text
        .parse()
        .with_context(|| format!("{option} {text} is no time such as 2026-11-23T04:00:00Z"))?;
    Ok(timestamp(time.as_millisecond()))
}

/// The time that an option says, where it is given.
pub(super) fn given(
    option: &str,
    text: Option<&str>,
) -> anyhow::Result<Option<prost_types::Timestamp>> {
    text.map(|text| time(option, text)).transpose()
}
