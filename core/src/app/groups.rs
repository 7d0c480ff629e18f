//! Which calls of the store are made in groups, and how large those get. State: items on their way; see
//! [`crate::store::group`].

use std::sync::Arc;

use postern_kit::clock::Clock;
use postern_kit::spans::Spans;
use tokio::sync::Semaphore;

use super::BuildError;
use crate::capture::Capture;
use crate::config::CoreConfig;
use crate::intake::Intake;
use crate::intake::quota::Quota;
use crate::metrics::Metrics;
use crate::store::Stores;
use crate::store::group::{Group, GroupLimits};
use crate::transport::{Postal, Transports};
use crate::worker::attempt::Lab;
use crate::worker::keeper::Keeper;

/// The door for mail, for the node that is this process.
pub(super) fn intake(config: &CoreConfig, stores: &Stores, keeper: &Keeper) -> Intake {
    let Keeper { clock, worker, .. } = keeper;
    Intake {
        policy: config.policy.clone(),
        directory: keeper.directory.clone(),
        clock: clock.clone(),
        db: stores.db.clone(),
        group: accepting(stores, clock, &worker.metrics),
        worker: worker.clone(),
        node: keeper.node,
        quota: Quota::default(),
    }
}

fn accepting(
    stores: &Stores,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Group<crate::model::message::Submission, Vec<crate::model::message::Accepted>> {
    let (intake, clock) = (stores.intake.clone(), clock.clone());
    // A transaction of PostgreSQL has room for 4096 events.
    let limits = GroupLimits { weight_max: 2000, parallel: 2, waiting_max: 4096 };
    let weight = |submission: &crate::model::message::Submission| {
        let recipients: usize = submission.messages.iter().map(|m| m.recipients.len()).sum();
        // About 32 MiB of contents fill a group too.
        recipients + submission.content.len() / (16 << 10)
    };
    Group::start(limits, weight, metrics.groups.clone(), move |submissions| {
        let (intake, now_ms) = (intake.clone(), clock.now_ms());
        async move { intake.accept(submissions, now_ms).await }
    })
}

pub(super) fn lab(
    config: &CoreConfig,
    stores: &Stores,
    keeper: &Keeper,
    postal: Option<Arc<Postal>>,
    spans: Spans,
) -> Result<Lab, BuildError> {
    let Keeper { directory, clock, node, .. } = keeper;
    let (node, metrics) = (*node, keeper.worker.metrics.clone());
    let limits = GroupLimits { weight_max: 1000, parallel: 2, waiting_max: 4096 };
    let (queue, time) = (stores.queue.clone(), clock.clone());
    let begin = Group::start(
        limits,
        |_| 1,
        metrics.groups.clone(),
        move |ids: Arc<Vec<_>>| {
            let (queue, now_ms) = (queue.clone(), time.now_ms());
            async move {
                let begun = queue.begin(node, &ids, now_ms).await?;
                let mut by_id: std::collections::HashMap<_, _> =
                    begun.into_iter().map(|begun| (begun.id, begun)).collect();
                Ok(ids.iter().map(|id| by_id.remove(id)).collect())
            }
        },
    );
    let (queue, time) = (stores.queue.clone(), clock.clone());
    let finish = Group::start(
        limits,
        |_| 1,
        metrics.groups.clone(),
        move |results: Arc<Vec<_>>| {
            let (queue, now_ms) = (queue.clone(), time.now_ms());
            async move { queue.finish(node, &results, now_ms).await }
        },
    );
    let queue = stores.queue.clone();
    let postpone = Group::start(
        limits,
        |_| 1,
        metrics.groups.clone(),
        move |until: Arc<Vec<_>>| {
            let queue = queue.clone();
            async move { queue.postpone(node, &until).await.map(|()| vec![(); until.len()]) }
        },
    );
    let sink = Arc::new(Capture::new(stores.db.clone(), clock.clone(), metrics.groups.clone()));
    let (choice, in_force) = (config.policy.transports.clone(), directory.in_force());
    let transport = &config.transport;
    let transports = Transports::new(choice, transport, in_force, sink, postal, rand::random())?;
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Ok(Lab {
        queue: stores.queue.clone(),
        begin,
        finish,
        postpone,
        directory: directory.clone(),
        tracker: config.policy.tracker.clone(),
        transports,
        retry: config.retry.clone(),
        clock: clock.clone(),
        builders: Arc::new(Semaphore::new(processors)),
        metrics,
        spans,
    })
}
