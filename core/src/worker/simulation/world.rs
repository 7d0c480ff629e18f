//! The world of one seed: what happens next is drawn, and what happened is noted.

use std::time::Duration;

use postern_proto::ids::{EventId, MessageId, RecipientId};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::model::delivery::{Category, Outcome, Reply, State};
use crate::model::event::{EventFilter, EventType, NewEvent};
use crate::queue::schedule::RetryPolicy;
use crate::queue::state::{Transition, step};
use crate::store::conformance::build;
use crate::store::queue::Finish;
use crate::store::{Stores, leases, ledger, messages};

use super::node::{Job, Node, Stage};
use super::story::{self, Fact, Story};

/// Things that happen before calm sets in.
const STEPS: usize = 80;
/// Rounds in which everything must have come to its end, once nothing fails any more.
const ROUNDS: usize = 100;
/// A node that was not heard of for so long is dead to others.
const TTL_MS: i64 = 30_000;

/// A delivery: the only one of its message.
struct Delivery {
    id: RecipientId,
    message: MessageId,
    expire_ms: i64,
    facts: Vec<Fact>,
}

/// Nodes on one store, at a time of their own.
pub(super) struct World<'a> {
    stores: &'a Stores,
    random: StdRng,
    now_ms: i64,
    nodes: Vec<Node>,
    started: usize,
    deliveries: Vec<Delivery>,
    /// Reports that may arrive once more, later.
    wandering: Vec<(usize, usize, uuid::Uuid, Box<Finish>)>,
    policy: RetryPolicy,
    calm: bool,
}

impl<'a> World<'a> {
    /// A world in which nothing has happened.
    pub(super) fn new(stores: &'a Stores, seed: u64, now_ms: i64) -> Self {
        let delays = [1, 5, 20].map(Duration::from_secs).to_vec();
        Self {
            stores,
            random: StdRng::seed_from_u64(seed),
            now_ms,
            nodes: Vec::new(),
            started: 0,
            deliveries: Vec::new(),
            wandering: Vec::new(),
            policy: RetryPolicy { delays, jitter_percent: 10 },
            calm: false,
        }
    }

    /// Lets things happen, and then everything come to its end. Returns what happened.
    pub(super) async fn live(mut self) -> Vec<Story> {
        for _ in 0..STEPS {
            self.happen().await;
        }
        self.calm = true;
        self.end().await;
        let mut stories = Vec::new();
        for delivery in &self.deliveries {
            stories.push(self.story(delivery).await);
        }
        stories
    }

    fn chance(&mut self, percent: u32) -> bool {
        !self.calm && self.random.random_ratio(percent, 100)
    }

    /// One thing.
    async fn happen(&mut self) {
        if self.nodes.is_empty() {
            return self.start().await;
        }
        let node = self.random.random_range(0..self.nodes.len());
        match self.random.random_range(0..100) {
            0..4 if self.nodes.len() < 3 => self.start().await,
            4..7 => self.crash(node),
            7..10 => self.nodes[node].silent ^= true,
            10..24 => self.now_ms += self.random.random_range(0..6_000),
            24..26 => self.now_ms += self.random.random_range(0..2 * TTL_MS),
            26..34 => self.beat(node).await,
            34..46 if self.deliveries.len() < 6 => self.accept(node).await,
            46..54 => self.claim(node).await,
            54..57 => self.reap().await,
            57..60 => self.disown(node).await,
            60..62 => self.cancel().await,
            62..65 => self.wander().await,
            65..67 => self.give_back(node).await,
            _ => self.work(node).await,
        }
    }

    async fn start(&mut self) {
        let node = Node::start(self.started);
        self.started += 1;
        self.stores.queue.heartbeat(node.id, self.now_ms).await.unwrap();
        self.nodes.push(node);
    }

    /// Its memory is gone. What it was sending may have arrived or not.
    fn crash(&mut self, node: usize) {
        for job in self.nodes.remove(node).jobs {
            if matches!(job.stage, Stage::Sending(_)) && self.random.random_bool(0.5) {
                self.deliveries[job.delivery].facts.push(Fact::Taken);
            }
        }
    }

    async fn beat(&mut self, node: usize) {
        let node = &self.nodes[node];
        if !node.silent {
            self.stores.queue.heartbeat(node.id, self.now_ms).await.unwrap();
        }
    }

    /// A message is accepted, under a lease of the node or for whoever claims it.
    async fn accept(&mut self, node: usize) {
        let mut message = build::message(&["ann@good.test"]);
        message.row.create_ms = self.now_ms;
        message.row.expire_ms = self.now_ms + self.random.random_range(20_000..600_000);
        let number = self.deliveries.len();
        self.deliveries.push(Delivery {
            id: message.recipients[0].id,
            message: message.row.id,
            expire_ms: message.row.expire_ms,
            facts: Vec::new(),
        });
        let lease = self.random.random_bool(0.7).then(|| self.nodes[node].id);
        let submitted = build::submission(message, lease);
        self.stores.intake.accept(vec![submitted].into(), self.now_ms).await.unwrap();
        // The answer may be lost while the lease stands.
        if lease.is_some() && !self.chance(10) {
            self.nodes[node].jobs.push(Job { delivery: number, stage: Stage::Held });
        }
    }

    async fn claim(&mut self, node: usize) {
        let limit = self.random.random_range(1..4);
        let id = self.nodes[node].id;
        let claimed = self.stores.queue.claim(id, self.now_ms, limit).await.unwrap();
        if self.chance(10) {
            return;
        }
        for one in claimed {
            let delivery = self.number(one.id);
            self.nodes[node].jobs.push(Job { delivery, stage: Stage::Held });
        }
    }

    fn number(&self, id: RecipientId) -> usize {
        let found = self.deliveries.iter().position(|delivery| delivery.id == id);
        found.expect("a store hands out only what was put into it")
    }

    async fn reap(&mut self) {
        self.stores.queue.reap(self.now_ms - TTL_MS, self.now_ms).await.unwrap();
    }

    async fn disown(&mut self, node: usize) {
        let held = leases::held_by(&*self.stores.db, self.nodes[node].id).await.unwrap();
        let unknown = held.into_iter().filter(|id| !self.nodes[node].knows(self.number(*id)));
        let unknown = unknown.collect();
        let node = &mut self.nodes[node];
        let orphans: Vec<_> = node.suspects.intersection(&unknown).copied().collect();
        node.suspects = unknown;
        leases::disown(&*self.stores.db, node.id, &orphans).await.unwrap();
    }

    async fn cancel(&mut self) {
        if self.deliveries.is_empty() {
            return;
        }
        let number = self.random.random_range(0..self.deliveries.len());
        let delivery = &mut self.deliveries[number];
        let count = self.stores.queue.cancel(delivery.message, self.now_ms).await.unwrap();
        delivery.facts.extend((count > 0).then_some(Fact::Canceled));
    }

    /// A report arrives once more, whoever sent it and whatever happened since.
    async fn wander(&mut self) {
        let Some((delivery, node, id, finish)) = self.wandering.choose(&mut self.random).cloned()
        else {
            return;
        };
        self.report(delivery, node, id, &finish).await;
    }

    /// Leases of what was not begun are given back, now or until a time.
    async fn give_back(&mut self, node: usize) {
        let held = |job: &Job| matches!(job.stage, Stage::Held);
        let Some(place) = self.nodes[node].jobs.iter().position(held) else { return };
        let job = self.nodes[node].jobs.remove(place);
        let (queue, id) = (&self.stores.queue, self.nodes[node].id);
        let delivery = self.deliveries[job.delivery].id;
        match self.random.random_bool(0.5) {
            true => queue.release(id, &[delivery]).await.unwrap(),
            false => queue.postpone(id, &[(delivery, self.now_ms + 5_000)]).await.unwrap(),
        }
    }

    /// One step of one job of a node.
    async fn work(&mut self, node: usize) {
        let count = self.nodes[node].jobs.len();
        if count == 0 {
            return;
        }
        let place = self.random.random_range(0..count);
        let job = self.nodes[node].jobs.remove(place);
        if let Some(stage) = self.next(node, &job).await {
            self.nodes[node].jobs.push(Job { stage, ..job });
        }
    }

    /// What a job comes to; none when it is over for this node.
    async fn next(&mut self, node: usize, job: &Job) -> Option<Stage> {
        let expire_ms = self.deliveries[job.delivery].expire_ms;
        match job.stage.clone() {
            // As the store is away: nothing was done, and it is tried again.
            stage @ (Stage::Held | Stage::Reporting(_)) if self.chance(10) => Some(stage),
            Stage::Held if expire_ms <= self.now_ms => {
                let over = expired(self.now_ms);
                Some(Stage::Reporting(self.finish(job.delivery, 0, over).into()))
            }
            Stage::Held => self.begin(node, job.delivery).await,
            Stage::Sending(attempt) => {
                let outcome = self.outcome(job.delivery);
                Some(Stage::Answered(attempt, outcome))
            }
            Stage::Answered(attempt, outcome) => {
                let random = self.random.random();
                let next = step(outcome, attempt, self.now_ms, expire_ms, &self.policy, random);
                Some(Stage::Reporting(self.finish(job.delivery, attempt, next).into()))
            }
            Stage::Reporting(finish) => {
                let (number, id) = (self.nodes[node].number, self.nodes[node].id);
                self.report(job.delivery, number, id, &finish).await;
                self.wandering.push((job.delivery, number, id, finish.clone()));
                // An answer that is lost makes it report again.
                self.chance(15).then_some(Stage::Reporting(finish))
            }
        }
    }

    async fn begin(&mut self, node: usize, delivery: usize) -> Option<Stage> {
        let (number, id) = (self.nodes[node].number, self.nodes[node].id);
        let wanted = [self.deliveries[delivery].id];
        let begun = self.stores.queue.begin(id, &wanted, self.now_ms).await.unwrap();
        let attempt = begun.first()?.attempt;
        self.deliveries[delivery].facts.push(Fact::Begun { node: number, attempt });
        // Begun, and the node does not know: it asks again and is told that it may not.
        Some(if self.chance(10) { Stage::Held } else { Stage::Sending(attempt) })
    }

    /// What the network says, and whether the mail arrived.
    fn outcome(&mut self, delivery: usize) -> Outcome {
        let (reply, draw) = (Reply::default(), self.random.random_range(0..100));
        let draw = if self.calm { 0 } else { draw };
        if draw < 65 {
            self.deliveries[delivery].facts.push(Fact::Taken);
        }
        match draw {
            0..50 => Outcome::Delivered { reply },
            // Taken, and the reply never came.
            50..65 => deferred(true),
            65..90 => deferred(false),
            _ => Outcome::Refused { reply, category: Category::UnknownUser },
        }
    }

    fn finish(&self, delivery: usize, attempt: u32, next: Transition) -> Finish {
        let of = &self.deliveries[delivery];
        let event = NewEvent {
            id: EventId::generate(),
            kind: next.event,
            create_ms: self.now_ms,
            message_id: of.message,
            delivery_id: of.id,
            campaign_id: "spring".to_owned(),
            attempt,
            reason: next.reason.to_owned(),
            reply: Some(next.reply),
            possible_duplicate: next.possible_duplicate,
            next_ms: next.state.is_waiting().then_some(next.due_ms),
        };
        let (state, due_ms) = (next.state, next.due_ms);
        Finish { id: of.id, attempt, state, due_ms, event, hand_over: None, suppress: None }
    }

    async fn report(&mut self, delivery: usize, node: usize, id: uuid::Uuid, finish: &Finish) {
        let reports = std::slice::from_ref(finish);
        let recorded = self.stores.queue.finish(id, reports, self.now_ms).await.unwrap()[0];
        let (attempt, state) = (finish.attempt, finish.state);
        let fact = Fact::Reported { node, attempt, state, recorded };
        self.deliveries[delivery].facts.push(fact);
    }

    /// Every node but a new one dies, and that one brings everything to its end.
    async fn end(&mut self) {
        while !self.nodes.is_empty() {
            self.crash(0);
        }
        self.now_ms += TTL_MS + 1;
        self.start().await;
        for _ in 0..ROUNDS {
            self.beat(0).await;
            self.reap().await;
            self.claim(0).await;
            while !self.nodes[0].jobs.is_empty() {
                self.work(0).await;
            }
            if self.deliveries.iter().all(|delivery| story::has_ended(&delivery.facts)) {
                return;
            }
            self.now_ms += 5_000;
        }
    }

    async fn story(&self, delivery: &Delivery) -> Story {
        let db = &*self.stores.db;
        let (_, recipients) = messages::message(db, delivery.message).await.unwrap().unwrap();
        let filter = EventFilter { message_id: Some(delivery.message), ..EventFilter::default() };
        let events = ledger::events(db, &filter, 0, 1000).await.unwrap();
        let told = |event: NewEvent| (event.kind, event.attempt, event.possible_duplicate);
        Story {
            facts: delivery.facts.clone(),
            events: events.into_iter().map(|row| told(row.event)).collect(),
            state: recipients[0].state,
            attempts: recipients[0].attempts,
        }
    }
}

fn deferred(may_duplicate: bool) -> Outcome {
    Outcome::Deferred { reply: Reply::default(), category: Category::Timeout, may_duplicate }
}

fn expired(now_ms: i64) -> Transition {
    Transition {
        state: State::Expired,
        due_ms: now_ms,
        event: EventType::Expired,
        reason: "",
        reply: Reply::local("too late"),
        possible_duplicate: false,
        hand_over: None,
    }
}
