//! Links of the old system, in mail sent before the switch: their forms, their answers, but not their
//! faults. Nothing in them is signed, so the core is asked before anybody is sent anywhere.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use postern_proto::link::legacy::{self, Parameters};
use postern_proto::link::target;
use postern_proto::v1::{HitKind, LegacyReference};

use crate::App;
use crate::answer::{self, Pixel};
use crate::hits::{Happened, Whose, record};
use crate::pages;
use crate::subscription;
use crate::visitor::Visitor;

/// `/track/o?eid=&cid=&mid=`. A mail that nobody knows gets 404, as it always did.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    OriginalUri(uri): OriginalUri,
) -> Response {
    let Some((whose, _)) = claim(uri.query()) else { return pages::plain_not_found() };
    // While the core is away everything is believed: it will count what it knows.
    if let Ok(false) = app.resolver.is_known(&whose).await {
        return pages::plain_not_found();
    }
    record(&app, &visitor, Happened::open(Whose::Claimed(whose))).await;
    Pixel::Png.answer(StatusCode::OK)
}

/// `/track/c?url=&eid=&cid=&mid=`. Leads only to a link that was in that mail.
pub(crate) async fn click(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    OriginalUri(uri): OriginalUri,
) -> Response {
    let Some((whose, url)) = claim(uri.query()).filter(|(_, url)| !url.is_empty()) else {
        return pages::plain_not_found();
    };
    if !target::is_safe_target(&url) {
        return pages::plain_not_found();
    }
    match app.resolver.link(&whose, &url).await {
        Ok(Some(known)) => follow(&app, &visitor, whose, &known).await,
        Ok(None) => pages::wrong_link(visitor.language),
        Err(_) => pages::try_again(visitor.language),
    }
}

/// `/t/o/<token>[.gif]`: always an image.
pub(crate) async fn token_open(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(file): Path<String>,
) -> Response {
    let (token, pixel) = Pixel::of(&file);
    if legacy::is_token(token)
        && let Ok(Some(found)) = app.resolver.token(HitKind::Open, token).await
    {
        let whose = Whose::Claimed(found.recipient.unwrap_or_default());
        record(&app, &visitor, Happened::open(whose)).await;
    }
    pixel.answer(StatusCode::OK)
}

/// `/t/c/<token>`.
pub(crate) async fn token_click(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(token): Path<String>,
) -> Response {
    by_token(&app, &visitor, legacy::is_token(&token).then_some(token.as_str())).await
}

/// `/go/<slug>-<16 characters of a token>`.
pub(crate) async fn go(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(slug): Path<String>,
) -> Response {
    by_token(&app, &visitor, legacy::go_token(&slug)).await
}

async fn by_token(app: &App, visitor: &Visitor, token: Option<&str>) -> Response {
    let Some(token) = token else { return pages::wrong_link(visitor.language) };
    match app.resolver.token(HitKind::Click, token).await {
        Ok(Some(found)) => {
            follow(app, visitor, found.recipient.unwrap_or_default(), &found.url).await
        }
        Ok(None) => pages::wrong_link(visitor.language),
        Err(_) => pages::try_again(visitor.language),
    }
}

/// Redirects to a link that the core has vouched for.
async fn follow(app: &App, visitor: &Visitor, whose: LegacyReference, url: &str) -> Response {
    let Some(answer) = target::location(url).and_then(|location| answer::redirect(&location))
    else {
        return pages::wrong_link(visitor.language);
    };
    record(app, visitor, Happened::click(Whose::Claimed(whose), url, -1)).await;
    answer
}

/// `GET /unsubscribe?eid=&cid=`.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    OriginalUri(uri): OriginalUri,
) -> Response {
    let whose = Parameters::parse(uri.query().unwrap_or_default()).and_then(person);
    subscription::page(&app, &visitor, whose.map(Whose::Claimed), uri.path_and_query()).await
}

/// `POST /unsubscribe?eid=&cid=`; the two may stand in the body instead.
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = subscription::Form::read(&headers, body).await;
    let in_query = Parameters::parse(uri.query().unwrap_or_default()).and_then(person);
    let in_body = || Parameters::parse(form.query.as_deref()?).and_then(person);
    let whose = in_query.or_else(in_body).map(Whose::Claimed);
    subscription::answer(&app, &visitor, whose, &form, uri.path_and_query()).await
}

/// Whose mail a link claims to be in, and its url. All three parts must be there.
fn claim(query: Option<&str>) -> Option<(LegacyReference, String)> {
    let Parameters { address, campaign_id, message_id, url } = Parameters::parse(query?)?;
    let whole = ![&address, &campaign_id, &message_id].iter().any(|part| part.is_empty());
    whole.then_some((LegacyReference { address, campaign_id, message_id }, url))
}

fn person(parameters: Parameters) -> Option<LegacyReference> {
    let Parameters { address, campaign_id, message_id, .. } = parameters;
    (!address.is_empty()).then_some(LegacyReference { address, campaign_id, message_id })
}
