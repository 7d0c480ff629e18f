//! What recipients do with mail: opens, clicks, unsubscriptions.
//!
//! Recording is a transaction: hit, first place, event and counters are on stable storage together,
//! and a hit whose id was there before changes nothing. So an edge that got no answer asks again.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use postern_proto::ids::{EventId, HitId, MessageId, RecipientId};
use postern_proto::v1::Verdict;
use sha2::{Digest as _, Sha256};

use crate::model::directory::Suppression;
use crate::model::event::{Counter, Engagement, EventType, NewEvent};

use super::Error;
use super::plan::Count;

/// An open or a click of a recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct NewHit {
    /// The edge's id; the event takes it over.
    pub id: HitId,
    /// Whose mail.
    pub delivery: RecipientId,
    /// [`EventType::Opened`] or [`EventType::Clicked`].
    pub kind: EventType,
    /// Which link counts as the same one; 0 for opens.
    pub link: i64,
    /// When.
    pub create_ms: i64,
    /// The rest. Whether it is the first is found out here.
    pub engagement: Engagement,
}

/// What became of a batch of hits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Recorded now.
    pub new: usize,
    /// Recorded before.
    pub repeated: usize,
    /// Of no known delivery.
    pub unknown: usize,
}

/// A change of what a recipient wants.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Suppressions to be made, as far as there are none for the address and campaign.
    pub add: Vec<Suppression>,
    /// Unsubscriptions to be taken back: address and campaign.
    pub remove: Vec<(String, String)>,
    /// The event, written only when something changed. None when we know of the recipient from the
    /// old system only.
    pub event: Option<(NewEvent, Engagement)>,
}

/// Records what recipients do.
#[async_trait]
pub trait Tracking: Send + Sync {
    /// Records hits. The first of each kind is decided here, atomically.
    async fn record(&self, hits: Vec<NewHit>) -> Result<Recorded, Error>;

    /// Suppresses, or takes a suppression back. Tells whether anything changed.
    async fn wish(&self, wish: Wish) -> Result<bool, Error>;
}

/// Which clicks count as clicks of the same link where links have no index: those of one url.
pub fn link_of_url(url: &str) -> i64 {
    let digest = Sha256::digest(url.as_bytes());
    let first = digest.first_chunk::<8>().map_or(0, |octets| i64::from_be_bytes(*octets));
    // Never among the indexes.
    first | i64::MIN
}

/// A place that one hit can be the first to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) delivery: RecipientId,
    pub(super) kind: i64,
    pub(super) link: i64,
    pub(super) bot: bool,
}

const OPEN: i64 = 1;
const CLICK_OF_LINK: i64 = 2;
const CLICK: i64 = 3;

impl NewHit {
    fn is_bot(&self) -> bool {
        self.engagement.verdict() == Verdict::Bot
    }

    /// The place that makes it first, and the one that counts its recipient.
    fn places(&self) -> [Place; 2] {
        let place = |kind, link| Place { delivery: self.delivery, kind, link, bot: self.is_bot() };
        match self.kind {
            EventType::Clicked => [place(CLICK_OF_LINK, self.link), place(CLICK, 0)],
            _ => [place(OPEN, 0); 2],
        }
    }
}

/// The places of hits, sorted, so that transactions take them in the same order.
pub(super) fn places(hits: &[NewHit]) -> Vec<Place> {
    let mut places: Vec<_> = hits.iter().flat_map(NewHit::places).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// What a hit's delivery belongs to: message and campaign.
pub(super) type Owners = HashMap<RecipientId, (MessageId, String)>;

/// Events to be written, and how to count them.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) events: Vec<(NewEvent, Engagement)>,
    pub(super) counts: Vec<Count>,
}

/// Makes events of hits that were not recorded before. `free` are the places nobody had taken; of
/// several hits the earliest takes one.
pub(super) fn outcome(mut hits: Vec<NewHit>, owners: &Owners, mut free: HashSet<Place>) -> Outcome {
    hits.sort_by_key(|hit| hit.create_ms);
    let (mut events, mut counts) = (Vec::with_capacity(hits.len()), Counts::default());
    for mut hit in hits {
        let Some((message_id, campaign_id)) = owners.get(&hit.delivery) else { continue };
        let [own, recipient] = hit.places();
        let counts_recipient = free.remove(&recipient);
        hit.engagement.first = if own == recipient { counts_recipient } else { free.remove(&own) };
        let (unique, by_bots) = match hit.kind {
            EventType::Clicked => (Counter::UniqueClicks, Counter::BotClicks),
            _ => (Counter::UniqueOpens, Counter::BotOpens),
        };
        counts.add(hit.create_ms, campaign_id, Counter::Events(hit.kind));
        if hit.is_bot() {
            counts.add(hit.create_ms, campaign_id, by_bots);
        } else if counts_recipient {
            counts.add(hit.create_ms, campaign_id, unique);
        }
        let event = NewEvent {
            id: EventId::from_uuid(hit.id.uuid()),
            kind: hit.kind,
            create_ms: hit.create_ms,
            message_id: *message_id,
            delivery_id: hit.delivery,
            campaign_id: campaign_id.clone(),
            attempt: 0,
            reason: String::new(),
            reply: None,
            possible_duplicate: false,
            next_ms: None,
        };
        events.push((event, hit.engagement));
    }
    Outcome { events, counts: counts.sorted() }
}

/// The event of a wish, and how to count it.
pub(super) fn wished((event, engagement): (NewEvent, Engagement)) -> Outcome {
    let mut counts = Counts::default();
    counts.add(event.create_ms, &event.campaign_id, Counter::Events(event.kind));
    Outcome { counts: counts.sorted(), events: vec![(event, engagement)] }
}

/// Sums up by hour, campaign and counter.
#[derive(Default)]
struct Counts(BTreeMap<(i64, String, i64), i64>);

impl Counts {
    fn add(&mut self, at_ms: i64, campaign: &str, counter: Counter) {
        let hour_ms = at_ms - at_ms.rem_euclid(3_600_000);
        *self.0.entry((hour_ms, campaign.to_owned(), counter.number())).or_default() += 1;
    }

    fn sorted(self) -> Vec<Count> {
        let count =
            |((hour_ms, campaign_id, kind), count)| Count { hour_ms, campaign_id, kind, count };
        self.0.into_iter().map(count).collect()
    }
}
