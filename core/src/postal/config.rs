//! How Postal is reached and how its webhooks are verified. Read once at the start; a mistake names
//! its variable.

use std::path::Path;
use std::time::Duration;

use postern_kit::env::{Env, EnvError};
use url::{Host, Url};

use super::keys::{self, Key};

const URL: &str = "POSTERN_POSTAL_URL";
const API_KEY: &str = "POSTERN_POSTAL_API_KEY";
const API_KEY_FILE: &str = "POSTERN_POSTAL_API_KEY_FILE";
const HOST: &str = "POSTERN_POSTAL_HOST";
const ENDPOINT: &str = "POSTERN_POSTAL_ENDPOINT";
const ENDPOINT_ONLY: &str = "POSTERN_POSTAL_ENDPOINT_ONLY";
const WEBHOOK_KEY: &str = "POSTERN_POSTAL_WEBHOOK_KEY";
const WEBHOOK_KEY_FILE: &str = "POSTERN_POSTAL_WEBHOOK_KEY_FILE";
const JWKS_URL: &str = "POSTERN_POSTAL_JWKS_URL";

/// Nobody guesses a shorter path.
const ENDPOINT_CHARS_MIN: usize = 16;
const ENDPOINT_CHARS_MAX: usize = 128;
/// A file of keys is small.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// Postal, as far as it is configured.
#[derive(Debug, Clone)]
pub struct PostalConfig {
    /// Its HTTP API; none when no mail goes there.
    pub api: Option<ApiConfig>,
    /// Its webhooks.
    pub hook: HookConfig,
}

/// Where mail is handed over.
#[derive(Clone)]
pub struct ApiConfig {
    /// `POSTERN_POSTAL_URL`: the address of its web process, without a path.
    pub url: Url,
    /// `POSTERN_POSTAL_API_KEY` or the content of `POSTERN_POSTAL_API_KEY_FILE`: a credential of type
    /// API. Never logged.
    pub key: String,
    /// `POSTERN_POSTAL_HOST`: its `web_hostname`, where the url has another name for it.
    pub host: Option<String>,
}

impl std::fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiConfig({}, …)", self.url)
    }
}

/// Which webhooks are believed.
#[derive(Debug, Clone, Default)]
pub struct HookConfig {
    /// The public keys of `POSTERN_POSTAL_WEBHOOK_KEY` and `POSTERN_POSTAL_WEBHOOK_KEY_FILE`.
    pub keys: Vec<Key>,
    /// `POSTERN_POSTAL_JWKS_URL`: where further keys are fetched; https, or http on this machine.
    pub jwks_url: Option<Url>,
    /// `POSTERN_POSTAL_JWKS_INTERVAL`, default 5m: they are fetched at most this often.
    pub jwks_interval: Duration,
    /// `POSTERN_POSTAL_ALLOW_SHA1`, default off: believe servers before Postal 3.2 that sign with
    /// SHA-1 only.
    pub allow_sha1: bool,
    /// `POSTERN_POSTAL_ENDPOINT`: the last part of `/v1/postal/webhooks/{endpoint}`, which nobody else
    /// knows; none: there is no such path.
    pub endpoint: Option<String>,
    /// `POSTERN_POSTAL_ENDPOINT_ONLY`, default off: the old path takes nothing.
    pub endpoint_only: bool,
}

impl PostalConfig {
    /// Reads the variables named on the fields.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        Ok(Self { api: env.get(URL).map(|url| api(env, url)).transpose()?, hook: hook(env)? })
    }
}

fn api(env: &Env, url: &str) -> Result<ApiConfig, EnvError> {
    let wrong = || EnvError::new(URL, "needs the url of Postal: https://postal.example.com");
    let url = Url::parse(url).map_err(|_| wrong())?;
    let no_login = url.username().is_empty() && url.password().is_none();
    let plain = url.path() == "/" && url.query().is_none() && no_login;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
        return Err(wrong());
    }
    let key = match (env.get(API_KEY), env.get(API_KEY_FILE)) {
        (Some(_), Some(_)) => {
            return Err(EnvError::new(API_KEY_FILE, "and its value are both set"));
        }
        (Some(key), None) => key.to_owned(),
        (None, Some(path)) => read(API_KEY_FILE, path)?.trim().to_owned(),
        (None, None) => return Err(EnvError::new(API_KEY, "is not set, nor is its _FILE")),
    };
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(EnvError::new(
            API_KEY,
            "needs an API credential of Postal: visible characters",
        ));
    }
    if key.contains("CHANGE_ME") {
        return Err(EnvError::new(API_KEY, "is still CHANGE_ME; make a credential in Postal"));
    }
    let host = env.get(HOST).map(str::to_owned);
    let host_char = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
    if host.as_ref().is_some_and(|host| !host.bytes().all(host_char)) {
        return Err(EnvError::new(HOST, "is not a host name in ASCII"));
    }
    Ok(ApiConfig { url, key, host })
}

fn hook(env: &Env) -> Result<HookConfig, EnvError> {
    let mut found = Vec::new();
    if let Some(text) = env.get(WEBHOOK_KEY) {
        // In one line, line breaks are often written as \n.
        let text = text.replace("\\n", "\n");
        found
            .extend(keys::parse(&text).map_err(|bad| EnvError::new(WEBHOOK_KEY, bad.to_string()))?);
    }
    for path in env.list(WEBHOOK_KEY_FILE) {
        let parsed = keys::parse(&read(WEBHOOK_KEY_FILE, &path)?);
        let wrong = |bad| EnvError::new(WEBHOOK_KEY_FILE, format!("{path}: {bad}"));
        found.extend(parsed.map_err(wrong)?);
    }
    let endpoint = env.get(ENDPOINT).map(str::to_owned);
    let path_char = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let fits = |text: &String| {
        (ENDPOINT_CHARS_MIN..=ENDPOINT_CHARS_MAX).contains(&text.len())
            && text.bytes().all(path_char)
            && !text.contains("CHANGE_ME")
    };
    if endpoint.as_ref().is_some_and(|text| !fits(text)) {
        let problem = "needs 16 to 128 random letters, digits, - and _";
        return Err(EnvError::new(ENDPOINT, problem));
    }
    let endpoint_only = env.switch(ENDPOINT_ONLY, false)?;
    if endpoint_only && endpoint.is_none() {
        return Err(EnvError::new(ENDPOINT_ONLY, format!("needs {ENDPOINT}")));
    }
    Ok(HookConfig {
        keys: found,
        jwks_url: env.get(JWKS_URL).map(jwks_url).transpose()?,
        jwks_interval: env.duration("POSTERN_POSTAL_JWKS_INTERVAL", Duration::from_secs(300))?,
        allow_sha1: env.switch("POSTERN_POSTAL_ALLOW_SHA1", false)?,
        endpoint,
        endpoint_only,
    })
}

/// Whoever can change the keys on their way can forge every report.
fn jwks_url(text: &str) -> Result<Url, EnvError> {
    let wrong = || EnvError::new(JWKS_URL, "needs an https url, or http on this machine");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_here = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    };
    let fits = url.scheme() == "https" || (url.scheme() == "http" && is_here);
    if fits { Ok(url) } else { Err(wrong()) }
}

fn read(variable: &str, path: &str) -> Result<String, EnvError> {
    let wrong = |problem: String| EnvError::new(variable, format!("{path}: {problem}"));
    let size = std::fs::metadata(Path::new(path)).map_err(|error| wrong(error.to_string()))?.len();
    if size > KEY_FILE_BYTES_MAX {
        return Err(wrong(format!(
            "has {size} octets; such a file has at most {KEY_FILE_BYTES_MAX}"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<const N: usize>(vars: [(&str, &str); N]) -> String {
        PostalConfig::from_env(&Env::from(vars)).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_name_their_variable() {
        assert!(problem([(URL, "postal.example.com")]).starts_with(URL));
        assert!(problem([(URL, "https://p.example/x"), (API_KEY, "k")]).starts_with(URL));
        assert!(problem([(URL, "https://p.example")]).starts_with(API_KEY));
        assert!(
            problem([(URL, "https://p.example"), (API_KEY, "CHANGE_ME")]).contains("CHANGE_ME")
        );
        assert!(problem([(ENDPOINT, "short")]).starts_with(ENDPOINT));
        assert!(problem([(ENDPOINT_ONLY, "on")]).starts_with(ENDPOINT_ONLY));
        assert!(problem([(JWKS_URL, "http://p.example/jwks.json")]).starts_with(JWKS_URL));
        assert!(problem([(WEBHOOK_KEY, "no key")]).starts_with(WEBHOOK_KEY));
        assert!(problem([(WEBHOOK_KEY_FILE, "/nowhere")]).contains("/nowhere"));
    }

    #[test]
    fn the_key_of_the_api_is_not_shown() {
        let env = Env::from([(URL, "https://p.example"), (API_KEY, "very-secret")]);
        let config = PostalConfig::from_env(&env).unwrap();
        assert_eq!(config.api.as_ref().unwrap().key, "very-secret");
        assert!(!format!("{config:?}").contains("very-secret"));
    }
}
