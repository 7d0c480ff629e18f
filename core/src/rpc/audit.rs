//! `AuditService`.

use std::sync::Arc;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::audit_service_server::AuditService;
use tonic::{Request, Response, Status};

use crate::model::operator::AuditEntry;
use crate::store::Database;
use crate::store::audit::{self, Filter};

use super::{Context, convert};

/// The service.
pub struct Audit(pub Context);

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_audit_entries(
        &self,
        request: Request<v1::ListAuditEntriesRequest>,
    ) -> Result<Response<v1::ListAuditEntriesResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "audit:read")?;
        let (pages, request) = (&self.0.pages, request.into_inner());
        let size = pages.size(request.page_size)?;
        let mut filter = Filter {
            actor: request.actor,
            action: request.action,
            target: request.target,
            id: match request.id.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| {
                    Failure::field(Reason::BadFilter, "id", "is not the id of an entry (aud_…)")
                })?),
            },
            request_id: request.request,
            since_ms: convert::time("since", request.since)?,
            until_ms: convert::time("until", request.until)?,
            before: None,
        };
        let bound = format!("audit {filter:?}");
        let cursor = pages.cursor("page_token", bound.as_bytes(), &request.page_token)?;
        filter.before = cursor.and_then(|cursor| cursor.parse().ok());
        let asked = &filter;
        let read = |db: Arc<dyn Database>| async move { audit::list(&*db, asked, size + 1).await };
        let mut list = self.0.reads.with(read).await.map_err(Failure::from)?;
        let next_page_token =
            pages.cut(&mut list, size, bound.as_bytes(), |last| last.id.to_string());
        let entries = list.into_iter().map(shown).collect();
        Ok(Response::new(v1::ListAuditEntriesResponse { entries, next_page_token }))
    }
}

fn shown(entry: AuditEntry) -> v1::AuditEntry {
    v1::AuditEntry {
        id: entry.id.to_string(),
        create_time: Some(timestamp(entry.create_ms)),
        actor: entry.actor,
        actor_name: entry.actor_name,
        action: entry.action,
        target: entry.target,
        detail: entry.detail,
        client_ip: entry.client_ip,
        request_id: entry.request_id,
    }
}
