//! `postMailingOpenClicksData`: what recipients did, campaign by campaign.
//!
//! Bots are left out, and so is mail of test keys. A campaign whose name is no number is none of AMS's.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use postern_kit::backoff;
use postern_proto::settings::{AMS_BATCH_ITEMS, AMS_GIVE_UP, AMS_RETRY_INTERVAL};
use postern_proto::v1::Verdict;
use serde_json::{Value, json};

use crate::model::event::{EventFilter, EventRow, EventType};
use crate::store::ams::{self, Parked, Waiting};

use super::rpc::AmsError;
use super::{Channel, RoundError, TURN_MS};

const PAUSE_MAX: Duration = Duration::from_secs(3600);
const OPEN: &str = "open_trace";
/// What AMS does with an address: no more mail, and on its list of the unsubscribed.
const UNSUBSCRIBE: &str = "Unsubscribe_Click:DC,AE{|;";

/// The events of one campaign, and what AMS is told of them.
#[derive(Debug, Default, PartialEq)]
struct Batch {
    sequences: Vec<i64>,
    items: Vec<Value>,
}

impl Channel {
    /// Tells what happened since the last time.
    pub(super) async fn tell(&self) -> Result<(), RoundError> {
        let filter = EventFilter {
            kinds: vec![EventType::Opened, EventType::Clicked, EventType::Unsubscribed],
            ..EventFilter::default()
        };
        loop {
            let now_ms = self.clock.now_ms();
            let turn = ams::take_turn(&*self.db, self.node, now_ms, now_ms + TURN_MS).await?;
            let Some(after) = turn else { return Ok(()) };
            let limit = self.directory.now().settings().count(&AMS_BATCH_ITEMS);
            let (events, known) = ams::page(&*self.db, &filter, after, limit).await?;
            let is_all = events.len() < limit;
            let parked = self.tell_events(&events).await?;
            if known > after {
                ams::advance(&*self.db, self.node, known, &parked, now_ms).await?;
            }
            self.metrics.ams.step();
            if is_all {
                return Ok(());
            }
        }
    }

    /// Tells these. Returns those that are to wait.
    async fn tell_events(&self, events: &[EventRow]) -> Result<Vec<Parked>, RoundError> {
        let mut parked = Vec::new();
        if events.is_empty() {
            return Ok(parked);
        }
        let waiting = ams::waiting(&*self.db).await?;
        let waiting: HashMap<_, _> =
            waiting.into_iter().map(|one| (one.campaign_id, one.problem)).collect();
        let (mut taken, mut unreachable) = (0, None);
        for (campaign_id, batch) in by_campaign(events) {
            // Behind those that wait already: AMS is asked for a campaign at its own pace.
            let problem = match waiting.get(&campaign_id) {
                Some(problem) => problem.clone(),
                None => match self.post(&campaign_id, batch.items).await {
                    Ok(()) => {
                        taken += 1;
                        continue;
                    }
                    Err(error @ AmsError::Refused { .. }) => error.to_string(),
                    // Away, or unable to answer for this campaign: the others will tell.
                    Err(error) if unreachable.is_none() || taken > 0 => {
                        let problem = error.to_string();
                        unreachable = Some(error);
                        problem
                    }
                    Err(error) => return Err(error.into()),
                },
            };
            let due_ms = self.clock.now_ms() + self.pause_ms(0);
            parked.push(Parked { campaign_id, sequences: batch.sequences, due_ms, problem });
        }
        match unreachable {
            Some(error) if taken == 0 => Err(error.into()),
            _ => Ok(parked),
        }
    }

    /// Tries parked events again whose time has come.
    pub(super) async fn tell_parked(&self) -> Result<(), RoundError> {
        let now_ms = self.clock.now_ms();
        if ams::take_turn(&*self.db, self.node, now_ms, now_ms + TURN_MS).await?.is_none() {
            return Ok(());
        }
        for waiting in ams::waiting(&*self.db).await? {
            if waiting.due_ms > now_ms {
                continue;
            }
            self.tell_waiting(&waiting, now_ms).await?;
        }
        Ok(())
    }

    async fn tell_waiting(&self, waiting: &Waiting, now_ms: i64) -> Result<(), RoundError> {
        let snapshot = self.directory.now();
        let limit = snapshot.settings().count(&AMS_BATCH_ITEMS);
        let campaign = waiting.campaign_id.as_str();
        loop {
            let events = ams::parked(&*self.db, campaign, limit).await?;
            let last = events.last().map_or(0, |event| event.sequence);
            let items = by_campaign(&events).remove(campaign).unwrap_or_default().items;
            if let Err(error) = self.post(campaign, items).await {
                let is_refused = matches!(error, AmsError::Refused { .. });
                let waits_ms = now_ms - waiting.since_ms;
                if !is_refused || waits_ms <= snapshot.settings().get(&AMS_GIVE_UP) {
                    // Also when there was no answer: it may fail at this campaign only, and the others
                    // have their turn at the next round.
                    let due_ms = now_ms + self.pause_ms(waiting.tries);
                    let problem = error.to_string();
                    tracing::warn!(campaign, problem, "AMS was not told; tried again later");
                    ams::postpone(&*self.db, campaign, due_ms, &problem).await?;
                    return if is_refused { Ok(()) } else { Err(error.into()) };
                }
                let count = events.len();
                tracing::error!(campaign, count, %error, "AMS refused for too long; given up");
            }
            ams::unpark(&*self.db, campaign, last, now_ms).await?;
            if events.len() < limit {
                return Ok(());
            }
        }
    }

    fn pause_ms(&self, tries: i64) -> i64 {
        let first = self.directory.now().settings().time(&AMS_RETRY_INTERVAL);
        let tries = u32::try_from(tries).unwrap_or(u32::MAX);
        let pause = backoff::delay(tries, first, PAUSE_MAX, 10, rand::random());
        i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
    }

    async fn post(&self, campaign_id: &str, items: Vec<Value>) -> Result<(), AmsError> {
        if items.is_empty() {
            return Ok(());
        }
        let count = items.len();
        let params =
            json!({"mailingID": campaign_id.parse::<i64>().ok(), "opensClicksData": items});
        self.ams.call("postMailingOpenClicksData", params).await?;
        self.metrics.ams.step();
        tracing::debug!(campaign = campaign_id, count, "AMS was told what recipients did");
        Ok(())
    }
}

/// What AMS is to be told, by campaign. The same said twice of an address is said once.
fn by_campaign(events: &[EventRow]) -> BTreeMap<String, Batch> {
    let mut batches: BTreeMap<String, Batch> = BTreeMap::new();
    let mut said = HashSet::new();
    for row in events {
        let Some(url) = url(row) else { continue };
        let campaign_id = &row.event.campaign_id;
        let batch = batches.entry(campaign_id.clone()).or_default();
        batch.sequences.push(row.sequence);
        if said.insert((campaign_id, &row.recipient, url)) {
            batch.items.push(json!({"email": row.recipient, "url": url}));
        }
    }
    batches
}

/// How AMS writes what happened; none when it is not told.
fn url(row: &EventRow) -> Option<&str> {
    let engagement = row.engagement.as_ref()?;
    let is_number = row.event.campaign_id.parse::<i64>().is_ok_and(|number| number > 0);
    if row.test || !is_number || engagement.verdict() == Verdict::Bot {
        return None;
    }
    match row.event.kind {
        EventType::Opened => Some(OPEN),
        EventType::Clicked => {
            Some(&engagement.url).filter(|url| !url.is_empty()).map(String::as_str)
        }
        EventType::Unsubscribed => Some(UNSUBSCRIBE),
        _ => None,
    }
}
