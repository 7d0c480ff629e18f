//! Request bodies that work as they stand. The end-to-end tests send each of them.
//!
//! Constant data; a crash has nothing to lose.

use serde_json::{Value, json};

/// An example for `Service.Method`, where the path needs no id.
pub(super) fn of(rpc: &str) -> Option<Value> {
    mail(rpc).or_else(|| administration(rpc))
}

/// Sending, and to whom.
fn mail(rpc: &str) -> Option<Value> {
    let example = match rpc {
        "MessageService.SendMessage" => json!({
            "from": "Shop <hi@shop.example>",
            "to": [{"email": "ann@example.com", "name": "Ann", "variables": {"order": 42}}],
            "reply_to": ["help@shop.example"],
            "subject": "Order {{ order }}",
            "html": "<p>Your order {{ order }} is on its way.</p>",
            "text": "Your order {{ order }} is on its way.",
            "liquid": true,
            "headers": {"X-Entity-Ref-ID": "42"},
            "tags": ["order"],
            "metadata": {"order_id": "42"},
            "external_id": "ord-42",
            "attachments": [
                {"filename": "note.txt", "content_type": "text/plain", "content": "SGVsbG8="},
            ],
        }),
        "MessageService.BatchSendMessages" => json!({
            "message": {
                "from": "Shop <news@shop.example>",
                "subject": "Hello {{ name }}",
                "text": "Dear {{ name }}, we have moved.",
                "liquid": true,
                "priority": "low",
            },
            "items": [
                {"to": {"email": "ann@example.com", "variables": {"name": "Ann"}}},
                {"to": {"email": "bob@example.com", "variables": {"name": "Bob"}}},
            ],
        }),
        "TemplateService.CreateTemplate" => json!({
            "alias": "welcome",
            "display_name": "Welcome",
            "subject": "Welcome, {{ name }}",
            "html": "<p>Hello {{ name }}.</p>",
            "text": "Hello {{ name }}.",
            "variables": [{"name": "name", "required": true}],
        }),
        "SuppressionService.CreateSuppression" => json!({
            "email": "gone@example.com", "reason": "manual", "note": "asked by telephone",
        }),
        "SuppressionService.BatchCreateSuppressions" => json!({
            "suppressions": [
                {"email": "gone@example.com", "reason": "manual", "note": "asked by telephone"},
                {"email": "left@example.com", "reason": "unsubscribe", "campaign_id": "spring"},
            ],
        }),
        _ => return None,
    };
    Some(example)
}

/// What is set up once, and what operators do.
fn administration(rpc: &str) -> Option<Value> {
    let example = match rpc {
        "DomainService.CreateDomain" => json!({"name": "shop.example"}),
        "CampaignService.HoldCampaign" => json!({"note": "wrong price in the headline"}),
        "CampaignService.ResumeCampaign" => json!({"note": "price mended"}),
        "QueueService.PauseDestination" => json!({
            "domain": "example.com", "note": "their servers are being moved",
        }),
        "QueueService.ResumeDestination" | "QueueService.RetryDestination" => {
            json!({"domain": "example.com"})
        }
        "OperatorService.CreateOperator" => json!({"username": "ann", "role": "viewer"}),
        "CredentialService.CreateApiKey" => json!({
            "display_name": "Web shop",
            "scopes": ["messages:send", "messages:read"],
            "sender_domains": ["shop.example"],
            "daily_limit": 10_000,
        }),
        "CredentialService.ImportApiKey" => json!({
            "display_name": "Web shop, as before",
            "scopes": ["messages:send"],
            "ip_allow": ["192.0.2.0/24", "2001:db8::7"],
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        }),
        "CredentialService.CreateSmtpCredential" => json!({
            "display_name": "Printer on the second floor", "sender_domains": ["shop.example"],
        }),
        _ => return None,
    };
    Some(example)
}
