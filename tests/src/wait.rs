//! Waiting for a thing to be so, looked at often and for a limited time.

use std::time::Duration;

use anyhow::bail;

/// No wait takes longer: a test that needs it has failed.
pub const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until there is a value; says what was waited for when there is none in time.
pub async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let search = async {
        loop {
            ticks.tick().await;
            if let Some(found) = look().await? {
                return Ok(found);
            }
        }
    };
    match tokio::time::timeout(LIMIT, search).await {
        Ok(found) => found,
        Err(_) => bail!("{what}: not within {} s", LIMIT.as_secs()),
    }
}
