//! `TrackingService`: what the tracking edge reports and asks.

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::tracking_service_server::TrackingService;
use tonic::{Request, Response, Status};

use super::Context;

/// The service.
pub struct Tracking(pub Context);

fn not_yet<T>() -> Result<Response<T>, Status> {
    Err(Failure::new(Reason::Unimplemented, "this method is not implemented yet").into())
}

#[tonic::async_trait]
impl TrackingService for Tracking {
    async fn report_hits(
        &self,
        request: Request<v1::ReportHitsRequest>,
    ) -> Result<Response<v1::ReportHitsResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        not_yet()
    }

    async fn resolve_link(
        &self,
        request: Request<v1::ResolveLinkRequest>,
    ) -> Result<Response<v1::ResolveLinkResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        not_yet()
    }

    async fn resolve_legacy_token(
        &self,
        request: Request<v1::ResolveLegacyTokenRequest>,
    ) -> Result<Response<v1::ResolveLegacyTokenResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        not_yet()
    }

    async fn get_subscription(
        &self,
        request: Request<v1::GetSubscriptionRequest>,
    ) -> Result<Response<v1::GetSubscriptionResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        not_yet()
    }

    async fn unsubscribe(
        &self,
        request: Request<v1::UnsubscribeRequest>,
    ) -> Result<Response<v1::UnsubscribeResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        not_yet()
    }

    async fn resubscribe(
        &self,
        request: Request<v1::ResubscribeRequest>,
    ) -> Result<Response<v1::ResubscribeResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        not_yet()
    }

    async fn import_legacy_links(
        &self,
        request: Request<v1::ImportLegacyLinksRequest>,
    ) -> Result<Response<v1::ImportLegacyLinksResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "settings:write")?;
        not_yet()
    }
}
