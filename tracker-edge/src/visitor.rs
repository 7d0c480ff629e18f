//! Who asks, as far as the request tells.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, Method};
use postern_kit::http_server::Peer;
use postern_kit::net;

use crate::App;

/// The language of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Russian,
}

/// The sender of a request.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// The client's address, proxies considered.
    pub(crate) ip: Option<IpAddr>,
    /// What it calls itself, at most [`USER_AGENT_OCTETS_MAX`] octets.
    pub(crate) user_agent: String,
    /// It only wants the header fields.
    pub(crate) is_head: bool,
    /// It says that nobody is looking yet.
    pub(crate) is_prefetch: bool,
    /// What its user reads.
    pub(crate) language: Language,
}

/// What the core keeps of a user agent.
const USER_AGENT_OCTETS_MAX: usize = 512;

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let headers = &parts.headers;
        Ok(Self {
            ip: client_ip(app, parts.extensions.get(), headers),
            user_agent: user_agent(headers),
            is_head: parts.method == Method::HEAD,
            is_prefetch: is_prefetch(headers),
            language: language(text(headers, "accept-language")),
        })
    }
}

/// The client's address. A trusted proxy vouches for the address before its own.
pub(crate) fn client_ip(app: &App, peer: Option<&Peer>, headers: &HeaderMap) -> Option<IpAddr> {
    let Peer(peer) = peer?;
    let proxies = &app.config.trusted_proxies;
    if proxies.is_empty() {
        return Some(peer.ip().to_canonical());
    }
    let lines = headers.get_all("x-forwarded-for").into_iter().filter_map(|v| v.to_str().ok());
    Some(net::client(peer.ip(), lines, proxies))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn user_agent(headers: &HeaderMap) -> String {
    let Some(value) = headers.get(http::header::USER_AGENT) else { return String::new() };
    let text = String::from_utf8_lossy(value.as_bytes());
    let mut end = text.len().min(USER_AGENT_OCTETS_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Browsers and mail programs that look ahead say so, in one of these ways.
fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| {
        let value = text(headers, name);
        value.contains("prefetch") || value.contains("prerender") || value.contains("preview")
    })
}

/// The first of the accepted languages that there are pages in (RFC 9110 §12.5.4); weights are in
/// falling order in what browsers send, so only a weight of zero counts.
fn language(accepted: &str) -> Language {
    for range in accepted.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        if parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
            continue;
        }
        let primary = tag.split('-').next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("ru") {
            return Language::Russian;
        }
        if primary.eq_ignore_ascii_case("en") {
            return Language::English;
        }
    }
    Language::English
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_language_is_the_first_one_there_is() {
        assert_eq!(language("ru-RU,ru;q=0.9,en;q=0.8"), Language::Russian);
        assert_eq!(language("de, en-GB;q=0.7, ru;q=0.3"), Language::English);
        assert_eq!(language("de;q=0.9, RU;q=0.7"), Language::Russian);
        assert_eq!(language("ru;q=0, *"), Language::English);
        assert_eq!(language(""), Language::English);
    }

    #[test]
    fn looking_ahead_is_recognised() {
        for (name, value) in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            ("x-purpose", "preview"),
            ("x-moz", "prefetch"),
        ] {
            assert!(is_prefetch(&headers(&[(name, value)])), "{name}");
        }
        assert!(!is_prefetch(&headers(&[("sec-fetch-mode", "navigate")])));
    }

    #[test]
    fn a_long_user_agent_is_cut_between_characters() {
        let mut map = HeaderMap::new();
        let long = format!("x{}", "é".repeat(400));
        map.insert("user-agent", http::HeaderValue::from_bytes(long.as_bytes()).unwrap());
        assert_eq!(user_agent(&map).len(), 511);
    }
}
