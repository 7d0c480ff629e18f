//! A stand-in for the core: takes any gRPC call, records it, and gives the answer it was told to
//! give. It tests the gateway's translation; the real core is tested end to end elsewhere.

#![allow(clippy::unwrap_used, reason = "a stand-in for tests; a panic is a failed test")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt as _;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use postern_gateway_rest::{Gateway, RestConfig, build};
use postern_kit::core_client::{CoreClient, GatewayToken};
use postern_kit::env::Env;
use postern_kit::in_process::CoreChannel;
use postern_kit::live;
use tokio::io::DuplexStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Endpoint;
use tower::ServiceExt as _;

/// The question whether a key works; yes, unless a test says otherwise.
pub const OWN_KEY: &str = "CredentialService/GetOwnApiKey";

/// One call that the core got.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    pub headers: HeaderMap,
    pub message: Vec<u8>,
}

impl Call {
    pub fn read<M: prost::Message + Default>(&self) -> M {
        M::decode(self.message.as_slice()).unwrap()
    }
}

type Answer = Result<Vec<Vec<u8>>, Status>;

/// The stand-in and the gateway in front of it.
#[derive(Clone)]
pub struct Stage {
    pub router: Router,
    gateway: Arc<Mutex<Option<Gateway>>>,
    calls: Arc<Mutex<Vec<Call>>>,
    answers: Arc<Mutex<HashMap<String, Vec<Answer>>>>,
    metadata: Arc<Mutex<HeaderMap>>,
    silent: Arc<std::sync::atomic::AtomicBool>,
    called: Arc<tokio::sync::Notify>,
}

/// A channel, and the connections it makes: pipes instead of sockets.
fn connection() -> (CoreChannel, ReceiverStream<DuplexStream>) {
    let (dial, incoming) = tokio::sync::mpsc::channel(8);
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let dial = dial.clone();
        async move {
            let (near, far) = tokio::io::duplex(256 << 10);
            dial.send(far).await.map_err(std::io::Error::other)?;
            std::io::Result::Ok(TokioIo::new(near))
        }
    });
    let endpoint = Endpoint::from_static("http://in.process");
    let channel = endpoint.connect_with_connector_lazy(connector);
    (CoreChannel::Remote(channel), ReceiverStream::new(incoming))
}

impl Stage {
    pub fn new(vars: &[(&str, &str)]) -> Self {
        let mut env = Env::default();
        for (name, value) in vars {
            env = env.with(name, *value);
        }
        let (channel, incoming) = connection();
        let token = GatewayToken::new(&"t".repeat(32)).unwrap();
        let core = CoreClient::new(channel, token, "rest");
        let settings = live::defaults(&env).unwrap();
        let gateway = build(RestConfig::from_env(&env).unwrap(), core, settings);
        let router = gateway.router();
        let gateway = Arc::new(Mutex::new(Some(gateway)));
        let stage = Self {
            router,
            gateway,
            calls: Arc::default(),
            answers: Arc::default(),
            metadata: Arc::default(),
            silent: Arc::default(),
            called: Arc::default(),
        };
        let fake = stage.clone();
        tokio::spawn(incoming.for_each_concurrent(None, move |stream| {
            let fake = fake.clone();
            async move {
                let service = hyper::service::service_fn(move |request| {
                    let fake = fake.clone();
                    async move { Ok::<_, std::convert::Infallible>(fake.take(request).await) }
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ended = server.serve_connection(TokioIo::new(stream), service).await;
            }
        }));
        stage
    }

    /// The gateway itself, to be served; only once.
    pub fn gateway(&self) -> Gateway {
        self.gateway.lock().unwrap().take().expect("taken once")
    }

    /// The next answer to `Service/Method`; the last one is repeated.
    pub fn answer(&self, method: &str, message: &impl prost::Message) -> &Self {
        self.answer_all(method, Ok(vec![message.encode_to_vec()]))
    }

    pub fn refuse(&self, method: &str, status: impl Into<Status>) -> &Self {
        self.answer_all(method, Err(status.into()))
    }

    pub fn answer_all(&self, method: &str, answer: Answer) -> &Self {
        self.answers.lock().unwrap().entry(method.to_owned()).or_default().push(answer);
        self
    }

    /// From here on every answer of the core has this metadata entry.
    pub fn tell(&self, name: &'static str, value: &'static str) -> &Self {
        let mut metadata = self.metadata.lock().unwrap();
        metadata.insert(name, http::HeaderValue::from_static(value));
        self
    }

    /// From here on the core takes calls and never answers.
    pub fn fall_silent(&self) {
        self.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Waits until a silent core was called.
    pub async fn until_called(&self) {
        self.called.notified().await;
    }

    /// What the core was asked to do, besides saying whether the key works.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = self.calls.lock().unwrap().clone();
        calls.retain(|call| call.method != OWN_KEY);
        calls
    }

    /// How often the core was asked whether the key works.
    pub fn key_checks(&self) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.method == OWN_KEY).count()
    }

    pub fn last(&self) -> Call {
        self.calls().pop().expect("the core was called")
    }

    /// Sends a request with the usual key and reads the whole answer.
    pub async fn send(&self, request: &str, body: &str) -> Got {
        self.send_with(request, body, &[("authorization", "Bearer k")]).await
    }

    pub async fn send_with(&self, request: &str, body: &str, headers: &[(&str, &str)]) -> Got {
        self.send_body(request, Body::from(body.to_owned()), headers).await
    }

    /// Sends a body of any kind and reads the whole answer.
    pub async fn send_body(&self, request: &str, body: Body, headers: &[(&str, &str)]) -> Got {
        let response = self.begin(request, body, headers).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    /// Sends a request and returns the answer as soon as it begins.
    pub async fn begin(&self, request: &str, body: Body, headers: &[(&str, &str)]) -> Response {
        let (method, path) = request.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }

    async fn take(&self, request: Request<hyper::body::Incoming>) -> Response {
        let (parts, body) = request.into_parts();
        let message = body.collect().await.unwrap().to_bytes();
        let path = parts.uri.path().trim_start_matches("/postern.v1.").to_owned();
        let message = message.get(5..).unwrap_or_default().to_vec();
        if path == "SettingsService/ListSettings" {
            // Asked for again and again, so it is no call of a test.
            return Status::unimplemented(path).into_http();
        }
        let call = Call { method: path.clone(), headers: parts.headers, message };
        self.calls.lock().unwrap().push(call);
        if self.silent.load(std::sync::atomic::Ordering::Relaxed) {
            self.called.notify_one();
            std::future::pending::<()>().await;
        }
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            match answers.get_mut(&path) {
                None if path == OWN_KEY => Ok(vec![Vec::new()]),
                None => Err(Status::unimplemented(path)),
                Some(list) if list.len() > 1 => list.remove(0),
                Some(list) => list[0].clone(),
            }
        };
        let messages = match answer {
            Ok(messages) => messages,
            Err(status) => return status.into_http(),
        };
        let framed = messages.into_iter().map(|message| {
            let mut frame = vec![0];
            frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            frame.extend(message);
            hyper::body::Frame::data(bytes::Bytes::from(frame))
        });
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = framed.chain([hyper::body::Frame::trailers(trailers)]);
        let frames = frames.map(Ok::<_, std::convert::Infallible>).collect::<Vec<_>>();
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        let mut response = Response::new(body);
        response.headers_mut().clone_from(&self.metadata.lock().unwrap());
        let kind = http::HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", kind);
        response
    }
}

/// What came back.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Got {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
