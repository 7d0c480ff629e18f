//! The native API as a table: every row is served, documented and tested from here.
//!
//! Constant data; a crash has nothing to lose.

mod people;
#[cfg(test)]
mod tests;

use http::Method;

/// Where the body of a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none; the query fills the request.
    None,
    /// It is the request.
    Whole,
    /// It is this field of the request; the other fields may stand beside.
    Flat(&'static str),
}

/// What of the response is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All of it.
    Whole,
    /// This field, with the other fields beside.
    Flat(&'static str),
    /// Nothing.
    Nothing,
}

/// What serves a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One call, one answer.
    Call,
    /// A stream of server sent events.
    Watch,
    /// One call, and what the gateway adds about its own limits.
    Limits,
    /// The `raw` field of what is shown of the answer, as `message/rfc822`.
    Source,
}

/// One route.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// `Service.Method` in `postern.v1`.
    pub(crate) rpc: &'static str,
    /// The field of the request that `{id}` fills.
    pub(crate) id: &'static str,
    pub(crate) body: Body,
    pub(crate) shown: Shown,
    pub(crate) status: u16,
    pub(crate) kind: Kind,
}

const fn get(path: &'static str, rpc: &'static str, shown: Shown) -> Route {
    let (id, body, kind) = ("id", Body::None, Kind::Call);
    Route { method: Method::GET, path, rpc, id, body, shown, status: 200, kind }
}

const fn post(
    path: &'static str,
    rpc: &'static str,
    body: Body,
    shown: Shown,
    status: u16,
) -> Route {
    Route { method: Method::POST, path, rpc, id: "id", body, shown, status, kind: Kind::Call }
}

/// Changes the fields of `resource` that the body names.
const fn change(
    path: &'static str,
    rpc: &'static str,
    resource: &'static str,
    id: &'static str,
) -> Route {
    let (body, shown) = (Body::Flat(resource), Shown::Flat(resource));
    Route { method: Method::PATCH, path, rpc, id, body, shown, status: 200, kind: Kind::Call }
}

const fn delete(path: &'static str, rpc: &'static str) -> Route {
    let (id, body, shown, kind) = ("id", Body::None, Shown::Nothing, Kind::Call);
    Route { method: Method::DELETE, path, rpc, id, body, shown, status: 204, kind }
}

/// Every route of the native API.
pub(crate) fn all() -> Vec<Route> {
    [
        mail(),
        content(),
        campaigns(),
        webhooks(),
        credentials(),
        queue(),
        people::operators(),
        people::oneself(),
        administration(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Sending, and what became of it.
fn mail() -> Vec<Route> {
    use Body::{Flat as Into, None as Empty, Whole as All};
    use Shown::{Flat, Whole};
    vec![
        post("/v1/messages", "MessageService.SendMessage", Into("message"), Flat("message"), 202),
        post("/v1/messages/batch", "MessageService.BatchSendMessages", All, Whole, 202),
        get("/v1/messages", "MessageService.ListMessages", Whole),
        get("/v1/messages/{id}", "MessageService.GetMessage", Flat("message")),
        post(
            "/v1/messages/{id}/cancel",
            "MessageService.CancelMessage",
            Empty,
            Flat("message"),
            200,
        ),
        post("/v1/messages/{id}/resend", "MessageService.ResendMessage", All, Flat("message"), 202),
        Route {
            kind: Kind::Source,
            ..get("/v1/messages/{id}/content", "MessageService.GetMessageContent", Whole)
        },
        get("/v1/events", "EventService.ListEvents", Whole),
        Route {
            kind: Kind::Watch,
            ..get("/v1/events/watch", "EventService.WatchEvents", Flat("event"))
        },
    ]
}

/// Templates and suppressions.
fn content() -> Vec<Route> {
    use Body::{Flat as Into, Whole as All};
    use Shown::{Flat, Whole};
    vec![
        post(
            "/v1/templates",
            "TemplateService.CreateTemplate",
            Into("template"),
            Flat("template"),
            201,
        ),
        get("/v1/templates", "TemplateService.ListTemplates", Whole),
        get("/v1/templates/{id}", "TemplateService.GetTemplate", Flat("template")),
        Route {
            method: Method::PUT,
            id: "template.id",
            ..post(
                "/v1/templates/{id}",
                "TemplateService.UpdateTemplate",
                Into("template"),
                Flat("template"),
                200,
            )
        },
        delete("/v1/templates/{id}", "TemplateService.DeleteTemplate"),
        post("/v1/templates/{id}/render", "TemplateService.RenderTemplate", All, Whole, 200),
        post(
            "/v1/suppressions",
            "SuppressionService.CreateSuppression",
            Into("suppression"),
            Flat("suppression"),
            201,
        ),
        post(
            "/v1/suppressions/batch",
            "SuppressionService.BatchCreateSuppressions",
            All,
            Whole,
            200,
        ),
        get("/v1/suppressions", "SuppressionService.ListSuppressions", Whole),
        get("/v1/suppressions/{id}", "SuppressionService.GetSuppression", Flat("suppression")),
        delete("/v1/suppressions/{id}", "SuppressionService.DeleteSuppression"),
    ]
}

/// Campaigns, and those that wait.
fn campaigns() -> Vec<Route> {
    use Body::Whole as All;
    use Shown::{Flat, Whole};
    vec![
        get("/v1/campaigns", "CampaignService.ListCampaigns", Whole),
        get("/v1/campaigns/holds", "CampaignService.ListCampaignHolds", Whole),
        Route {
            id: "campaign_id",
            ..get("/v1/campaigns/{id}/hold", "CampaignService.GetCampaignHold", Whole)
        },
        Route {
            id: "campaign_id",
            ..post(
                "/v1/campaigns/{id}/hold",
                "CampaignService.HoldCampaign",
                All,
                Flat("hold"),
                200,
            )
        },
        Route {
            id: "campaign_id",
            ..post(
                "/v1/campaigns/{id}/resume",
                "CampaignService.ResumeCampaign",
                All,
                Flat("hold"),
                200,
            )
        },
    ]
}

/// Webhooks and their deliveries.
fn webhooks() -> Vec<Route> {
    use Body::{Flat as Into, None as Empty, Whole as All};
    use Shown::{Flat, Whole};
    let act = |action, rpc, body, shown| post(action, rpc, body, shown, 200);
    vec![
        post("/v1/webhooks", "WebhookService.CreateWebhook", Into("webhook"), Flat("webhook"), 201),
        get("/v1/webhooks", "WebhookService.ListWebhooks", Whole),
        get("/v1/webhooks/{id}", "WebhookService.GetWebhook", Flat("webhook")),
        Route {
            method: Method::PUT,
            id: "webhook.id",
            ..act(
                "/v1/webhooks/{id}",
                "WebhookService.UpdateWebhook",
                Into("webhook"),
                Flat("webhook"),
            )
        },
        delete("/v1/webhooks/{id}", "WebhookService.DeleteWebhook"),
        act(
            "/v1/webhooks/{id}/rotate_secret",
            "WebhookService.RotateWebhookSecret",
            All,
            Flat("webhook"),
        ),
        act("/v1/webhooks/{id}/enable", "WebhookService.EnableWebhook", All, Flat("webhook")),
        act("/v1/webhooks/{id}/disable", "WebhookService.DisableWebhook", All, Flat("webhook")),
        act("/v1/webhooks/{id}/test", "WebhookService.TestWebhook", Empty, Flat("attempt")),
        act("/v1/webhooks/{id}/recover", "WebhookService.RecoverWebhook", All, Whole),
        act("/v1/webhooks/{id}/replay", "WebhookService.ReplayWebhook", All, Whole),
        act(
            "/v1/webhooks/{id}/resend",
            "WebhookService.ResendWebhookDelivery",
            All,
            Flat("delivery"),
        ),
        get("/v1/webhooks/{id}/deliveries", "WebhookService.ListWebhookDeliveries", Whole),
        get("/v1/webhooks/{id}/delivery", "WebhookService.GetWebhookDelivery", Flat("delivery")),
    ]
}

/// API keys and SMTP credentials.
fn credentials() -> Vec<Route> {
    use Body::{Flat as Into, None as Empty, Whole as All};
    use Shown::{Flat, Whole};
    vec![
        post("/v1/keys", "CredentialService.CreateApiKey", Into("api_key"), Flat("api_key"), 201),
        get("/v1/keys", "CredentialService.ListApiKeys", Whole),
        get("/v1/keys/self", "CredentialService.GetOwnApiKey", Flat("api_key")),
        post(
            "/v1/keys/import",
            "CredentialService.ImportApiKey",
            Into("api_key"),
            Flat("api_key"),
            201,
        ),
        change("/v1/keys/{id}", "CredentialService.UpdateApiKey", "api_key", "api_key.id"),
        post("/v1/keys/{id}/rotate", "CredentialService.RotateApiKey", All, Flat("api_key"), 200),
        Route { kind: Kind::Limits, ..get("/v1/limits", "CredentialService.GetLimits", Whole) },
        post("/v1/keys/{id}/revoke", "CredentialService.RevokeApiKey", Empty, Flat("api_key"), 200),
        get("/v1/smtp-credentials", "CredentialService.ListSmtpCredentials", Whole),
        post(
            "/v1/smtp-credentials",
            "CredentialService.CreateSmtpCredential",
            Into("smtp_credential"),
            Flat("smtp_credential"),
            201,
        ),
        post(
            "/v1/smtp-credentials/import",
            "CredentialService.ImportSmtpCredential",
            Into("smtp_credential"),
            Flat("smtp_credential"),
            201,
        ),
        change(
            "/v1/smtp-credentials/{id}",
            "CredentialService.UpdateSmtpCredential",
            "smtp_credential",
            "smtp_credential.id",
        ),
        post(
            "/v1/smtp-credentials/{id}/rotate",
            "CredentialService.RotateSmtpCredential",
            All,
            Flat("smtp_credential"),
            200,
        ),
        post(
            "/v1/smtp-credentials/{id}/revoke",
            "CredentialService.RevokeSmtpCredential",
            Empty,
            Flat("smtp_credential"),
            200,
        ),
    ]
}

/// Mail that waits, by destination.
fn queue() -> Vec<Route> {
    use Body::Whole as All;
    use Shown::{Nothing, Whole};
    let act = |path, rpc| post(path, rpc, All, Nothing, 204);
    vec![
        get("/v1/queue", "StatsService.GetQueue", Whole),
        get("/v1/queue/destinations", "QueueService.ListDestinations", Whole),
        act("/v1/queue/pause", "QueueService.PauseDestination"),
        act("/v1/queue/resume", "QueueService.ResumeDestination"),
        post("/v1/queue/retry", "QueueService.RetryDestination", All, Whole, 200),
    ]
}

/// Domains, counts, settings, the audit log and the local inbox.
fn administration() -> Vec<Route> {
    use Body::{None as Empty, Whole as All};
    use Shown::{Flat, Whole};
    vec![
        post("/v1/domains", "DomainService.CreateDomain", All, Flat("domain"), 201),
        get("/v1/domains", "DomainService.ListDomains", Whole),
        get("/v1/domains/{id}", "DomainService.GetDomain", Flat("domain")),
        delete("/v1/domains/{id}", "DomainService.DeleteDomain"),
        post("/v1/domains/{id}/check", "DomainService.CheckDomain", Empty, Flat("domain"), 200),
        post("/v1/domains/{id}/rotate", "DomainService.RotateDkimKeys", All, Flat("domain"), 200),
        post(
            "/v1/domains/{id}/activate",
            "DomainService.ActivateDkimKeys",
            All,
            Flat("domain"),
            200,
        ),
        get("/v1/stats", "StatsService.QueryStats", Whole),
        get("/v1/errors", "StatsService.ListErrors", Whole),
        get("/v1/system", "SystemService.GetSystem", Whole),
        get("/v1/audit", "AuditService.ListAuditEntries", Whole),
        get("/v1/settings", "SettingsService.ListSettings", Whole),
        Route {
            method: Method::PUT,
            id: "name",
            ..post("/v1/settings/{id}", "SettingsService.UpdateSetting", All, Flat("setting"), 200)
        },
        get("/v1/sink/messages", "SinkService.ListSinkMessages", Whole),
        delete("/v1/sink/messages", "SinkService.DeleteSinkMessages"),
        get("/v1/sink/messages/{id}", "SinkService.GetSinkMessage", Flat("message")),
        Route {
            kind: Kind::Source,
            ..get("/v1/sink/messages/{id}/raw", "SinkService.GetSinkMessage", Flat("message"))
        },
        get("/v1/sink/wait", "SinkService.WaitForSinkMessage", Flat("message")),
    ]
}
