//! `CampaignService`.

use std::sync::Arc;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::campaign_service_server::CampaignService;
use prost::Message as _;
use tonic::{Request, Response, Status};

use crate::intake::draft::{Faults, check_id};
use crate::model::campaign::{Action, AmsState, Hold, LogEntry};
use crate::model::directory::ApiKey;
use crate::store::{Database, campaigns};

use super::{Context, stats};

/// Characters of a note.
const NOTE_MAX: usize = 512;
/// Entries of the log that are shown.
const LOG_MAX: usize = 100;

/// The service.
pub struct Campaigns(pub Context);

#[tonic::async_trait]
impl CampaignService for Campaigns {
    async fn hold_campaign(
        &self,
        request: Request<v1::HoldCampaignRequest>,
    ) -> Result<Response<v1::HoldCampaignResponse>, Status> {
        let by = self.0.admit(request.metadata(), "campaigns:write")?;
        let v1::HoldCampaignRequest { campaign_id, note, validate_only } = request.into_inner();
        let entry = self.entry(&by.key, campaign_id, note, Action::Held)?;
        if !validate_only {
            let db = self.0.audited(&by, "campaign.hold", &entry.campaign_id, &entry.note);
            // Whoever holds it by hand stops the mailing by hand.
            campaigns::start(&db, &entry, false, AmsState::None).await.map_err(Failure::from)?;
            self.0.directory.refresh().await.map_err(Failure::from)?;
        }
        let hold = Some(self.stands(&entry.campaign_id).await?);
        Ok(Response::new(v1::HoldCampaignResponse { hold }))
    }

    async fn resume_campaign(
        &self,
        request: Request<v1::ResumeCampaignRequest>,
    ) -> Result<Response<v1::ResumeCampaignResponse>, Status> {
        let by = self.0.admit(request.metadata(), "campaigns:write")?;
        let v1::ResumeCampaignRequest { campaign_id, note, validate_only } = request.into_inner();
        let entry = self.entry(&by.key, campaign_id, note, Action::Resumed)?;
        if !validate_only {
            let db = self.0.audited(&by, "campaign.resume", &entry.campaign_id, &entry.note);
            campaigns::resume(&db, &entry).await.map_err(Failure::from)?;
            self.0.directory.refresh().await.map_err(Failure::from)?;
            self.0.intake.worker.wake();
        }
        let hold = Some(self.stands(&entry.campaign_id).await?);
        Ok(Response::new(v1::ResumeCampaignResponse { hold }))
    }

    async fn get_campaign_hold(
        &self,
        request: Request<v1::GetCampaignHoldRequest>,
    ) -> Result<Response<v1::GetCampaignHoldResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "campaigns:read")?;
        let campaign_id = request.into_inner().campaign_id;
        checked(&campaign_id, "")?;
        let log = campaigns::log(&*self.0.db, &campaign_id, LOG_MAX).await;
        let log = log.map_err(Failure::from)?.into_iter().map(logged).collect();
        let hold = Some(self.stands(&campaign_id).await?);
        Ok(Response::new(v1::GetCampaignHoldResponse { hold, log }))
    }

    async fn list_campaigns(
        &self,
        request: Request<v1::ListCampaignsRequest>,
    ) -> Result<Response<v1::ListCampaignsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "campaigns:read")?;
        let (pages, request) = (&self.0.pages, request.into_inner());
        let size = pages.size(request.page_size)?;
        let month_ms = 30 * stats::DAY_MS;
        let (since_ms, until_ms) = stats::range(&self.0, request.since, request.until, month_ms)?;
        let unpaged =
            v1::ListCampaignsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let binding = unpaged.encode_to_vec();
        let after = pages.cursor("page_token", &binding, &request.page_token)?;
        let after = after.unwrap_or_default();
        let after = after.as_str();
        let read = |db: Arc<dyn Database>| async move {
            campaigns::counts(&*db, since_ms, until_ms, after, size + 1).await
        };
        let counted = self.0.reads.with(read).await;
        let snapshot = self.0.directory.now();
        let mut campaigns: Vec<v1::Campaign> = Vec::new();
        for (campaign_id, counter, count) in counted.map_err(Failure::from)? {
            if campaigns.last().is_none_or(|last| last.campaign_id != campaign_id) {
                let held = snapshot.is_held(&campaign_id);
                let counts = Some(v1::Counts::default());
                campaigns.push(v1::Campaign { campaign_id, counts, held });
            }
            if let Some(counts) = campaigns.last_mut().and_then(|last| last.counts.as_mut()) {
                stats::add(counts, counter, count);
            }
        }
        let next_page_token =
            pages.cut(&mut campaigns, size, &binding, |last| last.campaign_id.clone());
        Ok(Response::new(v1::ListCampaignsResponse { campaigns, next_page_token }))
    }

    async fn list_campaign_holds(
        &self,
        request: Request<v1::ListCampaignHoldsRequest>,
    ) -> Result<Response<v1::ListCampaignHoldsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "campaigns:read")?;
        let (pages, request) = (&self.0.pages, request.into_inner());
        let size = pages.size(request.page_size)?;
        let after = pages.cursor("page_token", b"campaign holds", &request.page_token)?;
        let found = campaigns::holds(&*self.0.db, &after.unwrap_or_default(), size + 1).await;
        let mut found = found.map_err(Failure::from)?;
        let next_page_token =
            pages.cut(&mut found, size, b"campaign holds", |last| last.campaign_id.clone());
        let holds = found.into_iter().map(shown).collect();
        Ok(Response::new(v1::ListCampaignHoldsResponse { holds, next_page_token }))
    }
}

impl Campaigns {
    fn entry(
        &self,
        key: &ApiKey,
        campaign_id: String,
        note: String,
        action: Action,
    ) -> Result<LogEntry, Failure> {
        checked(&campaign_id, &note)?;
        let (actor, create_ms) = (key.actor(), self.0.clock.now_ms());
        Ok(LogEntry { campaign_id, action, actor, note, create_ms })
    }

    async fn stands(&self, campaign_id: &str) -> Result<v1::CampaignHold, Failure> {
        let hold = campaigns::hold_of(&*self.0.db, campaign_id).await?;
        let never = || v1::CampaignHold {
            campaign_id: campaign_id.to_owned(),
            ..v1::CampaignHold::default()
        };
        Ok(hold.map_or_else(never, shown))
    }
}

fn checked(campaign_id: &str, note: &str) -> Result<(), Failure> {
    let mut faults = Faults::default();
    check_id("campaign_id", campaign_id, &mut faults);
    if campaign_id.is_empty() {
        faults.add(Reason::MissingField, "campaign_id", "is required");
    }
    check_note(note, &mut faults);
    faults.into_result()
}

/// Checks what somebody says about what they do.
pub(super) fn check_note(note: &str, faults: &mut Faults) {
    if note.chars().count() > NOTE_MAX {
        faults.add(Reason::ValueOutOfRange, "note", "has more than 512 characters");
    }
    if note.chars().any(char::is_control) {
        faults.add(Reason::ForbiddenCharacter, "note", "contains a control character");
    }
}

fn shown(hold: Hold) -> v1::CampaignHold {
    v1::CampaignHold {
        campaign_id: hold.campaign_id,
        held: hold.is_held,
        automatic: hold.automatic,
        note: hold.note,
        change_time: Some(timestamp(hold.change_ms)),
    }
}

fn logged(entry: LogEntry) -> v1::CampaignLogEntry {
    let action = match entry.action {
        Action::Held => v1::CampaignAction::Held,
        Action::Resumed => v1::CampaignAction::Resumed,
        Action::AmsTold => v1::CampaignAction::AmsTold,
    };
    v1::CampaignLogEntry {
        action: action.into(),
        actor: entry.actor,
        note: entry.note,
        create_time: Some(timestamp(entry.create_ms)),
    }
}
