//! The pages of the inbox and what their forms do.
//!
//! No state; deleting is final once the core said so.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use bytes::Bytes;
use http::HeaderValue;
use postern_kit::in_process::CoreChannel;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1::sink_service_client::SinkServiceClient;
use postern_proto::v1::{
    DeleteSinkMessagesRequest, GetSinkMessageRequest, ListSinkMessagesRequest, SinkMessage,
};
use serde::Deserialize;

use super::mail::{self, Mail};
use super::show;
use crate::App;
use crate::edge::Context;
use crate::fault::Fault;

const PAGE_SIZE: i32 = 50;
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The mail itself: nothing runs, nothing is loaded, nothing leaves the frame.
const MAIL_POLICY: &str = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
    font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'";

type Shared = State<Arc<App>>;
type Asked = Extension<Context>;

#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    to: String,
    #[serde(default)]
    page: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Tab {
    #[serde(default)]
    tab: String,
}

struct Row {
    id: String,
    from: String,
    to: String,
    subject: String,
    time: String,
    size: String,
}

#[derive(Template)]
#[template(path = "inbox/list.html")]
struct ListPage {
    rows: Vec<Row>,
    to: String,
    first: bool,
    newest: String,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "inbox/message.html")]
struct MessagePage {
    row: Row,
    envelope_from: String,
    mail: Mail,
    tab: &'static str,
}

pub(super) async fn list(
    State(app): Shared,
    Extension(context): Asked,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Fault> {
    let Query(query) = query.unwrap_or_default();
    let first = query.page.is_empty();
    let request = ListSinkMessagesRequest {
        page_size: PAGE_SIZE,
        page_token: query.page,
        recipient: query.to.trim().to_owned(),
        message_id: String::new(),
    };
    let found = client(&app).list_sink_messages(asked(&app, &context, request)).await?;
    let found = found.into_inner();
    let newest = found.messages.first().map(|mail| mail.id.clone()).unwrap_or_default();
    let next = (!found.next_page_token.is_empty()).then_some(found.next_page_token);
    let rows = found.messages.iter().map(row).collect();
    Ok(show(&ListPage { rows, to: query.to, first, newest, next }))
}

/// The id of the newest mail, for the script that refreshes the list.
pub(super) async fn newest(
    State(app): Shared,
    Extension(context): Asked,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Fault> {
    let Query(query) = query.unwrap_or_default();
    let recipient = query.to.trim().to_owned();
    let request =
        ListSinkMessagesRequest { page_size: 1, recipient, ..ListSinkMessagesRequest::default() };
    let found = client(&app).list_sink_messages(asked(&app, &context, request)).await?;
    let newest = found.into_inner().messages.into_iter().next().unwrap_or_default().id;
    Ok(([("cache-control", "no-store")], newest).into_response())
}

pub(super) async fn message(
    State(app): Shared,
    Extension(context): Asked,
    Path(id): Path<String>,
    tab: Result<Query<Tab>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Fault> {
    let caught = fetch(&app, &context, id).await?;
    let mail = mail::read(&caught.raw);
    let Query(wanted) = tab.unwrap_or_default();
    let tab = match wanted.tab.as_str() {
        "text" => "text",
        "source" => "source",
        "headers" => "headers",
        "html" => "html",
        _ if mail.html.is_some() => "html",
        _ => "text",
    };
    let envelope_from = caught.envelope_from.clone();
    Ok(show(&MessagePage { row: row(&caught), envelope_from, mail, tab }))
}

pub(super) async fn html(
    State(app): Shared,
    Extension(context): Asked,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let caught = fetch(&app, &context, id).await?;
    let html = mail::html_of(&caught.raw).unwrap_or_default();
    let mut response = axum::response::Html(html).into_response();
    let headers = response.headers_mut();
    headers.insert("content-security-policy", HeaderValue::from_static(MAIL_POLICY));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    Ok(response)
}

pub(super) async fn download(
    State(app): Shared,
    Extension(context): Asked,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let caught = fetch(&app, &context, id).await?;
    let name = format!("{}.eml", caught.id);
    Ok(file(&name, caught.raw))
}

pub(super) async fn attachment(
    State(app): Shared,
    Extension(context): Asked,
    Path((id, index)): Path<(String, usize)>,
) -> Result<Response, Fault> {
    let caught = fetch(&app, &context, id).await?;
    let (name, bytes) = mail::attachment(&caught.raw, index)
        .ok_or_else(|| Failure::new(Reason::SinkMessageNotFound, "there is no such attachment"))?;
    Ok(file(&name, bytes.into()))
}

pub(super) async fn delete_one(
    State(app): Shared,
    Extension(context): Asked,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let request = DeleteSinkMessagesRequest { ids: vec![id], validate_only: false };
    client(&app).delete_sink_messages(asked(&app, &context, request)).await?;
    Ok(Redirect::to("/inbox").into_response())
}

pub(super) async fn delete_all(
    State(app): Shared,
    Extension(context): Asked,
) -> Result<Response, Fault> {
    let request = DeleteSinkMessagesRequest { ids: Vec::new(), validate_only: false };
    client(&app).delete_sink_messages(asked(&app, &context, request)).await?;
    Ok(Redirect::to("/inbox").into_response())
}

async fn fetch(app: &App, context: &Context, id: String) -> Result<SinkMessage, Fault> {
    let request = asked(app, context, GetSinkMessageRequest { id });
    let found = client(app).get_sink_message(request).await?.into_inner().message;
    Ok(found.ok_or_else(|| Failure::new(Reason::SinkMessageNotFound, "there is no such mail"))?)
}

fn client(app: &App) -> SinkServiceClient<CoreChannel> {
    SinkServiceClient::new(app.core.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The inbox asks as the gateway: a credential that the browser happens to send is left out.
fn asked<T>(app: &App, context: &Context, message: T) -> tonic::Request<T> {
    let mut caller = context.caller.clone();
    caller.authorization = String::new();
    let mut request = app.core.request(message, &caller);
    request.set_timeout(context.time_limit);
    request
}

/// A download whose bytes no browser interprets.
fn file(name: &str, bytes: Bytes) -> Response {
    let mut response = axum::body::Body::from(bytes).into_response();
    let ascii: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    let mut utf8 = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => utf8.push(byte.into()),
            other => utf8 += &format!("%{other:02X}"),
        }
    }
    let disposition = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{utf8}");
    let disposition = HeaderValue::try_from(disposition)
        .unwrap_or_else(|_| HeaderValue::from_static("attachment"));
    let headers = response.headers_mut();
    headers.insert("content-disposition", disposition);
    headers.insert("content-type", HeaderValue::from_static("application/octet-stream"));
    headers.insert("content-security-policy", HeaderValue::from_static("sandbox"));
    response
}

fn row(mail: &SinkMessage) -> Row {
    let or = |text: &str, other: &str| if text.is_empty() { other } else { text }.to_owned();
    let time = mail.create_time.as_ref();
    let time = time.and_then(|t| jiff::Timestamp::from_second(t.seconds).ok());
    Row {
        id: mail.id.clone(),
        from: or(&mail.from, &mail.envelope_from),
        to: mail.envelope_to.clone(),
        subject: or(&mail.subject, "(no subject)"),
        time: time.map(|t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default(),
        size: mail::size(mail.size_bytes),
    }
}
