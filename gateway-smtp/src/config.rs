//! What the gateway is told from outside. Read once, before a port is opened; a mistake names its
//! variable. Limits are live settings and not here.

use std::time::Duration;

use ipnet::IpNet;
use postern_kit::env::{Env, EnvError};
use postern_kit::listen::{ListenAddr, ListenError};
use postern_kit::spans;
use postern_kit::tls::CertFiles;
use tokio::net::TcpListener;

/// The files of a certificate.
pub type TlsFiles = CertFiles;

/// How a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Plain at first, STARTTLS offered.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    ImplicitTls,
    /// No TLS, no credential, and everything ends in the local inbox.
    Sink,
}

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Listening(Vec<(Door, ListenAddr)>);

impl Listening {
    fn from_env(env: &Env, sink_default: &str) -> Result<Self, EnvError> {
        let mut all = Vec::new();
        for (door, variable, default) in [
            (Door::StartTls, "POSTERN_SMTP_LISTEN", "127.0.0.1:2587"),
            (Door::ImplicitTls, "POSTERN_SMTPS_LISTEN", "127.0.0.1:2465"),
            (Door::Sink, "POSTERN_SMTP_SINK_LISTEN", sink_default),
        ] {
            let text = env.text(variable, default);
            if text == "off" {
                continue;
            }
            for part in text.split(',') {
                let addr = part.trim().parse().map_err(|_| {
                    let problem = format!("'{part}' is no address; write 127.0.0.1:2587, or off");
                    EnvError::new(variable, problem)
                })?;
                all.push((door, ListenAddr { addr, variable }));
            }
        }
        Ok(Self(all))
    }

    /// Whether there is nothing to listen on.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Opens the ports.
    pub async fn bind(&self) -> Result<Vec<(Door, TcpListener)>, ListenError> {
        let mut listeners = Vec::new();
        for (door, listen) in &self.0 {
            let listener = listen.bind().await?;
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, ?door, "smtp gateway listens");
            }
            listeners.push((*door, listener));
        }
        Ok(listeners)
    }
}

/// The settings of the SMTP gateway.
#[derive(Debug, Clone)]
pub struct SmtpConfig {
    /// Where to listen.
    pub listening: Listening,
    /// The certificate; without one there is no TLS and no AUTH but on loopback when switched on.
    pub tls: Option<CertFiles>,
    /// Our name.
    pub hostname: String,
    /// AUTH without TLS for clients on loopback.
    pub plain_auth: bool,
    /// Clients that need no AUTH.
    pub trusted_networks: Vec<IpNet>,
    /// As what those send: `Bearer <API key>`.
    pub trusted_key: Option<TrustedKey>,
    /// Clients that begin with a PROXY v2 header.
    pub proxy_networks: Vec<IpNet>,
    /// Bare CR and LF in a message are made line ends instead of refused.
    pub normalize_line_ends: bool,
    /// The longest wait for the core.
    pub core_timeout: Duration,
    /// The longest wait for sessions when stopping.
    pub drain: Duration,
    /// Where the spans of traces go; none: nowhere.
    pub traces: Option<spans::Export>,
}

/// An API key of the configuration. Its `Debug` form shows nothing.
#[derive(Clone)]
pub struct TrustedKey(pub(crate) String);

impl std::fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrustedKey(…)")
    }
}

impl SmtpConfig {
    /// Reads the settings. There is no sink unless one is asked for.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let tls = tls(env)?;
        if tls.is_none() {
            if env.get("POSTERN_SMTPS_LISTEN").is_some_and(|text| text != "off") {
                let problem = "is not set; POSTERN_SMTPS_LISTEN needs a certificate";
                return Err(EnvError::new("POSTERN_SMTP_TLS_CERT", problem));
            }
            return Self::with_sink(&env.clone().with("POSTERN_SMTPS_LISTEN", "off"), "off");
        }
        Self::with_sink(env, "off")
    }

    /// The same with a sink at this address unless another is asked for.
    pub fn with_sink(env: &Env, default: &str) -> Result<Self, EnvError> {
        let trusted_networks = env.networks("POSTERN_SMTP_TRUSTED_NETWORKS")?;
        let trusted_key = env.get("POSTERN_SMTP_TRUSTED_KEY");
        if !trusted_networks.is_empty() && trusted_key.is_none() {
            let problem =
                "is not set; POSTERN_SMTP_TRUSTED_NETWORKS needs an API key to send under";
            return Err(EnvError::new("POSTERN_SMTP_TRUSTED_KEY", problem));
        }
        let normalize_line_ends = match env.text("POSTERN_SMTP_BARE_LINE_ENDS", "refuse").as_str() {
            "refuse" => false,
            "normalize" => true,
            other => {
                let problem = format!("'{other}' is neither refuse nor normalize");
                return Err(EnvError::new("POSTERN_SMTP_BARE_LINE_ENDS", problem));
            }
        };
        Ok(Self {
            listening: Listening::from_env(env, default)?,
            tls: tls(env)?,
            hostname: hostname(env)?,
            plain_auth: env.switch("POSTERN_SMTP_PLAIN_AUTH", false)?,
            trusted_networks,
            trusted_key: trusted_key.map(|key| TrustedKey(format!("Bearer {key}"))),
            proxy_networks: env.networks("POSTERN_SMTP_PROXY_NETWORKS")?,
            normalize_line_ends,
            core_timeout: env.duration("POSTERN_SMTP_CORE_TIMEOUT", Duration::from_secs(30))?,
            drain: env.duration("POSTERN_SMTP_DRAIN", Duration::from_secs(35))?,
            traces: spans::Export::from_env(env)?,
        })
    }
}

fn tls(env: &Env) -> Result<Option<CertFiles>, EnvError> {
    let (cert, key) = ("POSTERN_SMTP_TLS_CERT", "POSTERN_SMTP_TLS_KEY");
    match (env.get(cert), env.get(key)) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(CertFiles { cert: cert.into(), key: key.into() })),
        (Some(_), None) => Err(EnvError::new(key, "is not set; the certificate needs its key")),
        (None, Some(_)) => Err(EnvError::new(cert, "is not set; the key needs its certificate")),
    }
}

fn hostname(env: &Env) -> Result<String, EnvError> {
    let name = env.text("POSTERN_SMTP_HOSTNAME", "localhost");
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    if name.len() > 253 || !name.bytes().all(fits) {
        let problem = format!("'{name}' is no host name; write mail.example.com");
        return Err(EnvError::new("POSTERN_SMTP_HOSTNAME", problem));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_their_variable() {
        for (variable, value) in [
            ("POSTERN_SMTP_LISTEN", "2587"),
            ("POSTERN_SMTPS_LISTEN", "nowhere"),
            ("POSTERN_SMTP_TLS_KEY", "key.pem"),
            ("POSTERN_SMTP_HOSTNAME", "a b"),
            ("POSTERN_SMTP_PROXY_NETWORKS", "10.0.0.0/40"),
            ("POSTERN_SMTP_BARE_LINE_ENDS", "maybe"),
        ] {
            let error = SmtpConfig::from_env(&Env::from([(variable, value)])).unwrap_err();
            let pair = ["POSTERN_SMTP_TLS_CERT", "POSTERN_SMTP_TLS_KEY"];
            assert!(error.name == variable || pair.contains(&error.name.as_str()), "{error}");
        }
        let open = Env::from([("POSTERN_SMTP_TRUSTED_NETWORKS", "10.0.0.0/8")]);
        assert_eq!(SmtpConfig::from_env(&open).unwrap_err().name, "POSTERN_SMTP_TRUSTED_KEY");
    }

    #[test]
    fn listeners_are_lists_and_can_be_off() {
        let env = Env::from([
            ("POSTERN_SMTP_LISTEN", "127.0.0.1:2587, 0.0.0.0:587"),
            ("POSTERN_SMTPS_LISTEN", "off"),
        ]);
        let config = SmtpConfig::with_sink(&env, "127.0.0.1:1025").unwrap();
        let doors: Vec<Door> = config.listening.0.iter().map(|(door, _)| *door).collect();
        assert_eq!(doors, [Door::StartTls, Door::StartTls, Door::Sink]);
        assert!(!config.listening.is_empty());
    }
}
