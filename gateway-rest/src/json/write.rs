//! Writes a message of the contract as JSON: snake case, times in UTC with milliseconds, enums as
//! lower-case words. Unset optional values are left out; numbers, booleans, arrays and objects are
//! always there.
//!
//! Pure; a crash has nothing to lose.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_proto::status::Failure;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};

use super::tree::Json;
use super::words::enum_prefix;

/// The fields of a message, in the order of the contract.
pub(crate) fn object(message: &DynamicMessage) -> Vec<(String, Json)> {
    let fields = message.descriptor();
    let written = fields.fields().filter_map(|field| {
        let value = present(message, &field)?;
        Some((field.name().to_owned(), value))
    });
    written.collect()
}

/// A time as RFC 3339 in UTC with milliseconds.
pub(crate) fn time(time: &prost_types::Timestamp) -> Option<String> {
    let millis = postern_proto::time::millis(time)?;
    let time = jiff::Timestamp::from_millisecond(millis).ok()?;
    Some(format!("{time:.3}"))
}

/// A failure in the form of an item's `error`.
pub(crate) fn failure(failure: &Failure) -> Vec<(String, Json)> {
    let meaning = failure.reason.meaning();
    let errors = failure.violations.iter().map(|violation| {
        Json::Object(vec![
            ("field".to_owned(), Json::text(&violation.field)),
            ("code".to_owned(), Json::text(violation.reason.meaning().name.to_ascii_lowercase())),
            ("message".to_owned(), Json::text(&violation.message)),
        ])
    });
    vec![
        ("code".to_owned(), Json::text(meaning.name.to_ascii_lowercase())),
        ("detail".to_owned(), Json::text(&failure.message)),
        ("retryable".to_owned(), Json::Bool(meaning.retryable)),
        ("errors".to_owned(), Json::List(errors.collect())),
    ]
}

fn present(message: &DynamicMessage, field: &FieldDescriptor) -> Option<Json> {
    let value = message.get_field(field);
    match (&*value, field.kind()) {
        (Value::List(_) | Value::Map(_), _) => {}
        // Messages, and what the contract marks as optional.
        _ if field.supports_presence() && !message.has_field(field) => return None,
        (Value::EnumNumber(0), _) => return None,
        (Value::Bytes(bytes), _) if bytes.is_empty() => return None,
        // The end of a list is told by an empty token, so that one is always written.
        (Value::String(text), _) if text.is_empty() && field.name() != "next_page_token" => {
            return None;
        }
        _ => {}
    }
    single(&value, &field.kind())
}

fn single(value: &Value, kind: &Kind) -> Option<Json> {
    Some(match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::I32(value) => Json::Int(i64::from(*value)),
        Value::I64(value) => Json::Int(*value),
        Value::U32(value) => Json::Int(i64::from(*value)),
        Value::U64(value) => Json::Int(i64::try_from(*value).unwrap_or(i64::MAX)),
        Value::F32(value) => Json::Float(f64::from(*value)),
        Value::F64(value) => Json::Float(*value),
        Value::String(text) => Json::text(text),
        Value::Bytes(bytes) => Json::Text(STANDARD.encode(bytes)),
        Value::EnumNumber(number) => Json::Text(word(kind, *number)),
        Value::List(items) => Json::List(items.iter().filter_map(|v| single(v, kind)).collect()),
        Value::Map(map) => {
            let mut entries: Vec<_> = map
                .iter()
                .filter_map(|(key, value)| {
                    let MapKey::String(key) = key else {
                        return None;
                    };
                    Some((key.clone(), single(value, &Kind::String)?))
                })
                .collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(entries)
        }
        Value::Message(message) => return nested(message),
    })
}

fn nested(message: &DynamicMessage) -> Option<Json> {
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => time(&message.transcode_to().ok()?).map(Json::Text),
        "google.protobuf.Duration" => {
            let duration: prost_types::Duration = message.transcode_to().ok()?;
            let millis = postern_proto::time::duration_millis(&duration)?;
            Some(Json::Text(format!("{}s", millis as f64 / 1000.0)))
        }
        "google.rpc.Status" => {
            let status: tonic_types::pb::Status = message.transcode_to().ok()?;
            let details = status.encode_to_vec();
            let code = tonic::Code::from_i32(status.code);
            let status = tonic::Status::with_details(code, status.message, details.into());
            Some(Json::Object(failure(&Failure::from_status(&status))))
        }
        _ => Some(Json::Object(object(message))),
    }
}

fn word(kind: &Kind, number: i32) -> String {
    let Some(values) = kind.as_enum() else {
        return number.to_string();
    };
    match values.get_value(number) {
        Some(value) => {
            let prefix = enum_prefix(values);
            value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_ascii_lowercase()
        }
        // A newer core may know values that this gateway does not.
        None => format!("unknown_{number}"),
    }
}
