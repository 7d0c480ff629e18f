//! `QueueService`.

use std::collections::BTreeMap;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::queue_service_server::QueueService;
use tonic::{Request, Response, Status};

use crate::intake::address;
use crate::intake::draft::Faults;
use crate::model::delivery::State;
use crate::store::campaigns::HOLD_MS;
use crate::store::destinations::{self, COUNTED_MAX, Pause};

use super::Context;
use super::campaigns::check_note;

/// Destinations that are shown.
const SHOWN_MAX: usize = 1000;

/// The service.
pub struct Queues(pub Context);

#[tonic::async_trait]
impl QueueService for Queues {
    async fn list_destinations(
        &self,
        request: Request<v1::ListDestinationsRequest>,
    ) -> Result<Response<v1::ListDestinationsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "stats:read")?;
        Ok(Response::new(list(&self.0).await?))
    }

    async fn pause_destination(
        &self,
        request: Request<v1::PauseDestinationRequest>,
    ) -> Result<Response<v1::PauseDestinationResponse>, Status> {
        let by = self.0.admit(request.metadata(), "queue:write")?;
        let v1::PauseDestinationRequest { domain, note, validate_only } = request.into_inner();
        let domain = parse(&domain)?;
        let mut faults = Faults::default();
        check_note(&note, &mut faults);
        faults.into_result()?;
        if !validate_only {
            let db = self.0.audited(&by, "destination.pause", &domain, &note);
            let pause = Pause { domain, note, change_ms: self.0.clock.now_ms() };
            destinations::pause(&db, &pause).await.map_err(Failure::from)?;
            self.0.directory.refresh().await.map_err(Failure::from)?;
        }
        Ok(Response::new(v1::PauseDestinationResponse {}))
    }

    async fn resume_destination(
        &self,
        request: Request<v1::ResumeDestinationRequest>,
    ) -> Result<Response<v1::ResumeDestinationResponse>, Status> {
        let by = self.0.admit(request.metadata(), "queue:write")?;
        let v1::ResumeDestinationRequest { domain, validate_only } = request.into_inner();
        let domain = parse(&domain)?;
        if !validate_only {
            let db = self.0.audited(&by, "destination.resume", &domain, "");
            let now_ms = self.0.clock.now_ms();
            destinations::resume(&db, &domain, now_ms).await.map_err(Failure::from)?;
            self.0.directory.refresh().await.map_err(Failure::from)?;
            self.0.intake.worker.wake();
        }
        Ok(Response::new(v1::ResumeDestinationResponse {}))
    }

    async fn retry_destination(
        &self,
        request: Request<v1::RetryDestinationRequest>,
    ) -> Result<Response<v1::RetryDestinationResponse>, Status> {
        let by = self.0.admit(request.metadata(), "queue:write")?;
        let v1::RetryDestinationRequest { domain, validate_only } = request.into_inner();
        let (domain, now_ms) = (parse(&domain)?, self.0.clock.now_ms());
        if validate_only {
            let count = destinations::to_retry(&*self.0.db, &domain, now_ms).await;
            let count = count.map_err(Failure::from)?;
            return Ok(Response::new(v1::RetryDestinationResponse { count }));
        }
        let db = self.0.audited(&by, "destination.retry", &domain, "");
        let count = destinations::retry(&db, &domain, now_ms).await.map_err(Failure::from)?;
        self.0.intake.worker.wake();
        Ok(Response::new(v1::RetryDestinationResponse { count: count as i64 }))
    }
}

fn parse(domain: &str) -> Result<String, Failure> {
    address::parse_domain(domain)
        .map_err(|text| Failure::field(Reason::InvalidValue, "domain", text))
}

async fn list(context: &Context) -> Result<v1::ListDestinationsResponse, Failure> {
    let now_ms = context.clock.now_ms();
    let mut by_domain: BTreeMap<String, v1::Destination> = BTreeMap::new();
    let mut free = 0;
    for waiting in destinations::waiting(&*context.db).await? {
        let entry = by_domain.entry(waiting.domain).or_default();
        let sum = match State::from_number(waiting.state) {
            Some(State::Sending) => &mut entry.sending,
            Some(State::Deferred) => &mut entry.deferred,
            _ => &mut entry.queued,
        };
        *sum += waiting.count;
        free += waiting.count;
        // What is parked was due when it would have been without.
        let due_ms =
            if waiting.due_ms >= HOLD_MS { waiting.due_ms - HOLD_MS } else { waiting.due_ms };
        entry.oldest_due_seconds = entry.oldest_due_seconds.max((now_ms - due_ms).max(0) / 1000);
    }
    for pause in destinations::paused(&*context.db).await? {
        let entry = by_domain.entry(pause.domain).or_default();
        entry.paused = true;
        entry.note = pause.note;
        entry.pause_time = Some(timestamp(pause.change_ms));
    }
    let named = |(domain, one)| v1::Destination { domain, ..one };
    let mut destinations: Vec<_> = by_domain.into_iter().map(named).collect();
    destinations.sort_by_key(|one| std::cmp::Reverse(one.queued + one.sending + one.deferred));
    destinations.truncate(SHOWN_MAX);
    Ok(v1::ListDestinationsResponse { destinations, partial: free >= COUNTED_MAX })
}
