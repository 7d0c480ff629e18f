//! Which way a mail takes: one transport for all, others for the sender domains that have their own.
//!
//! Settled at the start from the configuration; a crash changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use postern_kit::env::{Env, EnvError};

use super::{Mx, Postal, Relay, SetupError, Transport, TransportConfig};
use crate::intake::address;
use crate::model::content::domain_of;
use crate::model::message::Claimed;

const DEFAULT: &str = "POSTERN_TRANSPORT";
const BY_SENDER: &str = "POSTERN_TRANSPORT_DOMAINS";

/// Where mail goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransportKind {
    /// To the local inbox.
    Sink,
    /// To a smart host.
    Relay,
    /// To the recipients' servers.
    Mx,
    /// To a Postal over its HTTP API.
    Postal,
}

impl TransportKind {
    const ALL: [Self; 4] = [Self::Sink, Self::Relay, Self::Mx, Self::Postal];

    /// The word in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::Relay => "relay",
            Self::Mx => "mx",
            Self::Postal => "postal",
        }
    }

    fn parse(variable: &str, text: &str) -> Result<Self, EnvError> {
        let problem = || format!("'{text}' is none of sink, relay, mx, postal");
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| EnvError::new(variable, problem()))
    }
}

/// What the operator chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportChoice {
    default: TransportKind,
    /// By sender domain, as A-labels in lower case.
    by_sender: BTreeMap<String, TransportKind>,
}

impl TransportChoice {
    /// Reads `POSTERN_TRANSPORT` and `POSTERN_TRANSPORT_DOMAINS`.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let default = TransportKind::parse(DEFAULT, &env.text(DEFAULT, "sink"))?;
        let mut choice = Self { default, by_sender: BTreeMap::new() };
        for entry in env.list(BY_SENDER) {
            let wrong = |problem: String| EnvError::new(BY_SENDER, problem);
            let (domain, kind) = entry
                .split_once('=')
                .ok_or_else(|| wrong(format!("'{entry}' is not domain=transport")))?;
            let kind = TransportKind::parse(BY_SENDER, kind.trim())?;
            let domain = address::parse_domain(domain.trim())
                .map_err(|problem| wrong(format!("'{entry}' {problem}")))?;
            if choice.by_sender.insert(domain, kind).is_some() {
                return Err(wrong(format!("'{entry}' names a domain a second time")));
            }
        }
        if choice.has(TransportKind::Relay) {
            env.required("POSTERN_RELAY_URL")?;
        }
        if choice.has(TransportKind::Postal) {
            env.required("POSTERN_POSTAL_URL")?;
        }
        Ok(choice)
    }

    /// Whether no mail ever leaves this machine.
    pub fn is_local(&self) -> bool {
        TransportKind::ALL.into_iter().all(|kind| kind == TransportKind::Sink || !self.has(kind))
    }

    fn has(&self, kind: TransportKind) -> bool {
        self.default == kind || self.by_sender.values().any(|other| *other == kind)
    }
}

impl fmt::Display for TransportChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.default.name())?;
        for (domain, kind) in &self.by_sender {
            write!(f, ", from {domain}: {}", kind.name())?;
        }
        Ok(())
    }
}

/// The transports of this process; each kind exists once, so its limits hold over all domains.
pub struct Transports {
    sink: Arc<dyn Transport>,
    default: Arc<dyn Transport>,
    by_sender: HashMap<String, Arc<dyn Transport>>,
}

impl Transports {
    /// Sets up what was chosen. `sink` is the local inbox, `postal` the Postal where there is one;
    /// `seed` is for [`Mx::new`].
    pub fn new(
        choice: &TransportChoice,
        config: &TransportConfig,
        sink: Arc<dyn Transport>,
        postal: Option<Arc<Postal>>,
        seed: u64,
    ) -> Result<Self, SetupError> {
        let mut made: HashMap<TransportKind, Arc<dyn Transport>> = HashMap::new();
        for kind in TransportKind::ALL.into_iter().filter(|kind| choice.has(*kind)) {
            let transport: Arc<dyn Transport> = match kind {
                TransportKind::Sink => sink.clone(),
                TransportKind::Relay => Arc::new(Relay::new(config)?),
                TransportKind::Mx => Arc::new(Mx::new(config, seed)?),
                TransportKind::Postal => postal.clone().ok_or(SetupError::NoPostal)?,
            };
            made.insert(kind, transport);
        }
        let by_sender = choice.by_sender.iter();
        let by_sender = by_sender.map(|(domain, kind)| (domain.clone(), made[kind].clone()));
        let (by_sender, default) = (by_sender.collect(), made[&choice.default].clone());
        Ok(Self { sink, default, by_sender })
    }

    /// The way of a delivery. Mail of test keys never leaves.
    pub fn of(&self, claimed: &Claimed) -> &dyn Transport {
        if claimed.test {
            return &*self.sink;
        }
        if self.by_sender.is_empty() {
            return &*self.default;
        }
        &**self.by_sender.get(&domain_of(&claimed.sender)).unwrap_or(&self.default)
    }
}
