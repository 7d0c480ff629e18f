//! The dashboard: pages for the people who run the installation.
//!
//! Server-rendered, under the strictest policy that shows anything, and complete without scripts. Every
//! page asks the core in the name of the operator who has logged in, through the same contract as
//! everybody else; the gateway decides nothing. No state; a crash loses nothing that was answered.

mod account;
mod audit;
mod campaigns;
mod chart;
mod client;
mod credential;
mod csv;
mod domains;
mod errors;
mod figures;
mod find;
mod keys;
mod lang;
mod list;
mod login;
mod message;
mod messages;
mod names;
mod operators;
mod overview;
mod queue;
mod settings;
mod settings_ru;
mod smtp;
mod suppressions;
mod templates;
mod view;
mod visit;
mod webhook;
mod webhooks;
mod words;
mod work;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use tonic::Request;

use self::figures::encoded;
use self::lang::Lang;
use self::view::{Block, Cell, Kind, Table};
use self::visit::Visit;
use self::words::Words;
use crate::App;
use crate::fault::{Fault, retry_after, status_of};

/// Our own pages: our style sheet, our script, and nothing else from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
    frame-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Characters of what a form tells about what it did.
const FLASH_MAX: usize = 300;

/// What a page answers with.
type Answer = Result<Response, Fault>;

pub(crate) fn router(app: &Arc<App>) -> Router {
    Router::new()
        .merge(people())
        .merge(mail())
        .merge(administration())
        .route("/dashboard/style.css", get(async || asset("text/css", include_str!("style.css"))))
        .route(
            "/dashboard/script.js",
            get(async || asset("text/javascript", include_str!("script.js"))),
        )
        .route(
            "/dashboard/icon.svg",
            get(async || asset("image/svg+xml", include_str!("icon.svg"))),
        )
        .with_state(app.clone())
}

fn people() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(async || Redirect::to("/dashboard")))
        .route("/dashboard/login", get(login::form).post(login::log_in))
        .route("/dashboard/logout", post(login::log_out))
        .route("/dashboard/appearance", post(account::appearance))
        .route("/dashboard/account", get(account::page))
        .route("/dashboard/account/password", post(account::password))
        .route("/dashboard/account/totp/start", post(account::start_totp))
        .route("/dashboard/account/totp/confirm", post(account::confirm_totp))
        .route("/dashboard/account/totp/stop", post(account::stop_totp))
        .route("/dashboard/operators", get(operators::list).post(operators::create))
        .route("/dashboard/operators/act", post(operators::act))
        .route("/dashboard/audit", get(audit::list))
}

fn mail() -> Router<Arc<App>> {
    Router::new()
        .route("/dashboard", get(overview::page))
        .route("/dashboard/find", get(find::find))
        .route("/dashboard/messages", get(messages::list))
        .route("/dashboard/messages/{id}", get(message::page))
        .route("/dashboard/messages/{id}/html", get(message::html))
        .route("/dashboard/messages/{id}/source", get(message::source))
        .route("/dashboard/messages/{id}/act", post(message::act))
        .route("/dashboard/queue", get(queue::page))
        .route("/dashboard/queue/act", post(queue::act))
        .route("/dashboard/campaigns", get(campaigns::list))
        .route("/dashboard/campaigns/show", get(campaigns::page))
        .route("/dashboard/campaigns/act", post(campaigns::act))
        .route("/dashboard/errors", get(errors::page))
        .route("/dashboard/suppressions", get(suppressions::list).post(suppressions::create))
        .route("/dashboard/suppressions/import", post(suppressions::import))
        .route("/dashboard/suppressions/delete", post(suppressions::delete))
        .layer(axum::extract::DefaultBodyLimit::max(33 << 20))
}

fn administration() -> Router<Arc<App>> {
    Router::new()
        .route("/dashboard/templates", get(templates::list).post(templates::create))
        .route("/dashboard/templates/{id}", get(templates::page).post(templates::update))
        .route("/dashboard/templates/{id}/delete", post(templates::delete))
        .route("/dashboard/templates/{id}/test", post(templates::test))
        .route("/dashboard/templates/{id}/html", get(templates::html))
        .route("/dashboard/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/dashboard/webhooks/{id}", get(webhook::page).post(webhook::update))
        .route("/dashboard/webhooks/{id}/act", post(webhook::act))
        .route("/dashboard/webhooks/{id}/replay", post(webhook::replay))
        .route("/dashboard/webhooks/{id}/events/{event}", get(webhook::delivery))
        .route("/dashboard/keys", get(keys::list).post(keys::create))
        .route("/dashboard/keys/act", post(keys::act))
        .route("/dashboard/keys/{id}", get(credential::key).post(credential::change_key))
        .route("/dashboard/smtp", get(smtp::list).post(smtp::create))
        .route("/dashboard/smtp/act", post(smtp::act))
        .route("/dashboard/smtp/{id}", get(credential::smtp).post(credential::change_smtp))
        .route("/dashboard/domains", get(domains::list).post(domains::create))
        .route("/dashboard/domains/{id}", get(domains::page))
        .route("/dashboard/domains/{id}/act", post(domains::act))
        .route("/dashboard/settings", get(settings::page).post(settings::update))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [("content-type", kind), ("cache-control", "public, max-age=3600")];
    (headers, text).into_response()
}

#[derive(Template)]
#[template(path = "dashboard/page.html")]
struct Page<'a> {
    v: &'a Visit,
    w: &'static Words,
    title: &'a str,
    blocks: &'a [Block],
    /// Seconds after which the page reads itself again; 0 for never.
    live: u32,
}

impl Page<'_> {
    /// Where a table is to be had as CSV: at an address of its own, or as one of the tables of this
    /// page.
    fn csv(&self, table: &Table) -> String {
        if !table.csv.is_empty() || table.rows.is_empty() {
            return table.csv.clone();
        }
        let tables = self.blocks.iter().filter_map(Block::table);
        let number = tables.take_while(|one| !std::ptr::eq(*one, table)).count();
        list::with(&self.v.path, &[("table", &number.to_string())])
    }
}

#[derive(Template)]
#[template(path = "dashboard/error.html")]
struct ErrorPage<'a> {
    w: &'static Words,
    lang: Lang,
    theme: &'a str,
    title: &'a str,
    message: &'a str,
    violations: Vec<(String, String)>,
    request_id: &'a str,
}

/// A page.
fn show(visit: &Visit, title: &str, blocks: &[Block]) -> Response {
    show_live(visit, title, blocks, 0)
}

/// A page that reads itself again.
fn show_live(visit: &Visit, title: &str, blocks: &[Block], live: u32) -> Response {
    if let Some(wanted) = visit.table {
        let tables = blocks.iter().filter_map(Block::table);
        return match tables.enumerate().find(|(number, _)| *number == wanted) {
            Some((_, table)) => csv::whole(&visit.path, table),
            None => http::StatusCode::NOT_FOUND.into_response(),
        };
    }
    let mut response = render(&Page { v: visit, w: visit.words(), title, blocks, live });
    if !visit.flash.is_empty() {
        let forget = "postern_flash=; Path=/dashboard; Max-Age=0; HttpOnly; SameSite=Lax";
        response.headers_mut().append("set-cookie", HeaderValue::from_static(forget));
    }
    response
}

fn render(page: &impl Template) -> Response {
    let mut response = match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render a page");
            http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    guard(response.headers_mut(), POLICY);
    response
}

/// The headers of every page of ours.
fn guard(headers: &mut HeaderMap, policy: &'static str) {
    for (name, value) in [
        ("content-security-policy", policy),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=(), payment=()"),
        ("cache-control", "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Goes to another page, which tells what was done.
fn done(to: &str, told: &str) -> Response {
    let told: String = told.chars().take(FLASH_MAX).collect();
    let mut response = Redirect::to(to).into_response();
    let cookie = format!(
        "postern_flash={}; Path=/dashboard; Max-Age=60; HttpOnly; SameSite=Lax",
        encoded(&told)
    );
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append("set-cookie", cookie);
    }
    response
}

/// Whether a request begins long work, which has as long as a batch of mail.
pub(crate) fn is_long(path: &str) -> bool {
    path == "/dashboard/suppressions/import"
        || (path.starts_with("/dashboard/webhooks/") && path.ends_with("/replay"))
}

/// Whether a path is one of ours.
pub(crate) fn has(path: &str) -> bool {
    path == "/dashboard" || path.starts_with("/dashboard/")
}

/// A failure as a page; who is not logged in any more goes to the login.
pub(crate) fn fault(failure: &Failure, request_id: &str, headers: &HeaderMap) -> Response {
    if failure.reason == Reason::InvalidKey {
        return Redirect::to("/dashboard/login").into_response();
    }
    let (lang, theme) = visit::taste(headers);
    let violations = failure.violations.iter();
    let mut response = render(&ErrorPage {
        w: lang.words(),
        lang,
        theme: &theme,
        title: failure.reason.meaning().title,
        message: &failure.message,
        violations: violations.map(|one| (one.field.clone(), one.message.clone())).collect(),
        request_id,
    });
    *response.status_mut() = status_of(failure.reason);
    retry_after(&mut response, failure);
    response
}

/// What a form of ours never asks for.
fn unknown_act() -> Fault {
    Failure::field(Reason::InvalidValue, "act", "is nothing that can be done here").into()
}

/// A call in the name of the reader.
fn asked<T>(app: &App, visit: &Visit, message: T) -> Request<T> {
    crate::rpc::request(app, message, &visit.context)
}
