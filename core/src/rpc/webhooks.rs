//! `WebhookService`: endpoints. Deliveries are in [`super::webhook_deliveries`].

use postern_proto::ids::WebhookId;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::duration_millis;
use postern_proto::v1;
use postern_proto::v1::webhook_service_server::WebhookService;
use tonic::{Request, Response, Status};

use crate::intake::draft::Faults;
use crate::model::webhook::{Endpoint, Format};
use crate::store::{self, feed_place, ledger, webhooks};
use crate::webhook::{Posting, sign};

use super::act::By;
use super::webhook_draft::{checked, shown, tag};
use super::{Context, convert, etag, webhook_deliveries};

const OVERLAP_MS: u64 = 24 * 3_600_000;
const OVERLAP_MS_MAX: u64 = 30 * OVERLAP_MS;
/// Octets of a secret of the old system.
const OLD_SECRET_OCTETS: std::ops::RangeInclusive<usize> = 16..=256;

/// The service.
pub struct Webhooks {
    /// What services share.
    pub context: Context,
    /// The way out, and whom to wake.
    pub posting: Posting,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl WebhookService for Webhooks {
    async fn create_webhook(
        &self,
        request: Request<v1::CreateWebhookRequest>,
    ) -> Answer<v1::CreateWebhookResponse> {
        let by = self.write(&request)?;
        let v1::CreateWebhookRequest { webhook, secret, validate_only } = request.into_inner();
        let (endpoint, secret) = self.create(webhook.unwrap_or_default(), secret).await?;
        if validate_only {
            let webhook = v1::Webhook { id: String::new(), ..self.shown(endpoint) };
            let (webhook, secret) = (Some(webhook), String::new());
            return Ok(Response::new(v1::CreateWebhookResponse { webhook, secret }));
        }
        let (id, url) = (endpoint.id.to_string(), &endpoint.wanted.url);
        let db = self.context.audited(&by, "webhook.create", &id, url);
        webhooks::create(&db, &endpoint).await.map_err(Failure::from)?;
        self.posting.changed.notify_one();
        let webhook = Some(self.shown(endpoint));
        Ok(Response::new(v1::CreateWebhookResponse { webhook, secret }))
    }

    async fn get_webhook(
        &self,
        request: Request<v1::GetWebhookRequest>,
    ) -> Answer<v1::GetWebhookResponse> {
        self.read(&request)?;
        let webhook = Some(self.shown(self.find(&request.get_ref().id).await?));
        Ok(Response::new(v1::GetWebhookResponse { webhook }))
    }

    async fn list_webhooks(
        &self,
        request: Request<v1::ListWebhooksRequest>,
    ) -> Answer<v1::ListWebhooksResponse> {
        self.read(&request)?;
        let (pages, request) = (&self.context.pages, request.into_inner());
        let size = pages.size(request.page_size)?;
        let before = pages.before(b"webhooks", &request.page_token)?;
        let found = webhooks::list(&*self.context.db, before, size + 1).await;
        let mut found = found.map_err(Failure::from)?;
        let next_page_token = pages.cut(&mut found, size, b"webhooks", |last| last.id.to_string());
        let webhooks = found.into_iter().map(|endpoint| self.shown(endpoint)).collect();
        Ok(Response::new(v1::ListWebhooksResponse { webhooks, next_page_token }))
    }

    async fn update_webhook(
        &self,
        request: Request<v1::UpdateWebhookRequest>,
    ) -> Answer<v1::UpdateWebhookResponse> {
        let by = self.write(&request)?;
        let v1::UpdateWebhookRequest { webhook, validate_only } = request.into_inner();
        let webhook = Some(self.update(&by, webhook.unwrap_or_default(), validate_only).await?);
        Ok(Response::new(v1::UpdateWebhookResponse { webhook }))
    }

    async fn delete_webhook(
        &self,
        request: Request<v1::DeleteWebhookRequest>,
    ) -> Answer<v1::DeleteWebhookResponse> {
        let by = self.write(&request)?;
        let request = request.into_inner();
        match self.find(&request.id).await {
            Ok(endpoint) => {
                etag::check(&request.etag, &tag(&endpoint.wanted))?;
                if !request.validate_only {
                    let (id, url) = (endpoint.id.to_string(), &endpoint.wanted.url);
                    let db = self.context.audited(&by, "webhook.delete", &id, url);
                    let deleted = webhooks::delete(&db, endpoint.id).await;
                    deleted.map_err(Failure::from)?;
                    self.posting.changed.notify_one();
                }
            }
            Err(failure) if failure.reason == Reason::WebhookNotFound && request.allow_missing => {}
            Err(failure) => return Err(failure.into()),
        }
        Ok(Response::new(v1::DeleteWebhookResponse {}))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<v1::RotateWebhookSecretRequest>,
    ) -> Answer<v1::RotateWebhookSecretResponse> {
        let by = self.write(&request)?;
        let v1::RotateWebhookSecretRequest { id, overlap, validate_only } = request.into_inner();
        let mut endpoint = self.find(&id).await?;
        let overlap_ms = match &overlap {
            None => OVERLAP_MS,
            Some(overlap) => {
                let fits = duration_millis(overlap).filter(|ms| *ms <= OVERLAP_MS_MAX);
                let text = "is not between 0 and 30 days";
                fits.ok_or_else(|| Failure::field(Reason::ValueOutOfRange, "overlap", text))?
            }
        };
        let mut secret = String::new();
        if !validate_only {
            secret = sign::generate();
            let until_ms = self.context.clock.now_ms() + overlap_ms as i64;
            let (id, url) = (endpoint.id.to_string(), &endpoint.wanted.url);
            let db = self.context.audited(&by, "webhook.rotate_secret", &id, url);
            webhooks::rotate(&db, endpoint.id, &secret, until_ms).await.map_err(Failure::from)?;
            self.posting.changed.notify_one();
            endpoint = self.find(&id).await?;
        }
        let webhook = Some(self.shown(endpoint));
        Ok(Response::new(v1::RotateWebhookSecretResponse { webhook, secret }))
    }

    async fn enable_webhook(
        &self,
        request: Request<v1::EnableWebhookRequest>,
    ) -> Answer<v1::EnableWebhookResponse> {
        let by = self.write(&request)?;
        let v1::EnableWebhookRequest { id, recover_since, validate_only } = request.into_inner();
        let endpoint = self.find(&id).await?;
        let since = convert::time("recover_since", recover_since)?;
        if !validate_only {
            let db = &*self.context.db;
            let cursor = match since {
                None => ledger::tail(db).await,
                Some(since_ms) => feed_place::before(db, since_ms).await,
            };
            let cursor = cursor.map_err(Failure::from)?;
            let (id, url) = (endpoint.id.to_string(), &endpoint.wanted.url);
            let audited = self.context.audited(&by, "webhook.enable", &id, url);
            webhooks::enable(&audited, endpoint.id, cursor).await.map_err(Failure::from)?;
            if let Some(since_ms) = since {
                let now_ms = self.context.clock.now_ms();
                store::webhook_deliveries::recover(db, endpoint.id, since_ms, now_ms, false)
                    .await
                    .map_err(Failure::from)?;
            }
            self.posting.changed.notify_one();
        }
        let webhook = Some(self.shown(self.find(&id).await?));
        Ok(Response::new(v1::EnableWebhookResponse { webhook }))
    }

    async fn disable_webhook(
        &self,
        request: Request<v1::DisableWebhookRequest>,
    ) -> Answer<v1::DisableWebhookResponse> {
        let by = self.write(&request)?;
        let v1::DisableWebhookRequest { id, validate_only } = request.into_inner();
        let endpoint = self.find(&id).await?;
        if !validate_only {
            let reason = "disabled by hand";
            let (id, url) = (endpoint.id.to_string(), &endpoint.wanted.url);
            let db = self.context.audited(&by, "webhook.disable", &id, url);
            let now_ms = self.context.clock.now_ms();
            webhooks::disable(&db, &endpoint, reason, now_ms).await.map_err(Failure::from)?;
            self.posting.changed.notify_one();
        }
        let webhook = Some(self.shown(self.find(&id).await?));
        Ok(Response::new(v1::DisableWebhookResponse { webhook }))
    }

    async fn test_webhook(
        &self,
        request: Request<v1::TestWebhookRequest>,
    ) -> Answer<v1::TestWebhookResponse> {
        let by = self.write(&request)?;
        let endpoint = self.find(&request.get_ref().id).await?;
        self.context
            .note(&by, "webhook.test", &endpoint.id.to_string(), &endpoint.wanted.url)
            .await?;
        let attempt = Some(webhook_deliveries::test(&self.posting, &endpoint).await);
        Ok(Response::new(v1::TestWebhookResponse { attempt }))
    }

    async fn list_webhook_deliveries(
        &self,
        request: Request<v1::ListWebhookDeliveriesRequest>,
    ) -> Answer<v1::ListWebhookDeliveriesResponse> {
        self.read(&request)?;
        let endpoint = self.find(&request.get_ref().id).await?;
        let list = webhook_deliveries::list(&self.context, &endpoint, request.into_inner());
        Ok(Response::new(list.await?))
    }

    async fn get_webhook_delivery(
        &self,
        request: Request<v1::GetWebhookDeliveryRequest>,
    ) -> Answer<v1::GetWebhookDeliveryResponse> {
        self.read(&request)?;
        let endpoint = self.find(&request.get_ref().id).await?;
        let event = &request.get_ref().event_id;
        let delivery = Some(webhook_deliveries::get(&self.context, &endpoint, event).await?);
        Ok(Response::new(v1::GetWebhookDeliveryResponse { delivery }))
    }

    async fn resend_webhook_delivery(
        &self,
        request: Request<v1::ResendWebhookDeliveryRequest>,
    ) -> Answer<v1::ResendWebhookDeliveryResponse> {
        let by = self.write(&request)?;
        let v1::ResendWebhookDeliveryRequest { id, event_id, validate_only } = request.into_inner();
        let endpoint = self.find(&id).await?;
        let resent =
            webhook_deliveries::resend(&self.context, &by, &endpoint, &event_id, validate_only);
        let delivery = Some(resent.await?);
        self.posting.changed.notify_one();
        Ok(Response::new(v1::ResendWebhookDeliveryResponse { delivery }))
    }

    async fn recover_webhook(
        &self,
        request: Request<v1::RecoverWebhookRequest>,
    ) -> Answer<v1::RecoverWebhookResponse> {
        let by = self.write(&request)?;
        let endpoint = self.find(&request.get_ref().id).await?;
        let recovered =
            webhook_deliveries::recover(&self.context, &by, &endpoint, request.into_inner())
                .await?;
        self.posting.changed.notify_one();
        Ok(Response::new(recovered))
    }

    async fn replay_webhook(
        &self,
        request: Request<v1::ReplayWebhookRequest>,
    ) -> Answer<v1::ReplayWebhookResponse> {
        let by = self.write(&request)?;
        let endpoint = self.find(&request.get_ref().id).await?;
        let replayed =
            webhook_deliveries::replay(&self.context, &by, &endpoint, request.into_inner()).await?;
        self.posting.changed.notify_one();
        Ok(Response::new(replayed))
    }
}

impl Webhooks {
    fn read<T>(&self, request: &Request<T>) -> Result<(), Failure> {
        self.context.gate.authorise(request.metadata(), "webhooks:read").map(|_| ())
    }

    fn write<T>(&self, request: &Request<T>) -> Result<By, Failure> {
        self.context.admit(request.metadata(), "webhooks:write")
    }

    fn shown(&self, endpoint: Endpoint) -> v1::Webhook {
        shown(endpoint, self.context.clock.now_ms())
    }

    async fn find(&self, text: &str) -> Result<Endpoint, Failure> {
        let missing = || {
            let text: String = text.chars().take(64).collect();
            let message = format!("there is no webhook '{text}'");
            Failure::new(Reason::WebhookNotFound, message).with("name", text)
        };
        let id: WebhookId = text.parse().map_err(|_| missing())?;
        webhooks::find(&*self.context.db, id).await?.ok_or_else(missing)
    }

    /// A checked endpoint that is not stored yet, and its secret if it is a new one.
    async fn create(
        &self,
        asked: v1::Webhook,
        secret: String,
    ) -> Result<(Endpoint, String), Failure> {
        let mut faults = Faults::default();
        let wanted = checked(asked, &self.posting.outgoing, &mut faults);
        let fits = match wanted.format {
            _ if secret.is_empty() || sign::key(&secret).is_some() => true,
            Format::Legacy => OLD_SECRET_OCTETS.contains(&secret.len()) && secret.is_ascii(),
            Format::Postern | Format::Thin => false,
        };
        if !fits {
            let text = "needs whsec_ and base64 of 24 to 64 octets; in the legacy format any 16 to 256 octets of ASCII";
            faults.add(Reason::InvalidValue, "secret", text);
        }
        faults.into_result()?;
        let secret = if secret.is_empty() { sign::generate() } else { secret };
        let endpoint = Endpoint {
            id: WebhookId::generate(),
            wanted,
            secret: secret.clone(),
            old_secret: String::new(),
            old_secret_expire_ms: 0,
            disabled: false,
            disable_reason: String::new(),
            failing_ms: None,
            cursor: ledger::tail(&*self.context.db).await?,
            create_ms: self.context.clock.now_ms(),
        };
        Ok((endpoint, secret))
    }

    async fn update(&self, by: &By, asked: v1::Webhook, dry: bool) -> Result<v1::Webhook, Failure> {
        let mut endpoint = self.find(&asked.id).await?;
        etag::check(&asked.etag, &tag(&endpoint.wanted))?;
        let mut faults = Faults::default();
        let wanted = checked(asked, &self.posting.outgoing, &mut faults);
        faults.into_result()?;
        if !dry {
            let (id, before) = (endpoint.id, &endpoint.wanted);
            let db = self.context.audited(by, "webhook.update", &id.to_string(), &wanted.url);
            if !webhooks::update(&db, id, &wanted, before).await? {
                return Err(etag::mismatch());
            }
            self.posting.changed.notify_one();
        }
        endpoint.wanted = wanted;
        Ok(self.shown(endpoint))
    }
}
