//! Which way a mail takes: one transport for all, others for the sender domains that have their own.
//!
//! Which ways there are is settled at the start from the configuration; which one is for all is a live
//! setting. A crash changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postern_kit::env::{Env, EnvError};
use postern_proto::settings::{Settings, TRANSPORT};
use tokio::sync::watch;

use super::{Mx, Postal, Relay, SetupError, Transport, TransportConfig};
use crate::in_force::InForce;
use crate::intake::address;
use crate::model::content::domain_of;
use crate::model::delivery::{Category, Mail, Outcome, Reply};
use crate::model::message::Claimed;

const DEFAULT: &str = "POSTERN_TRANSPORT";
const BY_SENDER: &str = "POSTERN_TRANSPORT_DOMAINS";
/// What has to be set where mail is to go there.
const NEEDS: [(TransportKind, &str); 2] =
    [(TransportKind::Relay, "POSTERN_RELAY_URL"), (TransportKind::Postal, "POSTERN_POSTAL_URL")];
/// How long mail waits for a transport that this core does not have.
const MISSING_WAIT: Duration = Duration::from_secs(30);

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
    /// In the order in which the setting has their names.
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
    /// Those that are set up, whether mail goes there or not.
    configured: BTreeSet<TransportKind>,
    /// By sender domain, as A-labels in lower case.
    by_sender: BTreeMap<String, TransportKind>,
}

impl TransportChoice {
    /// Reads `POSTERN_TRANSPORT` and `POSTERN_TRANSPORT_DOMAINS`.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let default = TransportKind::parse(DEFAULT, &env.text(DEFAULT, "sink"))?;
        let mut configured = BTreeSet::from([TransportKind::Sink, TransportKind::Mx]);
        for (kind, variable) in NEEDS {
            configured.extend(env.get(variable).map(|_| kind));
        }
        let mut choice = Self { configured, by_sender: BTreeMap::new() };
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
        for (kind, variable) in NEEDS {
            if default == kind || choice.by_sender.values().any(|other| *other == kind) {
                env.required(variable)?;
            }
        }
        Ok(choice)
    }

    /// Whether no mail ever leaves this machine.
    pub fn is_local(&self, settings: &Settings) -> bool {
        let stays = |kind: &TransportKind| *kind == TransportKind::Sink;
        stays(&for_all(settings)) && self.by_sender.values().all(stays)
    }

    /// Why the setting cannot have this value on this core; none when it can.
    pub fn problem(&self, value: i64) -> Option<String> {
        let kind = *TransportKind::ALL.get(usize::try_from(value).ok()?)?;
        let (_, variable) = NEEDS.into_iter().find(|(needy, _)| *needy == kind)?;
        let name = kind.name();
        (!self.configured.contains(&kind)).then(|| {
            format!("{name} is not set up here; set {variable} on every core and start it again")
        })
    }

    /// The transports in words.
    pub fn describe(&self, settings: &Settings) -> String {
        let mut text = for_all(settings).name().to_owned();
        for (domain, kind) in &self.by_sender {
            text.push_str(&format!(", from {domain}: {}", kind.name()));
        }
        text
    }
}

/// The transport of sender domains that have none of their own.
fn for_all(settings: &Settings) -> TransportKind {
    let place = settings.count(&TRANSPORT);
    TransportKind::ALL.get(place).copied().unwrap_or(TransportKind::Sink)
}

/// The transports of this process; each kind exists once, so its limits hold over all domains.
pub struct Transports {
    choice: TransportChoice,
    settings: InForce,
    made: HashMap<TransportKind, Arc<dyn Transport>>,
    missing: Missing,
    relay_away: Option<watch::Receiver<Option<String>>>,
}

impl Transports {
    /// Sets up what is configured. `sink` is the local inbox, `postal` the Postal where there is one;
    /// `seed` is for [`Mx::new`].
    pub fn new(
        choice: TransportChoice,
        config: &TransportConfig,
        settings: InForce,
        sink: Arc<dyn Transport>,
        postal: Option<Arc<Postal>>,
        seed: u64,
    ) -> Result<Self, SetupError> {
        let mut made: HashMap<TransportKind, Arc<dyn Transport>> = HashMap::new();
        let mut relay_away = None;
        for kind in &choice.configured {
            let transport: Arc<dyn Transport> = match kind {
                TransportKind::Sink => sink.clone(),
                TransportKind::Relay => {
                    let relay = Relay::new(config, settings.clone())?;
                    relay_away = Some(relay.away());
                    Arc::new(relay)
                }
                TransportKind::Mx => Arc::new(Mx::new(config, settings.clone(), seed)?),
                TransportKind::Postal => postal.clone().ok_or(SetupError::NoPostal)?,
            };
            made.insert(*kind, transport);
        }
        Ok(Self { choice, settings, made, missing: Missing, relay_away })
    }

    /// Why the relay could not be reached the last time, whenever that changes; none without a relay.
    pub fn relay_away(&self) -> Option<watch::Receiver<Option<String>>> {
        self.relay_away.clone()
    }

    /// The way of a delivery. Mail of test keys never leaves.
    pub fn of(&self, claimed: &Claimed) -> &dyn Transport {
        let own = || self.choice.by_sender.get(&domain_of(&claimed.sender)).copied();
        let kind = match claimed.test {
            true => TransportKind::Sink,
            false if self.choice.by_sender.is_empty() => for_all(&self.settings.now()),
            false => own().unwrap_or_else(|| for_all(&self.settings.now())),
        };
        self.made.get(&kind).map_or(&self.missing, |transport| &**transport)
    }

    /// Whether no mail leaves this machine now.
    pub fn is_local(&self) -> bool {
        self.choice.is_local(&self.settings.now())
    }
}

/// Stands for a transport that was chosen where this core does not have it. Its mail waits, until it is
/// chosen otherwise or a core that has it takes the mail.
struct Missing;

#[async_trait]
impl Transport for Missing {
    async fn deliver(&self, _mail: Mail) -> Outcome {
        let reply = Reply::local("the transport that was chosen is not set up on this core");
        Outcome::Deferred { reply, category: Category::Other, may_duplicate: false }
    }

    fn lane(&self, _recipient_domain: &str) -> String {
        "missing".to_owned()
    }

    fn admit(&self) -> Result<(), Duration> {
        Err(MISSING_WAIT)
    }
}
