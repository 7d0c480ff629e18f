//! What the gateway is told from outside. Read once, before a port is opened; a mistake names its
//! variable.

use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use postern_kit::env::{Env, EnvError};
use postern_kit::listen::ListenAddr;
use postern_kit::spans;
use postern_kit::tls::CertFiles;
use postern_kit::variables;

/// The settings of the REST gateway.
#[derive(Debug, Clone)]
pub struct RestConfig {
    /// Where to listen.
    pub listen: ListenAddr,
    /// The certificate; none serves plain HTTP, for a proxy in front.
    pub tls: Option<CertFiles>,
    /// Whether the inbox page is served.
    pub inbox: bool,
    /// Whether the dashboard is served.
    pub dashboard: bool,
    /// The ports of the SMTP gateway that the dashboard tells: with STARTTLS, and with implicit TLS; none
    /// where it is off.
    pub smtp_ports: [Option<u16>; 2],
    /// Host names the inbox answers to beside the loopback ones.
    pub inbox_hosts: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The origins whose pages may call the API from a browser.
    pub cors_origins: Vec<HeaderValue>,
    /// How many requests may be under way.
    pub concurrency_max: usize,
    /// How many connections may be open.
    pub connections_max: usize,
    /// How many event streams may be open.
    pub watchers_max: usize,
    /// The longest time for the head of a request.
    pub header_timeout: Duration,
    /// The longest time to finish when stopping.
    pub drain_timeout: Duration,
    /// Whether `/v1` answers have the older `X-RateLimit` fields as well; `/api/v1` always has them.
    pub x_ratelimit: bool,
    /// The old contract's refusal of sender domains that contain `ams`.
    pub legacy_ams_ban: bool,
    /// Where the spans of traces go; none: nowhere.
    pub traces: Option<spans::Export>,
}

impl RestConfig {
    /// Reads the settings.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let listen = ListenAddr::from_env(env, "POSTERN_REST_LISTEN", "127.0.0.1:8080")?;
        let count = |name, default| positive(env, name, default);
        let seconds = Duration::from_secs;
        Ok(Self {
            inbox: env.switch("POSTERN_INBOX", variables::is_local(env, &listen))?,
            listen,
            tls: tls(env)?,
            traces: spans::Export::from_env(env)?,
            dashboard: env.switch("POSTERN_DASHBOARD", true)?,
            smtp_ports: [
                smtp_port(env, "POSTERN_SMTP_LISTEN", 2587),
                smtp_port(env, "POSTERN_SMTPS_LISTEN", 2465),
            ],
            inbox_hosts: env.list("POSTERN_INBOX_HOSTS"),
            trusted_proxies: env.networks("POSTERN_TRUSTED_PROXIES")?,
            cors_origins: origins(env, "POSTERN_REST_CORS_ORIGINS")?,
            concurrency_max: count("POSTERN_REST_CONCURRENCY_MAX", 1024)?,
            connections_max: count("POSTERN_REST_CONNECTIONS_MAX", 4096)?,
            watchers_max: count("POSTERN_REST_WATCHERS_MAX", 256)?,
            header_timeout: env.duration("POSTERN_REST_HEADER_TIMEOUT", seconds(15))?,
            drain_timeout: env.duration("POSTERN_REST_DRAIN_TIMEOUT", seconds(30))?,
            x_ratelimit: env.switch("POSTERN_REST_X_RATELIMIT", true)?,
            legacy_ams_ban: env.switch("POSTERN_LEGACY_AMS_BAN", true)?,
        })
    }
}

fn tls(env: &Env) -> Result<Option<CertFiles>, EnvError> {
    let (cert, key) = ("POSTERN_REST_TLS_CERT", "POSTERN_REST_TLS_KEY");
    match (env.get(cert), env.get(key)) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(CertFiles { cert: cert.into(), key: key.into() })),
        (None, Some(_)) => Err(EnvError::new(cert, "is needed where POSTERN_REST_TLS_KEY is set")),
        (Some(_), None) => Err(EnvError::new(key, "is needed where POSTERN_REST_TLS_CERT is set")),
    }
}

/// The first port of a variable of the SMTP gateway, which reads it itself and says what is wrong with it.
fn smtp_port(env: &Env, name: &str, default: u16) -> Option<u16> {
    match env.list(name).first() {
        None => Some(default),
        Some(address) => address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
    }
}

fn positive(env: &Env, name: &str, default: usize) -> Result<usize, EnvError> {
    match env.parsed(name, default)? {
        0 => Err(EnvError::new(name, "must be at least 1")),
        value => Ok(value),
    }
}

/// Origins are written out: a wildcard would let any page send mail with a key it got hold of.
fn origins(env: &Env, name: &str) -> Result<Vec<HeaderValue>, EnvError> {
    let origin = |text: String| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let fits = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*']));
        HeaderValue::try_from(&text).ok().filter(|_| fits).ok_or_else(|| {
            let problem = format!("'{text}' is no origin; write https://app.example.com");
            EnvError::new(name, problem)
        })
    };
    env.list(name).into_iter().map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_tells_the_ports_that_are_open() {
        assert_eq!(
            RestConfig::from_env(&Env::default()).unwrap().smtp_ports,
            [Some(2587), Some(2465)]
        );
        let env = Env::from([
            ("POSTERN_SMTP_LISTEN", "[::]:587, [::]:2587"),
            ("POSTERN_SMTPS_LISTEN", "off"),
        ]);
        assert_eq!(RestConfig::from_env(&env).unwrap().smtp_ports, [Some(587), None]);
    }

    #[test]
    fn the_inbox_is_off_by_default_outside_loopback() {
        assert!(RestConfig::from_env(&Env::default()).unwrap().inbox);
        let open = Env::from([("POSTERN_REST_LISTEN", "0.0.0.0:8080")]);
        assert!(!RestConfig::from_env(&open).unwrap().inbox);
        let any = Env::from([("POSTERN_REST_CORS_ORIGINS", "https://a.example, *")]);
        assert_eq!(RestConfig::from_env(&any).unwrap_err().name, "POSTERN_REST_CORS_ORIGINS");
        let zero = Env::from([("POSTERN_REST_CONNECTIONS_MAX", "0")]);
        assert_eq!(RestConfig::from_env(&zero).unwrap_err().name, "POSTERN_REST_CONNECTIONS_MAX");
    }
}
