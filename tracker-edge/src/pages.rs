//! What people see: the page about their subscription, and friendly words when a link leads nowhere.
//! No script, no cookie, nothing from elsewhere.

use std::time::Duration;

use askama::Template;
use axum::response::{Html, IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::answer;
use crate::visitor::{Language, Visitor};

/// What the page about a subscription shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The question, and buttons to answer it.
    Asked { has_campaign: bool },
    /// It is done, and can be taken back.
    Unsubscribed,
    /// It was taken back.
    Subscribed,
}

/// Everything the pages say, in one language.
struct Words {
    tag: &'static str,
    unsubscribe: &'static str,
    question: &'static str,
    from_all: &'static str,
    from_campaign: &'static str,
    done: &'static str,
    done_text: &'static str,
    back: &'static str,
    subscribed: &'static str,
    subscribed_text: &'static str,
    wrong: &'static str,
    wrong_text: &'static str,
    later: &'static str,
    later_text: &'static str,
    people: &'static str,
    people_text: &'static str,
}

const ENGLISH: Words = Words {
    tag: "en",
    unsubscribe: "Unsubscribe",
    question: "You will get no more of these mails.",
    from_all: "Unsubscribe from all mail",
    from_campaign: "Only from this mailing",
    done: "You are unsubscribed",
    done_text: "We will not write to you again.",
    back: "That was a mistake, subscribe me again",
    subscribed: "You are subscribed again",
    subscribed_text: "Nothing has changed for you.",
    wrong: "This link leads nowhere",
    wrong_text: "It is incomplete, or too old. If it stands in a mail, please ask its sender.",
    later: "Please try again in a moment",
    later_text: "We cannot look this up right now. The link stays valid.",
    people: "Please open this page in a browser",
    people_text: "Subscriptions are changed by people only, so that no program does it for them.",
};

const RUSSIAN: Words = Words {
    tag: "ru",
    unsubscribe: "Отписаться",
    question: "Вы больше не будете получать эти письма.",
    from_all: "Отписаться от всех писем",
    from_campaign: "Только от этой рассылки",
    done: "Вы отписаны",
    done_text: "Мы больше не будем вам писать.",
    back: "Это ошибка, подписать меня снова",
    subscribed: "Вы снова подписаны",
    subscribed_text: "Для вас ничего не изменилось.",
    wrong: "Эта ссылка никуда не ведёт",
    wrong_text: "Она неполная или устарела. Если она из письма, спросите у отправителя.",
    later: "Попробуйте ещё раз чуть позже",
    later_text: "Сейчас мы не можем это проверить. Ссылка остаётся действительной.",
    people: "Откройте эту страницу в браузере",
    people_text: "Подписку меняют только люди, чтобы программы не делали этого за них.",
};

fn words(language: Language) -> &'static Words {
    match language {
        Language::English => &ENGLISH,
        Language::Russian => &RUSSIAN,
    }
}

#[derive(Template)]
#[template(path = "subscription.html")]
struct SubscriptionPage<'a> {
    words: &'a Words,
    shown: Shown,
    address: &'a str,
    here: &'a str,
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    words: &'a Words,
    title: &'a str,
    text: &'a str,
}

/// The page about a subscription; its forms come back to `here`.
pub(crate) fn subscription(
    language: Language,
    shown: Shown,
    address: &str,
    here: Option<&PathAndQuery>,
) -> Response {
    let here = here.map(PathAndQuery::as_str).unwrap_or_default();
    render(StatusCode::OK, &SubscriptionPage { words: words(language), shown, address, here })
}

/// A link that was tampered with, has expired, or never was one.
pub(crate) fn wrong_link(language: Language) -> Response {
    let words = words(language);
    let (title, text) = (words.wrong, words.wrong_text);
    render(StatusCode::NOT_FOUND, &MessagePage { words, title, text })
}

/// The core is needed and cannot be reached.
pub(crate) fn try_again(language: Language) -> Response {
    let words = words(language);
    let (title, text) = (words.later, words.later_text);
    let mut response = render(StatusCode::SERVICE_UNAVAILABLE, &MessagePage { words, title, text });
    retry_after(response.headers_mut(), Duration::from_secs(30));
    response
}

/// A program has pressed a button.
pub(crate) fn for_people_only(language: Language) -> Response {
    let words = words(language);
    let (title, text) = (words.people, words.people_text);
    render(StatusCode::FORBIDDEN, &MessagePage { words, title, text })
}

/// What the old system said about links it could not read.
pub(crate) fn plain_not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "Not found")
}

/// Too many requests; `wait` is how long until the next one is answered.
pub(crate) fn too_many(wait: Duration) -> Response {
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "too many requests; try again later");
    retry_after(response.headers_mut(), wait);
    response
}

/// A request that did not end in time.
pub(crate) fn took_too_long() -> Response {
    plain(StatusCode::SERVICE_UNAVAILABLE, "this took too long; try again later")
}

/// Any other path.
pub(crate) async fn nothing_here(visitor: Visitor) -> Response {
    wrong_link(visitor.language)
}

/// `/robots.txt`: nothing here is for search engines.
pub(crate) async fn robots() -> Response {
    plain(StatusCode::OK, "User-agent: *\nDisallow: /\n")
}

/// `/style.css`.
pub(crate) async fn style() -> Response {
    let mut response = include_str!("../templates/style.css").into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// `Retry-After` in whole seconds, at least one.
pub(crate) fn retry_after(headers: &mut HeaderMap, wait: Duration) {
    let seconds = wait.as_millis().div_ceil(1000).max(1) as u64;
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = (status, text).into_response();
    answer::common(response.headers_mut());
    response
}

fn render(status: StatusCode, page: &impl Template) -> Response {
    let Ok(html) = page.render() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong on our side");
    };
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    answer::common(headers);
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
    );
    response
}
