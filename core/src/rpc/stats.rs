//! `StatsService`.

use std::sync::Arc;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::stats_service_server::StatsService;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use crate::model::event::{Counter, EventType};
use crate::store::{Database, ledger};

use super::{Context, convert, errors};

pub(super) const DAY_MS: i64 = 86_400_000;
/// The longest time that is counted at once.
const RANGE_MS_MAX: i64 = 400 * DAY_MS;

/// The service.
pub struct Stats(pub Context);

#[tonic::async_trait]
impl StatsService for Stats {
    async fn query_stats(
        &self,
        request: Request<v1::QueryStatsRequest>,
    ) -> Result<Response<v1::QueryStatsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "stats:read")?;
        Ok(Response::new(query(&self.0, request.into_inner()).await?))
    }

    async fn get_queue(
        &self,
        request: Request<v1::GetQueueRequest>,
    ) -> Result<Response<v1::GetQueueResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "stats:read")?;
        let depth = self.0.queue.depth().await.map_err(Failure::from)?;
        let now_ms = self.0.clock.now_ms();
        let age_ms = depth.oldest_due_ms.map_or(0, |due_ms| (now_ms - due_ms).max(0));
        Ok(Response::new(v1::GetQueueResponse {
            scheduled: depth.scheduled,
            queued: depth.queued,
            sending: depth.sending,
            deferred: depth.deferred,
            oldest_due_seconds: age_ms / 1000,
        }))
    }

    async fn list_errors(
        &self,
        request: Request<v1::ListErrorsRequest>,
    ) -> Result<Response<v1::ListErrorsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "stats:read")?;
        Ok(Response::new(errors::list(&self.0, request.into_inner()).await?))
    }
}

/// The time that a request asks about; `span_ms` of it when it does not say since when.
pub(super) fn range(
    context: &Context,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    span_ms: i64,
) -> Result<(i64, i64), Failure> {
    let until_ms = convert::time("until", until)?.unwrap_or(context.clock.now_ms() + 1);
    let since_ms = convert::time("since", since)?.unwrap_or(until_ms - span_ms);
    if since_ms >= until_ms || until_ms - since_ms > RANGE_MS_MAX {
        let text = "must lie before until, by at most 400 days";
        return Err(Failure::field(Reason::ValueOutOfRange, "since", text));
    }
    Ok((since_ms, until_ms))
}

async fn query(
    context: &Context,
    request: v1::QueryStatsRequest,
) -> Result<v1::QueryStatsResponse, Failure> {
    let (since_ms, until_ms) = range(context, request.since, request.until, DAY_MS)?;
    let campaign = request.campaign_id.as_str();
    let read = |db: Arc<dyn Database>| async move {
        ledger::stats(&*db, since_ms, until_ms, campaign).await
    };
    let counted = context.reads.with(read).await?;
    let mut total = v1::Counts::default();
    let mut buckets: Vec<v1::StatsBucket> = Vec::new();
    for count in counted {
        let start_time = Some(timestamp(count.hour_ms));
        if buckets.last().is_none_or(|last| last.start_time != start_time) {
            buckets.push(v1::StatsBucket { start_time, counts: Some(v1::Counts::default()) });
        }
        add(&mut total, count.counter, count.count);
        if let Some(counts) = buckets.last_mut().and_then(|last| last.counts.as_mut()) {
            add(counts, count.counter, count.count);
        }
    }
    Ok(v1::QueryStatsResponse { total: Some(total), buckets })
}

pub(super) fn add(counts: &mut v1::Counts, counter: Counter, count: i64) {
    let kind = match counter {
        Counter::Events(kind) => kind,
        Counter::UniqueOpens => return counts.opened += count,
        Counter::UniqueClicks => return counts.clicked += count,
        Counter::BotOpens => return counts.bot_opens += count,
        Counter::BotClicks => return counts.bot_clicks += count,
    };
    match kind {
        EventType::Accepted | EventType::Scheduled => counts.accepted += count,
        EventType::Suppressed => {
            counts.accepted += count;
            counts.suppressed += count;
        }
        EventType::Deferred => counts.deferred += count,
        EventType::Delivered => counts.delivered += count,
        EventType::Bounced => counts.bounced += count,
        EventType::Failed | EventType::Expired => counts.failed += count,
        EventType::Canceled => counts.canceled += count,
        EventType::Opened => counts.opens += count,
        EventType::Clicked => counts.clicks += count,
        EventType::Unsubscribed => counts.unsubscribed += count,
        EventType::Resubscribed => counts.resubscribed += count,
        EventType::Complained => counts.complained += count,
        EventType::Recovered
        | EventType::Sent
        | EventType::KeyExpiring
        | EventType::WebhookDisabled
        | EventType::SystemTrouble
        | EventType::SystemResolved => {}
    }
}
