//! Hands a mail to somebody else's server and says how it went.
//!
//! A refusal, a broken connection and a domain without servers are all [`Outcome`]s; nothing here is
//! an error to the caller. A transport keeps connections and DNS answers in memory only. A crash
//! during an attempt leaves its outcome unknown: the delivery is attempted again once its lease has
//! expired. A connection that broke between the final dot and the reply is reported as deferred with
//! `may_duplicate`, which is the other way a recipient can get a mail twice.

mod mx;
mod relay;
pub mod postal;
pub mod choice;
pub mod config;
pub mod dns;
mod route;
mod pool;
mod permits;
mod health;
mod connect;
mod tls;
mod session;
mod dialogue;
mod wire;
mod transcript;
mod judge;
pub mod classify;
pub mod patterns;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;

pub use choice::{TransportChoice, TransportKind, Transports};
pub use config::{RelayConfig, TransportConfig};
pub use mx::Mx;
pub use postal::Postal;
pub use relay::Relay;

use crate::model::delivery::{Mail, Outcome};

/// A way out of this system.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Attempts one delivery. Takes as long as the remote side and the configured limits allow; the
    /// future may be dropped at any time, which closes the connection it was using.
    async fn deliver(&self, mail: Mail) -> Outcome;

    /// The lane of a recipient domain: deliveries in one lane go to the same servers and share
    /// their limits. May change once more is known about the domain; never waits.
    fn lane(&self, recipient_domain: &str) -> String;

    /// Whether an attempt may be made now. The error says when to ask again: until then the delivery
    /// waits, without an attempt being counted. Who is let in delivers at once.
    fn admit(&self) -> Result<(), Duration> {
        Ok(())
    }
}

/// A transport that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is no relay in the configuration.
    #[error("POSTERN_RELAY_URL is not set")]
    NoRelay,
    /// There is no Postal in the configuration.
    #[error("POSTERN_POSTAL_URL is not set")]
    NoPostal,
    /// No certificate authority is known, so no certificate could be verified.
    #[error("cannot load certificate authorities: {0}")]
    Roots(String),
    /// The name servers of the system cannot be read.
    #[error("cannot read the name servers of this system: {0}")]
    Dns(String),
}
