//! Collecting: which events which endpoint wants, from the feed that never skips.

use std::collections::{BTreeMap, HashMap};

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

/// How far endpoints have looked at the feed without finding anything they want: not worth a write
/// for each commit of mail. Counts for as long as the stored cursor is the one it was found behind.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<WebhookId, (i64, i64)>);

impl Seen {
    fn cursor(&self, endpoint: &Endpoint) -> i64 {
        match self.0.get(&endpoint.id) {
            Some((stored, seen)) if *stored == endpoint.cursor => *seen,
            _ => endpoint.cursor,
        }
    }
}

/// Collects the next events for all endpoints: a page for each place in the feed that one of them has
/// reached, so one that lags holds up no other. `persist` says that cursors are stored in any case.
pub(super) async fn collect(
    posting: &Posting,
    endpoints: &[Endpoint],
    seen: &mut Seen,
    persist: bool,
) -> Result<Round, Error> {
    let mut places: BTreeMap<i64, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        places.entry(seen.cursor(endpoint)).or_default().push(endpoint);
    }
    let mut round = Round::default();
    for (after, endpoints) in places {
        collect_behind(posting, after, &endpoints, seen, persist, &mut round).await?;
    }
    Ok(round)
}

async fn collect_behind(
    posting: &Posting,
    after: i64,
    endpoints: &[&Endpoint],
    seen: &mut Seen,
    persist: bool,
    round: &mut Round,
) -> Result<(), Error> {
    let db = &*posting.db;
    // Asked first: up to here nothing can appear any more.
    let tail = ledger::tail(db).await?;
    if tail <= after {
        return Ok(());
    }
    let events = ledger::events(db, &EventFilter::default(), after, PAGE).await?;
    let is_full = events.len() == PAGE;
    let last = events.last().map_or(after, |event| event.sequence);
    let known = if is_full { last } else { tail.max(last) };
    let mut collected = Vec::new();
    for endpoint in endpoints {
        let one = wanted(endpoint, &events, known);
        if persist || !one.events.is_empty() {
            collected.push(one);
        } else {
            seen.0.insert(endpoint.id, (endpoint.cursor, known));
        }
    }
    if !collected.is_empty() {
        webhook_deliveries::collect(db, &collected, posting.clock.now_ms()).await?;
    }
    let with_news = collected.into_iter().filter(|one| !one.events.is_empty());
    round.endpoints.extend(with_news.map(|one| one.endpoint));
    round.is_more |= is_full;
    Ok(())
}

fn wanted(endpoint: &Endpoint, events: &[EventRow], known: i64) -> Collected {
    let wanted = events.iter().filter(|event| wants(endpoint, event));
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
