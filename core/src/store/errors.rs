//! What went wrong lately, read from the events.

use crate::model::event::EventRow;

use super::db::Database;
use super::value::Value;
use super::{Error, ledger};

/// Events that are looked at, the newest ones.
pub const SEEN_MAX: usize = 10_000;

/// What went wrong since a time, newest first; of one campaign if that is named. At most
/// [`SEEN_MAX`] and one more, by which a caller sees that there are more.
pub async fn since(
    db: &dyn Database,
    since_ms: i64,
    campaign_id: &str,
) -> Result<Vec<EventRow>, Error> {
    let mut params: Vec<Value> = vec![since_ms.into()];
    let mut campaign = "";
    if !campaign_id.is_empty() {
        params.push(campaign_id.into());
        campaign = "AND m.campaign_id = $2";
    }
    // Deferred, bounced, failed, expired: the kinds as in the index, so that it serves.
    let rest = format!(
        "WHERE e.type IN (4, 6, 7, 8) AND e.create_ms >= $1 {campaign} \
         ORDER BY e.sequence DESC LIMIT {}",
        SEEN_MAX + 1
    );
    ledger::selected(db, &rest, params).await
}
