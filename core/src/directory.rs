//! Keys, SMTP credentials, signing domains, templates, settings and held campaigns in memory, so that no message
//! asks the store for them.
//!
//! A snapshot is replaced as a whole. Changes made by this process are seen at once, those of others
//! when the version is next looked at ([`POLL`]). A crash loses nothing: the store has it all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use postern_proto::settings::Settings;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::dkim;
use crate::in_force::InForce;
use crate::model::content::domain_of;
use crate::model::directory::{ApiKey, SmtpCredential, Template};
use crate::model::domain::{Domain, KeyState};
use crate::model::operator::OperatorSession;
use crate::password;
use crate::store::{self, Database, Error};
use crate::store::{bounce_patterns, smtp_credentials};
use crate::template::{Compiled, Engine, TemplateError};
use crate::track::Defaults;
use crate::transport::patterns::Patterns;

/// How often other processes' changes are looked for.
pub const POLL: Duration = Duration::from_millis(500);
/// How many of a kind are read at a time.
const PAGE: usize = 1000;

/// Everything, as of one version.
#[derive(Default)]
pub struct Snapshot {
    version: String,
    keys: HashMap<[u8; 32], Arc<ApiKey>>,
    domains: HashMap<String, Arc<Vec<dkim::Signer>>>,
    templates: HashMap<String, Arc<Template>>,
    smtp: HashMap<String, Arc<SmtpCredential>>,
    smtp_by_id: HashMap<Uuid, Arc<SmtpCredential>>,
    keys_by_id: HashMap<Uuid, Arc<ApiKey>>,
    operator_sessions: HashMap<[u8; 32], OperatorSession>,
    failure_cost: u32,
    settings: Settings,
    tracking: Defaults,
    held_campaigns: HashSet<String>,
    paused_destinations: HashSet<String>,
    patterns: Patterns,
}

impl Snapshot {
    /// The key whose secret has this SHA-256.
    pub fn key(&self, hash: &[u8; 32]) -> Option<Arc<ApiKey>> {
        self.keys.get(hash).cloned()
    }

    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<ApiKey>> {
        self.keys.values()
    }

    /// Every SMTP credential.
    pub fn smtp_credentials(&self) -> impl Iterator<Item = &Arc<SmtpCredential>> {
        self.smtp.values()
    }

    /// The key with this id.
    pub fn key_by_id(&self, id: Uuid) -> Option<Arc<ApiKey>> {
        self.keys_by_id.get(&id).cloned()
    }

    /// The SMTP credential with this user name.
    pub fn smtp_credential(&self, username: &str) -> Option<Arc<SmtpCredential>> {
        self.smtp.get(username).cloned()
    }

    /// The SMTP credential with this id.
    pub fn smtp_credential_by_id(&self, id: Uuid) -> Option<Arc<SmtpCredential>> {
        self.smtp_by_id.get(&id).cloned()
    }

    /// The session of an operator whose text has this SHA-256.
    pub fn operator_session(&self, hash: &[u8; 32]) -> Option<OperatorSession> {
        self.operator_sessions.get(hash).cloned()
    }

    /// What a failed login costs; see [`crate::password`].
    pub fn failure_cost(&self) -> u32 {
        self.failure_cost
    }

    /// The live settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the mail of a campaign waits.
    pub fn is_held(&self, campaign_id: &str) -> bool {
        !self.held_campaigns.is_empty() && self.held_campaigns.contains(campaign_id)
    }

    /// Whether the mail to an address waits.
    pub fn is_paused(&self, email: &str) -> bool {
        !self.paused_destinations.is_empty() && self.paused_destinations.contains(&domain_of(email))
    }

    /// What words of refusals mean besides what is built in.
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// What the settings say about tracking.
    pub fn tracking(&self) -> Defaults {
        self.tracking
    }

    /// The signers of a domain that is registered here, one for each of its active keys.
    pub fn signer(&self, domain: &str) -> Option<Arc<Vec<dkim::Signer>>> {
        self.domains.get(domain).cloned()
    }

    /// The domain is registered here.
    pub fn has_domain(&self, domain: &str) -> bool {
        self.domains.contains_key(domain)
    }

    /// The template with this id or alias.
    pub fn template(&self, name: &str) -> Option<Arc<Template>> {
        self.templates.get(name).cloned()
    }
}

/// The snapshot and how it is renewed.
pub struct Directory {
    db: Arc<dyn Database>,
    engine: Engine,
    defaults: Settings,
    in_force: InForce,
    current: ArcSwap<Snapshot>,
}

impl Directory {
    /// Reads everything. `defaults` hold for settings that nobody changed.
    pub async fn load(db: Arc<dyn Database>, defaults: Settings) -> Result<Self, Error> {
        let engine = Engine::new().map_err(|error| Error::Corrupt(error.to_string()))?;
        let in_force = InForce::new(defaults.clone());
        let directory = Self { db, engine, defaults, in_force, current: ArcSwap::default() };
        directory.refresh().await?;
        Ok(directory)
    }

    /// What the settings are that nobody changed.
    pub fn defaults(&self) -> &Settings {
        &self.defaults
    }

    /// The settings in force, now and later.
    pub fn in_force(&self) -> InForce {
        self.in_force.clone()
    }

    /// What is known now.
    pub fn now(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Compiles a part that is not stored.
    pub fn compile(&self, source: &str) -> Result<Compiled, TemplateError> {
        self.engine.compile(source)
    }

    /// Reads everything again when the version has changed.
    pub async fn refresh(&self) -> Result<(), Error> {
        let version = store::directory::version(&*self.db).await?;
        if version == self.current.load().version && !version.is_empty() {
            return Ok(());
        }
        let keys = self.keys().await?;
        let domains = self.domains().await?;
        let templates = self.templates().await?;
        let smtp = self.smtp_credentials().await?;
        let settings = self.settings().await?;
        let held_campaigns = store::campaigns::held(&*self.db).await?.into_iter().collect();
        let paused = store::destinations::paused(&*self.db).await?;
        let patterns = Patterns::new(bounce_patterns::list(&*self.db).await?);
        let hashes = smtp.values().flat_map(|one| one.password_hashes(i64::MIN));
        let costs = hashes.filter_map(|hash| password::bcrypt_cost(hash));
        let failure_cost = costs.max().unwrap_or(password::FAILURE_COST);
        self.in_force.replace(settings.clone());
        self.current.store(Arc::new(Snapshot {
            version,
            keys_by_id: keys.values().map(|key| (key.id.uuid(), key.clone())).collect(),
            keys,
            domains,
            templates,
            smtp_by_id: smtp.values().map(|one| (one.id.uuid(), one.clone())).collect(),
            smtp,
            operator_sessions: store::operators::sessions(&*self.db).await?,
            failure_cost,
            tracking: Defaults::of(&settings),
            settings,
            held_campaigns,
            paused_destinations: paused.into_iter().map(|pause| pause.domain).collect(),
            patterns,
        }));
        Ok(())
    }

    /// Looks for other processes' changes until told to stop.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "directory not refreshed; going on with what is known");
            }
        }
    }

    async fn keys(&self) -> Result<HashMap<[u8; 32], Arc<ApiKey>>, Error> {
        let mut keys = HashMap::new();
        let mut before = None;
        loop {
            let page = store::directory::keys(&*self.db, before, PAGE).await?;
            before = page.last().map(|key| key.id);
            let full = page.len() == PAGE;
            keys.extend(page.into_iter().map(|key| (key.hash, Arc::new(key))));
            if !full {
                return Ok(keys);
            }
        }
    }

    async fn domains(&self) -> Result<HashMap<String, Arc<Vec<dkim::Signer>>>, Error> {
        let mut domains = HashMap::new();
        let mut after = String::new();
        loop {
            let page = store::domains::list(&*self.db, &after, PAGE).await?;
            let full = page.len() == PAGE;
            for domain in page {
                after.clone_from(&domain.name);
                domains.insert(domain.name.clone(), Arc::new(signer(&domain)));
            }
            if !full {
                return Ok(domains);
            }
        }
    }

    async fn smtp_credentials(&self) -> Result<HashMap<String, Arc<SmtpCredential>>, Error> {
        let mut credentials = HashMap::new();
        let mut before = None;
        loop {
            let page = smtp_credentials::list(&*self.db, before, PAGE).await?;
            before = page.last().map(|one| one.id);
            let full = page.len() == PAGE;
            credentials.extend(page.into_iter().map(|one| (one.username.clone(), Arc::new(one))));
            if !full {
                return Ok(credentials);
            }
        }
    }

    async fn settings(&self) -> Result<Settings, Error> {
        let mut settings = self.defaults.clone();
        for (name, value) in store::settings::changed(&*self.db).await? {
            // Written by a newer version, or out of a range that has become narrower.
            if let Err(problem) = settings.set(&name, &value) {
                tracing::warn!(setting = name, value, problem, "a stored setting is passed over");
            }
        }
        Ok(settings)
    }

    async fn templates(&self) -> Result<HashMap<String, Arc<Template>>, Error> {
        let mut templates = HashMap::new();
        let mut after = String::new();
        loop {
            let page = store::templates::list(&*self.db, &after, PAGE).await?;
            let full = page.len() == PAGE;
            for template in page {
                after.clone_from(&template.alias);
                let template = Arc::new(template);
                templates.insert(template.id.to_string(), template.clone());
                templates.insert(template.alias.clone(), template);
            }
            if !full {
                return Ok(templates);
            }
        }
    }
}

fn signer(domain: &Domain) -> Vec<dkim::Signer> {
    let mut signers = Vec::new();
    for key in domain.keys_in(KeyState::Active) {
        match dkim::Signer::new(&domain.name, &key.selector, key.algorithm, &key.private_der) {
            Ok(signer) => signers.push(signer),
            Err(error) => {
                tracing::error!(domain = domain.name, selector = key.selector, %error, "dkim key is unusable");
            }
        }
    }
    signers
}
