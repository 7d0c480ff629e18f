//! Option headers of other mail services, for clients that were written for one of them. They count
//! only for credentials that say so, or foreign headers would be interpreted by surprise. Pure.

use jiff::Timestamp;
use postern_proto::v1::{ClickTracking, HeaderAlias, UnsubscribeMode};
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
            None if name == "x-pm-tag" => options.tags.push(value),
            None if name == "x-pm-trackopens" => options.tracking.opens = Some(is_yes(&value)),
            None => options.tracking.set_clicks(postmark_links(&value)?),
        },
        HeaderAlias::Mailgun => match name {
            "x-mailgun-tag" => options.tags.push(value),
            "x-mailgun-variables" => options.metadata_json(&value)?,
            "x-mailgun-deliver-by" => options.send_time = Some(time(&value)?),
            "x-mailgun-track" => {
                options.tracking.opens = Some(is_yes(&value) || is_html_only(&value));
                options.tracking.set_clicks(mailgun_clicks(&value));
            }
            "x-mailgun-track-opens" => options.tracking.opens = Some(is_yes(&value)),
            "x-mailgun-track-clicks" => options.tracking.set_clicks(mailgun_clicks(&value)),
            _ => options.test |= is_yes(&value),
        },
        HeaderAlias::Mandrill => match name {
            "x-mc-tags" => options.tag_list(&value),
            "x-mc-metadata" => options.metadata_json(&value)?,
            "x-mc-track" => mandrill_track(options, &value),
            _ => options.send_time = Some(mandrill_time(&value)?),
        },
        HeaderAlias::Sendgrid => sendgrid(options, &value)?,
        HeaderAlias::Sparkpost => sparkpost(options, &value)?,
        HeaderAlias::Ses if name == "x-ses-list-management-options" => {
            options.unsubscribe.set_mode(UnsubscribeMode::OneClick);
        }
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
        "x-pm-tag" | "x-pm-trackopens" | "x-pm-tracklinks" => HeaderAlias::Postmark,
        "x-mailgun-tag"
        | "x-mailgun-track"
        | "x-mailgun-track-opens"
        | "x-mailgun-track-clicks"
        | "x-mailgun-variables"
        | "x-mailgun-deliver-by"
        | "x-mailgun-drop-message" => HeaderAlias::Mailgun,
        "x-mc-tags" | "x-mc-metadata" | "x-mc-sendat" | "x-mc-track" => HeaderAlias::Mandrill,
        "x-smtpapi" => HeaderAlias::Sendgrid,
        "x-msys-api" => HeaderAlias::Sparkpost,
        "x-ses-message-tags" | "x-ses-list-management-options" => HeaderAlias::Ses,
        "x-mailin-tag" | "x-mailin-custom" | "x-sib-sandbox" => HeaderAlias::Brevo,
        "resend-idempotency-key" => HeaderAlias::Resend,
        name if name.starts_with("x-pm-metadata-") => HeaderAlias::Postmark,
        _ => return None,
    })
}

fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "true")
}

fn is_html_only(value: &str) -> bool {
    value.eq_ignore_ascii_case("htmlonly")
}

fn postmark_links(value: &str) -> Result<ClickTracking, String> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "none" => ClickTracking::None,
        "htmlandtext" => ClickTracking::All,
        "htmlonly" => ClickTracking::Html,
        "textonly" => ClickTracking::Text,
        _ => return Err("is none of None, HtmlAndText, HtmlOnly, TextOnly".to_owned()),
    })
}

fn mailgun_clicks(value: &str) -> ClickTracking {
    match is_yes(value) {
        true => ClickTracking::All,
        false if is_html_only(value) => ClickTracking::Html,
        false => ClickTracking::None,
    }
}

/// A list that says all: what is not named is off.
fn mandrill_track(options: &mut Options, value: &str) {
    let value = value.to_ascii_lowercase();
    let has = |word: &str| value.split(',').any(|one| one.trim() == word);
    options.tracking.opens = Some(has("opens"));
    options.tracking.set_clicks(match () {
        () if has("clicks_all") || has("clicks") => ClickTracking::All,
        () if has("clicks_htmlonly") => ClickTracking::Html,
        () if has("clicks_textonly") => ClickTracking::Text,
        () => ClickTracking::None,
    });
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
    let enabled = |filter: &str| {
        let enable = &json["filters"][filter]["settings"]["enable"];
        enable.as_bool().or_else(|| enable.as_i64().map(|number| number != 0))
    };
    options.tracking.opens = enabled("opentrack").or(options.tracking.opens);
    if let Some(on) = enabled("clicktrack") {
        options.tracking.set_clicks(if on { ClickTracking::All } else { ClickTracking::None });
    }
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
    let chosen = |name: &str| json["options"][name].as_bool();
    options.tracking.opens = chosen("open_tracking").or(options.tracking.opens);
    if let Some(on) = chosen("click_tracking") {
        options.tracking.set_clicks(if on { ClickTracking::All } else { ClickTracking::None });
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
