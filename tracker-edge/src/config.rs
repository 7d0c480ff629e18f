//! What the edge is told from outside. Read once, before the port is opened; a mistake names its
//! variable. Limits are live settings and not here.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use postern_kit::env::{Env, EnvError};
use postern_kit::listen::ListenAddr;
use postern_kit::tls::CertFiles;
use postern_proto::link::Keys;

/// The settings of the edge.
#[derive(Debug, Clone)]
pub struct TrackerConfig {
    /// Where to listen.
    pub listen: ListenAddr,
    /// The keys that links are signed with.
    pub keys: Keys,
    /// The folder of the journal.
    pub data: PathBuf,
    /// Certificates; none for plain HTTP.
    pub certificates: Vec<CertFiles>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How many connections may be open.
    pub connections_max: usize,
    /// The longest time for the head of a request.
    pub header_timeout: Duration,
    /// The longest time for the answer to a request.
    pub request_timeout: Duration,
    /// The longest wait for the core.
    pub core_timeout: Duration,
    /// The longest time to finish when stopping.
    pub drain_timeout: Duration,
}

impl TrackerConfig {
    /// Reads the settings.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let name = "POSTERN_TRACKING_KEYS";
        let keys = env
            .required(name)?
            .parse()
            .map_err(|bad: postern_proto::link::BadKeys| EnvError::new(name, bad.to_string()))?;
        Ok(Self {
            listen: ListenAddr::from_env(env, "POSTERN_TRACKER_LISTEN", "127.0.0.1:8081")?,
            keys,
            data: env.text("POSTERN_TRACKER_DATA", "./data/tracker").into(),
            certificates: certificates(env)?,
            trusted_proxies: env.networks("POSTERN_TRUSTED_PROXIES")?,
            connections_max: env.parsed("POSTERN_TRACKER_CONNECTIONS_MAX", 8192)?,
            header_timeout: env
                .duration("POSTERN_TRACKER_HEADER_TIMEOUT", Duration::from_secs(15))?,
            request_timeout: env
                .duration("POSTERN_TRACKER_REQUEST_TIMEOUT", Duration::from_secs(20))?,
            core_timeout: env.duration("POSTERN_TRACKER_CORE_TIMEOUT", Duration::from_secs(5))?,
            drain_timeout: env
                .duration("POSTERN_TRACKER_DRAIN_TIMEOUT", Duration::from_secs(10))?,
        })
    }
}

fn certificates(env: &Env) -> Result<Vec<CertFiles>, EnvError> {
    let certs = env.list("POSTERN_TRACKER_TLS_CERTS");
    let keys = env.list("POSTERN_TRACKER_TLS_KEYS");
    if certs.len() != keys.len() {
        let problem = format!("names {} keys for {} certificates", keys.len(), certs.len());
        return Err(EnvError::new("POSTERN_TRACKER_TLS_KEYS", problem));
    }
    let files = |(cert, key): (String, String)| CertFiles { cert: cert.into(), key: key.into() };
    Ok(certs.into_iter().zip(keys).map(files).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env::default().with("POSTERN_TRACKING_KEYS", format!("1:{}", "ab".repeat(32)))
    }

    #[test]
    fn a_mistake_names_its_variable() {
        let bad = |name: &str, value: &str| {
            TrackerConfig::from_env(&env().with(name, value)).unwrap_err().name
        };
        for (name, value) in [
            ("POSTERN_TRACKING_KEYS", "1:short"),
            ("POSTERN_TRACKER_LISTEN", "8081"),
            ("POSTERN_TRUSTED_PROXIES", "10.0.0.0/99"),
            ("POSTERN_TRACKER_CORE_TIMEOUT", "soon"),
            ("POSTERN_TRACKER_CONNECTIONS_MAX", "-1"),
            ("POSTERN_TRACKER_TLS_KEYS", "key.pem"),
        ] {
            assert_eq!(bad(name, value), name);
        }
        let missing = TrackerConfig::from_env(&Env::default()).unwrap_err();
        assert_eq!(missing.name, "POSTERN_TRACKING_KEYS");
        assert!(TrackerConfig::from_env(&env()).unwrap().certificates.is_empty());
    }
}
