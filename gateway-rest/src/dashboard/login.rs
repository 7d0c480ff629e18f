//! Logging in and out. The core checks; here is only the form and the cookie.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use serde::Deserialize;

use super::client::operators;
use super::lang::Lang;
use super::list::now_seconds;
use super::visit::{Posted, is_local, plain, session, session_cookie, taste};
use super::words::Words;
use super::{Answer, asked, render};
use crate::App;
use crate::edge::Context;
use crate::fault::{Fault, retry_after, status_of};
use crate::inbox::same_origin;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    next: String,
}

#[derive(Template)]
#[template(path = "dashboard/login.html")]
struct LoginPage<'a> {
    w: &'static Words,
    lang: Lang,
    theme: String,
    problem: &'a str,
    next: &'a str,
    username: &'a str,
}

pub(super) async fn form(
    headers: HeaderMap,
    wish: Result<Query<Wish>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Query(wish) = wish.unwrap_or_default();
    page(&headers, "", &wish.next, "")
}

fn page(headers: &HeaderMap, problem: &str, next: &str, username: &str) -> Response {
    let (lang, theme) = taste(headers);
    render(&LoginPage { w: lang.words(), lang, theme, problem, next, username })
}

pub(super) async fn log_in(
    State(app): State<Arc<App>>,
    Extension(mut context): Extension<Context>,
    request: Request,
) -> Result<Response, Response> {
    let headers = request.headers().clone();
    if !same_origin(&headers) {
        let text = "this form can only be sent from the dashboard";
        return Err(Fault(Failure::new(Reason::HostNotAllowed, text)).into_response());
    }
    let fields = plain(request).await?;
    let (username, next) = (fields.text("username").to_lowercase(), fields.text("next"));
    // A credential that the browser happens to send has nothing to do with this.
    context.caller.authorization.clear();
    let message = v1::LogInRequest {
        username: username.clone(),
        password: fields.raw("password").to_owned(),
        totp_code: fields.text("code"),
    };
    let request = crate::rpc::request(&app, message, &context);
    let answer = match operators(&app).log_in(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            return Ok(refused(&headers, &Failure::from_status(&status), &next, &username));
        }
    };
    if answer.totp_required {
        let words = taste(&headers).0.words();
        let mut response = page(&headers, words.totp_missing, &next, &username);
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    }
    let mut response = Redirect::to(inside(&next)).into_response();
    let life = answer.expire_time.map_or(0, |time| time.seconds - now_seconds());
    let cookie = cookie(&headers, &answer.session, life.max(0));
    response.headers_mut().append("set-cookie", cookie.map_err(|_| broken())?);
    Ok(response)
}

fn refused(headers: &HeaderMap, failure: &Failure, next: &str, username: &str) -> Response {
    let words = taste(headers).0.words();
    let problem = match failure.reason {
        Reason::InvalidKey => words.login_wrong,
        Reason::TooManyFailures => words.login_too_many,
        _ => failure.message.as_str(),
    };
    let mut response = page(headers, problem, next, username);
    *response.status_mut() = status_of(failure.reason);
    retry_after(&mut response, failure);
    response
}

/// The session's cookie: scripts cannot read it, other sites cannot send it with a form, and over the
/// network it only goes encrypted.
fn cookie(
    headers: &HeaderMap,
    session: &str,
    seconds: i64,
) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let name = session_cookie(headers);
    let secure = if is_local(headers) { "" } else { "; Secure" };
    HeaderValue::try_from(format!(
        "{name}={session}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    ))
}

fn broken() -> Response {
    Fault(Failure::new(Reason::Internal, "the session cannot be a cookie")).into_response()
}

/// Where to go after the login: a page of the dashboard and of nobody else.
fn inside(next: &str) -> &str {
    let plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let ours =
        next == "/dashboard" || next.starts_with("/dashboard/") || next.starts_with("/dashboard?");
    if plain && ours && !next.starts_with("/dashboard/login") { next } else { "/dashboard" }
}

pub(super) async fn log_out(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Posted { visit, .. }: Posted,
) -> Answer {
    operators(&app).log_out(asked(&app, &visit, v1::LogOutRequest {})).await?;
    let mut response = Redirect::to("/dashboard/login").into_response();
    if session(&headers).is_some()
        && let Ok(cookie) = cookie(&headers, "", 0)
    {
        response.headers_mut().append("set-cookie", cookie);
    }
    response.headers_mut().insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_nowhere_else() {
        for ours in ["/dashboard", "/dashboard/keys?x=1", "/dashboard?a=b"] {
            assert_eq!(inside(ours), ours);
        }
        for other in [
            "",
            "//evil.example",
            "https://evil.example/dashboard",
            "/dashboards",
            "/\\evil.example",
            "/dashboard/login?next=x",
            "/dashboard/\r\nset-cookie: x",
        ] {
            assert_eq!(inside(other), "/dashboard", "{other}");
        }
    }

    #[test]
    fn the_cookie_is_locked_away() {
        let headers = |host: &'static str| -> HeaderMap {
            [("host".parse().unwrap(), host.parse().unwrap())].into_iter().collect()
        };
        let public = cookie(&headers("mail.example.com"), "abc", 60).unwrap();
        assert_eq!(
            public,
            "__Host-postern=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
        let local = cookie(&headers("localhost:8080"), "abc", 60).unwrap();
        assert_eq!(local, "postern=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
    }
}
