//! A batch as newline-delimited JSON: read, sent and answered line by line, so that any number of
//! lines passes through little memory.
//!
//! Every line is one item, as in `items` of the JSON form. A line may bring `message`, the content
//! for itself and for the lines behind it. Every line gets one line in the answer, in order. Empty
//! lines are skipped. A line of the answer without `index` says why the rest was not read.
//!
//! No state; a line is answered after the core said that the message is durable. What a crash cuts
//! off is sent again under the same idempotency key.

mod lines;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use prost_reflect::{DynamicMessage, Value};

use crate::edge::{Context, Turn};
use crate::fault::Fault;
use crate::json::read::{Place, Reader, Source};
use crate::json::tree::Json;
use crate::json::write;
use crate::v1::{self, Bound};
use crate::{App, authn, idempotency, routes, rpc};

use self::lines::{Item, Line, Lines};

/// The media type.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// Items of one call to the core; its own limit.
const CALL_ITEMS_MAX: usize = 1000;
/// And octets of the items, so that a call stays well below the core's limit.
const CALL_BYTES_MAX: usize = 4 << 20;
/// Calls under way for one request; their answers keep the order of the lines.
const CALLS_MAX: usize = 4;
/// The longest key that leaves room for the number of the line.
const KEY_BYTES_MAX: usize = 240;

/// POST /v1/messages/batch with lines.
pub(crate) async fn send(
    app: &Arc<App>,
    bound: &Arc<Bound>,
    parts: &Parts,
    body: Body,
    context: &Context,
) -> Result<Response, Fault> {
    if !context.was_asked() {
        // The status is written before the first call, so the key must be known to work.
        authn::known(app, context).await?;
    }
    let mut reader = Reader::new(Source::Query);
    let mut common = DynamicMessage::new(bound.rpc.input());
    reader.object(&mut common, v1::query(parts)?, &Place::default());
    if !reader.violations.is_empty() {
        return Err(Failure::violations(reader.violations).into());
    }
    let key = key(&mut common, &parts.headers)?;
    let turn = parts.extensions.get::<Turn>().cloned();
    let lines = Lines::new(app, body, common, key.clone()).read();
    let calls = lines.ready_chunks(CALL_ITEMS_MAX).flat_map(|lines| stream::iter(grouped(lines)));
    let (app, bound, context) = (app.clone(), bound.clone(), context.clone());
    let answers = calls.map(move |group| {
        let (app, bound, context) = (app.clone(), bound.clone(), context.clone());
        async move { answer(&app, &bound, &context, group).await }
    });
    let answers = answers.buffered(CALLS_MAX).map(move |answer| {
        let _held_while_the_answer_is_made = &turn;
        Ok::<_, Infallible>(answer)
    });
    let mut response = (StatusCode::ACCEPTED, Body::from_stream(answers)).into_response();
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(NDJSON));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if let Some(key) = key.and_then(|key| HeaderValue::try_from(key).ok()) {
        headers.insert("idempotency-key", key);
    }
    Ok(response)
}

/// The idempotency key, out of which every line makes its own: how lines are put into calls depends
/// on how they arrive, and must not change what a repeated request means.
fn key(common: &mut DynamicMessage, headers: &HeaderMap) -> Result<Option<String>, Fault> {
    idempotency::apply(common, headers)?;
    let given = common.get_field_by_name("request_id").map(|value| value.into_owned());
    common.clear_field_by_name("request_id");
    let key = given.and_then(|value| value.as_str().map(str::to_owned));
    let key = key.filter(|key| !key.is_empty());
    if key.as_ref().is_some_and(|key| key.len() > KEY_BYTES_MAX) {
        let text = format!("the key has more than {KEY_BYTES_MAX} characters, the most for lines");
        return Err(Failure::new(Reason::BadIdempotencyKey, text).into());
    }
    Ok(key)
}

/// What is answered together.
enum Group {
    /// Items that share a content.
    Call(Vec<Item>),
    /// One line that was refused here.
    Refused(i32, Failure),
    /// The rest is not read.
    End(Failure),
}

fn grouped(lines: Vec<Line>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut bytes = 0;
    for line in lines {
        match line {
            Line::Refused(index, failure) => groups.push(Group::Refused(index, failure)),
            Line::End(failure) => groups.push(Group::End(failure)),
            Line::Item(item) => {
                bytes += item.bytes;
                match groups.last_mut() {
                    Some(Group::Call(items))
                        if bytes <= CALL_BYTES_MAX
                            && Arc::ptr_eq(&items[0].content, &item.content) =>
                    {
                        items.push(item);
                    }
                    _ => {
                        bytes = item.bytes;
                        groups.push(Group::Call(vec![item]));
                    }
                }
            }
        }
    }
    groups
}

async fn answer(app: &App, bound: &Bound, context: &Context, group: Group) -> Bytes {
    let mut text = Vec::new();
    match group {
        Group::End(failure) => {
            let error = Json::Object(write::failure(&failure));
            write_line(&mut text, vec![("error".to_owned(), error)]);
        }
        Group::Refused(index, failure) => write_line(&mut text, refused(index, None, &failure)),
        Group::Call(items) => match call(app, bound, context, &items).await {
            Ok(results) => results.into_iter().for_each(|result| write_line(&mut text, result)),
            Err(Fault(failure)) => {
                for item in &items {
                    write_line(&mut text, refused(item.index, Some(item), &failure));
                }
            }
        },
    }
    text.into()
}

async fn call(
    app: &App,
    bound: &Bound,
    context: &Context,
    items: &[Item],
) -> Result<Vec<Vec<(String, Json)>>, Fault> {
    let content = &items[0].content;
    let mut request = content.request.clone();
    let list = items.iter().map(|item| Value::Message(item.message.clone())).collect();
    request.set_field_by_name("items", Value::List(list));
    let answer = rpc::unary(app, &bound.rpc, &request, context)
        .await
        .map_err(|fault| v1::respell(fault, routes::Body::Whole, &content.reader))?;
    let mut batch = None;
    let mut results = Vec::new();
    for (name, value) in write::object(answer.get_ref()) {
        match (name.as_str(), value) {
            ("results", Json::List(list)) => results = list,
            ("batch_id", id) => batch = Some(id),
            _ => {}
        }
    }
    let numbered = |(item, result): (&Item, Json)| {
        let Json::Object(mut fields) = result else { return Vec::new() };
        for (name, value) in &mut fields {
            if name == "index" {
                *value = Json::Int(i64::from(item.index));
            }
        }
        fields.extend(batch.clone().map(|id| ("batch_id".to_owned(), id)));
        fields
    };
    Ok(items.iter().zip(results).map(numbered).collect())
}

/// The line about an item that nobody accepted.
fn refused(index: i32, item: Option<&Item>, failure: &Failure) -> Vec<(String, Json)> {
    let mut fields = vec![("index".to_owned(), Json::Int(i64::from(index)))];
    let external_id = item.and_then(|item| item.message.get_field_by_name("external_id"));
    if let Some(id) = external_id.and_then(|id| id.as_str().map(str::to_owned))
        && !id.is_empty()
    {
        fields.push(("external_id".to_owned(), Json::Text(id)));
    }
    fields.push(("error".to_owned(), Json::Object(write::failure(failure))));
    fields.push(("replayed".to_owned(), Json::Bool(false)));
    fields
}

fn write_line(text: &mut Vec<u8>, fields: Vec<(String, Json)>) {
    // Writing to memory cannot fail, and there is no map with keys that are no strings.
    let _infallible = serde_json::to_writer(&mut *text, &Json::Object(fields));
    text.push(b'\n');
}
