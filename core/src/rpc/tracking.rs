//! `TrackingService`: what the tracking edge reports and asks.
//!
//! Unsigned references are claims: they are believed as far as a message fits them, and an answer
//! about one that fits nothing says no more than that.

use postern_proto::link::legacy;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::link_reference::Reference;
use postern_proto::v1::tracking_service_server::TrackingService;
use tonic::{Request, Response, Status};

use crate::intake::address;
use crate::store::addressees::{self, Addressee, Claim, LegacyLink};

use super::{Context, hits, subscriptions};

/// Links imported with one request.
const IMPORT_MAX: usize = 1000;

/// The service.
pub struct Tracking(pub Context);

#[tonic::async_trait]
impl TrackingService for Tracking {
    async fn report_hits(
        &self,
        request: Request<v1::ReportHitsRequest>,
    ) -> Result<Response<v1::ReportHitsResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        Ok(Response::new(hits::report(&self.0, request.into_inner()).await?))
    }

    async fn resolve_link(
        &self,
        request: Request<v1::ResolveLinkRequest>,
    ) -> Result<Response<v1::ResolveLinkResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        Ok(Response::new(hits::resolve_link(&self.0, request.into_inner()).await?))
    }

    async fn resolve_legacy_token(
        &self,
        request: Request<v1::ResolveLegacyTokenRequest>,
    ) -> Result<Response<v1::ResolveLegacyTokenResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        Ok(Response::new(resolve_token(&self.0, request.into_inner()).await?))
    }

    async fn get_subscription(
        &self,
        request: Request<v1::GetSubscriptionRequest>,
    ) -> Result<Response<v1::GetSubscriptionResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        Ok(Response::new(subscriptions::get(&self.0, request.into_inner()).await?))
    }

    async fn unsubscribe(
        &self,
        request: Request<v1::UnsubscribeRequest>,
    ) -> Result<Response<v1::UnsubscribeResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        Ok(Response::new(subscriptions::end(&self.0, request.into_inner()).await?))
    }

    async fn resubscribe(
        &self,
        request: Request<v1::ResubscribeRequest>,
    ) -> Result<Response<v1::ResubscribeResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        Ok(Response::new(subscriptions::renew(&self.0, request.into_inner()).await?))
    }

    async fn import_legacy_links(
        &self,
        request: Request<v1::ImportLegacyLinksRequest>,
    ) -> Result<Response<v1::ImportLegacyLinksResponse>, Status> {
        let by = self.0.admit(request.metadata(), "settings:write")?;
        let links = imported(request.into_inner().links)?;
        let detail = format!("{} links", links.len());
        let db = self.0.audited(&by, "legacy_links.import", "", &detail);
        let imported = addressees::import(&db, &links).await.map_err(Failure::from)?;
        Ok(Response::new(v1::ImportLegacyLinksResponse { imported: imported as i32 }))
    }
}

/// Whom a reference is about.
pub(super) enum Referred {
    /// A recipient of a message that is stored here.
    Recipient(Addressee),
    /// A recipient of the old system.
    Before(Claim),
    /// Nobody we know.
    Nobody,
}

/// Finds whom a reference is about.
pub(super) async fn referred(
    context: &Context,
    field: &str,
    reference: Option<v1::LinkReference>,
) -> Result<Referred, Failure> {
    let missing =
        || Failure::field(Reason::MissingField, field, "is missing; say whose mail it is");
    let claim = match reference.and_then(|one| one.reference).ok_or_else(missing)? {
        Reference::RecipientId(text) => {
            let bad = |bad: postern_proto::ids::BadId| {
                Failure::field(
                    Reason::InvalidValue,
                    format!("{field}.recipient_id"),
                    bad.to_string(),
                )
            };
            let found = addressees::by_id(&*context.db, text.parse().map_err(bad)?).await?;
            return Ok(found.map_or(Referred::Nobody, Referred::Recipient));
        }
        Reference::Legacy(legacy) => claim(legacy),
    };
    let Some(claim) = claim else { return Ok(Referred::Nobody) };
    if let Some(found) = addressees::newest(&*context.db, &claim).await? {
        return Ok(Referred::Recipient(found));
    }
    let links = addressees::links_of(&*context.db, &claim).await?;
    Ok(if links.is_empty() { Referred::Nobody } else { Referred::Before(claim) })
}

/// A claim that can be looked up; none when it names no address.
pub(super) fn claim(legacy: v1::LegacyReference) -> Option<Claim> {
    let fits = |text: &str| text.len() <= legacy::VALUE_OCTETS_MAX && !text.contains('\0');
    let (campaign_id, message_id) = (legacy.campaign_id, legacy.message_id);
    let email = address::parse(&legacy.address).ok()?;
    (fits(&campaign_id) && fits(&message_id)).then_some(Claim { email, campaign_id, message_id })
}

async fn resolve_token(
    context: &Context,
    request: v1::ResolveLegacyTokenRequest,
) -> Result<v1::ResolveLegacyTokenResponse, Failure> {
    let unknown = || Failure::new(Reason::LinkNotFound, "there is no such link");
    let wanted = request.kind();
    if wanted == v1::HitKind::Unspecified {
        return Err(Failure::field(Reason::MissingField, "kind", "is missing; open or click"));
    }
    if !legacy::is_token(&request.token) {
        return Err(unknown());
    }
    let mut links = addressees::links_by_token(&*context.db, &request.token).await?;
    let is_click = wanted == v1::HitKind::Click;
    links.retain(|link| link.url.is_empty() != is_click);
    let Some(link) = links.pop() else { return Err(unknown()) };
    // Two tokens that begin alike and lead to different places: nobody can tell which was meant.
    if links.iter().any(|other| other.url != link.url) {
        return Err(unknown());
    }
    let recipient = v1::LegacyReference {
        address: link.claim.email,
        campaign_id: link.claim.campaign_id,
        message_id: link.claim.message_id,
    };
    Ok(v1::ResolveLegacyTokenResponse { url: link.url, recipient: Some(recipient) })
}

fn imported(links: Vec<v1::LegacyLink>) -> Result<Vec<LegacyLink>, Failure> {
    if links.len() > IMPORT_MAX {
        let text = format!("has {} links; at most {IMPORT_MAX} are allowed", links.len());
        return Err(Failure::field(Reason::BatchTooLarge, "links", text));
    }
    let mut faults = crate::intake::draft::Faults::default();
    let mut list = Vec::with_capacity(links.len());
    for (n, link) in links.into_iter().enumerate() {
        if !legacy::is_token(&link.token) {
            let text = "is no token: 1 to 128 letters, digits, - _ =";
            faults.add(Reason::InvalidValue, format!("links[{n}].token"), text);
        }
        if !link.url.is_empty() && !postern_proto::link::target::is_safe_target(&link.url) {
            let text = "is no http or https url of a public host";
            faults.add(Reason::InvalidValue, format!("links[{n}].url"), text);
        }
        let (address, campaign_id, message_id) = (link.address, link.campaign_id, link.message_id);
        match claim(v1::LegacyReference { address, campaign_id, message_id }) {
            Some(claim) => list.push(LegacyLink { token: link.token, url: link.url, claim }),
            None => {
                let text = "is not valid, or campaign_id or message_id is too long";
                faults.add(Reason::InvalidAddress, format!("links[{n}].address"), text);
            }
        }
    }
    faults.into_result()?;
    Ok(list)
}
