//! `SuppressionService`.

use postern_proto::ids::SuppressionId;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::suppression_service_server::SuppressionService;
use prost::Message as _;
use tonic::{Request, Response, Status};

use crate::intake::address;
use crate::intake::draft::{Faults, check_id};
use crate::model::directory::{Suppression, SuppressionReason};
use crate::store::directory::{self, SuppressionFilter};

use super::act::By;
use super::{Context, convert};

/// Entries of a batch.
const BATCH_MAX: usize = 1000;
/// Characters of a note.
const NOTE_MAX: usize = 512;

/// The service.
pub struct Suppressions(pub Context);

#[tonic::async_trait]
impl SuppressionService for Suppressions {
    async fn create_suppression(
        &self,
        request: Request<v1::CreateSuppressionRequest>,
    ) -> Result<Response<v1::CreateSuppressionResponse>, Status> {
        let by = self.0.admit(request.metadata(), "suppressions:write")?;
        let request = request.into_inner();
        let entry = checked(request.suppression.unwrap_or_default(), self.0.clock.now_ms())?;
        if request.validate_only {
            let suppression = Some(shown(entry));
            return Ok(Response::new(v1::CreateSuppressionResponse { suppression }));
        }
        let db = self.0.audited(&by, "suppression.create", &entry.email, &entry.note);
        let stored = directory::create_suppression(&db, &entry).await;
        let suppression = Some(shown(stored.map_err(Failure::from)?));
        Ok(Response::new(v1::CreateSuppressionResponse { suppression }))
    }

    async fn batch_create_suppressions(
        &self,
        request: Request<v1::BatchCreateSuppressionsRequest>,
    ) -> Result<Response<v1::BatchCreateSuppressionsResponse>, Status> {
        let by = self.0.admit(request.metadata(), "suppressions:write")?;
        Ok(Response::new(batch(&self.0, &by, request.into_inner()).await?))
    }

    async fn get_suppression(
        &self,
        request: Request<v1::GetSuppressionRequest>,
    ) -> Result<Response<v1::GetSuppressionResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "suppressions:read")?;
        let id = parse_id(&request.get_ref().id)?;
        let filter = SuppressionFilter { id: Some(id), ..SuppressionFilter::default() };
        let found =
            directory::suppressions(&*self.0.db, &filter, 1).await.map_err(Failure::from)?;
        let suppression = found.into_iter().next().map(shown).ok_or_else(|| missing(id))?;
        Ok(Response::new(v1::GetSuppressionResponse { suppression: Some(suppression) }))
    }

    async fn list_suppressions(
        &self,
        request: Request<v1::ListSuppressionsRequest>,
    ) -> Result<Response<v1::ListSuppressionsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "suppressions:read")?;
        Ok(Response::new(list(&self.0, request.into_inner()).await?))
    }

    async fn delete_suppression(
        &self,
        request: Request<v1::DeleteSuppressionRequest>,
    ) -> Result<Response<v1::DeleteSuppressionResponse>, Status> {
        let by = self.0.admit(request.metadata(), "suppressions:write")?;
        let request = request.into_inner();
        let id = parse_id(&request.id)?;
        let deleted = if request.validate_only {
            let filter = SuppressionFilter { id: Some(id), ..SuppressionFilter::default() };
            !directory::suppressions(&*self.0.db, &filter, 1)
                .await
                .map_err(Failure::from)?
                .is_empty()
        } else {
            let filter = SuppressionFilter { id: Some(id), ..SuppressionFilter::default() };
            let found = directory::suppressions(&*self.0.db, &filter, 1).await;
            match found.map_err(Failure::from)?.first() {
                Some(entry) => {
                    let detail = entry.reason.name();
                    let db = self.0.audited(&by, "suppression.delete", &entry.email, detail);
                    directory::delete_suppression(&db, id).await.map_err(Failure::from)?
                }
                None => false,
            }
        };
        if !deleted && !request.allow_missing {
            return Err(missing(id).into());
        }
        Ok(Response::new(v1::DeleteSuppressionResponse {}))
    }
}

async fn batch(
    context: &Context,
    by: &By,
    request: v1::BatchCreateSuppressionsRequest,
) -> Result<v1::BatchCreateSuppressionsResponse, Failure> {
    let asked = request.suppressions;
    if !(1..=BATCH_MAX).contains(&asked.len()) {
        let text = "needs 1 to 1000 entries";
        return Err(Failure::field(Reason::BatchTooLarge, "suppressions", text));
    }
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for (index, one) in asked.into_iter().enumerate() {
        match checked(one, context.clock.now_ms()) {
            Ok(entry) => entries.push(entry),
            Err(failure) => faults.push(v1::SuppressionFault {
                index: index as i32,
                message: failure.message.replace("suppression.", ""),
            }),
        }
    }
    let mut created = 0;
    if !request.validate_only && !entries.is_empty() {
        let detail = format!("{} addresses", entries.len());
        let db = context.audited(by, "suppression.import", "", &detail);
        created = directory::create_suppressions(&db, &entries).await?;
    }
    Ok(v1::BatchCreateSuppressionsResponse {
        created_count: created as i32,
        existing_count: if request.validate_only { 0 } else { (entries.len() - created) as i32 },
        faults,
    })
}

async fn list(
    context: &Context,
    request: v1::ListSuppressionsRequest,
) -> Result<v1::ListSuppressionsResponse, Failure> {
    let size = context.pages.size(request.page_size)?;
    let unpaged =
        v1::ListSuppressionsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let binding = unpaged.encode_to_vec();
    let filter = SuppressionFilter {
        id: None,
        email: super::messages::normalised(&request.email).to_lowercase(),
        reason: match request.reason {
            0 => None,
            number => Some(reason(number)?),
        },
        before: context.pages.before(&binding, &request.page_token)?,
    };
    let mut found = directory::suppressions(&*context.db, &filter, size + 1).await?;
    let next_page_token = context.pages.cut(&mut found, size, &binding, |last| last.id.to_string());
    let suppressions = found.into_iter().map(shown).collect();
    Ok(v1::ListSuppressionsResponse { suppressions, next_page_token })
}

fn checked(asked: v1::Suppression, now_ms: i64) -> Result<Suppression, Failure> {
    let mut faults = Faults::default();
    let mut email = String::new();
    match address::parse(&asked.email) {
        Ok(address) => email = address.to_lowercase(),
        Err(text) => faults.add(Reason::InvalidAddress, "suppression.email", text),
    }
    check_id("suppression.campaign_id", &asked.campaign_id, &mut faults);
    if asked.note.chars().count() > NOTE_MAX {
        faults.add(Reason::ValueOutOfRange, "suppression.note", "has more than 512 characters");
    }
    faults.into_result()?;
    Ok(Suppression {
        id: SuppressionId::generate(),
        email,
        reason: reason(asked.reason)?,
        campaign_id: asked.campaign_id,
        note: asked.note,
        create_ms: now_ms,
    })
}

fn reason(number: i32) -> Result<SuppressionReason, Failure> {
    match v1::SuppressionReason::try_from(number) {
        Ok(v1::SuppressionReason::Unspecified) => Ok(SuppressionReason::Manual),
        Ok(reason) => Ok(SuppressionReason::from_number(i64::from(reason as i32))),
        Err(_) => Err(convert::unknown_enum("reason")),
    }
}

fn parse_id(text: &str) -> Result<SuppressionId, Failure> {
    text.parse()
        .map_err(|_| Failure::new(Reason::SuppressionNotFound, "there is no such suppression"))
}

fn missing(id: SuppressionId) -> Failure {
    let text = format!("there is no suppression '{id}'");
    Failure::new(Reason::SuppressionNotFound, text).with("name", id.to_string())
}

fn shown(entry: Suppression) -> v1::Suppression {
    v1::Suppression {
        id: entry.id.to_string(),
        email: entry.email,
        reason: entry.reason as i32,
        campaign_id: entry.campaign_id,
        note: entry.note,
        create_time: Some(timestamp(entry.create_ms)),
    }
}
