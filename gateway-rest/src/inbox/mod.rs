//! The inbox page: shows the mail that the local inbox caught. Server-rendered, works without
//! scripts, and treats every mail as hostile: it is shown in a frame without scripts, forms,
//! network or our origin.
//!
//! No state; a crash loses nothing. The core allows it without a caller's credential because a
//! gateway asks; therefore it answers only on its own host names.

mod guard;
pub(crate) mod mail;
mod pages;

pub(crate) use self::guard::{host_name, is_this_machine, same_origin};

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::HeaderValue;
use postern_proto::status::Failure;

use crate::App;
use crate::fault::{retry_after, status_of};

/// Our own pages: our style sheet and our script, and nothing else from anywhere.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    img-src 'self' data:; frame-src 'self'; connect-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    if !app.config.dashboard {
        router = router.route("/", get(async || Redirect::to("/inbox")));
    }
    router
        .route("/inbox", get(pages::list))
        .route("/inbox/delete", post(pages::delete_all))
        .route("/inbox/style.css", get(style))
        .route("/inbox/icon.svg", get(icon))
        .route("/inbox/refresh.js", get(script))
        .route("/inbox/newest", get(pages::newest))
        .route("/inbox/{id}", get(pages::message))
        .route("/inbox/{id}/html", get(pages::html))
        .route("/inbox/{id}/source", get(pages::download))
        .route("/inbox/{id}/attachments/{index}", get(pages::attachment))
        .route("/inbox/{id}/delete", post(pages::delete_one))
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard::guard))
        .with_state(app.clone())
}

#[derive(Template)]
#[template(path = "inbox/error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    message: &'a str,
    request_id: &'a str,
}

/// A failure as a page.
pub(crate) fn fault(failure: &Failure, request_id: &str) -> Response {
    let title = failure.reason.meaning().title;
    let page = ErrorPage { title, message: &failure.message, request_id };
    let mut response = show(&page);
    *response.status_mut() = status_of(failure.reason);
    retry_after(&mut response, failure);
    response
}

/// A page under our policy.
fn show(page: &impl Template) -> Response {
    let mut response = match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render a page");
            http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert("content-security-policy", HeaderValue::from_static(PAGE_POLICY));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    response
}

async fn style() -> Response {
    ([("content-type", "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

async fn icon() -> Response {
    let icon = include_str!("../dashboard/icon.svg");
    ([("content-type", "image/svg+xml"), ("cache-control", "public, max-age=3600")], icon)
        .into_response()
}

async fn script() -> Response {
    ([("content-type", "text/javascript; charset=utf-8")], include_str!("refresh.js"))
        .into_response()
}
