//! The core's services, as the pages call them.

use postern_kit::in_process::CoreChannel;
use postern_proto::v1;

use crate::App;

/// Mails come in one answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

macro_rules! clients {
    ($($name:ident = $module:ident :: $client:ident;)*) => {$(
        pub(super) fn $name(app: &App) -> v1::$module::$client<CoreChannel> {
            v1::$module::$client::new(app.core.channel.clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX)
        }
    )*};
}

clients! {
    operators = operator_service_client::OperatorServiceClient;
    audit = audit_service_client::AuditServiceClient;
    messages = message_service_client::MessageServiceClient;
    events = event_service_client::EventServiceClient;
    stats = stats_service_client::StatsServiceClient;
    system = system_service_client::SystemServiceClient;
    queue = queue_service_client::QueueServiceClient;
    campaigns = campaign_service_client::CampaignServiceClient;
    suppressions = suppression_service_client::SuppressionServiceClient;
    templates = template_service_client::TemplateServiceClient;
    webhooks = webhook_service_client::WebhookServiceClient;
    credentials = credential_service_client::CredentialServiceClient;
    domains = domain_service_client::DomainServiceClient;
    settings = settings_service_client::SettingsServiceClient;
}
