//! The names and notations that callers may use: aliases of fields, words of enums, base64,
//! durations.
//!
//! Pure; a crash has nothing to lose.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::tree::Json;

/// Other names that callers may use: message, alias, field.
const ALIASES: [(&str, &str, &str); 10] = [
    ("EmailAddress", "name", "display_name"),
    ("Recipient", "name", "display_name"),
    ("OutgoingMessage", "delivery", "delivery_mode"),
    ("ListMessagesRequest", "to", "recipient"),
    ("ListSinkMessagesRequest", "to", "recipient"),
    ("WaitForSinkMessageRequest", "to", "recipient"),
    ("WaitForSinkMessageRequest", "subject", "subject_contains"),
    ("ListEventsRequest", "type", "types"),
    ("SendRawMessageRequest", "from", "envelope_from"),
    ("SendRawMessageRequest", "to", "recipients"),
];

/// What every value of an enum begins with.
pub(crate) fn enum_prefix(values: &EnumDescriptor) -> String {
    let zero = values.default_value();
    zero.name().strip_suffix("UNSPECIFIED").unwrap_or_default().to_owned()
}

/// The words that stand for the values of an enum, without the unspecified one.
pub(crate) fn enum_words(values: &EnumDescriptor) -> impl Iterator<Item = String> {
    let prefix = enum_prefix(values);
    let values: Vec<_> = values.values().filter(|value| value.number() != 0).collect();
    values.into_iter().map(move |value| {
        value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_ascii_lowercase()
    })
}

/// The field that a key names: in snake case, in lower camel case, or by an alias.
pub(crate) fn find_field(message: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    let aliased = ALIASES.iter().find(|(name, alias, _)| message.name() == *name && *alias == key);
    let key = match aliased {
        Some((_, _, field)) => field,
        None if message.get_field_by_name("page_token").is_some() => match key {
            "limit" => "page_size",
            "after" => "page_token",
            key => key,
        },
        None => key,
    };
    message.get_field_by_name(key).or_else(|| message.get_field_by_json_name(key))
}

/// Base64 in the standard or the URL alphabet, with or without padding. Line breaks, which many
/// encoders add, are left out.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let url = text.contains(['-', '_']);
    let alphabet = if url { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let engine = GeneralPurpose::new(alphabet, config);
    if text.contains(['\r', '\n']) {
        return engine.decode(text.replace(['\r', '\n'], "")).ok();
    }
    engine.decode(text).ok()
}

pub(super) fn is_message(kind: &Kind, name: &str) -> bool {
    kind.as_message().is_some_and(|message| message.name() == name)
}

pub(super) fn is_mailbox(kind: &Kind) -> bool {
    is_message(kind, "EmailAddress") || is_message(kind, "Recipient")
}

/// Text from a query as the type that the field wants, where it can be read as one.
pub(super) fn typed(kind: &Kind, value: Json) -> Json {
    let Json::Text(text) = &value else {
        return value;
    };
    let typed = match kind {
        Kind::Bool => text.parse().ok().map(Json::Bool),
        Kind::Int32 | Kind::Int64 => text.parse().ok().map(Json::Int),
        _ => None,
    };
    typed.unwrap_or(value)
}

pub(super) fn seconds(text: &str) -> Option<prost_types::Duration> {
    if let Some(whole) = postern_kit::env::parse_duration(text) {
        return prost_types::Duration::try_from(whole).ok();
    }
    let number: f64 = text.strip_suffix('s')?.parse().ok()?;
    let duration = std::time::Duration::try_from_secs_f64(number).ok()?;
    prost_types::Duration::try_from(duration).ok()
}
