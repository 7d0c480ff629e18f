//! Collecting: which events which endpoint wants, from the feed that never skips.

use postern_proto::ids::WebhookId;

use crate::model::event::{EventFilter, EventRow};
use crate::model::webhook::{Endpoint, Format};
use crate::store::webhook_deliveries::{self, Collected};
use crate::store::{Error, ledger};

use super::{Posting, legacy};

/// Events of one round.
const PAGE: usize = 500;

/// What a round has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// Endpoints that have something new.
    pub(super) endpoints: Vec<WebhookId>,
    /// There was more than fits one round.
    pub(super) is_more: bool,
}

/// Collects the next events for all endpoints.
pub(super) async fn collect(posting: &Posting, endpoints: &[Endpoint]) -> Result<Round, Error> {
    let Some(after) = endpoints.iter().map(|endpoint| endpoint.cursor).min() else {
        return Ok(Round::default());
    };
    let db = &*posting.db;
    // Asked first: up to here nothing can appear any more.
    let tail = ledger::tail(db).await?;
    if tail <= after {
        return Ok(Round::default());
    }
    let events = ledger::events(db, &EventFilter::default(), after, PAGE).await?;
    let is_more = events.len() == PAGE;
    let last = events.last().map_or(after, |event| event.sequence);
    let known = if is_more { last } else { tail.max(last) };
    let collected: Vec<_> =
        endpoints.iter().map(|endpoint| wanted(endpoint, &events, known)).collect();
    webhook_deliveries::collect(db, &collected, posting.clock.now_ms()).await?;
    let with_news = collected.into_iter().filter(|one| !one.events.is_empty());
    Ok(Round { endpoints: with_news.map(|one| one.endpoint).collect(), is_more })
}

fn wanted(endpoint: &Endpoint, events: &[EventRow], known: i64) -> Collected {
    let behind = events.iter().filter(|event| event.sequence > endpoint.cursor);
    let wanted = behind.filter(|event| wants(endpoint, event));
    Collected {
        endpoint: endpoint.id,
        events: wanted.map(|event| (event.sequence, event.event.id)).collect(),
        cursor: known,
    }
}

/// Whether an event is one for an endpoint.
pub(crate) fn wants(endpoint: &Endpoint, row: &EventRow) -> bool {
    let wanted = &endpoint.wanted;
    wanted.wants_type(row.event.kind)
        && wanted.wants_campaign(&row.event.campaign_id)
        && (wanted.format != Format::Legacy || legacy::word(row).is_some())
}
