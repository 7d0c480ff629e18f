//! All mail to one smart host.
//!
//! Whether it could be reached the last time is kept in memory; a crash forgets it.

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::config::TransportConfig;
use super::connect::{Connector, Target};
use super::pool::{Attempt, Pool};
use super::{SetupError, Transport, tls};
use crate::in_force::InForce;
use crate::model::delivery::{Mail, Outcome};

/// Hands every mail to the configured relay, which finds the recipients' servers.
pub struct Relay {
    target: Target,
    pool: Pool,
    /// Why it could not be reached the last time; none when it could.
    away: watch::Sender<Option<String>>,
}

impl Relay {
    /// Sets up delivery to `config.relay`. Connects to nothing yet.
    pub fn new(config: &TransportConfig, settings: InForce) -> Result<Self, SetupError> {
        let relay = config.relay.clone().ok_or(SetupError::NoRelay)?;
        let connector = Connector {
            helo_name: config.helo_name.clone(),
            settings,
            unverified: tls::unverified(),
            verified: tls::verified(relay.ca_file.as_deref())?,
        };
        let target = Target {
            host: relay.host,
            port: relay.port,
            tls: relay.tls,
            login: relay.login,
            addresses: None,
        };
        Ok(Self { target, pool: Pool::new(connector), away: watch::Sender::default() })
    }

    /// Why it could not be reached the last time; none when it could.
    pub fn away(&self) -> watch::Receiver<Option<String>> {
        self.away.subscribe()
    }
}

#[async_trait]
impl Transport for Relay {
    async fn deliver(&self, mail: Mail) -> Outcome {
        let until = Instant::now() + self.pool.reach();
        match self.pool.deliver(&self.target, &mail, until).await {
            Attempt::Answered(outcome) => {
                // Looked at first: mails that are answered have nothing to exchange, and need not wait in turn.
                if self.away.borrow().is_some() {
                    self.away.send_replace(None);
                }
                outcome
            }
            Attempt::Unreached(mut outcome) => {
                self.away.send_replace(Some(outcome.reply_mut().text.clone()));
                outcome
            }
        }
    }

    /// One lane for all domains: it is the relay that sets the pace.
    fn lane(&self, _recipient_domain: &str) -> String {
        format!("relay:{}", self.target.key())
    }
}
