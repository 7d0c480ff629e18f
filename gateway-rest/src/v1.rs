//! The native API: reads a request by the route table, calls the core, writes the answer.
//!
//! No state; "accepted" is only answered after the core said that the message is durable.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams, Request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage as _, Value};

use crate::edge::Context;
use crate::fault::{self, Fault};
use crate::json::read::{Place, Reader, Source};
use crate::json::tree::Json;
use crate::json::words::find_field;
use crate::json::write;
use crate::routes::{self, Kind, Route, Shown};
use crate::{App, events, idempotency, raw, rpc};

/// A route with its method of the contract.
pub(crate) struct Bound {
    pub(crate) route: Route,
    pub(crate) rpc: MethodDescriptor,
}

/// Binds every row of the table to the contract.
///
/// # Panics
///
/// When a row names a method that the contract lacks; the first test that builds a gateway finds
/// it.
pub(crate) fn bound(pool: &prost_reflect::DescriptorPool) -> Vec<Bound> {
    let bind = |route: Route| {
        let (service, method) = route.rpc.split_once('.').expect("rows say Service.Method");
        let service = pool.get_service_by_name(&format!("postern.v1.{service}"));
        let rpc = service.and_then(|s| s.methods().find(|m| m.name() == method));
        Bound { rpc: rpc.expect("the row's method is in the contract"), route }
    };
    routes::all().into_iter().map(bind).collect()
}

/// The routes of the native API.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for bound in bound(&app.contract) {
        let app = app.clone();
        let path = bound.route.path;
        let filter = MethodFilter::try_from(bound.route.method.clone())
            .expect("the table only has the usual methods");
        let bound = Arc::new(bound);
        let handler = move |params: Result<RawPathParams, RawPathParamsRejection>,
                            Extension(context): Extension<Context>,
                            request: Request| async move {
            let id = params.ok().and_then(|p| p.iter().next().map(|(_, id)| id.to_owned()));
            serve(&app, &bound, id, &context, request).await.unwrap_or_else(Fault::into_response)
        };
        router = router.route(path, on(filter, handler));
    }
    router
}

async fn serve(
    app: &App,
    bound: &Bound,
    id: Option<String>,
    context: &Context,
    request: Request,
) -> Result<Response, Fault> {
    let route = &bound.route;
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let content_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    let content_type = content_type.trim().to_ascii_lowercase();
    let body = read_body(body, app.config.body_max).await?;
    if route.path == "/v1/messages" && content_type == "message/rfc822" {
        return raw::send(app, &parts, body, context).await;
    }
    let mut reader = Reader::new(Source::Query);
    let mut message = DynamicMessage::new(bound.rpc.input());
    reader.object(&mut message, query(&parts)?, &Place::default());
    reader.switch_to(Source::Body);
    if !body.is_empty() {
        let json = matches!(content_type.as_str(), "" | "application/json")
            || content_type.ends_with("+json");
        if !json {
            let text = "send application/json";
            return Err(Failure::new(Reason::UnsupportedMediaType, text).into());
        }
        read_json(&mut reader, &mut message, route, &body)?;
    } else if route.body != routes::Body::None && route.body != routes::Body::Whole {
        return Err(Failure::new(Reason::MalformedJson, "the body is empty").into());
    }
    if let Some(id) = id {
        set_id(&mut message, route.id, id);
    }
    if !reader.violations.is_empty() {
        return Err(Failure::violations(reader.violations).into());
    }
    let key = idempotency::apply(&mut message, &parts.headers)?;
    if route.kind == Kind::Watch {
        return events::watch(app, &bound.rpc, message, context, &parts.headers).await;
    }
    let answer = rpc::unary(app, &bound.rpc, &message, context)
        .await
        .map_err(|fault| respell(fault, route.body, &reader))?;
    let mut response = write_answer(route, &answer);
    idempotency::echo(&mut response, key, &answer);
    Ok(response)
}

/// The query as the entries of an object.
pub(crate) fn query(parts: &Parts) -> Result<Vec<(String, Json)>, Fault> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|_| Failure::new(Reason::BadFilter, "the query cannot be read"))?;
    let mut entries: Vec<(String, Json)> = Vec::new();
    for (key, value) in pairs {
        // A list may be given as one pair per value.
        match entries.iter_mut().find(|(name, _)| *name == key) {
            Some((_, Json::List(items))) => items.push(Json::Text(value)),
            Some((_, first)) => {
                let items = vec![std::mem::replace(first, Json::Null), Json::Text(value)];
                *first = Json::List(items);
            }
            None => entries.push((key, Json::Text(value))),
        }
    }
    Ok(entries)
}

/// The body, up to the limit.
pub(crate) async fn read_body(body: Body, max: usize) -> Result<Bytes, Fault> {
    axum::body::to_bytes(body, max).await.map_err(|error| {
        let limit = std::error::Error::source(&error)
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        if limit {
            let text = format!("the body is larger than {max} octets");
            Failure::new(Reason::MessageTooLarge, text).with("limit", max.to_string()).into()
        } else {
            Failure::new(Reason::MalformedMessage, "the body ended early or is not valid gzip")
                .into()
        }
    })
}

fn read_json(
    reader: &mut Reader,
    message: &mut DynamicMessage,
    route: &Route,
    body: &[u8],
) -> Result<(), Fault> {
    let json: Json = serde_json::from_slice(body)
        .map_err(|error| Failure::new(Reason::MalformedJson, format!("the body: {error}")))?;
    let Json::Object(mut entries) = json else {
        let text = format!("the body must be an object, not {}", json.kind());
        return Err(Failure::new(Reason::WrongType, text).into());
    };
    let place = Place::default();
    if route.body == routes::Body::None && !entries.is_empty() {
        let text = "is not a field of this request";
        return Err(Failure::field(Reason::UnknownField, &entries[0].0, text).into());
    }
    let routes::Body::Flat(inner) = route.body else {
        reader.object(message, entries, &place);
        return Ok(());
    };
    let outer = message.descriptor();
    let own = |key: &str| find_field(&outer, key).is_some_and(|field| field.name() != inner);
    let beside = entries.extract_if(.., |(key, _)| own(key)).collect();
    reader.object(message, beside, &place);
    hoist_variables(reader, &mut entries)?;
    if let Some(Value::Message(inner)) = message.get_field_by_name_mut(inner) {
        reader.object(inner, entries, &place);
    }
    Ok(())
}

/// `template.variables`, as other services have it, are the variables of the message.
fn hoist_variables(reader: &mut Reader, entries: &mut Vec<(String, Json)>) -> Result<(), Fault> {
    let both = entries.iter().any(|(key, _)| key == "variables");
    let Some((_, Json::Object(template))) = entries.iter_mut().find(|(key, _)| key == "template")
    else {
        return Ok(());
    };
    let Some(at) = template.iter().position(|(key, _)| key == "variables") else {
        return Ok(());
    };
    if both {
        let text = "is given here and as variables; give it once";
        return Err(Failure::field(Reason::InvalidValue, "template.variables", text).into());
    }
    let (_, variables) = template.remove(at);
    reader.moved("variables", "template.variables");
    entries.push(("variables".to_owned(), variables));
    Ok(())
}

fn set_id(message: &mut DynamicMessage, field: &str, id: String) {
    match field.split_once('.') {
        Some((outer, inner)) => {
            if let Some(Value::Message(outer)) = message.get_field_by_name_mut(outer) {
                outer.set_field_by_name(inner, Value::String(id));
            }
        }
        None => message.set_field_by_name(field, Value::String(id)),
    }
}

/// Names the fields of a failure as the caller did.
pub(crate) fn respell(mut fault: Fault, body: routes::Body, reader: &Reader) -> Fault {
    for violation in &mut fault.0.violations {
        let mut field = violation.field.as_str();
        if let routes::Body::Flat(inner) = body {
            let rest = field.strip_prefix(inner).and_then(|rest| rest.strip_prefix('.'));
            field = rest.unwrap_or(field);
        }
        let respelled = reader.caller_spelling(field);
        // The sentence begins with the name of the field, when the failure is about one.
        if let Some(rest) = fault.0.message.strip_prefix(&format!("{}: ", violation.field)) {
            fault.0.message = format!("{respelled}: {rest}");
        }
        violation.field = respelled;
    }
    fault
}

fn write_answer(route: &Route, answer: &DynamicMessage) -> Response {
    let status = StatusCode::from_u16(route.status).unwrap_or(StatusCode::OK);
    if route.kind == Kind::Source {
        return raw::source(answer);
    }
    let entries = match route.shown {
        Shown::Nothing => return status.into_response(),
        Shown::Whole => write::object(answer),
        Shown::Flat(inner) => flat(answer, inner),
    };
    let location = entries.iter().find_map(|(key, value)| match value {
        Json::Text(id) if key == "id" => Some(format!("{}/{id}", route.path)),
        _ => None,
    });
    let mut response = fault::json(status, &Json::Object(entries));
    if let (true, Some(location)) = (route.status == 201, location)
        && let Ok(location) = HeaderValue::try_from(location)
    {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The fields of one field, with those beside it at the end. That an answer is a repeated one is
/// told in a header, so that the body stays the same.
pub(crate) fn flat(answer: &DynamicMessage, inner: &str) -> Vec<(String, Json)> {
    let mut entries = Vec::new();
    let mut beside = Vec::new();
    for (key, value) in write::object(answer) {
        match value {
            Json::Object(fields) if key == inner => entries = fields,
            _ if key == "replayed" => {}
            value => beside.push((key, value)),
        }
    }
    entries.extend(beside);
    entries
}
