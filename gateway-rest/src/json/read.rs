//! Reads a JSON document, or the query of a URL, into a message of the contract. Nothing is
//! ignored: every unknown field, wrong type and duplicate is reported with its path in the
//! caller's own spelling, all of them at once.
//!
//! Pure; a crash has nothing to lose.

use std::collections::{BTreeMap, HashMap, HashSet};

use postern_proto::reason::Reason;
use postern_proto::status::{VIOLATIONS_MAX, Violation};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};

use super::address;
pub(crate) use super::place::Place;
use super::tree::Json;
use super::words::{
    decode_base64, enum_prefix, enum_words, find_field, is_mailbox, is_message, seconds, typed,
};

/// Where the values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A JSON body.
    Body,
    /// A query: every value is text, and a list may be separated by commas.
    Query,
}

/// Reads one request, and remembers what was wrong and how the caller spelled things.
#[derive(Debug)]
pub(crate) struct Reader {
    /// What was wrong so far.
    pub(crate) violations: Vec<Violation>,
    spelling: HashMap<String, String>,
    source: Source,
}

impl Reader {
    pub(crate) fn new(source: Source) -> Self {
        Self { violations: Vec::new(), spelling: HashMap::new(), source }
    }

    /// From here on values come from elsewhere.
    pub(crate) fn switch_to(&mut self, source: Source) {
        self.source = source;
    }

    /// A value was taken from another place of the caller's document.
    pub(crate) fn moved(&mut self, contract: &str, caller: &str) {
        self.spelling.insert(contract.to_owned(), caller.to_owned());
    }

    /// Fills in the fields that `entries` name.
    pub(crate) fn object(
        &mut self,
        into: &mut DynamicMessage,
        entries: Vec<(String, Json)>,
        place: &Place,
    ) {
        let descriptor = into.descriptor();
        let mut seen = HashSet::new();
        for (key, value) in entries {
            let Some(field) = find_field(&descriptor, &key) else {
                let place = place.child(&key, &key);
                self.violation(Reason::UnknownField, &place, "is not a field of this request");
                continue;
            };
            let place = place.child(field.name(), &key);
            self.remember(&place);
            if !seen.insert(field.number()) {
                self.violation(Reason::MalformedJson, &place, "is given twice");
                continue;
            }
            if value == Json::Null {
                continue;
            }
            if let Some(value) = self.field(&field, value, &place) {
                into.set_field(&field, value);
            }
        }
    }

    /// Names a field of the contract as the caller did.
    pub(crate) fn caller_spelling(&self, contract: &str) -> String {
        let ends = contract.len();
        let cuts =
            contract.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(at, _)| at);
        let mut cuts: Vec<usize> = cuts.chain([ends]).collect();
        cuts.reverse();
        for cut in cuts {
            if let Some(caller) = self.spelling.get(&contract[..cut]) {
                // What a string stands for has no fields in the caller's document.
                let rest = if caller.ends_with('\u{0}') { "" } else { &contract[cut..] };
                return format!("{}{rest}", caller.trim_end_matches('\u{0}'));
            }
        }
        contract.to_owned()
    }

    pub(crate) fn violation(&mut self, reason: Reason, place: &Place, message: &str) {
        if self.violations.len() < VIOLATIONS_MAX {
            let message = message.to_owned();
            self.violations.push(Violation { field: place.caller.clone(), reason, message });
        }
    }

    fn remember(&mut self, place: &Place) {
        if place.contract != place.caller {
            self.spelling.insert(place.contract.clone(), place.caller.clone());
        }
    }

    fn wrong_type(&mut self, place: &Place, wanted: &str, got: &Json) -> Option<Value> {
        let message = format!("must be {wanted}, not {}", got.kind());
        self.violation(Reason::WrongType, place, &message);
        None
    }

    fn field(&mut self, field: &FieldDescriptor, value: Json, place: &Place) -> Option<Value> {
        if field.is_map() {
            return self.map(value, place);
        }
        if !field.is_list() {
            let value = match value {
                Json::List(mut items) if is_mailbox(&field.kind()) && items.len() == 1 => {
                    items.remove(0)
                }
                value => value,
            };
            return self.single(&field.kind(), value, place);
        }
        let kind = field.kind();
        let items = match value {
            Json::List(items) => items,
            Json::Object(entries) if is_message(&kind, "Header") => {
                return Some(self.headers(&kind, entries, place));
            }
            Json::Text(text) if self.source == Source::Query => {
                text.split(',').map(|part| Json::text(part.trim())).collect()
            }
            value @ (Json::Text(_) | Json::Object(_)) if is_mailbox(&kind) => {
                let inner = Place {
                    contract: format!("{}[0]", place.contract),
                    caller: place.caller.clone(),
                };
                self.remember(&inner);
                return Some(Value::List(self.single(&kind, value, &inner).into_iter().collect()));
            }
            other => return self.wrong_type(place, "an array", &other),
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            list.extend(self.single(&kind, item, &place.index(index)));
        }
        Some(Value::List(list))
    }

    fn map(&mut self, value: Json, place: &Place) -> Option<Value> {
        let Json::Object(entries) = value else {
            return self.wrong_type(place, "an object", &value);
        };
        let mut map = HashMap::new();
        for (key, value) in entries {
            let place = place.child(&key, &key);
            match value {
                Json::Text(text) => {
                    if map.insert(MapKey::String(key), Value::String(text)).is_some() {
                        self.violation(Reason::MalformedJson, &place, "is given twice");
                    }
                }
                Json::Null => {}
                other => {
                    self.wrong_type(&place, "a string", &other);
                }
            }
        }
        Some(Value::Map(map))
    }

    fn headers(&mut self, kind: &Kind, entries: Vec<(String, Json)>, place: &Place) -> Value {
        let mut list = Vec::new();
        for (name, value) in entries {
            let contract = format!("{}[{}]", place.contract, list.len());
            let caller = format!("{}.{name}", place.caller);
            let place = Place { contract, caller };
            self.spelling.insert(place.contract.clone(), format!("{}\u{0}", place.caller));
            match value {
                Json::Text(text) => {
                    let entries = vec![
                        ("name".to_owned(), Json::Text(name)),
                        ("value".to_owned(), Json::Text(text)),
                    ];
                    list.extend(self.single(kind, Json::Object(entries), &place));
                    // The caller wrote no fields `name` and `value`.
                    for field in ["name", "value"] {
                        self.spelling.remove(&format!("{}.{field}", place.contract));
                    }
                }
                other => {
                    self.wrong_type(&place, "a string", &other);
                }
            }
        }
        Value::List(list)
    }

    fn single(&mut self, kind: &Kind, value: Json, place: &Place) -> Option<Value> {
        let value = if self.source == Source::Query { typed(kind, value) } else { value };
        match (kind, value) {
            (Kind::String, Json::Text(text)) => Some(Value::String(text)),
            (Kind::String, other) => self.wrong_type(place, "a string", &other),
            (Kind::Bool, Json::Bool(value)) => Some(Value::Bool(value)),
            (Kind::Bool, other) => self.wrong_type(place, "true or false", &other),
            (Kind::Int32, Json::Int(number)) => match i32::try_from(number) {
                Ok(number) => Some(Value::I32(number)),
                Err(_) => {
                    self.violation(Reason::ValueOutOfRange, place, "is too large or too small");
                    None
                }
            },
            (Kind::Int64, Json::Int(number)) => Some(Value::I64(number)),
            (Kind::Int32 | Kind::Int64, other) => self.wrong_type(place, "a whole number", &other),
            (Kind::Enum(values), Json::Text(text)) => self.enumeration(values, &text, place),
            (Kind::Enum(_), other) => self.wrong_type(place, "a string", &other),
            (Kind::Bytes, Json::Text(text)) => match decode_base64(&text) {
                Some(bytes) => Some(Value::Bytes(bytes.into())),
                None => {
                    self.violation(Reason::WrongType, place, "is not valid base64");
                    None
                }
            },
            (Kind::Bytes, other) => self.wrong_type(place, "a base64 string", &other),
            (Kind::Message(message), value) => self.message(message, value, place),
            (_, other) => self.wrong_type(place, "another type", &other),
        }
    }

    fn enumeration(&mut self, values: &EnumDescriptor, text: &str, place: &Place) -> Option<Value> {
        let prefix = enum_prefix(values);
        let found = values.values().find(|value| {
            value.name() == text
                || value
                    .name()
                    .strip_prefix(&prefix)
                    .is_some_and(|n| n.to_ascii_lowercase() == text)
        });
        if let Some(found) = found {
            return Some(Value::EnumNumber(found.number()));
        }
        let names: Vec<_> = enum_words(values).collect();
        let reason = match self.source {
            Source::Body => Reason::InvalidValue,
            Source::Query => Reason::BadFilter,
        };
        self.violation(reason, place, &format!("must be one of {}", names.join(", ")));
        None
    }

    fn message(&mut self, kind: &MessageDescriptor, value: Json, place: &Place) -> Option<Value> {
        let mut out = DynamicMessage::new(kind.clone());
        match (kind.full_name(), value) {
            ("google.protobuf.Timestamp", value) => {
                let Json::Text(text) = &value else {
                    return self.wrong_type(place, "an RFC 3339 time", &value);
                };
                let Ok(time) = text.parse::<jiff::Timestamp>() else {
                    let message = "must be an RFC 3339 time with an offset, such as \
                                   2026-12-01T09:00:00Z";
                    self.violation(Reason::WrongType, place, message);
                    return None;
                };
                out.transcode_from(&postern_proto::time::timestamp(time.as_millisecond())).ok()?;
            }
            ("google.protobuf.Duration", value) => {
                let seconds = match &value {
                    Json::Text(text) => seconds(text),
                    _ => return self.wrong_type(place, "a duration such as \"3.5s\"", &value),
                };
                let Some(duration) = seconds else {
                    self.violation(Reason::WrongType, place, "must be a duration such as 3.5s");
                    return None;
                };
                out.transcode_from(&duration).ok()?;
            }
            ("google.protobuf.FieldMask", Json::Text(text)) => {
                let paths = text.split(',').map(|path| path.trim().to_owned()).collect();
                out.transcode_from(&prost_types::FieldMask { paths }).ok()?;
            }
            ("google.protobuf.FieldMask", other) => {
                return self.wrong_type(place, "names of fields, separated by commas", &other);
            }
            ("google.protobuf.Struct", Json::Object(entries)) => {
                let entries = self.free_object(entries, place);
                out.transcode_from(&prost_types::Struct { fields: entries }).ok()?;
            }
            (_, Json::Text(text)) if is_mailbox(&Kind::Message(kind.clone())) => {
                let whole = format!("{}\u{0}", place.caller);
                self.spelling.insert(place.contract.clone(), whole);
                match address::parse(&text) {
                    Ok((name, email)) => {
                        out.set_field_by_name("email", Value::String(email));
                        out.set_field_by_name("display_name", Value::String(name));
                    }
                    Err(error) => {
                        self.violation(Reason::InvalidAddress, place, &error.to_string());
                        return None;
                    }
                }
            }
            (_, Json::Text(text)) if is_message(&Kind::Message(kind.clone()), "TemplateRef") => {
                out.set_field_by_name("id", Value::String(text));
            }
            (_, Json::Object(entries)) => self.object(&mut out, entries, place),
            (_, other) => return self.wrong_type(place, "an object", &other),
        }
        Some(Value::Message(out))
    }

    fn free_object(
        &mut self,
        entries: Vec<(String, Json)>,
        place: &Place,
    ) -> BTreeMap<String, prost_types::Value> {
        let mut out = BTreeMap::new();
        for (key, value) in entries {
            let place = place.child(&key, &key);
            let value = self.free(value, &place);
            if out.insert(key, value).is_some() {
                self.violation(Reason::MalformedJson, &place, "is given twice");
            }
        }
        out
    }

    fn free(&mut self, value: Json, place: &Place) -> prost_types::Value {
        use prost_types::value::Kind as Free;
        let kind = match value {
            Json::Null => Free::NullValue(0),
            Json::Bool(value) => Free::BoolValue(value),
            Json::Int(value) => Free::NumberValue(value as f64),
            Json::Float(value) => Free::NumberValue(value),
            Json::Text(value) => Free::StringValue(value),
            Json::List(items) => {
                let items = items.into_iter().enumerate();
                let values = items.map(|(at, item)| self.free(item, &place.index(at))).collect();
                Free::ListValue(prost_types::ListValue { values })
            }
            Json::Object(entries) => {
                let fields = self.free_object(entries, place);
                Free::StructValue(prost_types::Struct { fields })
            }
        };
        prost_types::Value { kind: Some(kind) }
    }
}
