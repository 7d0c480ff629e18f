//! The system says when it is not well: as an event, which webhooks are told too, and as a mail through
//! our own intake to whoever gets notices.
//!
//! Each round notes in the store what this node sees ([`look`]), and then does what is due for all that
//! is known ([`decide`]). A mail goes out under an idempotency key that no client can use, and only then
//! the store notes that it did; so a crash in between, or another core in the same moment, tells nothing
//! twice and leaves nothing out.

mod decide;
mod gateways;
mod look;
mod mail;
mod rate;

use std::sync::Arc;
use std::time::Duration;

use postern_kit::clock::Clock;
use postern_proto::settings::{NOTICE_AFTER, NOTICE_INTERVAL, NOTICE_REPEAT, Settings};
use tokio_util::sync::CancellationToken;

use self::decide::{Pace, Turn, turn};
pub(crate) use self::look::{BackupStatus, Sources};
use crate::directory::Directory;
use crate::intake::Intake;
use crate::notice::{self, NoticeConfig};
use crate::store::troubles::{self, Sight, Trouble};
use crate::store::{Database, Error};

/// A kind of trouble. Its name is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Little space is left for the store.
    Disk,
    /// Much of what ended has failed for good.
    ErrorRate,
    /// The store did not answer.
    Database,
    /// The replica is away or far behind.
    Replica,
    /// Redis does not answer.
    Redis,
    /// AMS cannot be told.
    Ams,
    /// The relay cannot be reached.
    Relay,
    /// Calls of Postal fail.
    Postal,
    /// A gateway is not heard of.
    GatewaySilent,
    /// A gateway says that it does less well.
    GatewayDegraded,
    /// A certificate ends soon.
    Certificate,
    /// The newest backup is too old, or the last one failed.
    Backup,
}

impl Kind {
    /// All kinds.
    const ALL: [Self; 12] = [
        Self::Disk,
        Self::ErrorRate,
        Self::Database,
        Self::Replica,
        Self::Redis,
        Self::Ams,
        Self::Relay,
        Self::Postal,
        Self::GatewaySilent,
        Self::GatewayDegraded,
        Self::Certificate,
        Self::Backup,
    ];

    /// The word that is stored, and is the reason of its events.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What it is, for people.
    pub fn title(self) -> &'static str {
        self.words().1
    }

    /// The kind with this name; none for one that another version of this program knows.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Disk => ("disk_low", "little disk space is left"),
            Self::ErrorRate => ("error_rate", "much mail fails"),
            Self::Database => ("database", "the database did not answer"),
            Self::Replica => ("database_replica", "the database replica is away or behind"),
            Self::Redis => ("redis", "Redis does not answer"),
            Self::Ams => ("ams", "AMS cannot be told"),
            Self::Relay => ("relay", "the relay cannot be reached"),
            Self::Postal => ("postal", "Postal does not take mail"),
            Self::GatewaySilent => ("gateway_silent", "a gateway is not heard of"),
            Self::GatewayDegraded => ("gateway_degraded", "a gateway does less well"),
            Self::Certificate => ("certificate", "a certificate ends soon"),
            Self::Backup => ("backup", "there is no recent backup"),
        }
    }
}

/// Looks, and tells.
pub struct Alarms {
    /// What is known.
    pub(crate) db: Arc<dyn Database>,
    /// The settings.
    pub(crate) directory: Arc<Directory>,
    /// Where the mail is accepted.
    pub(crate) intake: Arc<Intake>,
    /// The time.
    pub(crate) clock: Clock,
    /// Who gets mail; none for events and the log alone.
    pub(crate) config: Option<NoticeConfig>,
    /// What is looked at.
    pub(crate) sources: Sources,
    /// Since when the store does not answer.
    pub(crate) lost_ms: Option<i64>,
}

impl Alarms {
    /// Looks again and again until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = self.directory.now().settings().time(&NOTICE_INTERVAL);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            // What is cut off here is done again after the start.
            match stop.run_until_cancelled(self.round()).await {
                None => return,
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, "troubles not looked after; the next round tries again");
                }
            }
        }
    }

    /// One look. Returns how many turns this node was the first to take.
    pub(crate) async fn round(&mut self) -> Result<usize, Error> {
        let now_ms = self.clock.now_ms();
        let done = self.look_after(now_ms).await;
        match &done {
            Ok(_) => self.lost_ms = None,
            Err(_) => self.lost_ms = Some(self.lost_ms.unwrap_or(now_ms)),
        }
        done
    }

    async fn look_after(&mut self, now_ms: i64) -> Result<usize, Error> {
        let settings = self.directory.now().settings().clone();
        let pace = pace(&settings);
        let known = troubles::list(&*self.db).await?;
        let mut sights = self.sources.look(&*self.db, &settings, &known, now_ms).await?;
        sights.extend(self.lost_ms.map(|since_ms| was_away(since_ms, now_ms)));
        troubles::see(&*self.db, &sights, now_ms, now_ms - pace.gone_ms).await?;
        let mut taken = 0;
        for trouble in troubles::list(&*self.db).await? {
            if let Some(turn) = turn(&trouble, now_ms, pace) {
                taken += usize::from(self.take(&trouble, turn, now_ms).await?);
            }
        }
        Ok(taken)
    }

    /// Takes a turn. Tells whether this node was the first.
    async fn take(&self, trouble: &Trouble, turn: Turn, now_ms: i64) -> Result<bool, Error> {
        if turn != Turn::Forget && !self.is_mailed(trouble, turn).await {
            return Ok(false);
        }
        let is_first = match turn {
            Turn::Tell => troubles::tell(&*self.db, trouble, now_ms).await?,
            Turn::Resolve | Turn::Forget => troubles::end(&*self.db, trouble, now_ms).await?,
        };
        let Trouble { kind, subject, detail, .. } = trouble;
        match turn {
            Turn::Tell if is_first => tracing::warn!(kind, subject, detail, "something is wrong"),
            Turn::Resolve if is_first => tracing::info!(kind, subject, "well again"),
            _ => {}
        }
        Ok(is_first)
    }

    /// Sends the mail of a turn, where somebody gets mail. Tells whether to go on.
    async fn is_mailed(&self, trouble: &Trouble, turn: Turn) -> bool {
        let Some(config) = &self.config else { return true };
        let mail = mail::draft(config, trouble, turn);
        let Err(failure) = notice::send(&self.intake, mail::once(trouble, turn), mail).await else {
            return true;
        };
        let meaning = failure.reason.meaning();
        let (reason, text) = (meaning.name, failure.message);
        tracing::warn!(kind = trouble.kind, reason, text, "notice not sent");
        // What would fail again must not keep the event from being told.
        !meaning.retryable
    }
}

fn pace(settings: &Settings) -> Pace {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let after_ms = ms(settings.time(&NOTICE_AFTER));
    // One look that was missed is no end.
    let gone_ms = after_ms.max(3 * ms(settings.time(&NOTICE_INTERVAL)));
    Pace { after_ms, gone_ms, repeat_ms: ms(settings.time(&NOTICE_REPEAT)) }
}

/// The store can only say afterwards that it was away.
fn was_away(since_ms: i64, now_ms: i64) -> Sight {
    let seconds = (now_ms - since_ms) / 1000;
    let detail = format!("a core got no answer for {seconds} s; it answers again");
    Sight { kind: Kind::Database.name(), subject: String::new(), since_ms, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_name("new"), None);
    }
}
