//! Hands mail to a Postal over its HTTP API, behind a circuit breaker.
//!
//! Postal does not recognise a mail that it is given twice, so one is only given again when Postal
//! certainly did not take the first, or when no report about it came for a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postern_proto::settings::{
    POSTAL_ASK_AFTER, POSTAL_BREAKER_FAILURES, POSTAL_BREAKER_OPEN_TIME,
    POSTAL_BREAKER_OPEN_TIME_MAX, POSTAL_TIMEOUT, POSTAL_UNKNOWN_WAIT,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{SetupError, Transport};
use crate::breaker::{Breaker, Condition, Limits};
use crate::directory::Directory;
use crate::model::delivery::{Category, Mail, Outcome, Phase, Reply};
use crate::postal::api::{Api, Fault};
use crate::postal::config::PostalConfig;

/// Between being let in and the call a mail is begun and built.
const PREPARATION_TIME_MAX: Duration = Duration::from_secs(15);

/// The transport.
pub struct Postal {
    api: Api,
    directory: Arc<Directory>,
    breaker: Mutex<Breaker>,
    condition: watch::Sender<Condition>,
}

impl Postal {
    /// Sets up delivery to the Postal of the configuration. Calls nobody yet. The limits of the breaker
    /// are live settings of `directory`.
    pub fn new(config: &PostalConfig, directory: Arc<Directory>) -> Result<Self, SetupError> {
        let api = config.api.as_ref().ok_or(SetupError::NoPostal)?;
        Ok(Self {
            api: Api::new(api, directory.in_force()).ok_or(SetupError::NoPostal)?,
            directory,
            breaker: Mutex::default(),
            condition: watch::Sender::new(Condition::Closed),
        })
    }

    /// How the breaker stands, whenever that changes.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    fn limits(&self) -> Limits {
        let snapshot = self.directory.now();
        let settings = snapshot.settings();
        Limits {
            failures: settings.small_count(&POSTAL_BREAKER_FAILURES),
            open_time: settings.time(&POSTAL_BREAKER_OPEN_TIME),
            open_time_max: settings.time(&POSTAL_BREAKER_OPEN_TIME_MAX),
            trial_time: settings.time(&POSTAL_TIMEOUT) + PREPARATION_TIME_MAX,
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the breaker how a call went, and others when it changes by that.
    fn note(&self, fault: Option<&Fault>) {
        let (now, limits) = (Instant::now(), self.limits());
        let mut breaker = self.breaker();
        match fault {
            None | Some(Fault::Refused(_) | Fault::NoMessage | Fault::Error(_)) => {
                if breaker.succeeded() {
                    tracing::info!("Postal answers again: mail for it goes on");
                }
            }
            Some(Fault::Configuration(why)) => {
                if let Some(pause) = breaker.trip(now, limits) {
                    let seconds = pause.as_secs_f64();
                    tracing::error!(
                        why,
                        seconds,
                        "Postal refuses this client: mend its credential or server there, or POSTERN_POSTAL_*; mail for it waits"
                    );
                }
            }
            Some(fault) => {
                if let Some(pause) = breaker.failed(now, limits) {
                    let seconds = pause.as_secs_f64();
                    tracing::warn!(%fault, seconds, "Postal fails: mail for it waits");
                }
            }
        }
        let condition = breaker.condition(now);
        drop(breaker);
        self.condition.send_if_modified(|old| std::mem::replace(old, condition) != condition);
    }

    fn outcome(&self, fault: &Fault) -> Outcome {
        let reply = Reply {
            text: fault.to_string(),
            host: self.api.host().to_owned(),
            phase: Phase::Local.name().to_owned(),
            ..Reply::default()
        };
        let deferred = |reply, category| {
            let may_duplicate = false;
            Outcome::Deferred { reply, category, may_duplicate }
        };
        match fault {
            Fault::Unreached(_) => deferred(reply, Category::Connection),
            Fault::Busy(_) => deferred(reply, Category::RateLimited),
            Fault::Configuration(_) => deferred(reply, Category::AuthFailed),
            Fault::Error(_) | Fault::NoMessage => deferred(reply, Category::Other),
            Fault::Refused(_) => Outcome::Refused { reply, category: Category::Policy },
            Fault::Late(_) | Fault::Unknown(_) => {
                let late = matches!(fault, Fault::Late(_));
                let category = if late { Category::Timeout } else { Category::Connection };
                let wait = self.directory.now().settings().time(&POSTAL_UNKNOWN_WAIT);
                Outcome::Unknown { reply, category, wait }
            }
        }
    }
}

#[async_trait]
impl Transport for Postal {
    async fn deliver(&self, mail: Mail) -> Outcome {
        let called = self.api.send_raw(&mail).await;
        self.note(called.as_ref().err());
        match called {
            Ok(ticket) => {
                let text = format!("Postal took it as message {}", ticket.id);
                let (host, phase) = (self.api.host().to_owned(), Phase::Data.name().to_owned());
                let reply = Reply { text, host, phase, ..Reply::default() };
                let ask_after = self.directory.now().settings().time(&POSTAL_ASK_AFTER);
                Outcome::Sent { reply, ticket, ask_after }
            }
            Err(fault) => self.outcome(&fault),
        }
    }

    /// One lane for all domains: it is Postal that sets the pace.
    fn lane(&self, _recipient_domain: &str) -> String {
        "postal".to_owned()
    }

    fn admit(&self) -> Result<(), Duration> {
        let limits = self.limits();
        self.breaker().admit(Instant::now(), limits)
    }
}
