//! What every call has in common: an id and a trace, under which stands all that the core logs on
//! its account, a time limit, and an answer that names the id and, when it is a refusal, always says
//! why.
//!
//! No state; a call that a crash cuts off was not answered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use postern_kit::spans::{Ended, KeyValue, Kind, Spans};
use postern_kit::trace::Trace;
use postern_proto::ids::RequestId;
use postern_proto::metadata;
use postern_proto::reason::Reason;
use postern_proto::settings::RPC_TIMEOUT;
use postern_proto::status::Failure;
use postern_proto::strict::has_method;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::in_force::InForce;
use crate::metrics::{Metrics, door};

/// Characters of an id that the caller gives.
const ID_MAX: usize = 128;

/// The methods that keep answers under idempotency keys; [`super::request_id`] reads the key.
const KEYED: [&str; 4] = [
    "/postern.v1.MessageService/SendMessage",
    "/postern.v1.MessageService/SendRawMessage",
    "/postern.v1.MessageService/BatchSendMessages",
    "/postern.v1.MessageService/ResendMessage",
];

/// The method that waits on purpose, and how long it may take whatever the limit is: the contract's
/// 60 s and some more to answer.
const WAITING: (&str, Duration) =
    ("/postern.v1.SinkService/WaitForSinkMessage", Duration::from_secs(65));

/// Puts [`Call`] around the services.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    /// Among them how long a call may take until it is answered, or its stream begins.
    pub(super) settings: InForce,
    /// Where calls are counted.
    pub(super) metrics: Arc<Metrics>,
    /// Where the spans of calls go.
    pub(super) spans: Spans,
}

impl Calls {
    pub(super) fn new(context: &super::Context) -> Self {
        let metrics = context.intake.worker.metrics.clone();
        Self { settings: context.directory.in_force(), metrics, spans: context.spans.clone() }
    }
}

impl<S> Layer<S> for Calls {
    type Service = Call<S>;

    fn layer(&self, inner: S) -> Call<S> {
        let Self { settings, metrics, spans } = self.clone();
        Call { inner, settings, metrics, spans }
    }
}

/// A service whose calls have ids, traces and a time limit.
#[derive(Debug, Clone)]
pub(super) struct Call<S> {
    inner: S,
    settings: InForce,
    metrics: Arc<Metrics>,
    spans: Spans,
}

type Answer<R, E> = Pin<Box<dyn Future<Output = Result<Response<R>, E>> + Send>>;

impl<S, B, R> Service<Request<B>> for Call<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Answer<R, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        note_peer(&mut request);
        let id = id(request.headers());
        if let Ok(named) = HeaderValue::from_str(&id) {
            request.headers_mut().insert(metadata::REQUEST_ID, named);
        }
        let path = request.uri().path();
        let door = door(request.headers());
        if let Some(failure) = unkept_key(path, request.headers()) {
            self.metrics.refused(&failure, door);
            let mut response = Status::from(failure).into_http();
            sign(response.headers_mut(), &id);
            return Box::pin(async move { Ok(response) });
        }
        let trace = self.spans.request(traceparent(request.headers()));
        // What the call begins is a part of its span.
        if let Ok(named) = HeaderValue::try_from(trace.parent()) {
            request.headers_mut().insert(metadata::TRACEPARENT, named);
        }
        let path = request.uri().path();
        let span =
            tracing::info_span!("call", rpc.method = path, request.id = id, trace.id = trace.id());
        let limit = self.settings.now().time(&RPC_TIMEOUT);
        let limit = if path == WAITING.0 { limit.max(WAITING.1) } else { limit };
        let mut under_way = UnderWay {
            metrics: self.metrics.clone(),
            spans: self.spans.clone(),
            trace,
            start: Instant::now(),
            path: path.to_owned(),
            id,
            code: Code::Cancelled,
        };
        let answer = self.inner.call(request).instrument(span);
        Box::pin(async move {
            let mut response = match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer?,
                Err(_) => late().into_http(),
            };
            // An answer that failed is nothing but headers; one that came has no code yet.
            let code = response.headers().get("grpc-status");
            under_way.code = code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
            if let Some(status) = sign(response.headers_mut(), &under_way.id) {
                under_way.metrics.refused(&Failure::from_status(&status), door);
            }
            Ok(response)
        })
    }
}

/// A call that is not answered yet. It is counted, and its span ends, when it is dropped: also when the
/// caller has gone away and nobody waits for the answer.
struct UnderWay {
    metrics: Arc<Metrics>,
    spans: Spans,
    trace: Trace,
    start: Instant,
    path: String,
    id: String,
    code: Code,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let took = self.start.elapsed();
        self.metrics.called(&self.path, self.code, took);
        self.spans.ended(&self.trace, took, || ended(&self.path, self.code, &self.id));
    }
}

fn late() -> Status {
    let text = "it took too long; what was accepted by then stays accepted";
    Failure::new(Reason::DeadlineExceeded, text).into()
}

/// Puts the address at the other end of the connection where [`super::auth`] looks for it. A gateway in
/// this process has no connection.
fn note_peer<B>(request: &mut Request<B>) {
    let connection = request.extensions().get::<TcpConnectInfo>();
    let peer = connection.and_then(TcpConnectInfo::remote_addr).map(|peer| peer.ip().to_string());
    request.headers_mut().remove(metadata::PEER_IP);
    if let Some(peer) = peer.and_then(|peer| HeaderValue::try_from(peer).ok()) {
        request.headers_mut().insert(metadata::PEER_IP, peer);
    }
}

/// The id under which a gateway, or the client, has the request; a new one without it.
fn id(headers: &HeaderMap) -> String {
    let given = headers.get(metadata::REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let fits = |id: &&str| (1..=ID_MAX).contains(&id.len()) && id.bytes().all(plain);
    given.filter(fits).map_or_else(|| RequestId::generate().to_string(), str::to_owned)
}

/// The caller's span; none when there are several.
fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(metadata::TRACEPARENT).iter();
    let only = given.next().filter(|_| given.next().is_none());
    only.and_then(|value| value.to_str().ok())
}

/// The span of a call, in the words of OpenTelemetry. A method that we do not have is not named: whoever
/// calls could choose what stands in it.
fn ended(path: &str, code: Code, id: &str) -> Ended {
    let method = path.strip_prefix('/').filter(|_| has_method(path)).unwrap_or("_OTHER");
    let fault = matches!(code, Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss)
        || matches!(code, Code::DeadlineExceeded | Code::Unimplemented);
    Ended {
        name: method.to_owned().into(),
        kind: Kind::Server,
        attributes: vec![
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", method.to_owned()),
            KeyValue::new("rpc.response.status_code", code_name(code)),
            KeyValue::new("postern.request.id", id.to_owned()),
        ],
        error: fault.then(|| code_name(code)),
    }
}

/// A refusal, where a caller relies on a key that nobody keeps.
fn unkept_key(path: &str, headers: &HeaderMap) -> Option<Failure> {
    let relies = headers.contains_key(metadata::IDEMPOTENCY_KEY);
    let ours = path.starts_with("/postern.v1.");
    (relies && ours && !KEYED.contains(&path)).then(|| {
        let text = "this method keeps no answers; leave the key out";
        Failure::field(Reason::UnknownField, metadata::IDEMPOTENCY_KEY, text)
    })
}

/// The name of a code as gRPC writes it, for example `NOT_FOUND`.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Names the id in the answer, and in the details of a refusal. Returns the refusal.
fn sign(headers: &mut HeaderMap, id: &str) -> Option<Status> {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(metadata::ANSWERED_REQUEST_ID, id);
    }
    let refusal = Status::from_header_map(headers).filter(|s| s.code() != Code::Ok);
    refusal.map(|status| {
        let status = explained(status);
        let mut details = status.get_error_details();
        details.set_request_info(id, "");
        let status = Status::with_error_details(status.code(), status.message(), details);
        // It consists of what the answer had in its header already.
        let _always_fits = status.add_header(headers);
        status
    })
}

/// What the gRPC library itself refuses has a code and no reason; ours are added.
fn explained(status: Status) -> Status {
    if status.get_details_error_info().is_some() {
        return status;
    }
    let reason = match status.code() {
        Code::OutOfRange => Reason::MessageTooLarge,
        Code::Unimplemented => Reason::Unimplemented,
        // A fault of ours has a reason; the library means that it cannot read the request.
        Code::Internal => Reason::MalformedRequest,
        _ => return status,
    };
    let text = match status.message() {
        "" => reason.meaning().title,
        text => text,
    };
    Failure::new(reason, text).into()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn refusal(status: &Status) -> (Status, HeaderMap) {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        sign(&mut headers, "req_1");
        (Status::from_header_map(&headers).unwrap(), headers)
    }

    #[test]
    fn a_refusal_keeps_its_reason_and_names_the_call() {
        let failure = Failure::field(Reason::InvalidAddress, "to[0].email", "has no @");
        let (status, headers) = refusal(&Status::from(failure.clone()));
        assert_eq!(Failure::from_status(&status), failure);
        assert_eq!(status.get_details_request_info().unwrap().request_id, "req_1");
        assert_eq!(headers[metadata::ANSWERED_REQUEST_ID], "req_1");
    }

    #[test]
    fn what_the_library_refuses_gets_a_reason() {
        for (status, reason) in [
            (Status::out_of_range("decoded message length too large"), Reason::MessageTooLarge),
            (Status::unimplemented(""), Reason::Unimplemented),
            (Status::internal("invalid compression flag"), Reason::MalformedRequest),
        ] {
            let (status, _) = refusal(&status);
            assert_eq!(status.code(), reason.meaning().grpc);
            assert_eq!(Failure::from_status(&status).reason, reason);
            assert!(!status.message().is_empty());
        }
        let (status, _) = refusal(&Status::not_found("unknown service"));
        assert_eq!(status.code(), Code::NotFound, "health has its own codes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_a_deadline_unless_waiting_is_the_purpose() {
        let never = tower::service_fn(async |_: Request<()>| {
            std::future::pending::<Result<Response<()>, std::convert::Infallible>>().await
        });
        let mut called = Calls {
            settings: InForce::default(),
            metrics: Arc::default(),
            spans: Spans::default(),
        }
        .layer(never);
        for (path, seconds) in [("/postern.v1.MessageService/GetMessage", 30), (WAITING.0, 65)] {
            let began = tokio::time::Instant::now();
            let request = Request::builder().uri(path).body(()).unwrap();
            let response = called.call(request).await.unwrap();
            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert!(status.get_details_error_info().is_some());
            assert_eq!(began.elapsed().as_secs(), seconds);
        }
    }

    #[test]
    fn nobody_chooses_the_address_of_the_peer() {
        let mut request =
            Request::builder().header(metadata::PEER_IP, "192.0.2.1").body(()).unwrap();
        note_peer(&mut request);
        assert!(!request.headers().contains_key(metadata::PEER_IP));
        let remote_addr = Some("[2001:db8::1]:25".parse().unwrap());
        request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr });
        request.headers_mut().append(metadata::PEER_IP, HeaderValue::from_static("192.0.2.1"));
        note_peer(&mut request);
        let seen: Vec<_> = request.headers().get_all(metadata::PEER_IP).iter().collect();
        assert_eq!(seen, ["2001:db8::1"]);
    }

    #[test]
    fn ids_are_taken_when_they_are_plain() {
        let of = |text: &str| {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            id(&HeaderMap::from_iter([(metadata::REQUEST_ID.parse().unwrap(), value)]))
        };
        assert_eq!(of("req_1.a-b"), "req_1.a-b");
        for odd in ["", "a b", "é", &"x".repeat(129)] {
            assert!(of(odd).starts_with("req_"), "{odd}");
        }
    }

    #[test]
    fn the_methods_with_a_key_are_those_with_a_field_for_it() {
        let contract = prost_types::FileDescriptorSet::decode(postern_proto::DESCRIPTORS).unwrap();
        let messages: Vec<_> = contract.file.iter().flat_map(|file| &file.message_type).collect();
        let has_field = |input: &str| {
            let found = messages.iter().find(|m| input.ends_with(&format!(".{}", m.name())));
            found.unwrap().field.iter().any(|field| field.name() == "request_id")
        };
        let mut keyed = Vec::new();
        for service in contract.file.iter().flat_map(|file| &file.service) {
            let methods = service.method.iter().filter(|method| has_field(method.input_type()));
            keyed.extend(methods.map(|m| format!("/postern.v1.{}/{}", service.name(), m.name())));
        }
        assert_eq!(keyed, KEYED);
    }
}
