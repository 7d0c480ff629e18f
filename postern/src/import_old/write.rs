//! Handing rows to the core. What it refuses is noted with its reason; what it cannot do now ends the
//! run, which is started again later.

use std::collections::BTreeSet;

use postern_core::store::old_system::Table;
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::credential_service_client::CredentialServiceClient;
use postern_proto::v1::suppression_service_client::SuppressionServiceClient;
use postern_proto::v1::template_service_client::TemplateServiceClient;
use postern_proto::v1::tracking_service_client::TrackingServiceClient;
use postern_proto::v1::webhook_service_client::WebhookServiceClient;
use tonic::{Code, Status};

use super::report::{Fate, Report};
use crate::client::Client;

/// Writes, or with `dry_run` only asks.
pub(super) struct Writer<'a> {
    pub(super) client: &'a Client,
    pub(super) dry_run: bool,
}

/// What the core said of one row. A fault that is not the row's own ends the run.
fn fate<T>(answer: Result<tonic::Response<T>, Status>) -> Result<Fate, Status> {
    match answer {
        Ok(_) => Ok(Fate::Imported),
        Err(status) => match status.code() {
            Code::AlreadyExists => Ok(Fate::Existing),
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
                Ok(Fate::Refused(Failure::from_status(&status).message))
            }
            _ => Err(status),
        },
    }
}

impl Writer<'_> {
    pub(super) async fn api_key(&self, mut ask: v1::ImportApiKeyRequest) -> Result<Fate, Status> {
        ask.validate_only = self.dry_run;
        let mut service = CredentialServiceClient::new(self.client.channel.clone());
        fate(service.import_api_key(self.client.request(ask)).await)
    }

    pub(super) async fn smtp_credential(
        &self,
        mut ask: v1::ImportSmtpCredentialRequest,
    ) -> Result<Fate, Status> {
        ask.validate_only = self.dry_run;
        let mut service = CredentialServiceClient::new(self.client.channel.clone());
        fate(service.import_smtp_credential(self.client.request(ask)).await)
    }

    pub(super) async fn template(&self, template: v1::Template) -> Result<Fate, Status> {
        let ask =
            v1::CreateTemplateRequest { template: Some(template), validate_only: self.dry_run };
        let mut service = TemplateServiceClient::new(self.client.channel.clone());
        fate(service.create_template(self.client.request(ask)).await)
    }

    /// The urls of endpoints that were taken over before: an endpoint has no id of the old system.
    pub(super) async fn webhook_urls(&self) -> Result<BTreeSet<String>, Status> {
        let mut service = WebhookServiceClient::new(self.client.channel.clone());
        let (mut urls, mut page_token) = (BTreeSet::new(), String::new());
        loop {
            let ask = v1::ListWebhooksRequest { page_size: 1000, page_token };
            let page = service.list_webhooks(self.client.request(ask)).await?.into_inner();
            let legacy = page
                .webhooks
                .into_iter()
                .filter(|webhook| webhook.format() == v1::WebhookFormat::Legacy);
            urls.extend(legacy.map(|webhook| webhook.url));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(urls);
            }
        }
    }

    pub(super) async fn webhook(&self, mut ask: v1::CreateWebhookRequest) -> Result<Fate, Status> {
        ask.validate_only = self.dry_run;
        let mut service = WebhookServiceClient::new(self.client.channel.clone());
        fate(service.create_webhook(self.client.request(ask)).await)
    }

    pub(super) async fn suppressions(
        &self,
        table: Table,
        rows: Vec<(i64, v1::Suppression)>,
        report: &mut Report,
    ) -> Result<(), Status> {
        if rows.is_empty() {
            return Ok(());
        }
        let (ids, suppressions): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let ask = v1::BatchCreateSuppressionsRequest { suppressions, validate_only: self.dry_run };
        let mut service = SuppressionServiceClient::new(self.client.channel.clone());
        let answer = service.batch_create_suppressions(self.client.request(ask)).await?;
        let answer = answer.into_inner();
        let count = |number: i32| u64::try_from(number).unwrap_or(0);
        if self.dry_run {
            // What is only checked is not looked for.
            report.note_many(table, (ids.len() - answer.faults.len().min(ids.len())) as u64, 0);
        } else {
            report.note_many(table, count(answer.created_count), count(answer.existing_count));
        }
        for fault in answer.faults {
            let id = ids.get(usize::try_from(fault.index).unwrap_or(0)).copied().unwrap_or(0);
            report.note(table, id, Fate::Refused(fault.message));
        }
        Ok(())
    }

    /// A batch with a bad link is refused as a whole: then each is tried on its own. There is nothing
    /// to ask in a dry run.
    pub(super) async fn links(
        &self,
        table: Table,
        rows: Vec<(i64, v1::LegacyLink)>,
        report: &mut Report,
    ) -> Result<(), Status> {
        if rows.is_empty() {
            return Ok(());
        }
        if self.dry_run {
            report.note_many(table, rows.len() as u64, 0);
            return Ok(());
        }
        let all: Vec<_> = rows.iter().map(|(_, link)| link.clone()).collect();
        match self.link_batch(all).await {
            Ok(new) => {
                report.note_many(table, new, rows.len() as u64 - new);
                return Ok(());
            }
            Err(status) if status.code() == Code::InvalidArgument => {}
            Err(status) => return Err(status),
        }
        for (id, link) in rows {
            match self.link_batch(vec![link]).await {
                Ok(0) => report.note(table, id, Fate::Existing),
                Ok(_) => report.note(table, id, Fate::Imported),
                Err(status) if status.code() == Code::InvalidArgument => {
                    let why = Failure::from_status(&status).message;
                    report.note(table, id, Fate::Refused(why));
                }
                Err(status) => return Err(status),
            }
        }
        Ok(())
    }

    async fn link_batch(&self, links: Vec<v1::LegacyLink>) -> Result<u64, Status> {
        let most = links.len() as u64;
        let mut service = TrackingServiceClient::new(self.client.channel.clone());
        let ask = self.client.request(v1::ImportLegacyLinksRequest { links });
        let new = service.import_legacy_links(ask).await?.into_inner().imported;
        Ok(u64::try_from(new).unwrap_or(0).min(most))
    }
}
