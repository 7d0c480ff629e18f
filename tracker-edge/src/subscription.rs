//! Unsubscribing: the one-click POST of RFC 8058, and a page with buttons for people. A GET never
//! changes anything, because programs follow links before people do.
//!
//! The core suppresses at once. When it cannot be reached the wish is journaled, on stable storage
//! before it is confirmed, and delivered later like a hit.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Multipart, OriginalUri, Path, State};
use axum::response::{IntoResponse as _, Response};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, StatusCode};
use postern_proto::link::{Kind, Link};
use postern_proto::settings::TRACKING_JOURNAL_OCTETS_MAX;
use postern_proto::v1;
use postern_proto::v1::{SubscriptionScope, UnsubscribeSource};

use crate::App;
use crate::answer;
use crate::hits::Whose;
use crate::journal::Record;
use crate::pages::{self, Shown};
use crate::verdict;
use crate::visitor::Visitor;

/// What a form asks for. Whatever is not known is passed over: programs of all kinds post here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    one_click: bool,
    campaign_only: bool,
    resubscribe: bool,
    /// The body as it came, where it was urlencoded: old forms name the recipient in it.
    pub(crate) query: Option<String>,
}

impl Form {
    /// Reads a body, urlencoded or multipart.
    pub(crate) async fn read(headers: &HeaderMap, body: Bytes) -> Self {
        let kind = headers.get(http::header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let mut form = Self::default();
        if !kind.to_ascii_lowercase().starts_with("multipart/form-data") {
            form.query = String::from_utf8(body.to_vec()).ok();
            for (name, value) in form_urlencoded::parse(&body) {
                form.take(&name, &value);
            }
            return form;
        }
        let request = Request::post("/").header(http::header::CONTENT_TYPE, kind);
        let Ok(request) = request.body(Body::from(body)) else { return form };
        let Ok(mut parts) = Multipart::from_request(request, &()).await else { return form };
        while let Ok(Some(part)) = parts.next_field().await {
            let name = part.name().unwrap_or_default().to_owned();
            if let Ok(value) = part.text().await {
                form.take(&name, &value);
            }
        }
        form
    }

    fn take(&mut self, name: &str, value: &str) {
        match (name, value) {
            ("List-Unsubscribe", "One-Click") => self.one_click = true,
            ("scope", "campaign") => self.campaign_only = true,
            ("action", "resubscribe") => self.resubscribe = true,
            _ => {}
        }
    }
}

/// `GET /u/<token>`.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(token): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Response {
    page(&app, &visitor, signed(&app, &token), uri.path_and_query()).await
}

/// `POST /u/<token>`.
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(token): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = Form::read(&headers, body).await;
    answer(&app, &visitor, signed(&app, &token), &form, uri.path_and_query()).await
}

fn signed(app: &App, token: &str) -> Option<Whose> {
    match app.config.keys.open(token) {
        Ok(Link { delivery, kind: Kind::Unsubscribe }) => Some(Whose::Signed(delivery)),
        _ => None,
    }
}

/// The page with the buttons; it changes nothing.
pub(crate) async fn page(
    app: &App,
    visitor: &Visitor,
    whose: Option<Whose>,
    here: Option<&PathAndQuery>,
) -> Response {
    let Some(whose) = whose else { return pages::wrong_link(visitor.language) };
    // Without the core there is a page all the same, only with less on it.
    let found = app.resolver.subscription(whose).await.unwrap_or_default().unwrap_or_default();
    let shown = match found.unsubscribed() {
        SubscriptionScope::All => Shown::Unsubscribed,
        _ => Shown::Asked { has_campaign: !found.campaign_id.is_empty() },
    };
    pages::subscription(visitor.language, shown, &found.masked_address, here)
}

/// Does what a form asks for.
pub(crate) async fn answer(
    app: &App,
    visitor: &Visitor,
    whose: Option<Whose>,
    form: &Form,
    here: Option<&PathAndQuery>,
) -> Response {
    let Some(whose) = whose else {
        return match form.one_click {
            true => bare(StatusCode::BAD_REQUEST),
            false => pages::wrong_link(visitor.language),
        };
    };
    if form.one_click {
        // Mail programs post for their users, without a page, cookies or a browser's name.
        let source = UnsubscribeSource::OneClick;
        return match unsubscribe(app, visitor, whose, SubscriptionScope::All, source).await {
            Ok(()) => bare(StatusCode::OK),
            Err(Undone) => bare(StatusCode::SERVICE_UNAVAILABLE),
        };
    }
    if verdict::is_bot(visitor) {
        return pages::for_people_only(visitor.language);
    }
    let done = match form.resubscribe {
        true => resubscribe(app, visitor, whose).await.map(|()| Shown::Subscribed),
        false => {
            let scope = match form.campaign_only {
                true => SubscriptionScope::Campaign,
                false => SubscriptionScope::All,
            };
            let source = UnsubscribeSource::Page;
            unsubscribe(app, visitor, whose, scope, source).await.map(|()| Shown::Unsubscribed)
        }
    };
    match done {
        Ok(shown) => pages::subscription(visitor.language, shown, "", here),
        Err(Undone) => pages::try_again(visitor.language),
    }
}

/// Neither the core nor the journal took it.
struct Undone;

async fn unsubscribe(
    app: &App,
    visitor: &Visitor,
    whose: Whose,
    scope: SubscriptionScope,
    source: UnsubscribeSource,
) -> Result<(), Undone> {
    app.hits.count("unsubscribe");
    let request = v1::UnsubscribeRequest {
        reference: Some(whose.into()),
        scope: scope as i32,
        source: source as i32,
        client_ip: visitor.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        user_agent: visitor.user_agent.clone(),
    };
    if app.resolver.unsubscribe(request.clone()).await.is_ok() {
        return Ok(());
    }
    let max = app.live.now().get(&TRACKING_JOURNAL_OCTETS_MAX).unsigned_abs();
    let ticket = app.journal.append(&Record::Unsubscribe(request), max).map_err(|_| Undone)?;
    app.journal.wait_synced(ticket).await;
    Ok(())
}

/// A mistake is taken back by people who wait for it, so it is not worth journaling.
async fn resubscribe(app: &App, visitor: &Visitor, whose: Whose) -> Result<(), Undone> {
    app.hits.count("resubscribe");
    let request = v1::ResubscribeRequest {
        reference: Some(whose.into()),
        client_ip: visitor.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        user_agent: visitor.user_agent.clone(),
    };
    app.resolver.resubscribe(request).await.map_err(|_| Undone)
}

/// An answer that only programs read.
fn bare(status: StatusCode) -> Response {
    let mut response = status.into_response();
    answer::common(response.headers_mut());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        pages::retry_after(response.headers_mut(), std::time::Duration::from_secs(60));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(kind: &str, body: &'static str) -> Form {
        let headers = [(http::header::CONTENT_TYPE, kind.parse().unwrap())].into_iter().collect();
        Form::read(&headers, Bytes::from_static(body.as_bytes())).await
    }

    #[tokio::test]
    async fn one_click_comes_in_both_forms_and_spelled_exactly() {
        let form = read("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click").await;
        assert!(form.one_click);
        let multipart = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\n\
            One-Click\r\n--b--\r\n";
        assert!(read("multipart/form-data; boundary=b", multipart).await.one_click);
        for other in ["List-Unsubscribe=one-click", "list-unsubscribe=One-Click", "a=b", ""] {
            assert!(!read("application/x-www-form-urlencoded", other).await.one_click, "{other}");
        }
        assert_eq!(read("multipart/form-data", "x").await, Form::default());
    }

    #[tokio::test]
    async fn the_page_says_what_it_wants() {
        let form = read("application/x-www-form-urlencoded", "scope=campaign&eid=YQ").await;
        assert!(form.campaign_only && !form.resubscribe && !form.one_click);
        assert_eq!(form.query.as_deref(), Some("scope=campaign&eid=YQ"));
        let form = read("application/x-www-form-urlencoded", "action=resubscribe").await;
        assert!(form.resubscribe);
    }

    /// A form means the same in both its forms, and one click is never read out of anything else.
    #[test]
    fn fuzz_form() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = move |kind: &str, body: Vec<u8>| {
            let kind = kind.parse().unwrap();
            let headers = [(http::header::CONTENT_TYPE, kind)].into_iter().collect();
            runtime.block_on(Form::read(&headers, body.into()))
        };
        postern_fuzz::check!("form", move |input| {
            let said = |words: &[u8]| input.windows(words.len()).any(|window| window == words);
            let multipart = read("multipart/form-data; boundary=b", input.to_vec());
            assert!(!multipart.one_click || said(b"One-Click"));
            assert!(!multipart.resubscribe || said(b"resubscribe"));
            assert_eq!(multipart.query, None);

            let form = read("application/x-www-form-urlencoded", input.to_vec());
            assert_eq!(form.query.as_deref(), str::from_utf8(input).ok());
            let fields = form_urlencoded::parse(input);
            let mut again = Vec::new();
            for (name, value) in fields {
                let special = |c: char| c.is_control() || ['"', '\\', '%', '\u{fffd}'].contains(&c);
                let odd = |text: &str| text.contains(special);
                if odd(&name) || odd(&value) || value.contains("--b") {
                    return;
                }
                again.extend(b"--b\r\nContent-Disposition: form-data; name=\"");
                again.extend([name.as_bytes(), b"\"\r\n\r\n", value.as_bytes(), b"\r\n"].concat());
            }
            again.extend(b"--b--\r\n");
            let again = read("multipart/form-data; boundary=b", again);
            assert_eq!(again, Form { query: None, ..form });
        });
    }
}
