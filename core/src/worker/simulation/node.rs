//! A node as the worker is one: what it holds in memory is gone in a crash, and it goes on from what
//! the store tells it, step by step as [`super::super::attempt`] does.

use std::collections::BTreeSet;

use postern_proto::ids::RecipientId;
use uuid::Uuid;

use crate::model::delivery::Outcome;
use crate::store::queue::Finish;

/// Where an attempt stands.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Leased; nothing has begun.
    Held,
    /// Begun; the network has not answered yet.
    Sending(u32),
    /// The network has answered; nothing is reported yet.
    Answered(u32, Outcome),
    /// Reported, as often as it takes until there is an answer.
    Reporting(Box<Finish>),
}

/// A delivery in a node's memory.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// Which delivery of the world.
    pub(super) delivery: usize,
    pub(super) stage: Stage,
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: Uuid,
    /// Its number in the stories.
    pub(super) number: usize,
    pub(super) jobs: Vec<Job>,
    /// It works and does not say that it lives: others will call it dead.
    pub(super) silent: bool,
    /// Leases that were in nobody's memory when it looked last.
    pub(super) suspects: BTreeSet<RecipientId>,
}

impl Node {
    /// A node that has just started.
    pub(super) fn start(number: usize) -> Self {
        let (id, suspects) = (Uuid::now_v7(), BTreeSet::new());
        Self { id, number, jobs: Vec::new(), silent: false, suspects }
    }

    /// Whether a delivery is in its memory.
    pub(super) fn knows(&self, delivery: usize) -> bool {
        self.jobs.iter().any(|job| job.delivery == delivery)
    }
}
