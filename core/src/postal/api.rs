//! Calls to Postal's HTTP API. Postal answers HTTP 200 also when it refuses, so only the envelope
//! tells what happened.
//!
//! No state but a pool of connections. A call that a crash cuts off may have been carried out.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_proto::settings::POSTAL_TIMEOUT;
use reqwest::header::{CONTENT_TYPE, HOST, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::config::ApiConfig;
use crate::in_force::InForce;
use crate::model::delivery::{Mail, Ticket};
use crate::outgoing;

/// Answers are small; more than this is not read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Characters of a code or text of Postal's that are shown.
const SHOWN_CHARS_MAX: usize = 200;

/// Codes that say that our credential or our server is at fault, not the mail.
const CONFIGURATION_CODES: [&str; 3] = ["ServerSuspended", "AccessDenied", "InvalidServerAPIKey"];
/// The codes with which Postal refuses one message.
const REFUSAL_CODES: [&str; 9] = [
    "NoRecipients",
    "TooManyToAddresses",
    "TooManyCCAddresses",
    "TooManyBCCAddresses",
    "NoContent",
    "FromAddressMissing",
    "UnauthenticatedFromAddress",
    "AttachmentMissingName",
    "AttachmentMissingData",
];

/// Why a call did not succeed. The texts hold no secret and may be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It did not reach Postal: nothing was done.
    #[error("Postal cannot be reached: {0}")]
    Unreached(String),
    /// A proxy or Postal has too much to do: nothing was done.
    #[error("Postal answers HTTP {0}")]
    Busy(u16),
    /// The request left, and its outcome is not known.
    #[error("it is not known what Postal did: {0}")]
    Unknown(String),
    /// No answer came in time; as [`Self::Unknown`].
    #[error("it is not known what Postal did: no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// Our credential, the server in Postal, or our configuration is at fault; nothing was done.
    #[error("Postal refuses this client: {0}")]
    Configuration(String),
    /// Postal does not take this message.
    #[error("Postal refuses the message: {0}")]
    Refused(String),
    /// Postal has no such message.
    #[error("Postal knows no such message")]
    NoMessage,
    /// Postal reports another error; nothing was done.
    #[error("Postal reports an error: {0}")]
    Error(String),
}

/// One attempt of Postal's to deliver a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Attempt {
    /// Its number.
    pub id: i64,
    /// `Sent`, `SoftFail`, `HardFail`, `Held`, `Bounced`, …
    pub status: String,
    /// What Postal says about it.
    #[serde(default, deserialize_with = "text_or_null")]
    pub details: String,
    /// What the recipient's server said.
    #[serde(default, deserialize_with = "text_or_null")]
    pub output: String,
}

/// A null reads as an empty text.
pub(super) fn text_or_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Value,
}

/// A client of one mail server in Postal.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    config: ApiConfig,
    key: HeaderValue,
    host: Option<HeaderValue>,
    settings: InForce,
}

impl Api {
    /// A client; calls nobody yet. None when the header fields cannot be made or TLS cannot be set up.
    pub fn new(config: &ApiConfig, settings: InForce) -> Option<Self> {
        // The Host field can be chosen in HTTP/1.1 only.
        let client = outgoing::builder().http1_only();
        let mut key = HeaderValue::from_str(&config.key).ok()?;
        key.set_sensitive(true);
        let host = config.host.as_deref().map(HeaderValue::from_str).transpose().ok()?;
        Some(Self { client: client.build().ok()?, config: config.clone(), key, host, settings })
    }

    /// The host that is called, for the record.
    pub fn host(&self) -> &str {
        self.config.url.host_str().unwrap_or_default()
    }

    /// `send/raw`: hands a mail over.
    pub async fn send_raw(&self, mail: &Mail) -> Result<Ticket, Fault> {
        let data = STANDARD.encode(&mail.bytes);
        let body = json!({"mail_from": mail.from, "rcpt_to": [mail.to], "data": data});
        let data = self.call("send/raw", &body).await?;
        let messages = data["messages"].as_object();
        let messages = messages.ok_or_else(|| Fault::Unknown("it names no message".to_owned()))?;
        // We asked about one recipient; Postal may spell the address in its own way.
        let exact = messages.iter().find(|(address, _)| address.eq_ignore_ascii_case(&mail.to));
        let found = exact.or_else(|| messages.iter().next().filter(|_| messages.len() == 1));
        let ticket = found.and_then(|(_, message)| {
            let token = message["token"].as_str().filter(|token| !token.is_empty())?;
            Some(Ticket { id: message["id"].as_i64()?, token: token.to_owned() })
        });
        ticket.ok_or_else(|| Fault::Unknown("it gives no id and token".to_owned()))
    }

    /// `messages/deliveries`: the attempts at a message, oldest first.
    pub async fn attempts(&self, id: i64) -> Result<Vec<Attempt>, Fault> {
        let data = self.call("messages/deliveries", &json!({"id": id})).await?;
        serde_json::from_value(data).map_err(|error| Fault::Unknown(error.to_string()))
    }

    async fn call(&self, method: &str, body: &Value) -> Result<Value, Fault> {
        let mut url = self.config.url.clone();
        let limit = self.settings.now().time(&POSTAL_TIMEOUT);
        url.set_path(&format!("/api/v1/{method}"));
        let mut request = self
            .client
            .post(url)
            .timeout(limit)
            .header(CONTENT_TYPE, "application/json")
            .header("x-server-api-key", self.key.clone())
            .body(body.to_string());
        if let Some(host) = &self.host {
            request = request.header(HOST, host.clone());
        }
        let mut response = request.send().await.map_err(|error| broken(&error, limit))?;
        let status = response.status().as_u16();
        let body = outgoing::body(&mut response, ANSWER_BYTES_MAX).await;
        let body = body.map_err(|error| broken(&error, limit))?;
        let foreign = || Fault::Unknown("the answer is not Postal's".to_owned());
        let body = body.ok_or_else(foreign)?;
        judge(status, &body)
    }
}

/// What a call came to that got no answer within `limit`.
fn broken(error: &reqwest::Error, limit: Duration) -> Fault {
    if error.is_connect() {
        return Fault::Unreached(outgoing::cause(error));
    }
    if error.is_timeout() {
        return Fault::Late(limit);
    }
    if error.is_builder() {
        return Fault::Configuration(outgoing::cause(error));
    }
    Fault::Unknown(outgoing::cause(error))
}

/// What an answer means. Pure.
fn judge(status: u16, body: &[u8]) -> Result<Value, Fault> {
    match status {
        200 => {}
        // Says of itself that it did nothing.
        429 | 503 => return Err(Fault::Busy(status)),
        // The wrong place, or not the host name that it expects.
        301..=308 | 401 | 403 | 404 | 405 => {
            return Err(Fault::Configuration(format!("HTTP {status}")));
        }
        _ => return Err(Fault::Unknown(format!("HTTP {status}"))),
    }
    let envelope: Envelope = serde_json::from_slice(body)
        .map_err(|_| Fault::Unknown("the answer is not Postal's".to_owned()))?;
    // Only code and message are shown: beside them Postal repeats the key.
    let code = shown(envelope.data["code"].as_str().unwrap_or_default());
    let message = shown(envelope.data["message"].as_str().unwrap_or_default());
    let text = match (code.as_str(), message.as_str()) {
        ("", "") => "without a reason".to_owned(),
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    match envelope.status.as_str() {
        "success" => Ok(envelope.data),
        "parameter-error" => Err(Fault::Refused(text)),
        "error" if code == "MessageNotFound" => Err(Fault::NoMessage),
        "error" if CONFIGURATION_CODES.contains(&code.as_str()) => Err(Fault::Configuration(code)),
        "error" if REFUSAL_CODES.contains(&code.as_str()) => Err(Fault::Refused(text)),
        "error" => Err(Fault::Error(text)),
        _ => Err(Fault::Unknown("the answer is not Postal's".to_owned())),
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str) -> Result<Value, Fault> {
        let body = json!({"status": "error", "data": {"code": code, "token": "very-secret"}});
        judge(200, body.to_string().as_bytes())
    }

    #[test]
    fn a_200_is_only_a_success_when_the_envelope_says_so() {
        let success = json!({"status": "success", "data": {"a": 1}}).to_string();
        assert_eq!(judge(200, success.as_bytes()), Ok(json!({"a": 1})));
        for code in CONFIGURATION_CODES {
            assert_eq!(error(code), Err(Fault::Configuration(code.to_owned())), "no key is shown");
        }
        assert_eq!(
            error("UnauthenticatedFromAddress"),
            Err(Fault::Refused("UnauthenticatedFromAddress".to_owned()))
        );
        assert_eq!(error("MessageNotFound"), Err(Fault::NoMessage));
        assert!(matches!(error("Something"), Err(Fault::Error(_))), "new codes may pass");
        let parameter = json!({"status": "parameter-error", "data": {"message": "`data` missing"}});
        let parameter = judge(200, parameter.to_string().as_bytes());
        assert_eq!(parameter, Err(Fault::Refused("`data` missing".to_owned())));
    }

    #[test]
    fn what_was_not_answered_by_postal_is_unknown_unless_it_says_that_nothing_was_done() {
        for status in [400, 500, 502, 504] {
            assert!(matches!(judge(status, b""), Err(Fault::Unknown(_))), "{status}");
        }
        for body in ["", "<html>", "{}", r#"{"status":"strange"}"#] {
            assert!(matches!(judge(200, body.as_bytes()), Err(Fault::Unknown(_))), "{body}");
        }
        assert_eq!(judge(503, b""), Err(Fault::Busy(503)));
        for status in [302, 403, 404] {
            assert!(matches!(judge(status, b""), Err(Fault::Configuration(_))), "{status}");
        }
    }
}
