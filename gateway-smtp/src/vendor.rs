//! Option headers of other mail services, for clients that were written for one of them. They count
//! only for credentials that say so, or foreign headers would be interpreted by surprise. Pure.

use jiff::Timestamp;
use postern_proto::v1::HeaderAlias;
use serde_json::Value;

use crate::options::{Options, time};

/// Takes a field that is an option of one of the vendors; others are left alone. `name` is in lower
/// case.
pub(crate) fn read(
    options: &mut Options,
    aliases: &[i32],
    name: &str,
    value: impl Fn() -> String,
) -> Result<(), String> {
    let Some(alias) = owner(name).filter(|alias| aliases.contains(&(*alias as i32))) else {
        return Ok(());
    };
    let value = value();
    match alias {
        HeaderAlias::Postmark => match name.strip_prefix("x-pm-metadata-") {
            Some(key) => drop(options.metadata.insert(key.to_owned(), value)),
            None => options.tags.push(value),
        },
        HeaderAlias::Mailgun => match name {
            "x-mailgun-tag" => options.tags.push(value),
            "x-mailgun-variables" => options.metadata_json(&value)?,
            "x-mailgun-deliver-by" => options.send_time = Some(time(&value)?),
            _ => options.test |= is_yes(&value),
        },
        HeaderAlias::Mandrill => match name {
            "x-mc-tags" => options.tag_list(&value),
            "x-mc-metadata" => options.metadata_json(&value)?,
            _ => options.send_time = Some(mandrill_time(&value)?),
        },
        HeaderAlias::Sendgrid => sendgrid(options, &value)?,
        HeaderAlias::Sparkpost => sparkpost(options, &value)?,
        HeaderAlias::Ses => options.tag_list(&value),
        HeaderAlias::Brevo => match name {
            "x-mailin-tag" => options.tags.push(value),
            "x-mailin-custom" => drop(options.metadata.insert("custom".to_owned(), value)),
            _ => options.test |= value.eq_ignore_ascii_case("drop"),
        },
        HeaderAlias::Resend => options.request_id = value,
        HeaderAlias::Unspecified => {}
    }
    Ok(())
}

/// Whether a field is an option of one of these vendors, and so not for recipients.
pub(crate) fn is_option(name: &str, aliases: &[i32]) -> bool {
    let alias = owner(&name.to_ascii_lowercase());
    alias.is_some_and(|alias| aliases.contains(&(alias as i32)))
}

/// Whose option the field is.
fn owner(name: &str) -> Option<HeaderAlias> {
    Some(match name {
        "x-pm-tag" => HeaderAlias::Postmark,
        "x-mailgun-tag"
        | "x-mailgun-variables"
        | "x-mailgun-deliver-by"
        | "x-mailgun-drop-message" => HeaderAlias::Mailgun,
        "x-mc-tags" | "x-mc-metadata" | "x-mc-sendat" => HeaderAlias::Mandrill,
        "x-smtpapi" => HeaderAlias::Sendgrid,
        "x-msys-api" => HeaderAlias::Sparkpost,
        "x-ses-message-tags" => HeaderAlias::Ses,
        "x-mailin-tag" | "x-mailin-custom" | "x-sib-sandbox" => HeaderAlias::Brevo,
        "resend-idempotency-key" => HeaderAlias::Resend,
        name if name.starts_with("x-pm-metadata-") => HeaderAlias::Postmark,
        _ => return None,
    })
}

fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "true")
}

/// `YYYY-MM-DD HH:MM:SS` in UTC.
fn mandrill_time(value: &str) -> Result<Timestamp, String> {
    time(&format!("{}Z", value.trim().replacen(' ', "T", 1)))
}

fn sendgrid(options: &mut Options, value: &str) -> Result<(), String> {
    let json = object(value)?;
    match &json["category"] {
        Value::String(tag) => options.tags.push(tag.clone()),
        Value::Array(tags) => {
            options.tags.extend(tags.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => {}
    }
    nested(options, &json["unique_args"])?;
    if let Some(seconds) = json["send_at"].as_i64() {
        let time = Timestamp::from_second(seconds);
        options.send_time = Some(time.map_err(|_| "has an unusable send_at".to_owned())?);
    }
    Ok(())
}

fn sparkpost(options: &mut Options, value: &str) -> Result<(), String> {
    let json = object(value)?;
    if let Some(campaign) = json["campaign_id"].as_str() {
        options.tags.push(campaign.to_owned());
    }
    if let Some(tags) = json["tags"].as_array() {
        options.tags.extend(tags.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    nested(options, &json["metadata"])
}

fn object(value: &str) -> Result<Value, String> {
    let json: Value =
        serde_json::from_str(value).map_err(|error| format!("is no JSON object: {error}"))?;
    if json.is_object() { Ok(json) } else { Err("is no JSON object".to_owned()) }
}

fn nested(options: &mut Options, value: &Value) -> Result<(), String> {
    if value.is_null() { Ok(()) } else { options.metadata_json(&value.to_string()) }
}
