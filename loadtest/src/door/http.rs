//! HTTP: a message over REST as JSON, and a GET of one address again and again; each caller has a
//! connection of its own that it keeps.
//!
//! Nothing is kept; a crash loses the measurement under way.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::Mail;
use crate::pace::Door;

/// As a browser names itself, since a tracking edge tells programs from people.
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A connection that is opened when it is needed.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// Not opened yet.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, open: None }
    }

    /// Asks and reads the whole answer, which must be a success.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
        let mut sender = match self.open.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect().await?,
        };
        sender.ready().await.context("the connection was closed")?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success() || status.is_redirection(),
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        self.open = Some(sender);
        Ok(body)
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the connection, and its errors are told to the sender.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self, method: Method, path: &str, body: String) -> anyhow::Result<Ask> {
        Ok(Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(USER_AGENT, AGENT)
            .body(Full::new(Bytes::from(body)))?)
    }
}

type Ask = Request<Full<Bytes>>;

/// The REST gateway, with a key.
#[derive(Debug)]
pub(crate) struct Rest {
    connection: Connection,
    key: String,
}

impl Rest {
    /// Not connected yet.
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        Self { connection: Connection::new(address), key: format!("Bearer {key}") }
    }

    /// Asks for JSON, with JSON when there is any.
    pub(crate) async fn json(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request = self.connection.request(method, path, body)?;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.key.parse()?);
        headers.insert(CONTENT_TYPE, "application/json".parse()?);
        let answer = self.connection.ask(request).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// GET of text.
    pub(crate) async fn text(&mut self, path: &str) -> anyhow::Result<String> {
        let mut request = self.connection.request(Method::GET, path, String::new())?;
        request.headers_mut().insert(AUTHORIZATION, self.key.parse()?);
        let answer = self.connection.ask(request).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// GET.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        self.json(Method::GET, path, None).await
    }

    /// POST.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.json(Method::POST, path, Some(body)).await
    }
}

/// A caller that sends messages over REST.
#[derive(Debug)]
pub(crate) struct Sends {
    rest: Rest,
    mail: Mail,
}

impl Sends {
    /// So many callers, a connection each.
    pub(crate) fn callers(address: SocketAddr, key: &str, mail: &Mail, count: usize) -> Vec<Self> {
        let one = || Self { rest: Rest::new(address, key), mail: mail.clone() };
        std::iter::repeat_with(one).take(count).collect()
    }
}

impl Door for Sends {
    async fn call(&mut self, number: u64) -> anyhow::Result<u64> {
        let mut message = json!({
            "from": self.mail.from,
            "to": self.mail.to(number),
            "subject": "Load",
            "text": self.mail.text(number),
        });
        if let Some(time) = self.mail.send_time() {
            message["send_time"] = Value::String(time.to_string());
        }
        self.rest.post("/v1/messages", &message).await?;
        Ok(1)
    }
}

/// A caller that gets one path again and again.
#[derive(Debug)]
pub(crate) struct Gets {
    connection: Connection,
    path: String,
}

impl Gets {
    /// So many callers, a connection each.
    pub(crate) fn callers(address: SocketAddr, path: &str, count: usize) -> Vec<Self> {
        let one = || Self { connection: Connection::new(address), path: path.to_owned() };
        std::iter::repeat_with(one).take(count).collect()
    }
}

impl Door for Gets {
    async fn call(&mut self, _number: u64) -> anyhow::Result<u64> {
        let request = self.connection.request(Method::GET, &self.path, String::new())?;
        self.connection.ask(request).await?;
        Ok(1)
    }
}
