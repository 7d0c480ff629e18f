//! The JSON that `--json` prints: the names of the contract, in snake case.

use jiff::Timestamp;
use postern_proto::v1;
use serde_json::{Value, json};

/// A time as RFC 3339 with milliseconds.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> Value {
    let millis = time.and_then(postern_proto::time::millis);
    let time = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    time.map_or(Value::Null, |time| format!("{time:.3}").into())
}

/// A state as in the REST API: `delivered`.
pub(super) fn state(state: v1::RecipientState) -> String {
    let name = state.as_str_name();
    name.trim_start_matches("RECIPIENT_STATE_").to_ascii_lowercase()
}

/// A message.
pub(super) fn message(message: &v1::Message) -> Value {
    let recipient = |recipient: &v1::RecipientStatus| {
        json!({
            "id": recipient.id,
            "email": recipient.email,
            "state": state(recipient.state()),
            "reason": recipient.reason,
            "attempts": recipient.attempts,
            "last_reply": recipient.last_reply.as_ref().map(reply),
            "next_attempt_time": time(recipient.next_attempt_time.as_ref()),
            "update_time": time(recipient.update_time.as_ref()),
        })
    };
    json!({
        "id": message.id,
        "create_time": time(message.create_time.as_ref()),
        "from": message.from.as_ref().map(|from| from.email.clone()),
        "subject": message.subject,
        "external_id": message.external_id,
        "campaign_id": message.campaign_id,
        "test": message.test,
        "trace_id": message.trace_id,
        "recipients": message.recipients.iter().map(recipient).collect::<Vec<_>>(),
    })
}

/// An event.
pub(super) fn event(event: &v1::Event) -> Value {
    json!({
        "id": event.id,
        "sequence": event.sequence,
        "type": event.r#type,
        "create_time": time(event.create_time.as_ref()),
        "message_id": event.message_id,
        "recipient": event.recipient,
        "attempt": event.attempt,
        "reason": event.reason,
        "possible_duplicate": event.possible_duplicate,
        "reply": event.reply.as_ref().map(reply),
        "engagement": event.engagement.as_ref().map(engagement),
    })
}

fn engagement(engagement: &v1::Engagement) -> Value {
    let v1::Engagement { reasons, first, url, link_index, client_ip, .. } = engagement;
    json!({
        "verdict": verdict(engagement),
        "reasons": reasons,
        "first": first,
        "url": url,
        "link_index": link_index,
        "client_ip": client_ip,
        "user_agent": engagement.user_agent,
        "source": engagement.source,
        "scope": engagement.scope,
    })
}

/// A verdict as in the REST API: `human`.
pub(super) fn verdict(engagement: &v1::Engagement) -> String {
    engagement.verdict().as_str_name().trim_start_matches("VERDICT_").to_ascii_lowercase()
}

/// A key without its secret.
pub(super) fn key(key: &v1::ApiKey) -> Value {
    json!({
        "id": key.id,
        "display_name": key.display_name,
        "scopes": key.scopes,
        "sender_domains": key.sender_domains,
        "daily_limit": key.daily_limit,
        "hint": key.hint,
        "test": key.test,
        "create_time": time(key.create_time.as_ref()),
        "expire_time": time(key.expire_time.as_ref()),
        "ip_allow": key.ip_allow,
        "replaces": key.replaces,
        "replaced_by": key.replaced_by,
        "last_use_time": time(key.last_use_time.as_ref()),
        "last_use_address": key.last_use_address,
        "revoke_time": time(key.revoke_time.as_ref()),
    })
}

/// A domain with the records to publish and what was found of them.
pub(super) fn domain(domain: &v1::Domain) -> Value {
    let key = |key: &v1::DkimKey| {
        json!({
            "selector": key.selector,
            "state": key_state(key.state()),
            "create_time": time(key.create_time.as_ref()),
            "remove_time": time(key.remove_time.as_ref()),
        })
    };
    let record = |record: &v1::DnsRecord| {
        json!({
            "type": record.r#type,
            "name": record.name,
            "value": record.value,
            "purpose": record.purpose,
            "need": need(record.need()),
            "note": record.note,
        })
    };
    json!({
        "id": domain.id,
        "name": domain.name,
        "dkim_keys": domain.dkim_keys.iter().map(key).collect::<Vec<_>>(),
        "dns_records": domain.dns_records.iter().map(record).collect::<Vec<_>>(),
        "checks": domain.checks.iter().map(domain_check).collect::<Vec<_>>(),
        "last_check_time": time(domain.last_check_time.as_ref()),
    })
}

fn domain_check(check: &v1::DomainCheck) -> Value {
    json!({
        "purpose": check.purpose,
        "selector": check.selector,
        "name": check.name,
        "need": need(check.need()),
        "status": check_status(check.status()),
        "expected": check.expected,
        "found": check.found,
        "hint": check.hint,
        "check_time": time(check.check_time.as_ref()),
        "error": check.error,
    })
}

/// The word for it.
pub(super) fn key_state(state: v1::DkimKeyState) -> String {
    state.as_str_name().trim_start_matches("DKIM_KEY_STATE_").to_ascii_lowercase()
}

/// The word for it.
pub(super) fn need(need: v1::DnsRecordNeed) -> String {
    need.as_str_name().trim_start_matches("DNS_RECORD_NEED_").to_ascii_lowercase()
}

/// The word for it.
pub(super) fn check_status(status: v1::DomainCheckStatus) -> String {
    status.as_str_name().trim_start_matches("DOMAIN_CHECK_STATUS_").to_ascii_lowercase()
}

fn reply(reply: &v1::SmtpReply) -> Value {
    json!({
        "code": reply.code,
        "enhanced_code": reply.enhanced_code,
        "text": reply.text,
        "host": reply.host,
        "phase": reply.phase,
    })
}

/// An SMTP credential.
pub(super) fn smtp_credential(credential: &v1::SmtpCredential) -> Value {
    let alias = |alias: v1::HeaderAlias| {
        alias.as_str_name().trim_start_matches("HEADER_ALIAS_").to_ascii_lowercase()
    };
    json!({
        "id": credential.id,
        "username": credential.username,
        "display_name": credential.display_name,
        "sender_domains": credential.sender_domains,
        "rate_limit": credential.rate_limit,
        "daily_limit": credential.daily_limit,
        "header_aliases": credential.header_aliases().map(alias).collect::<Vec<_>>(),
        "expire_time": time(credential.expire_time.as_ref()),
        "ip_allow": credential.ip_allow,
        "old_secret_expire_time": time(credential.old_secret_expire_time.as_ref()),
        "last_use_time": time(credential.last_use_time.as_ref()),
        "last_use_address": credential.last_use_address,
        "test": credential.test,
        "create_time": time(credential.create_time.as_ref()),
        "revoke_time": time(credential.revoke_time.as_ref()),
    })
}

/// An endpoint.
pub(super) fn webhook(webhook: &v1::Webhook) -> Value {
    json!({
        "id": webhook.id,
        "url": webhook.url,
        "description": webhook.description,
        "event_types": webhook.event_types,
        "campaign_ids": webhook.campaign_ids,
        "ordered": webhook.ordered,
        "disabled": webhook.disabled,
        "disable_reason": webhook.disable_reason,
        "failing_time": time(webhook.failing_time.as_ref()),
        "create_time": time(webhook.create_time.as_ref()),
    })
}

/// A delivery of a webhook.
pub(super) fn webhook_delivery(delivery: &v1::WebhookDelivery) -> Value {
    json!({
        "event_id": delivery.event_id,
        "sequence": delivery.sequence,
        "state": webhook_state(delivery.state()),
        "attempts": delivery.attempts,
        "next_attempt_time": time(delivery.next_attempt_time.as_ref()),
        "create_time": time(delivery.create_time.as_ref()),
        "tries": delivery.tries.iter().map(webhook_attempt).collect::<Vec<_>>(),
        "body": delivery.body,
    })
}

/// A try.
pub(super) fn webhook_attempt(attempt: &v1::WebhookAttempt) -> Value {
    json!({
        "number": attempt.number,
        "create_time": time(attempt.create_time.as_ref()),
        "status": attempt.status,
        "error": attempt.error,
        "response": attempt.response,
        "duration_ms": took_ms(attempt),
    })
}

/// How long a try took, in milliseconds; none while it is under way.
pub(super) fn took_ms(attempt: &v1::WebhookAttempt) -> Option<u64> {
    attempt.duration.as_ref().and_then(postern_proto::time::duration_millis)
}

/// The word for it.
pub(super) fn webhook_state(state: v1::WebhookDeliveryState) -> String {
    state.as_str_name().trim_start_matches("WEBHOOK_DELIVERY_STATE_").to_ascii_lowercase()
}

/// A campaign.
pub(super) fn campaign_hold(hold: &v1::CampaignHold) -> Value {
    json!({
        "campaign_id": hold.campaign_id,
        "held": hold.held,
        "automatic": hold.automatic,
        "note": hold.note,
        "change_time": time(hold.change_time.as_ref()),
    })
}

/// What was done to a campaign.
pub(super) fn campaign_log_entry(entry: &v1::CampaignLogEntry) -> Value {
    json!({
        "action": campaign_action(entry.action()),
        "actor": entry.actor,
        "note": entry.note,
        "create_time": time(entry.create_time.as_ref()),
    })
}

/// The word for it.
pub(super) fn campaign_action(action: v1::CampaignAction) -> String {
    action.as_str_name().trim_start_matches("CAMPAIGN_ACTION_").to_ascii_lowercase()
}

/// An operator.
pub(super) fn operator(operator: &v1::Operator) -> Value {
    json!({
        "id": operator.id,
        "username": operator.username,
        "role": role(operator.role()),
        "totp": operator.totp,
        "create_time": time(operator.create_time.as_ref()),
        "login_time": time(operator.login_time.as_ref()),
    })
}

/// The word for it.
pub(super) fn role(role: v1::OperatorRole) -> String {
    role.as_str_name().trim_start_matches("OPERATOR_ROLE_").to_ascii_lowercase()
}

/// An entry of the audit log.
pub(super) fn audit_entry(entry: &v1::AuditEntry) -> Value {
    json!({
        "id": entry.id,
        "create_time": time(entry.create_time.as_ref()),
        "actor": entry.actor,
        "actor_name": entry.actor_name,
        "action": entry.action,
        "target": entry.target,
        "detail": entry.detail,
        "client_ip": entry.client_ip,
        "request_id": entry.request_id,
    })
}

/// A destination.
pub(super) fn destination(destination: &v1::Destination) -> Value {
    json!({
        "domain": destination.domain,
        "queued": destination.queued,
        "sending": destination.sending,
        "deferred": destination.deferred,
        "oldest_due_seconds": destination.oldest_due_seconds,
        "paused": destination.paused,
        "note": destination.note,
        "pause_time": time(destination.pause_time.as_ref()),
    })
}

/// What went wrong.
pub(super) fn errors(errors: &v1::ListErrorsResponse) -> Value {
    let count = |count: &v1::ErrorCount| json!({"name": count.name, "deferred": count.deferred, "failed": count.failed});
    let error = |error: &v1::DeliveryError| {
        json!({
            "event_id": error.event_id,
            "create_time": time(error.create_time.as_ref()),
            "message_id": error.message_id,
            "campaign_id": error.campaign_id,
            "email": error.email,
            "type": error.r#type,
            "category": error.category,
            "reply": error.reply,
        })
    };
    json!({
        "categories": errors.categories.iter().map(count).collect::<Vec<_>>(),
        "destinations": errors.destinations.iter().map(count).collect::<Vec<_>>(),
        "errors": errors.errors.iter().map(error).collect::<Vec<_>>(),
        "partial": errors.partial,
        "next_page_token": errors.next_page_token,
    })
}

/// A setting.
pub(super) fn setting(setting: &v1::Setting) -> Value {
    json!({
        "name": setting.name,
        "value": setting.value,
        "default_value": setting.default_value,
        "minimum": setting.minimum,
        "maximum": setting.maximum,
        "changed": setting.changed,
        "description": setting.description,
    })
}
