//! Takes webhooks of Postal in: verifies, reads, applies.
//!
//! The answer is given after the change is on stable storage, and a failure is one that Postal hears
//! of, so that it tries again. A report about mail we do not know is kept for a while: Postal may be
//! quicker than the record of our own call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_kit::clock::Clock;
use postern_proto::settings::POSTAL_ASK_AFTER;
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use super::config::{HookConfig, PostalConfig};
use super::event::{self, BadEvent, Content, Event, Hit};
use super::jwks::Keyring;
use super::news;
use super::verify::{Refusal, Signatures, verify};
use crate::directory::Directory;
use crate::metrics::Metrics;
use crate::store::handovers::{self, Orphan};
use crate::store::reports::{Report, Reported, Subject};
use crate::store::tracking::NewHit;
use crate::store::{Database, Error, Reports, Tracking};

/// How often the log says that webhooks are refused.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// A longer report of unknown mail is not kept: Postal's own events are shorter.
const ORPHAN_BYTES_MAX: usize = 64 << 10;

/// A webhook as it came.
#[derive(Debug, Clone, Copy)]
pub struct Webhook<'a> {
    /// The last part of its path; empty for the path of the old system.
    pub endpoint: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// The header fields that sign it.
    pub signatures: Signatures<'a>,
}

/// Why a webhook was not taken in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    Endpoint,
    /// It is not believed.
    #[error(transparent)]
    Signature(#[from] Refusal),
    /// It is no event.
    #[error(transparent)]
    Event(#[from] BadEvent),
    /// The store failed; the same webhook may be taken in later.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Takes webhooks in.
pub struct Hook {
    config: HookConfig,
    keyring: Keyring,
    reports: Arc<dyn Reports>,
    tracking: Arc<dyn Tracking>,
    db: Arc<dyn Database>,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    clock: Clock,
    warned: Mutex<Option<Instant>>,
}

/// Where what is reported goes.
pub struct Stored {
    /// What happens to mail.
    pub reports: Arc<dyn Reports>,
    /// What recipients do.
    pub tracking: Arc<dyn Tracking>,
    /// Finding mail, and reports that are kept.
    pub db: Arc<dyn Database>,
    /// What the operator knows about the words of refusals.
    pub directory: Arc<Directory>,
    /// Where what is reported is counted.
    pub metrics: Arc<Metrics>,
}

impl Hook {
    /// Takes in what fits the configuration.
    pub fn new(config: &PostalConfig, stored: Stored, clock: Clock) -> Self {
        Self {
            keyring: Keyring::new(&config.hook),
            config: config.hook.clone(),
            reports: stored.reports,
            tracking: stored.tracking,
            db: stored.db,
            directory: stored.directory,
            metrics: stored.metrics,
            clock,
            warned: Mutex::default(),
        }
    }

    /// Whether a webhook could ever be believed.
    pub fn has_keys(&self) -> bool {
        !self.keyring.is_empty()
    }

    /// Verifies a webhook and takes it in.
    pub async fn receive(&self, webhook: Webhook<'_>) -> Result<(), Refused> {
        let keys = self.keyring.keys(webhook.signatures.key_id.trim()).await;
        let allow_sha1 = self.config.allow_sha1;
        let verified = verify(&keys, webhook.body, webhook.signatures, allow_sha1);
        // Only now, so that the time it takes does not tell which paths there are.
        if !self.has_endpoint(webhook.endpoint) {
            return Err(Refused::Endpoint);
        }
        if let Err(refusal) = verified {
            self.warn(refusal);
            return Err(refusal.into());
        }
        let event = event::parse(webhook.body)?;
        let Some(subject) = self.apply(&event).await? else { return Ok(()) };
        self.keep(&event, subject, webhook.body).await.map_err(Refused::from)
    }

    /// Takes in a report that was kept. Tells whether its mail is known now.
    pub async fn receive_kept(&self, body: &str) -> Result<bool, Refused> {
        let unknown = self.apply(&event::parse(body.as_bytes())?).await?;
        Ok(unknown.is_none())
    }

    /// Takes in a report about a mail. `key` tells it from all others.
    pub async fn report(&self, report: Report) -> Result<Reported, Error> {
        let key = report.key.clone();
        let ticket = report.subject.ticket.id;
        let news = news::refined(report.news, self.directory.now().patterns());
        let (event, reason) = (news.event, news.reason);
        let reported = self.reports.report(Report { news, ..report }).await?;
        if reported == Reported::Applied {
            self.metrics.reported(event, reason);
        }
        let event = event.name();
        tracing::debug!(report = key, postal.id = ticket, event, ?reported, "Postal reports");
        Ok(reported)
    }

    fn has_endpoint(&self, endpoint: &str) -> bool {
        if endpoint.is_empty() {
            return !self.config.endpoint_only;
        }
        let own = self.config.endpoint.as_deref().unwrap_or_default();
        // An unset one has a length that no path has.
        bool::from(own.as_bytes().ct_eq(endpoint.as_bytes()))
    }

    /// Applies an event. Returns which mail it is about when that is not known.
    async fn apply(&self, event: &Event) -> Result<Option<Subject>, Error> {
        match &event.content {
            Content::Mail(subject, news) => {
                let now_ms = self.clock.now_ms();
                let report = Report {
                    key: event.uuid.clone(),
                    subject: subject.clone(),
                    news: news.clone(),
                    create_ms: now_ms,
                    ask_ms: now_ms + self.directory.now().settings().get(&POSTAL_ASK_AFTER),
                };
                let unknown = self.report(report).await? == Reported::Unknown;
                Ok(unknown.then(|| subject.clone()))
            }
            Content::Hit(subject, hit) => self.hit(subject, hit).await,
            Content::Warning(text) => {
                tracing::warn!(text, "Postal warns");
                Ok(None)
            }
            Content::Incoming => Ok(None),
            Content::Other(name) => {
                tracing::info!(event = name, "an event of Postal that is not known here");
                Ok(None)
            }
        }
    }

    async fn hit(&self, subject: &Subject, hit: &Hit) -> Result<Option<Subject>, Error> {
        let Some(delivery) = handovers::delivery(&*self.db, &subject.ticket).await? else {
            // It does not tell the fate of a mail, so it waits for one that has this ticket.
            let rfc_message_id = String::new();
            return Ok(Some(Subject { rfc_message_id, ..subject.clone() }));
        };
        let hit = NewHit {
            id: hit.id,
            delivery,
            kind: hit.kind,
            link: hit.link,
            create_ms: hit.create_ms.min(self.clock.now_ms()),
            engagement: hit.engagement.clone(),
        };
        self.tracking.record(vec![hit]).await?;
        Ok(None)
    }

    /// Keeps a report whose mail is not known.
    async fn keep(&self, event: &Event, subject: Subject, body: &[u8]) -> Result<(), Error> {
        let body = match std::str::from_utf8(body) {
            Ok(body) if body.len() <= ORPHAN_BYTES_MAX => body.to_owned(),
            _ => {
                tracing::warn!(
                    report = event.uuid,
                    "a report of unknown mail is too long to be kept"
                );
                return Ok(());
            }
        };
        let orphan = Orphan { key: event.uuid.clone(), subject, body };
        if !handovers::keep_orphan(&*self.db, &orphan, self.clock.now_ms()).await? {
            tracing::warn!("a report of unknown mail is dropped: there are too many of them");
        }
        Ok(())
    }

    /// Says at most once a minute that webhooks are refused.
    fn warn(&self, refusal: Refusal) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        *warned = Some(Instant::now());
        if refusal == Refusal::NoKey {
            tracing::error!(
                "webhooks of Postal are refused: no key is known to verify them; set POSTERN_POSTAL_WEBHOOK_KEY_FILE or POSTERN_POSTAL_JWKS_URL"
            );
        } else {
            tracing::warn!(%refusal, "a webhook is refused that claims to be of Postal");
        }
    }
}
