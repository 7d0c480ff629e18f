//! A failure on its way out. Handlers return it bare; the edge writes it as a problem document, in
//! the old contract's shape, or as a page, so that there is one place for each shape.
//!
//! No state; a crash has nothing to lose.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use postern_proto::reason::Reason;
use postern_proto::status::Failure;

use crate::json::tree::Json;
use crate::json::write;
use crate::limits::Standing;

/// A failure that an answer carries until the edge writes it.
#[derive(Debug, Clone)]
pub(crate) struct Fault(pub(crate) Failure);

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl From<tonic::Status> for Fault {
    fn from(status: tonic::Status) -> Self {
        let mut failure = Failure::from_status(&status);
        // The text of a transport error names hosts and sockets of ours.
        if failure.reason == Reason::CoreUnavailable {
            failure.message = Reason::CoreUnavailable.meaning().title.to_owned();
        }
        Self(failure)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status_of(self.0.reason);
        response.extensions_mut().insert(self);
        response
    }
}

/// The HTTP status of a reason.
pub(crate) fn status_of(reason: Reason) -> StatusCode {
    StatusCode::from_u16(reason.meaning().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The problem document (RFC 9457) of a failure.
pub(crate) fn problem(failure: &Failure, request_id: &str) -> Json {
    let meaning = failure.reason.meaning();
    let code = meaning.name.to_ascii_lowercase();
    let kind = match failure.reason {
        Reason::QuotaExceeded => {
            "https://iana.org/assignments/http-problem-types#quota-exceeded".to_owned()
        }
        Reason::RateLimited => {
            "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity".to_owned()
        }
        _ => format!("/docs/errors/{code}"),
    };
    let grpc = format!("{:?}", meaning.grpc);
    let mut document = vec![
        ("type".to_owned(), Json::Text(kind)),
        ("title".to_owned(), Json::text(meaning.title)),
        ("status".to_owned(), Json::Int(i64::from(meaning.http))),
    ];
    let mut fields = write::failure(failure);
    let errors = fields.pop();
    let retryable = fields.pop();
    let detail = fields.pop();
    document.extend(detail);
    let meta = failure.metadata.iter().map(|(key, value)| (key.clone(), Json::text(value)));
    document.extend([
        ("instance".to_owned(), Json::Text(format!("/v1/requests/{request_id}"))),
        ("code".to_owned(), Json::Text(code.clone())),
        ("grpc_code".to_owned(), Json::Text(upper_snake(&grpc))),
        ("request_id".to_owned(), Json::text(request_id)),
    ]);
    document.extend(retryable);
    document.extend(errors);
    document.push(("meta".to_owned(), Json::Object(meta.collect())));
    if let Some((_, policy)) = failure.metadata.iter().find(|(key, _)| key == "policy") {
        let policies = Json::List(vec![Json::text(policy)]);
        document.push(("violated-policies".to_owned(), policies));
    }
    let help = vec![
        ("title".to_owned(), Json::text("What this means and what to do")),
        ("url".to_owned(), Json::Text(format!("/docs/errors/{code}"))),
    ];
    document.push(("help".to_owned(), Json::List(vec![Json::Object(help)])));
    Json::Object(document)
}

/// The answer with the problem document.
pub(crate) fn problem_response(failure: &Failure, request_id: &str) -> Response {
    let mut response = json(status_of(failure.reason), &problem(failure, request_id));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if response.status() == StatusCode::UNAUTHORIZED {
        let challenge = r#"Bearer realm="postern", error="invalid_token""#;
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    retry_after(&mut response, failure);
    response
}

/// Tells when to try again, where that is known or usual; and the edge, which limit is used up.
pub(crate) fn retry_after(response: &mut Response, failure: &Failure) {
    if let Some(standing) = Standing::exhausted(failure) {
        response.extensions_mut().insert(standing);
    }
    let seconds = match (failure.retry_after, response.status().as_u16()) {
        (Some(delay), _) => delay.as_millis().div_ceil(1000).max(1) as u64,
        (None, 429 | 503) => 1,
        (None, _) if failure.reason == Reason::IdempotencyInFlight => 1,
        (None, _) => return,
    };
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl serde::Serialize) -> Response {
    // Only a map with keys that are no strings cannot be written, and there is none.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn upper_snake(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}
