//! CAMPAIGN: holds a campaign whose mail goes badly, before it costs the sender's reputation.
//!
//! Each round looks at the store and decides by the [`rules`]; what it decides is stored with its entry
//! in the log in one transaction. A crash loses the round, and the next one decides again. Several
//! cores may look at the same time: a campaign is held by the rules once in its life, so whoever
//! resumes it has the last word.

pub mod rules;

use std::sync::Arc;

use postern_kit::clock::Clock;
use postern_proto::settings::{AUTOSTOP_ENABLED, AUTOSTOP_INTERVAL, AUTOSTOP_WINDOW};
use tokio_util::sync::CancellationToken;

use crate::directory::Directory;
use crate::model::campaign::{Action, AmsState, LogEntry};
use crate::store::{Database, Error, campaigns, destinations};

use self::rules::Rules;

/// Who did it, in the log.
pub(crate) const ACTOR: &str = "auto-stop";
/// The most campaigns that are looked at in one round.
const CAMPAIGNS_MAX: usize = 100;

/// Watches how campaigns go.
pub struct Watcher {
    /// The store.
    pub db: Arc<dyn Database>,
    /// The settings, and who has to notice.
    pub directory: Arc<Directory>,
    /// The time.
    pub clock: Clock,
    /// There is a campaign manager to tell.
    pub has_ams: bool,
}

impl Watcher {
    /// Looks again and again until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let pause = self.directory.now().settings().time(&AUTOSTOP_INTERVAL);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "campaigns not looked at; the next round tries again");
            }
        }
    }

    /// One look. Returns how many campaigns were held.
    pub async fn round(&self) -> Result<usize, Error> {
        let snapshot = self.directory.now();
        let settings = snapshot.settings();
        let now_ms = self.clock.now_ms();
        // What was parked by a node that had not heard yet goes on, whoever held the campaign.
        campaigns::sweep(&*self.db, now_ms).await?;
        destinations::sweep(&*self.db, now_ms).await?;
        if !settings.is_on(&AUTOSTOP_ENABLED) {
            return Ok(0);
        }
        let rules = Rules::of(settings);
        let since_ms = now_ms - settings.get(&AUTOSTOP_WINDOW);
        let busy = campaigns::busy(&*self.db, since_ms, rules.minimum, CAMPAIGNS_MAX).await?;
        let mut held = 0;
        for campaign_id in busy {
            let outcomes = campaigns::outcomes(&*self.db, &campaign_id, since_ms).await?;
            let Some(note) = rules.broken(&outcomes) else { continue };
            held += usize::from(self.hold(campaign_id, note, now_ms).await?);
        }
        if held > 0 {
            self.directory.refresh().await?;
        }
        Ok(held)
    }

    async fn hold(&self, campaign_id: String, note: String, now_ms: i64) -> Result<bool, Error> {
        let (action, actor) = (Action::Held, ACTOR.to_owned());
        let entry = LogEntry { campaign_id, action, actor, note, create_ms: now_ms };
        let ams = if self.has_ams { AmsState::ToBeTold } else { AmsState::None };
        let held = campaigns::start(&*self.db, &entry, true, ams).await?;
        if held {
            let (campaign, note) = (&entry.campaign_id, &entry.note);
            tracing::warn!(campaign, note, "campaign held; resume it when the cause is mended");
        }
        Ok(held)
    }
}
