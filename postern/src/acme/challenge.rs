//! The doors of the challenges: HTTP-01 (RFC 8555, section 8.3) and TLS-ALPN-01 (RFC 8737).
//!
//! What is answered is held in memory while an order is under way; after a crash the order begins anew.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use postern_kit::http_server::{self, Bounds};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::config::AcmeConfig;

/// The protocol of RFC 8737.
const ALPN: &[u8] = b"acme-tls/1";
/// Nobody but an authority has business here.
const BOUNDS: Bounds = Bounds {
    connections_max: 64,
    header_timeout: Duration::from_secs(10),
    drain_timeout: Duration::from_secs(2),
};

/// What is answered now.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    http: Mutex<HashMap<String, String>>,
    tls: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Challenges {
    /// Answers HTTP-01 for this token.
    pub(super) fn answer_http(&self, token: &str, proof: &str) {
        held(&self.http).insert(token.to_owned(), proof.to_owned());
    }

    /// Answers TLS-ALPN-01 for this name with a certificate that holds the digest.
    pub(super) fn answer_tls(&self, name: &str, digest: &[u8]) -> anyhow::Result<()> {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
        let key = rcgen::KeyPair::generate()?;
        let cert = params.self_signed(&key)?;
        let secret = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let signer = aws_lc_rs::sign::any_supported_type(&secret)?;
        let certified = CertifiedKey::new(vec![cert.der().clone()], signer);
        held(&self.tls).insert(name.to_owned(), Arc::new(certified));
        Ok(())
    }

    /// Answers nothing any more.
    pub(super) fn clear(&self) {
        held(&self.http).clear();
        held(&self.tls).clear();
    }
}

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        held(&self.tls).get(&name).cloned()
    }
}

/// The maps are whole even if a thread panicked while it held one.
fn held<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the doors that are configured; what is returned serves them until `stop`.
pub(super) async fn open(
    config: &AcmeConfig,
    challenges: &Arc<Challenges>,
    stop: &CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let http = match &config.http {
        Some(address) => Some(address.bind().await?),
        None => None,
    };
    let tls = match &config.tls {
        Some(address) => Some((address.bind().await?, acceptor(challenges)?)),
        None => None,
    };
    let (challenges, stop) = (challenges.clone(), stop.clone());
    Ok(async move {
        let plain = async {
            if let Some(listener) = http {
                serve_http(listener, challenges.clone(), stop.clone()).await;
            }
        };
        let secure = async {
            if let Some((listener, acceptor)) = tls {
                // The handshake is all there is; whoever then speaks HTTP finds nothing.
                let nothing = Router::new();
                http_server::serve(listener, Some(acceptor), nothing, BOUNDS, stop.clone()).await;
            }
        };
        tokio::join!(plain, secure);
    })
}

fn acceptor(challenges: &Arc<Challenges>) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(challenges.clone());
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve_http(listener: TcpListener, challenges: Arc<Challenges>, stop: CancellationToken) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "challenges are answered");
    }
    let router = Router::new()
        .route("/.well-known/acme-challenge/{token}", get(proof))
        .fallback(elsewhere)
        .with_state(challenges);
    http_server::serve(listener, None, router, BOUNDS, stop).await;
}

async fn proof(
    State(challenges): State<Arc<Challenges>>,
    Path(token): Path<String>,
) -> Result<String, StatusCode> {
    held(&challenges.http).get(&token).cloned().ok_or(StatusCode::NOT_FOUND)
}

/// People who come without TLS are sent where there is some.
async fn elsewhere(headers: HeaderMap, uri: Uri) -> Response {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if host.is_empty() || !host.chars().all(is_name) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Redirect::permanent(&format!("https://{host}{path}")).into_response()
}
