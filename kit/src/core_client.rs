//! The gateways' way to the core: one channel, and requests that carry the caller's
//! credential, address and request id together with the proof that a gateway speaks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postern_proto::metadata;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;

use crate::env::{Env, EnvError};
use crate::in_process::CoreChannel;
use crate::trace::Trace;

/// HTTP/2 windows, set on purpose: the protocol's 64 KiB would stop a batch half way.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// A core that does not answer by then is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The secret that gateways share with the core. Its `Debug` form shows nothing.
#[derive(Clone)]
pub struct GatewayToken(Arc<str>);

impl GatewayToken {
    /// No token shorter than this is taken.
    pub const BYTES_MIN: usize = 32;

    /// Takes a token of at least [`Self::BYTES_MIN`] visible US-ASCII characters.
    pub fn new(text: &str) -> Result<Self, EnvError> {
        let name = "POSTERN_GATEWAY_TOKEN";
        if text.len() < Self::BYTES_MIN || !text.bytes().all(|b| b.is_ascii_graphic()) {
            let problem = format!("needs at least {} visible characters", Self::BYTES_MIN);
            return Err(EnvError::new(name, problem));
        }
        if text.contains("CHANGE_ME") {
            return Err(EnvError::new(name, "is still CHANGE_ME; generate a secret"));
        }
        Ok(Self(text.into()))
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for GatewayToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GatewayToken(…)")
    }
}

/// For whom a gateway calls.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The credential as the client sent it: `Bearer <key>`; empty when it sent none.
    pub authorization: String,
    /// The client's address.
    pub client_ip: Option<IpAddr>,
    /// The id of the request.
    pub request_id: String,
    /// The trace it belongs to; none lets the core begin one.
    pub trace: Option<Trace>,
}

/// A connection to the core for one gateway.
#[derive(Debug, Clone)]
pub struct CoreClient {
    /// The channel, to build service clients on.
    pub channel: CoreChannel,
    token: GatewayToken,
    door: &'static str,
}

impl CoreClient {
    /// Wraps a channel. `door` is `rest`, `smtp`, `sink` or `tracking`.
    pub fn new(channel: CoreChannel, token: GatewayToken, door: &'static str) -> Self {
        Self { channel, token, door }
    }

    /// The same connection for another door.
    #[must_use]
    pub fn with_door(&self, door: &'static str) -> Self {
        Self { door, ..self.clone() }
    }

    /// Whose it is.
    pub fn door(&self) -> &'static str {
        self.door
    }

    /// Connects on first use to the core at `POSTERN_CORE_URL`, with the token in
    /// `POSTERN_GATEWAY_TOKEN`.
    pub fn from_env(env: &Env, door: &'static str) -> Result<Self, EnvError> {
        let url = env.text("POSTERN_CORE_URL", "http://127.0.0.1:50051");
        let endpoint = Endpoint::from_shared(url)
            .map_err(|error| EnvError::new("POSTERN_CORE_URL", error.to_string()))?;
        let token = GatewayToken::new(env.required("POSTERN_GATEWAY_TOKEN")?)?;
        let timeout = env.duration("POSTERN_CORE_CONNECT_TIMEOUT", CONNECT_TIMEOUT)?;
        let endpoint = tuned(endpoint).connect_timeout(timeout);
        Ok(Self::new(CoreChannel::Remote(endpoint.connect_lazy()), token, door))
    }

    /// A request that carries the caller.
    pub fn request<T>(&self, message: T, caller: &Caller) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let entries = request.metadata_mut();
        entries.insert(metadata::DOOR, MetadataValue::from_static(self.door));
        let mut insert = |name: &'static str, value: &str| {
            // A value that cannot be metadata cannot be a valid credential either: the core then
            // sees none and refuses.
            if let Ok(mut value) = value.parse::<MetadataValue<Ascii>>() {
                value.set_sensitive(true);
                entries.insert(name, value);
            }
        };
        insert(metadata::GATEWAY_TOKEN, self.token.reveal());
        if !caller.authorization.is_empty() {
            insert(metadata::AUTHORIZATION, &caller.authorization);
        }
        if !caller.request_id.is_empty() {
            insert(metadata::REQUEST_ID, &caller.request_id);
        }
        if let Some(trace) = &caller.trace {
            insert(metadata::TRACEPARENT, &trace.parent());
        }
        if let Some(ip) = caller.client_ip {
            insert(metadata::CLIENT_IP, &ip.to_string());
        }
        request
    }
}

/// The settings every channel to the core shares.
pub fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_tokens_are_refused_by_name() {
        for weak in ["", "short", "CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME"] {
            let error = GatewayToken::new(weak).unwrap_err();
            assert_eq!(error.name, "POSTERN_GATEWAY_TOKEN");
        }
        let token = GatewayToken::new(&"x".repeat(32)).unwrap();
        assert_eq!(format!("{token:?}"), "GatewayToken(…)");
    }
}
