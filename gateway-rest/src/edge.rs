//! The edge that every request passes: who calls, within which limits, and in which shape a failure
//! leaves. The handlers behind it only see well-formed callers and return bare failures.
//!
//! State: a semaphore. What a crash cuts off was not answered, so the client knows nothing of it.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use postern_kit::core_client::Caller;
use postern_kit::http_server::Peer;
use postern_kit::net;
use postern_kit::spans::{Ended, KeyValue, Kind, Spans};
use postern_proto::ids::RequestId;
use postern_proto::metadata;
use postern_proto::reason::Reason;
use postern_proto::settings::{REST_BULK_TIMEOUT, REST_TIMEOUT, Settings};
use postern_proto::status::Failure;
use tokio::sync::OwnedSemaphorePermit;

use crate::App;
use crate::fault::{self, Fault};
use crate::limits::{Seat, Standing, Standings};
use crate::metrics::{self, Exhausted};
use crate::{dashboard, inbox, legacy, postal};

/// Waiting for a mail may take the contract's 60 s, whatever the limit for other requests is.
const WAIT_SECONDS_MAX: u64 = 65;
const CLIENT_REQUEST_ID_MAX: usize = 128;

/// One of the requests that may be under way; an answer that is still being made keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Turn(
    #[expect(dead_code, reason = "held, not read")] Arc<(OwnedSemaphorePermit, Option<Seat>)>,
);

/// What is known about a request before any handler runs.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) caller: Caller,
    pub(crate) time_limit: Duration,
    asked: Arc<AtomicBool>,
}

impl Context {
    /// The core is being called in the name of the caller.
    pub(crate) fn asks(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether the core has been called, and so has judged the caller's key.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The outermost layer.
pub(crate) async fn edge(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let path = request.uri().path().to_owned();
    let settings = app.live.now();
    let mut under_way = UnderWay {
        spans: app.spans.clone(),
        context: context(&app, &settings, &request, &path),
        start,
        method: request.method().clone(),
        route: request.extensions().get::<MatchedPath>().cloned(),
        status: None,
    };
    let context = &under_way.context;
    request.extensions_mut().insert(context.clone());
    let client_request_id = client_request_id(request.headers());
    // A page that tells of a failure is in the reader's language.
    let reader = (app.config.dashboard && dashboard::has(&path)).then(|| request.headers().clone());
    let mut standings = Standings::default();
    let mut response = answer(&app, &settings, request, next, context, &mut standings).await;
    response = dress(&app, response, &path, context, reader.as_ref());
    if let Some(exhausted) = response.extensions().get::<Standing>().copied() {
        standings.exhaust(exhausted);
        response.extensions_mut().insert(Exhausted(exhausted.limit()));
    }
    standings.write(&mut response, app.config.x_ratelimit || path.starts_with("/api/v1/"));
    if response.status() == StatusCode::UNAUTHORIZED && !context.caller.authorization.is_empty() {
        app.limits.count_failure(&settings, context.caller.client_ip);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(&context.caller.request_id) {
        headers.insert("request-id", id);
    }
    if let Some(id) = client_request_id.clone() {
        headers.insert("x-request-id", id);
    }
    let trace = context.caller.trace;
    let told = trace.and_then(|trace| trace.response());
    if let Some(told) = told.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert("traceresponse", told);
    }
    headers.insert("postern-version", HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    tracing::debug!(
        request.id = %context.caller.request_id,
        trace.id = trace.map(|trace| trace.id()),
        client.request.id = client_request_id.as_ref().and_then(|id| id.to_str().ok()),
        http.path = postal::logged(&path),
        http.status = response.status().as_u16(),
        "answered"
    );
    under_way.status = Some(response.status());
    response
}

/// A request that is not answered yet. Its span ends when it is dropped: also when the client has gone
/// away and nobody waits for the answer.
struct UnderWay {
    spans: Spans,
    context: Context,
    start: Instant,
    method: Method,
    route: Option<MatchedPath>,
    status: Option<StatusCode>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(trace) = &self.context.caller.trace {
            self.spans.ended(trace, self.start.elapsed(), || self.ended());
        }
    }
}

impl UnderWay {
    /// The span, in the words of OpenTelemetry; the path that the client named stays out.
    fn ended(&self) -> Ended {
        let method = metrics::known_method(&self.method).unwrap_or("_OTHER");
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("postern.request.id", self.context.caller.request_id.clone()),
        ];
        let mut name = method.to_owned();
        if let Some(route) = &self.route {
            name = format!("{method} {}", route.as_str());
            attributes.push(KeyValue::new("http.route", route.as_str().to_owned()));
        }
        let error = match self.status {
            Some(status) => {
                let code = i64::from(status.as_u16());
                attributes.push(KeyValue::new("http.response.status_code", code));
                status.is_server_error().then(|| status.as_str().to_owned())
            }
            None => Some("canceled".to_owned()),
        };
        Ended { name: name.into(), kind: Kind::Server, attributes, error }
    }
}

async fn answer(
    app: &App,
    settings: &Settings,
    mut request: Request,
    next: Next,
    context: &Context,
    standings: &mut Standings,
) -> Response {
    let path = request.uri().path().to_owned();
    // Probes must see the truth even when everyone else has to wait.
    let probe =
        matches!(path.as_str(), "/livez" | "/readyz" | "/healthz" | "/health" | "/api/v1/health");
    let mut seat = None;
    if !probe {
        match app.limits.take(settings, &request, standings) {
            Ok(taken) => seat = taken,
            Err(failure) => return Fault(failure).into_response(),
        }
    }
    request.extensions_mut().insert(standings.clone());
    match app.turns.clone().try_acquire_owned() {
        Ok(turn) => {
            request.extensions_mut().insert(Turn(Arc::new((turn, seat))));
        }
        Err(_) if probe => {}
        Err(_) => {
            let failure = Failure::new(Reason::Overloaded, "too many requests are under way");
            return Fault(failure).into_response();
        }
    };
    let _turn = request.extensions().get::<Turn>().cloned();
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(context.time_limit, run).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!(request.id = %context.caller.request_id, http.path = postal::logged(&path), "panicked");
            Fault(Failure::new(Reason::Internal, "something went wrong on our side"))
                .into_response()
        }
        Err(_) => Fault(Failure::new(Reason::DeadlineExceeded, "the request took too long"))
            .into_response(),
    }
}

/// Gives a bare failure, ours or the router's, the shape its path has.
fn dress(
    app: &App,
    response: Response,
    path: &str,
    context: &Context,
    reader: Option<&HeaderMap>,
) -> Response {
    let found = response.extensions().get::<Fault>().map(|fault| fault.0.clone());
    let failure = found.or_else(|| {
        let finished = response.headers().contains_key("content-type");
        let reason = match response.status().as_u16() {
            _ if finished => return None,
            404 => Reason::RouteNotFound,
            405 => Reason::MethodNotAllowed,
            413 => Reason::MessageTooLarge,
            415 => Reason::UnsupportedMediaType,
            500.. => Reason::Internal,
            _ => return None,
        };
        Some(Failure::new(reason, reason.meaning().title))
    });
    let Some(mut failure) = failure else {
        return response;
    };
    if failure.message.is_empty() {
        failure.message = failure.reason.meaning().title.to_owned();
    }
    let told =
        ["allow", "accept-encoding"].map(|name| (name, response.headers().get(name).cloned()));
    let id = &context.caller.request_id;
    let mut dressed = if path.starts_with("/api/v1") {
        legacy::fault(&failure, path)
    } else if let Some(headers) = reader {
        dashboard::fault(&failure, id, headers)
    } else if app.config.inbox && (path == "/inbox" || path.starts_with("/inbox/")) {
        inbox::fault(&failure, id)
    } else {
        fault::problem_response(&failure, id)
    };
    for (name, value) in told {
        if let Some(value) = value {
            dressed.headers_mut().insert(name, value);
        }
    }
    dressed
}

fn context(app: &App, settings: &Settings, request: &Request, path: &str) -> Context {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let mut time_limit = settings.time(&REST_TIMEOUT);
    if path == "/v1/sink/wait" {
        time_limit = time_limit.max(Duration::from_secs(WAIT_SECONDS_MAX));
    }
    if app.config.dashboard && dashboard::is_long(path) {
        time_limit = settings.time(&REST_BULK_TIMEOUT);
    }
    let mut traces = request.headers().get_all(metadata::TRACEPARENT).iter();
    let trace = traces.next().filter(|_| traces.next().is_none());
    let trace = app.spans.request(trace.and_then(|trace| trace.to_str().ok()));
    let caller = Caller {
        authorization: authorization(request.headers()),
        client_ip: peer.map(|peer| client_ip(peer, request.headers(), &app.config.trusted_proxies)),
        request_id: RequestId::generate().to_string(),
        trace: Some(trace),
    };
    Context { caller, time_limit, asked: Arc::default() }
}

/// The scheme of a session that somebody has logged in to.
pub(crate) const OPERATOR: &str = "Operator ";

/// The credential as `Bearer <key>`, or `Operator <session>`. Basic brings the key as its password, and
/// the old contract called it a token.
fn authorization(headers: &HeaderMap) -> String {
    let text = headers.get("authorization").and_then(|value| value.to_str().ok());
    let Some((scheme, rest)) = text.and_then(|text| text.trim().split_once(' ')) else {
        return String::new();
    };
    let rest = rest.trim();
    let key = match scheme.to_ascii_lowercase().as_str() {
        "operator" => return format!("{OPERATOR}{rest}"),
        "bearer" => Some(rest.to_owned()),
        "token" => {
            let token = rest.strip_prefix("token=").unwrap_or(rest);
            Some(token.split(',').next().unwrap_or(token).trim_matches('"').to_owned())
        }
        "basic" => {
            let decoded = STANDARD.decode(rest).ok().and_then(|b| String::from_utf8(b).ok());
            decoded.and_then(|pair| Some(pair.split_once(':')?.1.to_owned()))
        }
        _ => None,
    };
    // A scheme that we do not know is a credential nevertheless, and the core refuses it.
    format!("Bearer {}", key.unwrap_or_default())
}

/// The client's address, proxies considered.
fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let lines = headers.get_all("x-forwarded-for").into_iter().filter_map(|v| v.to_str().ok());
    net::client(peer, lines, trusted)
}

fn client_request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get("x-request-id")?;
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fits = (1..=CLIENT_REQUEST_ID_MAX).contains(&id.len());
    (fits && id.as_bytes().iter().all(plain)).then(|| id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn every_scheme_becomes_a_bearer_credential() {
        let of = |value: &str| authorization(&headers(&[("authorization", value)]));
        assert_eq!(of("Bearer abc"), "Bearer abc");
        assert_eq!(of("Token token=\"abc\""), "Bearer abc");
        assert_eq!(of(&format!("Basic {}", STANDARD.encode("any:abc"))), "Bearer abc");
        assert_eq!(of("Digest x"), "Bearer ");
        assert_eq!(authorization(&HeaderMap::new()), "");
    }

    #[test]
    fn a_forwarded_address_is_believed_only_from_a_trusted_proxy() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let headers = headers(&[("x-forwarded-for", "6.6.6.6, 1.2.3.4")]);
        assert_eq!(client_ip(peer, &headers, &[]), peer);
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        assert_eq!(client_ip(peer, &headers, &trusted).to_string(), "1.2.3.4");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_like_any_other() {
        use axum::Router;
        use axum::routing::get;
        use http_body_util::BodyExt as _;
        use postern_kit::core_client::{CoreClient, GatewayToken};
        use tower::ServiceExt as _;

        let nobody = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let channel = postern_kit::in_process::CoreChannel::Remote(nobody);
        let core = CoreClient::new(channel, GatewayToken::new(&"t".repeat(32)).unwrap(), "rest");
        let config = crate::RestConfig::from_env(&postern_kit::env::Env::default()).unwrap();
        let app = crate::build(config, core, Settings::default()).app;
        let panics = get(async || -> &'static str { panic!("a secret") });
        let router = Router::new().route("/v1/x", panics.clone()).route("/api/v1/x", panics);
        let router = router.layer(axum::middleware::from_fn_with_state(app, edge));
        for (path, shape) in
            [("/v1/x", "\"code\":\"internal\""), ("/api/v1/x", "\"internal_error\"")]
        {
            let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 500);
            assert!(response.headers().contains_key("request-id"));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&body);
            assert!(text.contains(shape) && !text.contains("a secret"), "{text}");
        }
    }
}
