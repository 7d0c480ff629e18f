//! The native API: reads a request by the route table, calls the core, writes the answer.
//!
//! No state; "accepted" is only answered after the core said that the message is durable.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams, Request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use prost_reflect::{
    DynamicMessage, Kind as FieldKind, MethodDescriptor, ReflectMessage as _, Value,
};

use crate::edge::Context;
use crate::fault::{self, Fault};
use crate::json::filter;
use crate::json::read::{Place, Reader, Source};
use crate::json::tree::Json;
use crate::json::write;
use crate::limits::Standings;
use crate::routes::{self, Kind, Route, Shown};
use crate::{App, authn, body, bulk, etag, events, idempotency, multipart, raw, rpc};

/// The method behind the route that takes mail in every form.
const SEND: &str = "MessageService.SendMessage";

/// The method behind the route that takes a filter.
pub(crate) const LIST: &str = "MessageService.ListMessages";

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
        // Without a dashboard nobody logs in by any door.
        if !app.config.dashboard && bound.route.path.starts_with("/v1/session") {
            continue;
        }
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
    router.route_layer(axum::middleware::from_fn_with_state(app.clone(), authn::authn))
}

async fn serve(
    app: &Arc<App>,
    bound: &Arc<Bound>,
    id: Option<String>,
    context: &Context,
    request: Request,
) -> Result<Response, Fault> {
    let route = &bound.route;
    let (parts, body) = request.into_parts();
    check_headers(&parts.headers)?;
    let kind = body::media_type(&parts.headers);
    if route.rpc == "MessageService.BatchSendMessages" && kind == bulk::NDJSON {
        return bulk::send(app, bound, &parts, body, context).await;
    }
    let body = body::whole(body, app.body_max()).await?;
    if route.rpc == SEND && kind == "message/rfc822" {
        return raw::send(app, &parts, body, context).await;
    }
    let mut reader = Reader::new(Source::Query);
    let mut message = DynamicMessage::new(bound.rpc.input());
    let mut entries = query(&parts)?;
    if route.rpc == LIST {
        entries = filter::expand(entries)?;
    }
    reader.object(&mut message, entries, &Place::default());
    reader.switch_to(Source::Body);
    read(&mut reader, &mut message, route, &parts, body).await?;
    if let Some(id) = id {
        set_id(&mut message, route.id, id);
    }
    if !reader.violations.is_empty() {
        return Err(Failure::violations(reader.violations).into());
    }
    etag::apply(&mut message, route, &parts.headers)?;
    let key = idempotency::apply(&mut message, &parts.headers)?;
    if route.kind == Kind::Watch {
        return events::watch(app, &bound.rpc, message, context, &parts.headers).await;
    }
    let mut answer = rpc::unary(app, &bound.rpc, &message, context)
        .await
        .map_err(|fault| respell(fault, route.body, &reader))?;
    if let (Kind::Limits, Some(standings)) = (route.kind, parts.extensions.get::<Standings>()) {
        add_limits(answer.get_mut(), standings);
    }
    let mut response = write_answer(route, answer.get_ref(), &parts.headers);
    idempotency::echo(&mut response, key, answer.metadata());
    Ok(response)
}

/// Refuses header fields that look as if they were ours, rather than ignore what they ask for.
fn check_headers(headers: &HeaderMap) -> Result<(), Fault> {
    let ours = headers.keys().find(|name| name.as_str().starts_with("x-postern-"));
    match ours {
        None => Ok(()),
        Some(name) => {
            let text = "is not a header field of this API; the field belongs in the body";
            Err(Failure::field(Reason::UnknownField, name.as_str(), text).into())
        }
    }
}

/// Reads the body in the form it has.
async fn read(
    reader: &mut Reader,
    message: &mut DynamicMessage,
    route: &Route,
    parts: &Parts,
    body: Bytes,
) -> Result<(), Fault> {
    if body.is_empty() {
        return match route.body {
            routes::Body::Flat(_) => {
                Err(Failure::new(Reason::MalformedJson, "the body is empty").into())
            }
            routes::Body::None | routes::Body::Whole => Ok(()),
        };
    }
    match body::media_type(&parts.headers).as_str() {
        "" | "application/json" => body::json(reader, message, route, &body),
        kind if kind.ends_with("+json") => body::json(reader, message, route, &body),
        "multipart/form-data" if route.rpc == SEND => {
            multipart::read(reader, message, route, &parts.headers, body).await
        }
        _ => {
            let text = format!("send {}", media_types(route).join(", "));
            Err(Failure::new(Reason::UnsupportedMediaType, text).into())
        }
    }
}

/// The media types that a route takes.
pub(crate) fn media_types(route: &Route) -> &'static [&'static str] {
    match route.rpc {
        SEND => &["application/json", "multipart/form-data", "message/rfc822"],
        "MessageService.BatchSendMessages" => &["application/json", bulk::NDJSON],
        _ => &["application/json"],
    }
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

/// Adds the gateway's own limits to those of the core.
fn add_limits(answer: &mut DynamicMessage, standings: &Standings) {
    let Some(field) = answer.descriptor().get_field_by_name("rate_limits") else { return };
    let (FieldKind::Message(kind), Some(list)) =
        (field.kind(), answer.get_field_mut(&field).as_list_mut())
    else {
        return;
    };
    for own in standings.rate_limits() {
        let mut item = DynamicMessage::new(kind.clone());
        // Both are the contract's own message.
        if item.transcode_from(&own).is_ok() {
            list.push(Value::Message(item));
        }
    }
}

fn write_answer(route: &Route, answer: &DynamicMessage, headers: &HeaderMap) -> Response {
    let status = StatusCode::from_u16(route.status).unwrap_or(StatusCode::OK);
    if route.kind == Kind::Source {
        return raw::source(answer, route.shown);
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
    let etag = etag::of(&entries).filter(|_| matches!(route.shown, Shown::Flat(_)));
    let response = fault::json(status, &Json::Object(entries));
    let mut response = match route.method {
        Method::GET => etag::show(response, etag, headers),
        _ => etag::show(response, etag, &HeaderMap::new()),
    };
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
