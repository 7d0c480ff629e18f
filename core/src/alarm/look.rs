//! What is wrong as this node sees it: its disk and backups, what it depends on, and what gateways say
//! of themselves. Asks, and keeps nothing but the counts of the last minutes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_kit::limits::Limiter;
use postern_kit::metrics;
use postern_proto::settings::{
    NOTICE_BACKUP_AGE, NOTICE_CERTIFICATE_LEFT, NOTICE_DISK_FREE, NOTICE_ERROR_PERCENT, Settings,
};
use tokio::sync::watch;

use super::Kind;
use super::gateways;
use super::rate::{Rate, WINDOW_MS};
use crate::breaker::Condition;
use crate::store::troubles::{Sight, Trouble};
use crate::store::{Database, Error, Replicated, ledger};

/// What is looked at.
pub(crate) struct Sources {
    /// The machine this is.
    pub(crate) host: String,
    /// The folder of the embedded store.
    pub(crate) data: Option<PathBuf>,
    /// When the newest backup was made.
    pub(crate) backup: Option<BackupStatus>,
    /// Where Redis is, if anywhere.
    pub(crate) limiter: Arc<Limiter>,
    /// Where lists are read.
    pub(crate) replica: Option<Arc<Replicated>>,
    /// How the way to Postal is.
    pub(crate) postal: Option<watch::Receiver<Condition>>,
    /// Why AMS could not be told the last time.
    pub(crate) ams: Option<watch::Receiver<Option<String>>>,
    /// Why the relay could not be reached the last time.
    pub(crate) relay: Option<watch::Receiver<Option<String>>>,
    /// What ended lately.
    pub(crate) rate: Rate,
}

/// The file that tells when the newest backup was made.
#[derive(Debug, Clone)]
pub(crate) struct BackupStatus {
    file: PathBuf,
    /// The configuration names it: whoever does so makes backups.
    is_expected: bool,
}

impl BackupStatus {
    /// The file that is named, or the one that `postern backup` writes.
    pub(crate) fn find(named: Option<&Path>, data: Option<&Path>) -> Option<Self> {
        let file = metrics::backup_status(named, data)?;
        Some(Self { file, is_expected: named.is_some() })
    }

    /// What is wrong with the backups; none while nothing is.
    fn trouble(&self, age_max_ms: i64, now_ms: i64) -> Option<String> {
        let file = self.file.display();
        let failed = metrics::failed_backup(&self.file);
        let Some(made) = metrics::last_backup(&self.file) else {
            let is_missed = self.is_expected || failed.is_some();
            return is_missed.then(|| format!("no backup has been made yet ({file})"));
        };
        let made_ms = made.saturating_mul(1000);
        let hours = (now_ms - made_ms) / 3_600_000;
        if failed.is_some_and(|failed| failed > made) {
            return Some(format!(
                "the last backup failed; the newest one is {hours} h old ({file})"
            ));
        }
        (now_ms - made_ms > age_max_ms)
            .then(|| format!("the newest backup is {hours} h old ({file})"))
    }
}

impl Sources {
    /// What is wrong now. `known` is what was known before.
    pub(super) async fn look(
        &mut self,
        db: &dyn Database,
        settings: &Settings,
        known: &[Trouble],
        now_ms: i64,
    ) -> Result<Vec<Sight>, Error> {
        let mut seen = self.here(settings, now_ms);
        if self.limiter.reaches_redis().await == Some(false) {
            let text = "a core gets no answer from Redis; each process counts limits by itself";
            seen.push((Kind::Redis, String::new(), text.to_owned()));
        }
        let counts = ledger::stats(db, now_ms - WINDOW_MS, i64::MAX, "").await?;
        let percent = settings.get(&NOTICE_ERROR_PERCENT);
        if let Some((percent, ended)) = self.rate.look(now_ms, &counts, percent) {
            let text =
                format!("{percent} % of {ended} deliveries that ended lately have failed for good");
            seen.push((Kind::ErrorRate, String::new(), text));
        }
        let listed = crate::store::gateways::list(db).await?;
        let left_ms = settings.get(&NOTICE_CERTIFICATE_LEFT);
        seen.extend(gateways::troubles(&listed, known, left_ms, now_ms));
        let sight = |(kind, subject, detail): Seen| Sight {
            kind: kind.name(),
            subject,
            since_ms: now_ms,
            detail,
        };
        Ok(seen.into_iter().map(sight).collect())
    }

    /// What is known without asking anybody.
    fn here(&self, settings: &Settings, now_ms: i64) -> Vec<Seen> {
        let mut seen = Vec::new();
        let least = settings.get(&NOTICE_DISK_FREE);
        let free = self.data.as_deref().and_then(metrics::free_bytes);
        if let Some(free) = free.filter(|free| *free < least) {
            let text = format!(
                "{} MiB are free on the disk of the store; there should be {} MiB",
                free >> 20,
                least >> 20
            );
            seen.push((Kind::Disk, self.host.clone(), text));
        }
        let age_max_ms = settings.get(&NOTICE_BACKUP_AGE);
        let backup = self.backup.as_ref().filter(|_| age_max_ms > 0);
        if let Some(text) = backup.and_then(|backup| backup.trouble(age_max_ms, now_ms)) {
            seen.push((Kind::Backup, self.host.clone(), text));
        }
        if let Some(replica) = self.replica.as_ref().filter(|replica| !replica.is_fresh()) {
            let text = match replica.lag() {
                Some(lag) => {
                    format!("the replica is {} s behind; the primary is read", lag.as_secs())
                }
                None => "the replica does not answer; the primary is read".to_owned(),
            };
            seen.push((Kind::Replica, String::new(), text));
        }
        if self.postal.as_ref().is_some_and(|postal| *postal.borrow() != Condition::Closed) {
            let text = "calls of Postal fail; mail for it waits".to_owned();
            seen.push((Kind::Postal, String::new(), text));
        }
        let away = |watched: &Option<watch::Receiver<Option<String>>>| {
            watched.as_ref().and_then(|watched| watched.borrow().clone())
        };
        if let Some(why) = away(&self.ams) {
            seen.push((
                Kind::Ams,
                String::new(),
                format!("AMS is not told; nothing is lost: {why}"),
            ));
        }
        if let Some(why) = away(&self.relay) {
            seen.push((Kind::Relay, String::new(), format!("mail for the relay waits: {why}")));
        }
        seen
    }
}

/// What is wrong, where, and in words.
pub(super) type Seen = (Kind, String, String);

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn a_backup_is_missed_when_it_is_too_old_or_failed_or_was_promised() {
        let folder = tempfile::tempdir().unwrap();
        let found = BackupStatus::find(None, Some(folder.path())).unwrap();
        let at = |status: &BackupStatus, hours: i64| status.trouble(26 * HOUR_MS, hours * HOUR_MS);
        assert_eq!(at(&found, 1000), None, "perhaps others make backups");
        let named = BackupStatus::find(Some(&found.file), None).unwrap();
        assert!(at(&named, 1000).unwrap().starts_with("no backup has been made"));
        let made = "postern_backup_last_success_timestamp_seconds 3600\n";
        std::fs::write(&found.file, made).unwrap();
        assert_eq!(at(&found, 27), None);
        assert!(at(&found, 28).unwrap().starts_with("the newest backup is 27 h old"));
        let failed = format!("{made}postern_backup_last_failure_timestamp_seconds 7200\n");
        std::fs::write(&found.file, failed).unwrap();
        assert!(at(&found, 3).unwrap().starts_with("the last backup failed"));
        assert!(BackupStatus::find(None, None).is_none());
    }
}
