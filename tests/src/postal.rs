//! A stand-in for Postal, made from what is known of its HTTP API; it is not Postal. It takes mail,
//! answers in the ways Postal has, and signs webhooks with a key that openssl made.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What it does to calls that hand mail over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Takes the mail.
    Take,
    /// Takes the mail and answers only when released.
    TakeAndHold,
    /// Refuses with HTTP 200 and this code.
    Refuse(&'static str),
    /// Refuses with HTTP 200, `parameter-error` and no code.
    ParameterError,
    /// Answers this HTTP status.
    Status(u16),
}

/// A mail that was handed over.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The number it got.
    pub id: i64,
    /// The token it got.
    pub token: String,
    /// The envelope sender.
    pub from: String,
    /// The envelope recipient.
    pub to: String,
    /// The bytes.
    pub raw: String,
    /// The header fields of the call.
    pub headers: HeaderMap,
}

impl Taken {
    /// The Message-ID without angle brackets.
    pub fn message_id(&self) -> &str {
        let lines = self.raw.lines();
        let field = lines.filter_map(|line| line.strip_prefix("Message-ID: ")).next();
        field.unwrap_or_default().trim_matches(['<', '>'])
    }

    /// The message as webhooks show it.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id, "token": self.token, "direction": "outgoing",
            "message_id": self.message_id(), "to": self.to, "from": self.from,
            "subject": "Fish & <Chips>", "timestamp": 1_700_000_000.5,
            "spam_status": "NotChecked", "tag": null,
        })
    }
}

struct Inner {
    mood: Mood,
    taken: Vec<Taken>,
    calls: usize,
    attempts: Value,
    jwks: Value,
    fetches: usize,
}

/// A running stand-in. Dropping it stops it.
pub struct Postal {
    /// Its address: `127.0.0.1:port`.
    pub addr: String,
    inner: Arc<(Mutex<Inner>, Notify)>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Postal {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The API key it expects.
pub const API_KEY: &str = "K3yOfTheServerInPostal1234";

impl Postal {
    /// Starts one on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?.to_string();
        let inner = Inner {
            mood: Mood::Take,
            taken: Vec::new(),
            calls: 0,
            attempts: json!([]),
            jwks: json!({"keys": []}),
            fetches: 0,
        };
        let inner = Arc::new((Mutex::new(inner), Notify::new()));
        let router = Router::new()
            .route("/api/v1/send/raw", post(send_raw))
            .route("/api/v1/messages/deliveries", post(deliveries))
            .route("/.well-known/jwks.json", get(jwks))
            .with_state(inner.clone());
        let serving = tokio::spawn(async move {
            let _ended = axum::serve(listener, router).await;
        });
        Ok(Self { addr, inner, serving })
    }

    /// The variables with which a system hands its mail to the one at `addr`.
    pub fn variables(addr: &str) -> Vec<(String, String)> {
        [
            ("POSTERN_TRANSPORT", "postal"),
            ("POSTERN_SENDER_POLICY", "any"),
            ("POSTERN_POSTAL_URL", &format!("http://{addr}")),
            ("POSTERN_POSTAL_API_KEY", API_KEY),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Does this to calls from now on; one that is held is released.
    pub fn set(&self, mood: Mood) {
        self.lock().mood = mood;
        self.inner.1.notify_waiters();
    }

    /// What was taken so far.
    pub fn taken(&self) -> Vec<Taken> {
        self.lock().taken.clone()
    }

    /// How often it was asked to take mail.
    pub fn calls(&self) -> usize {
        self.lock().calls
    }

    /// Tells of these attempts when it is asked about any message.
    pub fn tell(&self, attempts: Value) {
        self.lock().attempts = attempts;
    }

    /// Publishes these keys.
    pub fn publish(&self, signers: &[&Signer]) -> anyhow::Result<()> {
        let keys = signers.iter().map(|signer| signer.jwk()).collect::<Result<Vec<_>, _>>()?;
        self.lock().jwks = json!({"keys": keys});
        Ok(())
    }

    /// How often the keys were fetched.
    pub fn fetches(&self) -> usize {
        self.lock().fetches
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

type Shared = Arc<(Mutex<Inner>, Notify)>;

fn lock(shared: &Shared) -> MutexGuard<'_, Inner> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send_raw(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let released = shared.1.notified();
    let mood = {
        let mut inner = lock(&shared);
        inner.calls += 1;
        inner.mood
    };
    let answer = |status: &str, data: Value| {
        let envelope = json!({"status": status, "time": 0.01, "flags": {}, "data": data});
        axum::Json(envelope).into_response()
    };
    match mood {
        Mood::Refuse(code) => {
            return answer("error", json!({"code": code, "message": "no", "token": API_KEY}));
        }
        Mood::ParameterError => {
            return answer("parameter-error", json!({"message": "`data` parameter is required"}));
        }
        Mood::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return status.into_response();
        }
        Mood::Take | Mood::TakeAndHold => {}
    }
    let Some(taken) = take(&shared, headers, &body) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if mood == Mood::TakeAndHold {
        released.await;
    }
    let message = json!({"id": taken.id, "token": taken.token});
    let messages = json!({(taken.to.to_lowercase()): message});
    answer("success", json!({"message_id": taken.message_id(), "messages": messages}))
}

fn take(shared: &Shared, headers: HeaderMap, body: &[u8]) -> Option<Taken> {
    let asked: Value = serde_json::from_slice(body).ok()?;
    let [to] = asked["rcpt_to"].as_array()?.as_slice() else { return None };
    let raw = STANDARD.decode(asked["data"].as_str()?).ok()?;
    let mut inner = lock(shared);
    let id = 1000 + inner.taken.len() as i64;
    let taken = Taken {
        id,
        token: format!("tok{id}abcdefghij"),
        from: asked["mail_from"].as_str()?.to_owned(),
        to: to.as_str()?.to_owned(),
        raw: String::from_utf8_lossy(&raw).into_owned(),
        headers,
    };
    inner.taken.push(taken.clone());
    Some(taken)
}

async fn deliveries(State(shared): State<Shared>, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    // The real one falls over when the id is no integer.
    if !asked["id"].is_i64() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let attempts = lock(&shared).attempts.clone();
    axum::Json(json!({"status": "success", "data": attempts})).into_response()
}

async fn jwks(State(shared): State<Shared>) -> Response {
    let mut inner = lock(&shared);
    inner.fetches += 1;
    axum::Json(inner.jwks.clone()).into_response()
}

/// A key made by openssl, and its signatures.
#[derive(Debug)]
pub struct Signer {
    folder: TempDir,
}

impl Signer {
    /// Makes a key of so many bits.
    pub fn new(bits: u32) -> anyhow::Result<Self> {
        let signer = Self { folder: tempfile::tempdir()? };
        openssl(&["genrsa", "-out", &signer.path("key.pem"), &bits.to_string()], b"")?;
        let public = signer.path("public.pem");
        openssl(&["rsa", "-in", &signer.path("key.pem"), "-pubout", "-out", &public], b"")?;
        Ok(signer)
    }

    /// Where the public key is, as PEM.
    pub fn public(&self) -> String {
        self.path("public.pem")
    }

    /// Signs octets with `sha256` or `sha1`; base64.
    pub fn sign(&self, digest: &str, body: &[u8]) -> anyhow::Result<String> {
        let key = self.path("key.pem");
        let digest = format!("-{digest}");
        Ok(STANDARD.encode(openssl(&["dgst", &digest, "-sign", &key], body)?))
    }

    /// The id that Postal gives the key.
    pub fn key_id(&self) -> anyhow::Result<String> {
        let public = self.public();
        let der = ["rsa", "-pubin", "-in", &public, "-RSAPublicKey_out", "-outform", "DER"];
        let der = openssl(&der, b"")?;
        let digest = openssl(&["dgst", "-sha256", "-r"], &der)?;
        let text = String::from_utf8(digest)?;
        Ok(text.split_whitespace().next().context("no digest")?.to_owned())
    }

    /// The fields that sign a body as Postal does.
    pub fn fields(&self, body: &[u8]) -> anyhow::Result<Vec<(&'static str, String)>> {
        Ok(vec![
            ("x-postal-signature", self.sign("sha1", body)?),
            ("x-postal-signature-256", self.sign("sha256", body)?),
            ("x-postal-signature-kid", self.key_id()?),
        ])
    }

    fn jwk(&self) -> anyhow::Result<Value> {
        let public = self.public();
        let said = openssl(&["rsa", "-pubin", "-in", &public, "-noout", "-modulus"], b"")?;
        let said = String::from_utf8(said)?;
        let hex = said.trim().strip_prefix("Modulus=").context("no modulus")?;
        let octets = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
        let n = URL_SAFE_NO_PAD.encode(octets.collect::<Result<Vec<_>, _>>()?);
        let kid = self.key_id()?;
        Ok(json!({"kty": "RSA", "n": n, "e": "AQAB", "use": "sig", "alg": "RS256", "kid": kid}))
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.to_string_lossy().into_owned()
    }
}

fn openssl(args: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("input");
    std::fs::write(&path, input)?;
    let input = std::fs::File::open(&path)?;
    let output = Command::new("openssl").args(args).stdin(input).output();
    let output = output.context("cannot start openssl")?;
    ensure!(output.status.success(), "openssl {args:?}: {output:?}");
    Ok(output.stdout)
}
