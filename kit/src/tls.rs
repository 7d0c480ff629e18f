//! Certificates of servers: read from files, watched, and exchanged without dropping a connection;
//! or made on the spot for an installation on one machine.
//!
//! A file that has become unreadable changes nothing: the last good certificate stays in use and the
//! log says so. A crash has nothing to lose.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::parse_x509_certificate;

/// How often the files are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as what it should be.
    #[error("{path}: {problem}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Certificate and key do not fit together, or TLS cannot be set up with them.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// Where a certificate chain and its key are, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertFiles {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A certificate in use.
#[derive(Debug)]
pub struct CertStore {
    files: CertFiles,
    current: ArcSwap<CertifiedKey>,
}

impl CertStore {
    /// Reads the files.
    pub fn open(files: CertFiles) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::from_pointee(read(&files)?);
        Ok(Arc::new(Self { files, current }))
    }

    /// TLS 1.2 and 1.3 (RFC 8997) with this certificate; later exchanges of it hold for new
    /// connections.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        Ok(Arc::new(config))
    }

    /// When the server's own certificate in use ends; none where it does not say so in a way that can
    /// be read.
    pub fn expires(&self) -> Option<Timestamp> {
        self.validity().map(|(_, expires)| expires)
    }

    /// When it begins and ends.
    pub fn validity(&self) -> Option<(Timestamp, Timestamp)> {
        let current = self.current.load();
        let (_, certificate) = parse_x509_certificate(current.cert.first()?).ok()?;
        let times = certificate.validity();
        let at = |seconds| Timestamp::from_second(seconds).ok();
        Some((at(times.not_before.timestamp())?, at(times.not_after.timestamp())?))
    }

    /// Whether the certificate in use is good for a name (RFC 6125).
    pub fn is_good_for(&self, name: &str) -> bool {
        let current = self.current.load();
        let certificate = current.cert.first().map(ParsedCertificate::try_from);
        match (ServerName::try_from(name), certificate) {
            (Ok(name), Some(Ok(certificate))) => verify_server_name(&certificate, &name).is_ok(),
            _ => false,
        }
    }

    /// The file of the chain.
    pub fn file(&self) -> &Path {
        &self.files.cert
    }

    /// Reads the files again. On an error the certificate in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(read(&self.files)?));
        Ok(())
    }

    /// Reads the files again whenever they change, until told to stop.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut seen = state(&self.files);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let now = state(&self.files);
            if now == seen {
                continue;
            }
            // Both files change, one after the other: until they fit the next look tries again.
            match self.reload() {
                Ok(()) => {
                    seen = now;
                    tracing::info!(file = %self.files.cert.display(), "certificate exchanged");
                }
                Err(error) => {
                    tracing::warn!(%error, "new certificate not usable; the old one stays")
                }
            }
        }
    }
}

impl ResolvesServerCert for CertStore {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// TLS 1.2 and 1.3 with the first of these certificates that is good for the name the client asks for
/// (RFC 6066 §3); with the very first one when none is, or none was asked for. Clients may choose
/// between HTTP/2 and HTTP/1.1 (RFC 7301, RFC 9113 §3.2).
fn https_by_name(stores: &[Arc<CertStore>]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(stores.to_vec())));
    config.alpn_protocols = [&b"h2"[..], b"http/1.1"].map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

/// The TLS of a listener with these certificates, which are exchanged until told to stop; none without any.
pub fn acceptor(
    stores: &[Arc<CertStore>],
    stop: &CancellationToken,
) -> Result<Option<TlsAcceptor>, TlsError> {
    if stores.is_empty() {
        return Ok(None);
    }
    let config = https_by_name(stores)?;
    for store in stores {
        tokio::spawn(store.clone().watch(stop.clone()));
    }
    Ok(Some(TlsAcceptor::from(config)))
}

#[derive(Debug)]
struct ByName(Vec<Arc<CertStore>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let fits = |store: &&Arc<CertStore>| name.is_some_and(|name| store.is_good_for(name));
        let store = self.0.iter().find(fits).or(self.0.first())?;
        Some(store.current.load_full())
    }
}

/// A self-signed certificate in `folder`, made when there is none: good for talking to oneself and
/// for nothing that checks certificates.
pub fn self_signed(folder: &Path, names: &[String]) -> Result<CertFiles, TlsError> {
    let files = CertFiles { cert: folder.join("tls-cert.pem"), key: folder.join("tls-key.pem") };
    if files.cert.exists() && files.key.exists() {
        return Ok(files);
    }
    let failed = |path: &Path, problem: String| TlsError::File { path: path.to_owned(), problem };
    let made = rcgen::generate_simple_self_signed(names.to_vec())
        .map_err(|error| failed(&files.cert, error.to_string()))?;
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error.to_string()))?;
    // The key first: a certificate without its key would stop the next start.
    for (path, text, mode) in [
        (&files.key, made.signing_key.serialize_pem(), 0o600),
        (&files.cert, made.cert.pem(), 0o644),
    ] {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        let file = options.open(path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .map_err(|error| failed(path, error.to_string()))?;
    }
    Ok(files)
}

fn read(files: &CertFiles) -> Result<CertifiedKey, TlsError> {
    let failed = |path: &Path, problem: String| TlsError::File { path: path.to_owned(), problem };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&files.cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(&files.cert, "holds no certificate in PEM form".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| failed(&files.key, error.to_string()))?;
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
    certified.keys_match()?;
    Ok(certified)
}

/// What shows that a file has changed.
fn state(files: &CertFiles) -> [Option<(SystemTime, u64)>; 2] {
    [&files.cert, &files.key].map(|path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn names() -> Vec<String> {
        vec!["localhost".to_owned()]
    }

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let files = self_signed(folder.path(), &names()).unwrap();
        let cert = std::fs::read(&files.cert).unwrap();
        assert_eq!(self_signed(folder.path(), &names()).unwrap(), files);
        assert_eq!(std::fs::read(&files.cert).unwrap(), cert);
        let mode = std::fs::metadata(&files.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        CertStore::open(files).unwrap().server_config().unwrap();
    }

    #[test]
    fn a_bad_exchange_leaves_the_old_certificate_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let files = self_signed(folder.path(), &names()).unwrap();
        let store = CertStore::open(files.clone()).unwrap();
        let before = store.current.load_full();
        let other = tempfile::tempdir().unwrap();
        let others = self_signed(other.path(), &names()).unwrap();
        std::fs::copy(&others.cert, &files.cert).unwrap();
        assert!(store.reload().is_err(), "the key does not fit yet");
        std::fs::write(&files.key, b"junk").unwrap();
        assert!(store.reload().is_err());
        assert!(Arc::ptr_eq(&before, &store.current.load_full()));
        std::fs::copy(&others.key, &files.key).unwrap();
        store.reload().unwrap();
        assert_ne!(before.cert, store.current.load().cert);
    }

    /// What a client that trusts these certificates is shown when it asks for a name: the certificate,
    /// and the protocol that was agreed on.
    async fn handshake(
        server: &Arc<ServerConfig>,
        trusted: &[CertFiles],
        name: &'static str,
        sni: bool,
    ) -> std::io::Result<(CertificateDer<'static>, Option<Vec<u8>>)> {
        let mut roots = rustls::RootCertStore::empty();
        for files in trusted {
            roots.add(CertificateDer::from_pem_file(&files.cert).unwrap()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_sni = sni;
        client.alpn_protocols = vec![b"h2".to_vec()];
        let (near, far) = tokio::io::duplex(64 << 10);
        let accepting = tokio_rustls::TlsAcceptor::from(server.clone()).accept(far);
        let name = ServerName::try_from(name).unwrap();
        let connecting = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, near);
        let (connected, _accepted) = tokio::join!(connecting, accepting);
        let connected = connected?;
        let session = connected.get_ref().1;
        let shown = session.peer_certificates().unwrap()[0].clone();
        Ok((shown, session.alpn_protocol().map(<[u8]>::to_vec)))
    }

    #[tokio::test]
    async fn each_name_is_shown_its_own_certificate() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let made = |n: usize, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            self_signed(folders[n].path(), &names).unwrap()
        };
        let files = [made(0, &["t.one.test"]), made(1, &["t.two.test", "*.three.test"])];
        let stores = files.clone().map(|files| CertStore::open(files).unwrap());
        let server = https_by_name(&stores).unwrap();
        let certificate = |n: usize| CertificateDer::from_pem_file(&files[n].cert).unwrap();
        for (name, n) in [("t.one.test", 0), ("t.two.test", 1), ("any.three.test", 1)] {
            let (shown, protocol) = handshake(&server, &files, name, true).await.unwrap();
            assert_eq!((shown, protocol.as_deref()), (certificate(n), Some(&b"h2"[..])), "{name}");
        }
        // Nobody is told that there is no certificate: the first one has to do.
        let (shown, _) = handshake(&server, &files, "t.one.test", false).await.unwrap();
        assert_eq!(shown, certificate(0));
        for (name, sni) in [("t.two.test", false), ("t.four.test", true)] {
            let refused = handshake(&server, &files, name, sni).await.unwrap_err();
            assert!(refused.to_string().contains("not valid for name"), "{refused}");
        }
        // An exchanged certificate counts by its own names.
        let other = tempfile::tempdir().unwrap();
        let other = self_signed(other.path(), &["t.four.test".to_owned()]).unwrap();
        std::fs::copy(&other.cert, &files[1].cert).unwrap();
        std::fs::copy(&other.key, &files[1].key).unwrap();
        stores[1].reload().unwrap();
        let (shown, _) = handshake(&server, &files, "t.four.test", true).await.unwrap();
        assert_eq!(shown, certificate(1));
    }
}
