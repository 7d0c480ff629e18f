//! The event feed as server sent events. The `id` of each event resumes the feed behind it.
//!
//! No state: a client whose stream ends, for whatever reason, goes on with `Last-Event-ID`.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};

use crate::App;
use crate::edge::Context;
use crate::fault::{self, Fault};
use crate::json::tree::Json;
use crate::json::write;
use crate::rpc;

/// Proxies drop a silent connection; the contract promises a sign of life within 15 s.
const HEARTBEAT_SECONDS: i64 = 10;

/// GET /v1/events/watch.
pub(crate) async fn watch(
    app: &App,
    method: &MethodDescriptor,
    mut message: DynamicMessage,
    context: &Context,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let seat = app
        .watchers
        .clone()
        .try_acquire_owned()
        .map_err(|_| Failure::new(Reason::Overloaded, "too many event streams are open"))?;
    if let Some(last) = headers.get("last-event-id").and_then(|last| last.to_str().ok()) {
        message.set_field_by_name("resume_token", Value::String(last.to_owned()));
    }
    if !message.has_field_by_name("heartbeat")
        && let Some(Value::Message(heartbeat)) = message.get_field_by_name_mut("heartbeat")
    {
        heartbeat.set_field_by_name("seconds", Value::I64(HEARTBEAT_SECONDS));
    }
    let answers = rpc::stream(app, method, &message, context).await?;
    let kind = method.output();
    let request_id = context.caller.request_id.clone();
    let frames = answers.map(move |answer| {
        let text = match answer {
            Ok(bytes) => DynamicMessage::decode(kind.clone(), bytes)
                .map(|answer| frame(&answer))
                .unwrap_or_default(),
            Err(status) => broken(&Fault::from(status).0, &request_id),
        };
        Ok::<_, std::convert::Infallible>(Bytes::from(text))
    });
    // The first bytes go out at once, so that the client knows that it is connected.
    let opened = stream::iter([Ok(Bytes::from_static(b"retry: 1000\n: connected\n\n"))]);
    let frames = opened.chain(frames).take_until(app.drain.clone().cancelled_owned());
    let frames = frames.map(move |frame| {
        let _seat_is_taken_while_the_stream_lives = &seat;
        frame
    });
    let mut response = Body::from_stream(frames).into_response();
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("text/event-stream"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn frame(answer: &DynamicMessage) -> String {
    let mut token = String::new();
    let mut event = None;
    for (key, value) in write::object(answer) {
        match (key.as_str(), value) {
            ("resume_token", Json::Text(text)) => token = text,
            ("event", Json::Object(fields)) => event = Some(fields),
            _ => {}
        }
    }
    let Some(event) = event else {
        return format!("id: {token}\n: heartbeat\n\n");
    };
    let kind = event.iter().find(|(key, _)| key == "type").map(|(_, kind)| kind);
    let kind = match kind {
        Some(Json::Text(kind)) => kind.clone(),
        _ => "message".to_owned(),
    };
    let data = serde_json::to_string(&Json::Object(event)).unwrap_or_default();
    format!("id: {token}\nevent: {kind}\ndata: {data}\n\n")
}

fn broken(failure: &Failure, request_id: &str) -> String {
    let problem = fault::problem(failure, request_id);
    format!("event: error\ndata: {}\n\n", serde_json::to_string(&problem).unwrap_or_default())
}
