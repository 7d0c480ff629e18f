//! The key before the body: whoever presents no working key learns nothing else, not even what is
//! wrong with the request. Only the core knows keys, and every call to it checks the caller's, so
//! it is asked here only when the gateway would refuse the request by itself, or take in much first.
//!
//! No state; a crash has nothing to lose.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::Method;
use http::header::CONTENT_LENGTH;
use hyper::body::Body as _;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1::credential_service_client::CredentialServiceClient;
use postern_proto::v1::operator_service_client::OperatorServiceClient;
use postern_proto::v1::{GetOwnApiKeyRequest, GetOwnOperatorRequest};

use crate::edge::{Context, OPERATOR};
use crate::fault::Fault;
use crate::{App, rpc};

/// More than this is only read for a caller whose key works.
const UNASKED_BYTES_MAX: u64 = 256 << 10;

/// Where people begin a session.
const LOG_IN: &str = "/v1/session";

/// Stands before every route that needs a key.
pub(crate) async fn authn(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(context) = request.extensions().get::<Context>().cloned() else {
        let text = "a request came past the edge";
        return Fault(Failure::new(Reason::Internal, text)).into_response();
    };
    // Who logs in has nothing else yet.
    if request.uri().path() == LOG_IN && request.method() == Method::POST && !is_large(&request) {
        return next.run(request).await;
    }
    if context.caller.authorization.is_empty() {
        // The local inbox may be open to those who have no key; the core decides that.
        if app.config.inbox && request.uri().path().starts_with("/v1/sink/") {
            return next.run(request).await;
        }
        let text = "no credential was given; send authorization: Bearer <API key>";
        return Fault(Failure::new(Reason::MissingCredentials, text)).into_response();
    }
    if is_large(&request)
        && let Err(fault) = known(&app, &context).await
    {
        return fault.into_response();
    }
    let response = next.run(request).await;
    if !response.status().is_success()
        && !context.was_asked()
        && let Err(fault) = known(&app, &context).await
    {
        return fault.into_response();
    }
    response
}

/// Whether the caller's key, or session, works.
pub(crate) async fn known(app: &App, context: &Context) -> Result<(), Fault> {
    if context.caller.authorization.starts_with(OPERATOR) {
        let request = rpc::request(app, GetOwnOperatorRequest {}, context);
        let mut operators = OperatorServiceClient::new(app.core.channel.clone());
        operators.get_own_operator(request).await?;
        return Ok(());
    }
    let request = rpc::request(app, GetOwnApiKeyRequest {}, context);
    CredentialServiceClient::new(app.core.channel.clone()).get_own_api_key(request).await?;
    Ok(())
}

/// What does not say how long it is, as compressed and chunked bodies do not, counts as large.
fn is_large(request: &Request) -> bool {
    let said = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let bytes = said.and_then(|text| text.parse().ok()).or(request.body().size_hint().upper());
    bytes.map_or(!request.body().is_end_stream(), |bytes: u64| bytes > UNASKED_BYTES_MAX)
}
