//! One call to AMS: JSON-RPC 2.0 over HTTP, answered in bounded time and size.
//!
//! State: connections kept open. What a crash cuts off may have been done: AMS knows an address's open
//! or click when it hears it again, and a mailing that is stopped stays so.

use std::fmt;
use std::time::Duration;

use postern_kit::env::{Env, EnvError};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::pin::{self, Fingerprint};
use crate::outgoing;

/// The longest answer that is read: `getMailings` tells of all of them.
const ANSWER_OCTETS_MAX: usize = 16 << 20;
/// Characters of an error that are kept.
const PROBLEM_CHARS_MAX: usize = 300;

const URL: &str = "POSTERN_AMS_URL";
const KEY: &str = "POSTERN_AMS_KEY";
const PIN: &str = "POSTERN_AMS_CERT_SHA256";
const TIMEOUT: &str = "POSTERN_AMS_TIMEOUT";

/// Where AMS is and how it knows us.
#[derive(Clone)]
pub struct AmsConfig {
    url: Url,
    key: String,
    pin: Option<Fingerprint>,
    /// One call; AMS works on one command at a time.
    timeout: Duration,
}

impl fmt::Debug for AmsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmsConfig({}, …)", self.url)
    }
}

impl AmsConfig {
    /// Reads `POSTERN_AMS_URL` and the variables beside it; none without a url.
    pub fn from_env(env: &Env) -> Result<Option<Self>, EnvError> {
        let Some(text) = env.get(URL) else { return Ok(None) };
        let url = Url::parse(text).ok().filter(|url| {
            let plain = url.username().is_empty() && url.password().is_none();
            matches!(url.scheme(), "http" | "https") && url.has_host() && plain
        });
        let url = url.ok_or_else(|| {
            EnvError::new(URL, "needs the url of the AMS API: https://ams.example:443/api/v1")
        })?;
        let pin = env
            .get(PIN)
            .map(|text| text.parse().map_err(|problem: String| EnvError::new(PIN, problem)));
        let pin = pin.transpose()?;
        if pin.is_some() && url.scheme() != "https" {
            return Err(EnvError::new(PIN, format!("is of no use: {URL} is not https")));
        }
        let timeout = env.duration(TIMEOUT, Duration::from_secs(30))?;
        Ok(Some(Self { url, key: env.required(KEY)?.to_owned(), pin, timeout }))
    }
}

/// AMS did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmsError {
    /// Nobody knows whether it was done: asking again is right.
    #[error("AMS cannot be reached: {0}")]
    Unreachable(String),
    /// AMS answered and said no.
    #[error("AMS refused ({code}): {message}")]
    Refused {
        /// The code of JSON-RPC. AMS uses -32603 for ordinary failures too.
        code: i64,
        /// What it said.
        message: String,
    },
}

/// A client of AMS.
#[derive(Debug, Clone)]
pub struct Ams {
    config: AmsConfig,
    http: reqwest::Client,
}

impl Ams {
    /// A client; connects when it is used.
    pub fn new(config: AmsConfig) -> Result<Self, AmsError> {
        let wrong = |error: &dyn fmt::Display| AmsError::Unreachable(error.to_string());
        let mut builder = outgoing::builder().timeout(config.timeout).user_agent("Postern-AMS/1");
        if let Some(fingerprint) = config.pin {
            let tls = pin::client(fingerprint).map_err(|error| wrong(&error))?;
            builder = builder.tls_backend_preconfigured(tls);
        }
        let http = builder.build().map_err(|error| wrong(&error))?;
        Ok(Self { config, http })
    }

    /// Calls a method. `params` is an object; the key is added to it.
    pub async fn call(&self, method: &str, mut params: Value) -> Result<Value, AmsError> {
        let id = Uuid::now_v7().to_string();
        params["apiKey"] = self.config.key.as_str().into();
        let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let request = self.http.post(self.config.url.clone()).json(&call);
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let answer = outgoing::body(&mut response, ANSWER_OCTETS_MAX).await.map_err(unreachable)?;
        let too_long = || AmsError::Unreachable("its answer has more than 16 MiB".to_owned());
        let answer = answer.ok_or_else(too_long)?;
        read(&answer, &id).unwrap_or_else(|| {
            Err(AmsError::Unreachable(format!("HTTP {status} without an answer to the call")))
        })
    }
}

/// Reads an answer; none when it is none to this call.
fn read(answer: &[u8], id: &str) -> Option<Result<Value, AmsError>> {
    let mut answer: Value = serde_json::from_slice(answer).ok()?;
    if answer["id"] != id {
        return None;
    }
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        let message = error["message"].as_str().unwrap_or_default();
        let message = message.chars().take(PROBLEM_CHARS_MAX).collect();
        let code = error["code"].as_i64().unwrap_or_default();
        return Some(Err(AmsError::Refused { code, message }));
    }
    answer.get_mut("result").map(|result| Ok(result.take()))
}

fn unreachable(error: reqwest::Error) -> AmsError {
    AmsError::Unreachable(outgoing::cause(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only an answer to the call counts, and a problem it tells of is short.
    #[test]
    fn fuzz_ams_answer() {
        postern_fuzz::check!("ams_answer", |input| match read(input, "7") {
            None => {}
            Some(answer) => {
                assert!(input.contains(&b'7'));
                assert!(read(input, "8").is_none());
                if let Err(AmsError::Refused { message, .. }) = answer {
                    assert!(message.chars().count() <= PROBLEM_CHARS_MAX);
                }
            }
        });
    }

    #[test]
    fn only_the_answer_to_the_call_counts() {
        let read = |text: &str| read(text.as_bytes(), "7");
        assert_eq!(read(r#"{"id":"7","result":"OK"}"#), Some(Ok(json!("OK"))));
        assert_eq!(read(r#"{"id":"7","error":null,"result":null}"#), Some(Ok(Value::Null)));
        let refused = AmsError::Refused { code: -32603, message: "no such mailing".to_owned() };
        let answer = r#"{"id":"7","error":{"code":-32603,"message":"no such mailing"}}"#;
        assert_eq!(read(answer), Some(Err(refused)));
        for none in ["", "{}", "<html>", r#"{"id":"8","result":"OK"}"#, r#"{"id":"7"}"#, "[]"] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn a_wrong_configuration_is_named() {
        let from = |pairs: &[(&str, &str)]| {
            let with = |env: Env, (name, value): &(&str, &str)| env.with(name, *value);
            AmsConfig::from_env(&pairs.iter().fold(Env::default(), with))
        };
        assert!(from(&[]).unwrap().is_none());
        let (url, key) = ((URL, "https://ams.test/api/v1"), (KEY, "secret"));
        let config = from(&[url, key]).unwrap().unwrap();
        assert!(!format!("{config:?}").contains("secret"));
        for (pairs, named) in [
            (vec![url], KEY),
            (vec![url, key, (TIMEOUT, "soon")], TIMEOUT),
            (vec![(URL, "ams.test"), key], URL),
            (vec![(URL, "https://me:pw@ams.test/"), key], URL),
            (vec![url, key, (PIN, "ab")], PIN),
            (vec![(URL, "http://ams.test/"), key, (PIN, &"ab".repeat(32))], PIN),
        ] {
            let problem = from(&pairs).unwrap_err().to_string();
            assert!(problem.contains(named), "{problem}");
        }
    }
}
