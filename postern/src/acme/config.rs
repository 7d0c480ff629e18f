//! What `postern acme` is told.

use std::path::PathBuf;
use std::time::Duration;

use postern_kit::env::{Env, EnvError};
use postern_kit::listen::ListenAddr;

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const DAY: Duration = Duration::from_secs(86_400);

/// The configuration.
#[derive(Debug)]
pub(super) struct AcmeConfig {
    /// What the certificate is for.
    pub(super) names: Vec<String>,
    /// Where the files go.
    pub(super) folder: PathBuf,
    /// Whom the authority may write to.
    pub(super) email: String,
    /// The authority.
    pub(super) directory: String,
    /// What the authority's own server is checked with, where it is none that everybody trusts.
    pub(super) ca_file: Option<PathBuf>,
    /// Where HTTP-01 is answered.
    pub(super) http: Option<ListenAddr>,
    /// Where TLS-ALPN-01 is answered; used instead of HTTP-01 when it is there.
    pub(super) tls: Option<ListenAddr>,
    /// How long before its end a certificate is exchanged.
    pub(super) renew_before: Duration,
    /// How soon a failed order is tried again; later and later up to six hours.
    pub(super) retry: Duration,
    /// How long the whole of an order may take.
    pub(super) timeout: Duration,
}

impl AcmeConfig {
    pub(super) fn from_env(env: &Env) -> Result<Self, EnvError> {
        let names: Vec<_> =
            env.list("POSTERN_ACME_NAMES").iter().map(|name| name.to_lowercase()).collect();
        if names.is_empty() {
            return Err(EnvError::new("POSTERN_ACME_NAMES", "needs the names for the certificate"));
        }
        let door = |name: &'static str, default: &str| match env.text(name, default).as_str() {
            "off" => Ok(None),
            _ => ListenAddr::from_env(env, name, default).map(Some),
        };
        let tls = door("POSTERN_ACME_TLS_LISTEN", "off")?;
        // Who answers over TLS has no use for port 80, and may not have it.
        let plain = if tls.is_some() { "off" } else { "0.0.0.0:80" };
        let config = Self {
            names,
            folder: env.text("POSTERN_ACME_FOLDER", "./data/acme").into(),
            email: env.text("POSTERN_ACME_EMAIL", ""),
            directory: env.text("POSTERN_ACME_DIRECTORY", LETS_ENCRYPT),
            ca_file: env.get("POSTERN_ACME_CA_FILE").map(PathBuf::from),
            http: door("POSTERN_ACME_HTTP_LISTEN", plain)?,
            tls,
            renew_before: env.duration("POSTERN_ACME_RENEW_BEFORE", 30 * DAY)?,
            retry: env.duration("POSTERN_ACME_RETRY", Duration::from_secs(60))?,
            timeout: env.duration("POSTERN_ACME_TIMEOUT", Duration::from_secs(300))?,
        };
        if config.http.is_none() && config.tls.is_none() {
            let problem = "is off, as POSTERN_ACME_TLS_LISTEN is: one of them is needed";
            return Err(EnvError::new("POSTERN_ACME_HTTP_LISTEN", problem));
        }
        Ok(config)
    }
}
