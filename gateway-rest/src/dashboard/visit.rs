//! Who looks at a page: the session in the cookie, asked of the core for every page, and what the
//! reader likes.
//!
//! A form counts only when its page was ours: the browser says where it came from, and it carries a
//! token that only pages of this session have. No state; a crash ends no session.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequest, FromRequestParts, Multipart, Request};
use axum::response::{IntoResponse as _, Redirect, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use sha2::{Digest as _, Sha256};

use super::client::operators;
use super::figures::encoded;
use super::lang::Lang;
use super::words::Words;
use crate::App;
use crate::edge::Context;
use crate::fault::Fault;
use crate::inbox::{host_name, is_this_machine, same_origin};

/// Octets of a form without a file.
const FORM_BYTES_MAX: usize = 2 << 20;
/// Octets of a file.
const FILE_BYTES_MAX: usize = 32 << 20;
const FIELDS_MAX: usize = 200;

/// A reader who has logged in.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) context: Context,
    pub(super) operator: v1::Operator,
    pub(super) lang: Lang,
    /// `light`, `dark`, or empty for what the browser prefers.
    pub(super) theme: String,
    pub(super) csrf: String,
    /// Path and query of the page.
    pub(super) path: String,
    /// Which table of the page is wanted as CSV, instead of the page.
    pub(super) table: Option<usize>,
    /// What the last form did.
    pub(super) flash: String,
    pub(super) has_inbox: bool,
}

impl Visit {
    pub(super) fn words(&self) -> &'static Words {
        self.lang.words()
    }

    /// Whether the reader may change things.
    pub(super) fn is_admin(&self) -> bool {
        self.operator.role() == v1::OperatorRole::Admin
    }

    /// Name, address, and whether it is the present page.
    pub(super) fn menu(&self) -> Vec<(&'static str, &'static str, bool)> {
        let w = self.words();
        let mut entries = vec![
            (w.overview, "/dashboard"),
            (w.messages, "/dashboard/messages"),
            (w.queue, "/dashboard/queue"),
            (w.campaigns, "/dashboard/campaigns"),
            (w.errors, "/dashboard/errors"),
            (w.suppressions, "/dashboard/suppressions"),
            (w.templates, "/dashboard/templates"),
            (w.webhooks, "/dashboard/webhooks"),
            (w.api_keys, "/dashboard/keys"),
            (w.smtp_credentials, "/dashboard/smtp"),
            (w.domains, "/dashboard/domains"),
            (w.settings, "/dashboard/settings"),
            (w.operators, "/dashboard/operators"),
            (w.audit_log, "/dashboard/audit"),
        ];
        if self.has_inbox {
            entries.push((w.inbox, "/inbox"));
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let is_here = |href: &str| match href {
            "/dashboard" => path == href,
            href => path == href || path.starts_with(&format!("{href}/")),
        };
        entries.into_iter().map(|(name, href)| (name, href, is_here(href))).collect()
    }
}

/// What a reader likes, whether logged in or not.
pub(super) fn taste(headers: &HeaderMap) -> (Lang, String) {
    let accepted = headers.get("accept-language").and_then(|value| value.to_str().ok());
    let lang = match cookie(headers, "postern_lang") {
        Some("ru") => Lang::Ru,
        Some("en") => Lang::En,
        _ => Lang::accepted(accepted.unwrap_or_default()),
    };
    let theme = cookie(headers, "postern_theme").filter(|one| matches!(*one, "light" | "dark"));
    (lang, theme.unwrap_or_default().to_owned())
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all("cookie").into_iter().filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Whether the request's host is this machine, where browsers take `http` for secure.
pub(super) fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    host_name(host).is_some_and(|name| is_this_machine(&name))
}

/// What the session's cookie is called. The prefix makes browsers refuse it from anywhere but this
/// very host, over TLS.
pub(super) fn session_cookie(headers: &HeaderMap) -> &'static str {
    if is_local(headers) { "postern" } else { "__Host-postern" }
}

/// The session in the cookie.
pub(super) fn session(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, session_cookie(headers)).filter(|text| {
        (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

/// The token of a session's forms.
fn csrf(session: &str) -> String {
    let digest = Sha256::digest(format!("postern form {session}").as_bytes());
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let extracted = Extension::<Context>::from_request_parts(parts, app).await;
        let Extension(mut context) =
            extracted.map_err(axum::response::IntoResponse::into_response)?;
        let path = parts.uri.path_and_query().map_or("/dashboard", |path| path.as_str());
        let path = path.to_owned();
        let login = || {
            let next = if parts.method == http::Method::GET { path.as_str() } else { "/dashboard" };
            Redirect::to(&format!("/dashboard/login?next={}", encoded(next))).into_response()
        };
        let Some(session) = session(&parts.headers) else { return Err(login()) };
        context.caller.authorization = format!("Operator {session}");
        let request = crate::rpc::request(app, v1::GetOwnOperatorRequest {}, &context);
        let operator = match operators(app).get_own_operator(request).await {
            Ok(answer) => answer.into_inner().operator.unwrap_or_default(),
            Err(status) => {
                let failure = Failure::from_status(&status);
                return match failure.reason {
                    Reason::InvalidKey => Err(login()),
                    _ => Err(Fault(failure).into_response()),
                };
            }
        };
        let (lang, theme) = taste(&parts.headers);
        let flash = cookie(&parts.headers, "postern_flash").map(unescaped).unwrap_or_default();
        Ok(Self {
            table: table(parts.uri.query().unwrap_or_default()),
            csrf: csrf(session),
            context,
            operator,
            lang,
            theme,
            path,
            flash,
            has_inbox: app.config.inbox,
        })
    }
}

/// Which table a query asks for.
fn table(query: &str) -> Option<usize> {
    query.split('&').find_map(|pair| pair.strip_prefix("table=")?.parse().ok())
}

/// What a form sent, after it was seen to be one of ours.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    fields: Vec<(String, String)>,
    pub(super) file: Bytes,
}

impl Fields {
    /// The value of a field, without blanks around it; empty when there is none.
    pub(super) fn text(&self, name: &str) -> String {
        self.raw(name).trim().to_owned()
    }

    /// The value of a field as it is.
    pub(super) fn raw(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Whether the field was sent at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(key, _)| key == name)
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.raw(name) == "on"
    }

    /// The parts of a field that are separated by commas, blanks or lines.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let parts = self.raw(name).split([',', ' ', '\n', '\r', '\t']);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// A whole number; nothing is 0.
    pub(super) fn number(&self, name: &str) -> Result<i64, Fault> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(0);
        }
        let problem = "needs a whole number";
        text.parse().map_err(|_| Fault(Failure::field(Reason::InvalidValue, name, problem)))
    }
}

/// A form that a reader has sent.
pub(super) struct Posted {
    pub(super) visit: Visit,
    pub(super) fields: Fields,
}

impl FromRequest<Arc<App>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, app).await?;
        if !same_origin(&parts.headers) {
            return Err(foreign("this form can only be sent from the dashboard"));
        }
        let kind = parts.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        let multipart = kind.is_some_and(|kind| kind.starts_with("multipart/form-data"));
        let request = Request::from_parts(parts, body);
        let fields = match multipart {
            true => with_file(request, app).await?,
            false => plain(request).await?,
        };
        let token = fields.raw("csrf").as_bytes();
        if !bool::from(subtle::ConstantTimeEq::ct_eq(token, visit.csrf.as_bytes())) {
            return Err(foreign("this form is too old; open the page again and send it once more"));
        }
        Ok(Self { visit, fields })
    }
}

fn foreign(text: &str) -> Response {
    Fault(Failure::new(Reason::HostNotAllowed, text)).into_response()
}

/// Reads a form without a file.
pub(super) async fn plain(request: Request) -> Result<Fields, Response> {
    let body = axum::body::to_bytes(request.into_body(), FORM_BYTES_MAX).await;
    let body = body.map_err(|_| too_large())?;
    let fields: Vec<(String, String)> = form(&body);
    Ok(Fields { fields, file: Bytes::new() })
}

/// Reads `application/x-www-form-urlencoded`.
fn form(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).into_owned().take(FIELDS_MAX).collect()
}

async fn with_file(request: Request, app: &Arc<App>) -> Result<Fields, Response> {
    let extracted = Multipart::from_request(request, app).await;
    let mut parts = extracted.map_err(axum::response::IntoResponse::into_response)?;
    let mut fields = Fields::default();
    let unreadable = |_| {
        Fault(Failure::new(Reason::MalformedRequest, "the form cannot be read")).into_response()
    };
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        let name = part.name().unwrap_or_default().to_owned();
        let is_file = part.file_name().is_some();
        let bytes = part.bytes().await.map_err(unreadable)?;
        if bytes.len() > FILE_BYTES_MAX || fields.fields.len() >= FIELDS_MAX {
            return Err(too_large());
        }
        match is_file {
            true => fields.file = bytes,
            false => fields.fields.push((name, String::from_utf8_lossy(&bytes).into_owned())),
        }
    }
    Ok(fields)
}

fn too_large() -> Response {
    Fault(Failure::new(Reason::MessageTooLarge, "the form is too large")).into_response()
}

/// A text with its percent-encoded octets as they were; what is none of them stays.
fn unescaped(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn the_session_is_read_under_the_name_that_the_host_allows() {
        let both = "__Host-postern=abc; postern=xyz; postern_lang=ru";
        let local = headers(&[("host", "127.0.0.1:8080"), ("cookie", both)]);
        assert_eq!(session(&local), Some("xyz"));
        let public = headers(&[("host", "mail.example.com"), ("cookie", both)]);
        assert_eq!(session(&public), Some("abc"));
        // A subdomain or plain HTTP can set the short name; it does not count there.
        let forced = headers(&[("host", "mail.example.com"), ("cookie", "postern=xyz")]);
        assert_eq!(session(&forced), None);
        let odd = headers(&[("host", "localhost"), ("cookie", "postern=a\u{e9}b")]);
        assert_eq!(session(&odd), None);
        assert_eq!(taste(&local).0, Lang::Ru);
    }

    #[test]
    fn a_form_is_read_as_it_was_filled_in() {
        let fields = form("a=1+2&b=%D1%91%26&c&a=3".as_bytes());
        let wanted = [("a", "1 2"), ("b", "ё&"), ("c", ""), ("a", "3")];
        assert_eq!(fields, wanted.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let fields = Fields { fields, file: Bytes::new() };
        assert_eq!(fields.raw("a"), "1 2");
        assert!(fields.number("b").is_err());
        assert_eq!(fields.number("x").unwrap_or(9), 0);
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text: String) {
            prop_assert_eq!(unescaped(&encoded(&text)), text);
        }
    }

    /// No form has more fields than may be, and its text comes back from a cookie as it was.
    #[test]
    fn fuzz_form() {
        postern_fuzz::check!("form", |input| {
            let fields = form(input);
            assert!(fields.len() <= FIELDS_MAX);
            let again = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields.iter().map(|(name, value)| (name, value)))
                .finish();
            assert_eq!(form(again.as_bytes()), fields);
            let fields = Fields { fields, file: Bytes::new() };
            for (name, value) in &fields.fields {
                assert_eq!(unescaped(&encoded(value)), *value);
                assert!(fields.has(name) && fields.text(name).len() <= fields.raw(name).len());
            }
            let _any = table(&postern_fuzz::text(input));
        });
    }
}
