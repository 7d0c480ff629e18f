//! Whose turn it is: fair between destinations, fair between campaigns within a destination, urgent
//! before normal before low, and never more than a destination's share at once. Pure.
//!
//! Some room is kept for destinations that have little of it: without that, a few slow ones would hold
//! all of it at last, since each of their attempts ends so much later than those of the others.

use std::collections::{HashMap, VecDeque};

/// How many attempts may be under way; at least one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// Over all destinations.
    pub total: usize,
    /// For one destination.
    pub per_lane: usize,
}

/// One of so many attempts is kept: lanes take of those no more than their even share of them. The
/// price is that they are not used while all that waits is for a few destinations.
const KEPT_OF: usize = 4;

/// Waiting deliveries, sorted into lanes.
#[derive(Debug)]
pub struct Lanes<T> {
    limits: LaneLimits,
    lanes: HashMap<String, Lane<T>>,
    /// Lanes that have something waiting and room for it, each once, in turn.
    ready: VecDeque<String>,
    in_flight: usize,
    waiting: usize,
}

#[derive(Debug)]
struct Lane<T> {
    /// One queue of campaigns for each priority, most urgent first.
    queues: [Campaigns<T>; 3],
    in_flight: usize,
    is_ready: bool,
}

/// Campaigns take turns.
#[derive(Debug)]
struct Campaigns<T> {
    turns: VecDeque<String>,
    items: HashMap<String, VecDeque<T>>,
}

impl<T> Default for Campaigns<T> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), items: HashMap::new() }
    }
}

impl<T> Campaigns<T> {
    fn push(&mut self, campaign: &str, item: T) {
        match self.items.get_mut(campaign) {
            Some(items) => items.push_back(item),
            None => {
                self.turns.push_back(campaign.to_owned());
                self.items.insert(campaign.to_owned(), VecDeque::from([item]));
            }
        }
    }

    fn pop(&mut self) -> Option<T> {
        let campaign = self.turns.pop_front()?;
        let items = self.items.get_mut(&campaign)?;
        let item = items.pop_front();
        if items.is_empty() {
            self.items.remove(&campaign);
        } else {
            self.turns.push_back(campaign);
        }
        item
    }
}

impl<T> Lanes<T> {
    /// No lanes yet.
    pub fn new(limits: LaneLimits) -> Self {
        let (lanes, ready) = (HashMap::new(), VecDeque::new());
        Self { limits, lanes, ready, in_flight: 0, waiting: 0 }
    }

    /// From here on these limits hold. What is under way beyond them goes on.
    pub fn limit(&mut self, limits: LaneLimits) {
        if self.limits == limits {
            return;
        }
        self.limits = limits;
        let names: Vec<_> = self.lanes.keys().cloned().collect();
        for name in names {
            self.offer(&name);
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether no attempt can begin before another has ended.
    pub fn is_full(&self) -> bool {
        self.in_flight >= self.limits.total
    }

    /// How many are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether something could start as soon as there is room for it. What waits behind the many of its
    /// own lane could not.
    pub fn has_ready(&self) -> bool {
        let could = |name: &String| self.lanes.get(name).is_some_and(|lane| self.may_start(lane));
        self.ready.iter().any(could)
    }

    /// Whether a lane may take of what room there is.
    fn may_start(&self, lane: &Lane<T>) -> bool {
        let kept = (self.limits.total / KEPT_OF).max(usize::from(self.limits.total > 1));
        let share = kept / self.lanes.len().max(1);
        self.in_flight + kept < self.limits.total || lane.in_flight < share.max(1)
    }

    /// Adds a delivery. `priority` is 0 (most urgent) to 2.
    pub fn push(&mut self, lane: &str, priority: usize, campaign: &str, item: T) {
        if !self.lanes.contains_key(lane) {
            let new = Lane { queues: Default::default(), in_flight: 0, is_ready: false };
            self.lanes.insert(lane.to_owned(), new);
        }
        if let Some(found) = self.lanes.get_mut(lane) {
            found.queues[priority.min(2)].push(campaign, item);
            self.waiting += 1;
            self.offer(lane);
        }
    }

    /// The next delivery that may start, with its lane. It counts as under way until [`Self::done`].
    pub fn pop(&mut self) -> Option<(String, T)> {
        if self.is_full() {
            return None;
        }
        let name = self.next_ready()?;
        let lane = self.lanes.get_mut(&name)?;
        let item = lane.queues.iter_mut().find_map(Campaigns::pop)?;
        lane.in_flight += 1;
        self.in_flight += 1;
        self.waiting -= 1;
        self.offer(&name);
        Some((name, item))
    }

    /// The lane whose turn it is. Lanes that may take nothing of what is left go to the end; each has
    /// attempts under way, so there are never more of them than of those.
    fn next_ready(&mut self) -> Option<String> {
        for _ in 0..self.ready.len() {
            let name = self.ready.pop_front()?;
            let lane = self.lanes.get(&name)?;
            // It may have been ready under an earlier limit; it is looked at again when one of it ends.
            let has_room = lane.in_flight < self.limits.per_lane;
            let may_start = self.may_start(lane);
            if has_room && !may_start {
                self.ready.push_back(name);
                continue;
            }
            self.lanes.get_mut(&name)?.is_ready = false;
            if has_room {
                return Some(name);
            }
        }
        None
    }

    /// A delivery of this lane has ended.
    pub fn done(&mut self, name: &str) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(name) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            if lane.in_flight == 0 && lane.queues.iter().all(|queue| queue.turns.is_empty()) {
                // A lane without work is forgotten, so that old destinations cost nothing.
                self.lanes.remove(name);
            } else {
                self.offer(name);
            }
        }
    }

    /// Takes everything that waits.
    pub fn drain(&mut self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.waiting);
        for lane in self.lanes.values_mut() {
            for queue in &mut lane.queues {
                while let Some(item) = queue.pop() {
                    all.push(item);
                }
            }
        }
        self.waiting = 0;
        all
    }

    fn offer(&mut self, name: &str) {
        let Some(lane) = self.lanes.get_mut(name) else {
            return;
        };
        let has_work = lane.queues.iter().any(|queue| !queue.turns.is_empty());
        if has_work && !lane.is_ready && lane.in_flight < self.limits.per_lane {
            lane.is_ready = true;
            self.ready.push_back(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(total: usize, per_lane: usize) -> Lanes<&'static str> {
        Lanes::new(LaneLimits { total, per_lane })
    }

    fn order(lanes: &mut Lanes<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| {
            let (lane, item) = lanes.pop()?;
            lanes.done(&lane);
            Some(item)
        })
        .collect()
    }

    #[test]
    fn destinations_take_turns() {
        let mut lanes = lanes(10, 10);
        for item in ["a1", "a2", "a3"] {
            lanes.push("a", 1, "", item);
        }
        lanes.push("b", 1, "", "b1");
        assert_eq!(order(&mut lanes), ["a1", "b1", "a2", "a3"]);
    }

    #[test]
    fn urgent_goes_first_and_campaigns_take_turns() {
        let mut lanes = lanes(10, 10);
        lanes.push("a", 1, "x", "x1");
        lanes.push("a", 1, "x", "x2");
        lanes.push("a", 1, "y", "y1");
        lanes.push("a", 2, "z", "low");
        lanes.push("a", 0, "x", "urgent");
        assert_eq!(order(&mut lanes), ["urgent", "x1", "y1", "x2", "low"]);
    }

    #[test]
    fn limits_hold_and_free_again() {
        let mut lanes = lanes(3, 2);
        for item in ["a1", "a2", "a3"] {
            lanes.push("a", 1, "", item);
        }
        lanes.push("b", 1, "", "b1");
        lanes.push("c", 1, "", "c1");
        let started: Vec<_> = std::iter::from_fn(|| lanes.pop()).map(|(_, item)| item).collect();
        assert_eq!(started, ["a1", "b1", "c1"]);
        lanes.done("b");
        lanes.done("c");
        assert_eq!(lanes.pop().map(|(_, item)| item), Some("a2"));
        assert_eq!(lanes.pop(), None, "lane a is full");
        lanes.done("a");
        assert_eq!(lanes.pop().map(|(_, item)| item), Some("a3"));
        assert_eq!((lanes.waiting(), lanes.in_flight()), (0, 2));
    }

    #[test]
    fn slow_destinations_leave_room_for_the_others() {
        let mut lanes = lanes(8, 6);
        for slow in ["s1", "s2", "s3", "s4"] {
            for _ in 0..10 {
                lanes.push(slow, 1, "", slow);
            }
        }
        let started = std::iter::from_fn(|| lanes.pop()).count();
        assert_eq!(started, 6, "of 8, two are kept for who has none");
        for quick in ["q1", "q2"] {
            for _ in 0..5 {
                lanes.push(quick, 1, "", quick);
            }
        }
        assert!(lanes.has_ready());
        let mut quick = Vec::new();
        while let Some((lane, item)) = lanes.pop() {
            lanes.done(&lane);
            quick.push(item);
        }
        assert_eq!(quick.iter().filter(|item| item.starts_with('q')).count(), 10, "{quick:?}");
        assert_eq!(quick.len(), 10, "none of the slow ones took what was kept: {quick:?}");
        assert!(!lanes.has_ready(), "what is left waits for its own");
        lanes.done("s1");
        assert!(lanes.pop().is_some_and(|(_, item)| item.starts_with('s')));
        assert_eq!(lanes.pop(), None);
    }

    #[test]
    fn limits_change_under_way() {
        let mut lanes = lanes(10, 1);
        for item in ["a1", "a2", "a3", "a4"] {
            lanes.push("a", 1, "", item);
        }
        assert_eq!(lanes.pop().map(|(_, item)| item), Some("a1"));
        assert_eq!(lanes.pop(), None);
        lanes.limit(LaneLimits { total: 10, per_lane: 3 });
        assert_eq!(lanes.pop().map(|(_, item)| item), Some("a2"));
        // The third was ready already.
        lanes.limit(LaneLimits { total: 10, per_lane: 2 });
        assert_eq!(lanes.pop(), None);
        lanes.done("a");
        assert_eq!(lanes.pop().map(|(_, item)| item), Some("a3"));
        lanes.limit(LaneLimits { total: 1, per_lane: 5 });
        assert_eq!(lanes.pop(), None);
        lanes.limit(LaneLimits { total: 5, per_lane: 5 });
        assert_eq!(lanes.pop().map(|(_, item)| item), Some("a4"));
    }

    #[test]
    fn draining_gives_everything_back() {
        let mut lanes = lanes(1, 1);
        lanes.push("a", 1, "x", "1");
        lanes.push("b", 2, "y", "2");
        let mut all = lanes.drain();
        all.sort_unstable();
        assert_eq!((all, lanes.waiting()), (vec!["1", "2"], 0));
    }
}
