//! The OpenAPI 3.1 document, made from the route table and from the contract's descriptors with
//! their comments, so that it cannot drift from either. Only Postal's webhooks, which carry what
//! Postal defines, are described by hand.
//!
//! Pure; a crash has nothing to lose.

mod examples;
mod postal;

use std::collections::BTreeMap;

use http::Method;
use prost_reflect::{
    DescriptorPool, FieldDescriptor, FileDescriptor, Kind as Type, MessageDescriptor,
    MethodDescriptor,
};
use serde_json::{Value, json};

use crate::bulk::NDJSON;
use crate::json::words::enum_words;
use crate::routes::{Body, Kind, Shown};
use crate::v1::{Bound, LIST, bound, media_types};

/// The document.
pub(crate) fn document(pool: &DescriptorPool) -> Value {
    let mut schemas = BTreeMap::new();
    let mut paths: BTreeMap<&str, serde_json::Map<String, Value>> = BTreeMap::new();
    for row in bound(pool) {
        let verb = row.route.method.as_str().to_ascii_lowercase();
        let operation = operation(&row, &mut schemas);
        paths.entry(row.route.path).or_default().insert(verb, operation);
    }
    for (path, operation) in postal::operations() {
        paths.entry(path).or_default().insert("post".to_owned(), operation);
    }
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Postern",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Sends mail. Names are snake_case in answers; requests may also use \
                lowerCamelCase. Unknown fields are refused. Clients must tolerate new fields and \
                new enum words in answers.",
        },
        "security": [{"bearer": []}, {"operator": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "An API key. HTTP Basic with the key as password works too.",
                },
                "operator": {
                    "type": "apiKey", "in": "header", "name": "authorization",
                    "description": "`Operator <session>`, of POST /v1/session: what that person may do.",
                },
            },
            "responses": {"Problem": {
                "description": "The request failed.",
                "content": {"application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                }},
            }},
            "schemas": schemas,
        },
    })
}

type Schemas = BTreeMap<String, Value>;

fn operation(row: &Bound, schemas: &mut Schemas) -> Value {
    let route = &row.route;
    let description = comment(&row.rpc.parent_file(), row.rpc.path());
    // The method of a shown field has a route of its own that shows all of it.
    let is_second = route.kind == Kind::Source && route.shown != Shown::Whole;
    let source = if is_second { "Source" } else { "" };
    let mut operation = json!({
        "operationId": format!("{}{source}", row.rpc.name()),
        "tags": [row.rpc.parent_service().name().trim_end_matches("Service")],
        "summary": summary(row),
        "description": description,
        "parameters": parameters(row, schemas),
        "responses": {
            route.status.to_string(): success(row, schemas),
            "default": {"$ref": "#/components/responses/Problem"},
        },
    });
    if route.path.starts_with("/v1/session") {
        let is_login = route.rpc == "OperatorService.LogIn";
        operation["security"] = if is_login { json!([]) } else { json!([{"operator": []}]) };
    }
    if route.body != Body::None {
        operation["requestBody"] = json!({"required": true, "content": bodies(row, schemas)});
    }
    operation
}

/// What an operation does, in one sentence without a full stop.
pub(crate) fn summary(row: &Bound) -> String {
    let description = comment(&row.rpc.parent_file(), row.rpc.path());
    description.split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// The body in every form that the route takes.
fn bodies(row: &Bound, schemas: &mut Schemas) -> serde_json::Map<String, Value> {
    let schema = body_schema(&row.rpc, row.route.body, schemas);
    let form = |kind: &&str| {
        let schema = match *kind {
            "multipart/form-data" => json!({
                "type": "object", "required": ["message"], "properties": {"message": schema},
                "additionalProperties": {"type": "string", "format": "binary"},
                "description": "The part `message` is the JSON document; every other part is a \
                    file, and becomes an attachment.",
            }),
            "message/rfc822" => json!({
                "type": "string",
                "description": "A whole mail. Its envelope is in the query (`from`, `to`), or in \
                    its header; the query takes every other field of SendRawMessageRequest too.",
            }),
            "application/x-ndjson" => json!({
                "type": "string",
                "description": "One item per line, as in `items`. A line may bring `message`, the \
                    content for itself and the lines behind it. Every line is answered by a line \
                    with its `index`, in order, while the body is still being read. A line of the \
                    answer without `index` says why the rest was not read. Read the answer while sending: \
                    once it is not read, the body is not read either.",
            }),
            _ => schema.clone(),
        };
        let mut content = json!({"schema": schema});
        if *kind == "application/json"
            && let Some(example) = examples::of(row.route.rpc)
        {
            content["example"] = example;
        }
        ((*kind).to_owned(), content)
    };
    media_types(&row.route).iter().map(form).collect()
}

/// The header that makes an operation depend on a version, where its resource has versions.
fn precondition(row: &Bound) -> Option<Value> {
    let (name, description) = match row.route.method {
        Method::PUT | Method::DELETE => {
            ("If-Match", "Only while the resource still has this ETag; 412 otherwise.")
        }
        Method::GET => ("If-None-Match", "Answer 304 when the resource still has this ETag."),
        _ => return None,
    };
    let own = |message: MessageDescriptor| message.get_field_by_name("etag").is_some();
    let inner = |message: MessageDescriptor, name: &str| {
        let kind = message.get_field_by_name(name).map(|field| field.kind());
        kind.as_ref().and_then(Type::as_message).cloned().is_some_and(own)
    };
    let versioned = match (&row.route.method, row.route.body, row.route.shown) {
        (&Method::GET, _, Shown::Flat(name)) => inner(row.rpc.output(), name),
        (_, Body::Flat(name), _) => inner(row.rpc.input(), name),
        _ => own(row.rpc.input()),
    };
    versioned.then(|| {
        json!({"name": name, "in": "header", "description": description, "schema": {"type": "string"}})
    })
}

fn parameters(row: &Bound, schemas: &mut Schemas) -> Vec<Value> {
    let mut list = Vec::new();
    if row.route.path.contains("{id}") {
        list.push(json!({
            "name": "id", "in": "path", "required": true, "schema": {"type": "string"},
        }));
    }
    let input = row.rpc.input();
    if row.route.body == Body::None {
        for field in input.fields().filter(|field| field.name() != "id") {
            list.push(json!({
                "name": field.name(), "in": "query",
                "description": comment(&input.parent_file(), field.path()),
                "schema": field_schema(&field, schemas),
            }));
        }
    }
    if input.get_field_by_name("request_id").is_some() {
        list.push(json!({
            "name": "Idempotency-Key", "in": "header", "schema": {"type": "string"},
            "description": "The same key with the same request returns the first answer.",
        }));
    }
    if row.route.rpc == LIST {
        list.push(json!({
            "name": "filter", "in": "query", "schema": {"type": "string"},
            "description": "Conditions joined by AND, for example `state=bounced AND tags:welcome`.",
        }));
        list.push(json!({
            "name": "order_by", "in": "query",
            "schema": {"type": "string", "enum": ["create_time desc"]},
            "description": "The order, which is always this one.",
        }));
    }
    list.extend(precondition(row));
    if row.route.kind == Kind::Watch {
        list.push(json!({
            "name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
            "description": "Go on behind the event with this id.",
        }));
    }
    list
}

fn success(row: &Bound, schemas: &mut Schemas) -> Value {
    let output = row.rpc.output();
    let (kind, schema) = match (row.route.kind, row.route.shown) {
        (_, Shown::Nothing) => return json!({"description": "Done."}),
        (Kind::Source, _) => ("message/rfc822", json!({"type": "string"})),
        (Kind::Watch, Shown::Flat(inner)) => {
            ("text/event-stream", flat_schema(&output, inner, schemas))
        }
        (_, Shown::Flat(inner)) => ("application/json", flat_schema(&output, inner, schemas)),
        (_, Shown::Whole) => ("application/json", reference(&output, schemas)),
    };
    let mut content = json!({kind: {"schema": schema}});
    if media_types(&row.route).contains(&NDJSON) {
        content[NDJSON] = json!({"schema": {"type": "string"}});
    }
    let mut answer = json!({"description": "OK", "content": content});
    if row.route.status == 201 {
        answer["headers"] = json!({"Location": {"schema": {"type": "string"}}});
    }
    answer
}

fn body_schema(rpc: &MethodDescriptor, body: Body, schemas: &mut Schemas) -> Value {
    match body {
        Body::Flat(inner) => flat_schema(&rpc.input(), inner, schemas),
        Body::Whole | Body::None => reference(&rpc.input(), schemas),
    }
}

/// A field's own schema, with the fields beside it.
fn flat_schema(outer: &MessageDescriptor, inner: &str, schemas: &mut Schemas) -> Value {
    let mut parts = Vec::new();
    let mut beside = serde_json::Map::new();
    for field in outer.fields().filter(|field| field.name() != "replayed") {
        if field.name() == inner {
            parts.push(field_schema(&field, schemas));
        } else {
            beside.insert(field.name().to_owned(), described(&field, schemas));
        }
    }
    if !beside.is_empty() {
        parts.push(json!({"type": "object", "properties": beside}));
    }
    json!({"allOf": parts})
}

fn reference(message: &MessageDescriptor, schemas: &mut Schemas) -> Value {
    let name = message.name().to_owned();
    if !schemas.contains_key(&name) {
        // Stands in while the fields are walked, for messages that contain themselves.
        schemas.insert(name.clone(), Value::Null);
        let fields = message.fields();
        let properties: serde_json::Map<_, _> =
            fields.map(|field| (field.name().to_owned(), described(&field, schemas))).collect();
        let description = comment(&message.parent_file(), message.path());
        let schema = json!({
            "type": "object", "description": description, "properties": properties,
        });
        schemas.insert(name.clone(), schema);
    }
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn described(field: &FieldDescriptor, schemas: &mut Schemas) -> Value {
    let mut schema = field_schema(field, schemas);
    let file = field.parent_message().parent_file();
    schema["description"] = Value::String(comment(&file, field.path()));
    schema
}

fn field_schema(field: &FieldDescriptor, schemas: &mut Schemas) -> Value {
    if field.is_map() {
        return json!({"type": "object", "additionalProperties": {"type": "string"}});
    }
    let schema = type_schema(&field.kind(), schemas);
    if field.is_list() { json!({"type": "array", "items": schema}) } else { schema }
}

fn type_schema(kind: &Type, schemas: &mut Schemas) -> Value {
    match kind {
        Type::Bool => json!({"type": "boolean"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Double => json!({"type": "number", "format": "double"}),
        Type::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Type::Enum(values) => {
            json!({"type": "string", "enum": enum_words(values).collect::<Vec<_>>()})
        }
        Type::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
            "google.protobuf.Duration" => json!({"type": "string", "examples": ["3.5s"]}),
            "google.protobuf.FieldMask" => {
                json!({"type": "string", "examples": ["display_name,daily_limit"]})
            }
            "google.protobuf.Struct" => json!({"type": "object", "additionalProperties": true}),
            "google.rpc.Status" => json!({"$ref": "#/components/schemas/Problem"}),
            "postern.v1.EmailAddress" | "postern.v1.Recipient" => json!({"anyOf": [
                {"type": "string", "examples": ["Ann <ann@example.com>"]},
                reference(message, schemas),
            ]}),
            _ => reference(message, schemas),
        },
        _ => json!({"type": "string"}),
    }
}

fn problem() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "description": "What went wrong (RFC 9457). Branch on `code`.",
        "properties": {
            "type": text, "title": text, "status": {"type": "integer"}, "detail": text,
            "instance": text, "code": text, "grpc_code": text, "request_id": text,
            "retryable": {"type": "boolean"},
            "errors": {"type": "array", "items": {"type": "object", "properties": {
                "field": text, "code": text, "message": text,
            }}},
            "meta": {"type": "object", "additionalProperties": text},
            "help": {"type": "array", "items": {"type": "object"}},
        },
    })
}

/// The comment above a declaration, as one paragraph.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|at| at.path == path));
    let text = location.map(|at| at.leading_comments()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
