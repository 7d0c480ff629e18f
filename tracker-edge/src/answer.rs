//! The answers that are no pages: pixels and redirects, and the header fields all answers share.

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

/// A transparent pixel (GIF89a), the smallest that every client draws: 43 octets.
pub(crate) const GIF: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\
    !\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00;";

/// The same as PNG: 68 octets.
pub(crate) const PNG: &[u8; 68] = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\
    \x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\x0bIDATx\xdac`\x00\x02\x00\x00\x05\
    \x00\x01\xe9\xfa\xdc\xd8\x00\x00\x00\x00IEND\xaeB`\x82";

/// Which pixel a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pixel {
    Gif,
    Png,
}

impl Pixel {
    /// Takes the ending off a file name: `.png` asks for PNG, `.gif` and none for GIF.
    pub(crate) fn of(file: &str) -> (&str, Self) {
        match file.strip_suffix(".png") {
            Some(name) => (name, Self::Png),
            None => (file.strip_suffix(".gif").unwrap_or(file), Self::Gif),
        }
    }

    /// The image. It is never kept: a second look at the mail is a second open.
    pub(crate) fn answer(self, status: StatusCode) -> Response {
        let (kind, bytes) = match self {
            Self::Gif => ("image/gif", Bytes::from_static(GIF)),
            Self::Png => ("image/png", Bytes::from_static(PNG)),
        };
        let mut response = (status, bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        // Web mail shows it on pages of another origin.
        headers.insert(CROSS_ORIGIN, HeaderValue::from_static("cross-origin"));
        common(headers);
        response
    }
}

const CROSS_ORIGIN: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// 302: clients must not remember it, or the next click would not be seen.
pub(crate) fn redirect(location: &str) -> Option<Response> {
    let location = HeaderValue::from_str(location).ok()?;
    let mut response = StatusCode::FOUND.into_response();
    response.headers_mut().insert(LOCATION, location);
    common(response.headers_mut());
    Some(response)
}

/// Nothing of this site belongs into a cache, an index or a `Referer`: its addresses name people.
pub(crate) fn common(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, private, max-age=0"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(ROBOTS, HeaderValue::from_static("noindex, nofollow"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_choose_the_image() {
        assert_eq!(Pixel::of("abc.gif"), ("abc", Pixel::Gif));
        assert_eq!(Pixel::of("abc.png"), ("abc", Pixel::Png));
        assert_eq!(Pixel::of("abc"), ("abc", Pixel::Gif));
    }

    #[test]
    fn a_target_that_is_no_header_value_is_none() {
        assert!(redirect("https://shop.example/\r\nSet-Cookie: a=b").is_none());
        let response = redirect("https://shop.example/a?b=c").unwrap();
        assert_eq!(response.status(), 302);
        assert_eq!(response.headers()[LOCATION], "https://shop.example/a?b=c");
        assert!(response.headers()[CACHE_CONTROL].to_str().unwrap().contains("no-store"));
    }
}
