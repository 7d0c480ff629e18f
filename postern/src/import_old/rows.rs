//! What rows of the old system are here. Pure functions.

use postern_proto::v1;
use serde_json::Value;

/// What a key of the old system could do, whatever its row said: nobody looked.
const READING: [&str; 4] = ["messages:read", "stats:read", "templates:read", "templates:write"];
/// Longer names were never shown whole.
const NAME_CHARS_MAX: usize = 128;

/// A text of a row; empty where there is none.
pub(super) fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

/// Whether a row is in use. A column that is missing says nothing against it.
pub(super) fn is_active(row: &Value) -> bool {
    row["active"].as_bool().unwrap_or(true)
}

fn name(row: &Value, column: &str, otherwise: &str) -> String {
    let name: String = text(row, column).chars().filter(|c| !c.is_control()).collect();
    let name: String = name.trim().chars().take(NAME_CHARS_MAX).collect();
    if name.is_empty() { format!("{otherwise} {}", row["id"]) } else { name }
}

/// A key of the HTTP interface, found by its hash as before.
pub(super) fn api_key(row: &Value) -> v1::ImportApiKeyRequest {
    let allowed = &row["permissions"];
    let may = |what: &str| allowed[what].as_bool().unwrap_or(true);
    let sending = (may("send") || may("batch")).then_some("messages:send");
    let scopes = sending.into_iter().chain(READING).map(str::to_owned).collect();
    let key = v1::ApiKey {
        display_name: name(row, "name", "Old key"),
        scopes,
        daily_limit: row["daily_limit"].as_i64().unwrap_or(0).max(0),
        ..v1::ApiKey::default()
    };
    v1::ImportApiKeyRequest {
        api_key: Some(key),
        sha256: text(row, "key_hash").trim().to_owned(),
        never_expires: true,
        validate_only: false,
    }
}

/// A login of the relay. Its rate limit was never kept to, so it is not taken over: mail that went
/// through would stop.
pub(super) fn smtp_credential(row: &Value) -> v1::ImportSmtpCredentialRequest {
    let credential = v1::SmtpCredential {
        username: text(row, "username").to_owned(),
        display_name: name(row, "description", "Old login"),
        ..v1::SmtpCredential::default()
    };
    v1::ImportSmtpCredentialRequest {
        smtp_credential: Some(credential),
        bcrypt_hash: text(row, "password_hash").to_owned(),
        validate_only: false,
    }
}

/// A template. Variables that it lists may be left out when sending, as before.
pub(super) fn template(row: &Value) -> v1::Template {
    let listed = row["variables"].as_array().cloned().unwrap_or_default();
    let variable = |one: &Value| {
        let name = one.as_str().or_else(|| one["name"].as_str())?;
        Some(v1::TemplateVariable { name: name.to_owned(), ..v1::TemplateVariable::default() })
    };
    v1::Template {
        alias: text(row, "external_id").to_owned(),
        display_name: text(row, "name").to_owned(),
        html: text(row, "html_content").to_owned(),
        text: text(row, "plain_content").to_owned(),
        variables: listed.iter().filter_map(variable).collect(),
        ..v1::Template::default()
    }
}

/// Somebody who wants no more mail.
pub(super) fn unsubscribe(row: &Value) -> v1::Suppression {
    suppression(row, v1::SuppressionReason::Unsubscribe, "unsubscribed in the old system")
}

/// An address that does not exist; none for a bounce that said nothing for good.
pub(super) fn bounce(row: &Value) -> Option<v1::Suppression> {
    let is_soft = text(row, "bounce_type") == "soft";
    (!is_soft)
        .then(|| suppression(row, v1::SuppressionReason::HardBounce, "bounced in the old system"))
}

fn suppression(row: &Value, reason: v1::SuppressionReason, note: &str) -> v1::Suppression {
    v1::Suppression {
        email: text(row, "email").trim().to_owned(),
        reason: reason.into(),
        campaign_id: text(row, "campaign_id").to_owned(),
        note: note.to_owned(),
        ..v1::Suppression::default()
    }
}

/// An endpoint; it gets what it got, signed as it was.
pub(super) fn webhook(row: &Value) -> Result<v1::CreateWebhookRequest, String> {
    let events = match &row["events"] {
        Value::Array(events) => events.clone(),
        // Some installations kept the list as text.
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        _ => Vec::new(),
    };
    let mut types: Vec<&str> = Vec::new();
    for event in &events {
        let word = event.as_str().unwrap_or_default();
        types.extend(event_types(word).ok_or_else(|| format!("the event '{word}' is unknown"))?);
    }
    if types.is_empty() {
        return Err("it wants no event".to_owned());
    }
    let webhook = v1::Webhook {
        url: text(row, "url").to_owned(),
        description: "from the old system".to_owned(),
        event_types: types.into_iter().map(str::to_owned).collect(),
        format: v1::WebhookFormat::Legacy.into(),
        ..v1::Webhook::default()
    };
    let secret = text(row, "secret_key").to_owned();
    Ok(v1::CreateWebhookRequest { webhook: Some(webhook), secret, validate_only: false })
}

/// What is behind a word of the old system.
fn event_types(word: &str) -> Option<&'static [&'static str]> {
    Some(match word {
        "sent" => &["message.accepted"],
        "delivered" => &["message.delivered"],
        "opened" => &["message.opened"],
        "clicked" => &["message.clicked"],
        "bounced" => &["message.bounced"],
        "failed" => {
            &["message.failed", "message.expired", "message.suppressed", "message.canceled"]
        }
        "complained" => &["message.complained"],
        "unsubscribed" => &["message.unsubscribed"],
        // The button that never sent anything.
        "test" => &[],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_may_do_what_they_could_do() {
        let key = api_key(
            &json!({"id": 7, "key_hash": "ab", "permissions": {"send": false, "batch": false}}),
        );
        let made = key.api_key.unwrap();
        assert_eq!(made.display_name, "Old key 7");
        assert!(!made.scopes.contains(&"messages:send".to_owned()));
        assert!(key.never_expires);
        let key = api_key(&json!({"id": 7, "name": "Shop", "daily_limit": 9})).api_key.unwrap();
        assert!(key.scopes.contains(&"messages:send".to_owned()));
        assert_eq!((key.display_name.as_str(), key.daily_limit), ("Shop", 9));
    }

    #[test]
    fn endpoints_get_what_they_got() {
        let row =
            json!({"url": "https://a.test/", "events": ["sent", "failed"], "secret_key": "s"});
        let asked = webhook(&row).unwrap();
        let types = asked.webhook.unwrap().event_types;
        assert_eq!(types.len(), 5);
        assert_eq!(asked.secret, "s");
        assert!(webhook(&json!({"events": ["nothing"]})).unwrap_err().contains("nothing"));
        assert!(webhook(&json!({"events": []})).is_err());
        assert!(webhook(&json!({"events": "[\"opened\"]"})).is_ok());
    }

    /// Whatever is in a row: names are short and printable, nobody is allowed more than anybody was, and
    /// a soft bounce suppresses nobody.
    #[test]
    fn fuzz_old_rows() {
        postern_fuzz::check!("old_rows", |input| {
            let Ok(row) = serde_json::from_slice::<Value>(input) else { return };
            let key = api_key(&row).api_key.unwrap();
            let login = smtp_credential(&row).smtp_credential.unwrap();
            for name in [&key.display_name, &login.display_name] {
                assert!(!name.is_empty() && !name.chars().any(char::is_control), "{name:?}");
            }
            let may = |scope: &String| scope == "messages:send" || READING.contains(&&**scope);
            assert!(key.scopes.iter().all(may) && key.daily_limit >= 0);
            let variables = template(&row).variables;
            assert!(variables.len() <= row["variables"].as_array().map_or(0, Vec::len));
            let soft = text(&row, "bounce_type") == "soft";
            assert_eq!(bounce(&row).is_none(), soft);
            if let Ok(asked) = webhook(&row) {
                assert!(!asked.webhook.unwrap().event_types.is_empty());
            }
            let _any = (unsubscribe(&row), is_active(&row));
        });
    }

    #[test]
    fn a_soft_bounce_suppresses_nobody() {
        assert_eq!(bounce(&json!({"email": "a@b.test", "bounce_type": "soft"})), None);
        let hard = bounce(&json!({"email": " A@b.test ", "campaign_id": null})).unwrap();
        assert_eq!((hard.email.as_str(), hard.campaign_id.as_str()), ("A@b.test", ""));
    }
}
