//! `BounceService`.

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::bounce_service_server::BounceService;
use tonic::{Request, Response, Status};

use crate::store::bounce_patterns;
use crate::transport::patterns::{self, Finding};

use super::Context;

/// The service.
pub struct Bounces(pub Context);

#[tonic::async_trait]
impl BounceService for Bounces {
    async fn import_bounce_patterns(
        &self,
        request: Request<v1::ImportBouncePatternsRequest>,
    ) -> Result<Response<v1::ImportBouncePatternsResponse>, Status> {
        let by = self.0.admit(request.metadata(), "settings:write")?;
        let request = request.into_inner();
        if request.yaml.is_empty() {
            return Err(Failure::field(Reason::MissingField, "yaml", "is missing").into());
        }
        let import = patterns::parse(&request.yaml)
            .map_err(|problem| Failure::field(Reason::InvalidValue, "yaml", problem))?;
        if !request.validate_only {
            let detail = format!("{} patterns", import.patterns.len());
            let db = self.0.audited(&by, "bounce_patterns.import", "", &detail);
            bounce_patterns::replace(&db, &import.patterns).await.map_err(Failure::from)?;
            self.0.directory.refresh().await.map_err(Failure::from)?;
        }
        Ok(Response::new(v1::ImportBouncePatternsResponse {
            used: import.patterns.len() as i32,
            patterns: import.findings.into_iter().map(shown).collect(),
            notes: import.notes,
        }))
    }
}

fn shown(finding: Finding) -> v1::BouncePattern {
    v1::BouncePattern {
        category: finding.category,
        pattern: finding.pattern,
        reason: finding.meaning.name().to_owned(),
        unusable: finding.unusable.unwrap_or_default(),
    }
}
