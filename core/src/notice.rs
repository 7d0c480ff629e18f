//! Notices that a credential is about to expire: 14, 3 and 1 days before, as an event, and as a mail
//! through our own intake, or a warning in the log where nobody is named to get mail.
//!
//! Each round looks at what is in memory. A mail goes out under an idempotency key that no client can
//! use, and only then the store notes that it did; so a crash in between, or another core in the same
//! moment, sends nothing twice and leaves nothing out.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_kit::clock::Clock;
use postern_kit::env::{Env, EnvError};
use postern_proto::ids::KeyId;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1::{ClickTracking, TrackingOptions, UnsubscribeMode, UnsubscribeOptions};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::directory::{Directory, Snapshot};
use crate::intake::draft::{Draft, DraftRecipient};
use crate::intake::{Intake, address};
use crate::metrics::Way;
use crate::model::content::{Mailbox, Wishes};
use crate::model::directory::{ApiKey, CredentialKind};
use crate::model::event::Subject;
use crate::store::credentials::{self, ExpiryNotice};
use crate::store::{Database, Error};

/// How notices come in: by no door.
const OWN: Way = Way { door: "own", kind: "single" };
/// So many days before the end there is a notice.
const DAYS: [i64; 3] = [1, 3, 14];
const DAY_MS: i64 = 86_400_000;
/// How often is looked whether a notice is due.
const EVERY: Duration = Duration::from_secs(60);
/// Notices about what expired so long ago are forgotten.
const KEPT_MS: i64 = 30 * DAY_MS;
/// The id of the key that stands for the system itself.
const OWN_KEY: KeyId = KeyId::from_uuid(Uuid::from_u128(1));

/// Who gets notices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeConfig {
    /// The sender, of a domain that may send here.
    pub from: String,
    /// The recipients, each of whom gets a mail of their own.
    pub to: Vec<String>,
}

impl NoticeConfig {
    /// Reads `POSTERN_NOTICE_TO` and `POSTERN_NOTICE_FROM`; none without the first.
    pub fn from_env(env: &Env) -> Result<Option<Self>, EnvError> {
        let checked = |name: &str, text: &str| {
            let bad = |problem: String| EnvError::new(name, format!("'{text}': {problem}"));
            address::parse(text).map_err(|problem| bad(problem.to_string()))
        };
        let to = env.list("POSTERN_NOTICE_TO");
        if to.is_empty() {
            return Ok(None);
        }
        let to =
            to.iter().map(|one| checked("POSTERN_NOTICE_TO", one)).collect::<Result<_, _>>()?;
        let from = checked("POSTERN_NOTICE_FROM", env.required("POSTERN_NOTICE_FROM")?)?;
        Ok(Some(Self { from, to }))
    }
}

/// Sends notices.
pub struct Notices {
    /// What was noted.
    pub db: Arc<dyn Database>,
    /// The credentials.
    pub directory: Arc<Directory>,
    /// Where the mail is accepted.
    pub intake: Arc<Intake>,
    /// The time.
    pub clock: Clock,
    /// Who gets it; none for the log alone.
    pub config: Option<NoticeConfig>,
    /// What need not be looked at again.
    pub done: Mutex<HashSet<ExpiryNotice>>,
}

/// A notice that is due.
struct Due {
    kind: CredentialKind,
    id: String,
    display_name: String,
    hint: String,
    notice: ExpiryNotice,
    /// When its successor was made, when there is one.
    replaced_ms: Option<i64>,
}

impl Due {
    /// What the event is about.
    fn subject(&self) -> Subject {
        Subject {
            id: self.id.clone(),
            display_name: self.display_name.clone(),
            expire_time: Some(timestamp(self.notice.expire_ms)),
        }
    }
}

impl Notices {
    /// Looks again and again until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "notices not looked after; the next round tries again");
            }
        }
    }

    /// One look. Returns how many notices this node was the first to note.
    pub async fn round(&self) -> Result<usize, Error> {
        let now_ms = self.clock.now_ms();
        let mut sent = 0;
        for due in due(&self.directory.now(), now_ms) {
            sent += usize::from(self.look_after(&due, now_ms).await?);
        }
        let before_ms = now_ms - KEPT_MS;
        self.done().retain(|notice| notice.expire_ms >= before_ms);
        credentials::forget_notices(&*self.db, before_ms).await?;
        Ok(sent)
    }

    async fn look_after(&self, due: &Due, now_ms: i64) -> Result<bool, Error> {
        if self.done().contains(&due.notice) {
            return Ok(false);
        }
        if let Some(replaced_ms) = due.replaced_ms {
            let id = due.notice.credential_id;
            let used = credentials::last_used(&*self.db, due.kind, id).await?;
            // Nobody misses a key that has a successor.
            if used.is_none_or(|used_ms| used_ms <= replaced_ms) {
                return Ok(false);
            }
        }
        if !credentials::has_notice(&*self.db, &due.notice).await? {
            if let Some(config) = &self.config
                && let Err(failure) = self.send(config, due).await
            {
                let (reason, text) = (failure.reason.meaning().name, failure.message);
                tracing::warn!(credential.id = due.id, reason, text, "notice not sent");
                return Ok(false);
            }
            if credentials::note_notice(&*self.db, &due.notice, &due.subject(), now_ms).await? {
                tracing::warn!(
                    credential.id = due.id,
                    days = due.notice.days,
                    "a credential is about to expire"
                );
                self.done().insert(due.notice);
                return Ok(true);
            }
        }
        self.done().insert(due.notice);
        Ok(false)
    }

    async fn send(&self, config: &NoticeConfig, due: &Due) -> Result<(), Failure> {
        let ExpiryNotice { expire_ms, days, .. } = due.notice;
        // A client's key has no spaces.
        let text = format!("credential expires {} {expire_ms} {days}", due.id);
        send(&self.intake, text, draft(config, due)).await
    }

    fn done(&self) -> std::sync::MutexGuard<'_, HashSet<ExpiryNotice>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a mail of the system itself accepted, once under this idempotency key, which has a space in it.
pub(crate) async fn send(intake: &Arc<Intake>, once: String, mail: Draft) -> Result<(), Failure> {
    let fingerprint = Sha256::digest(once.as_bytes()).into();
    let key = own_key();
    let ready = intake.message(&key, mail, Some((once, fingerprint)))?;
    let answers = intake.accept(&key, ready, OWN).await?;
    let answer = answers.into_iter().next();
    let missing = || Failure::new(Reason::Internal, "the intake gave no answer");
    answer.ok_or_else(missing)?.map(|_| ())
}

/// The notices that are due now.
fn due(snapshot: &Snapshot, now_ms: i64) -> Vec<Due> {
    let keys = snapshot.keys().filter_map(|key| {
        let successor = key.replaced_by.map(|id| snapshot.key_by_id(id.uuid()));
        let replaced_ms = successor.map(|found| found.map_or(i64::MAX, |one| one.create_ms));
        of(CredentialKind::ApiKey, key.id.to_string(), key, replaced_ms, now_ms)
    });
    let smtp = snapshot.smtp_credentials().filter_map(|one| {
        of(CredentialKind::Smtp, one.id.to_string(), &one.as_key(), None, now_ms)
    });
    keys.chain(smtp).collect()
}

fn of(
    kind: CredentialKind,
    id: String,
    key: &ApiKey,
    replaced_ms: Option<i64>,
    now_ms: i64,
) -> Option<Due> {
    let expire_ms = key.expire_ms.filter(|_| key.revoke_ms.is_none())?;
    let days = days_left(key.create_ms, expire_ms, now_ms)?;
    let (display_name, hint) = (key.display_name.clone(), key.hint.clone());
    let notice = ExpiryNotice { credential_id: key.id.uuid(), expire_ms, days };
    Some(Due { kind, id, display_name, hint, notice, replaced_ms })
}

/// Which notice is due: that of the nearest day. A credential that was made for less time than that
/// had its end announced when it was made.
fn days_left(create_ms: i64, expire_ms: i64, now_ms: i64) -> Option<i64> {
    let left_ms = expire_ms - now_ms;
    let days = DAYS.into_iter().find(|days| left_ms <= days * DAY_MS)?;
    (left_ms > 0 && expire_ms - days * DAY_MS > create_ms).then_some(days)
}

fn draft(config: &NoticeConfig, due: &Due) -> Draft {
    let (what, command) = match due.kind {
        CredentialKind::ApiKey => ("API key", "keys"),
        CredentialKind::Smtp => ("SMTP credential", "smtp-credentials"),
    };
    let Due { id, display_name, hint, notice, .. } = due;
    let end = jiff::Timestamp::from_millisecond(notice.expire_ms).map(|end| format!("{end:.0}"));
    let end = end.unwrap_or_default();
    let time = match notice.days {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    // A name may have anything in it but what a subject can have.
    let name: String = display_name.chars().filter(|c| !c.is_control()).collect();
    let advice = match due.kind {
        CredentialKind::ApiKey => format!(
            "To go on, make its successor (postern {command} rotate {id}) and put that in its place."
        ),
        CredentialKind::Smtp => {
            format!("To go on, give it a later end (postern {command} update {id} --expire TIME).")
        }
    };
    let text = format!(
        "The {what} \"{name}\" ({id}, {hint}) stops working at {end}, in less than {time}.\n\n\
         {advice}\nIf nobody needs it any more, there is nothing to do.\n"
    );
    mail(config, format!("{what} \"{name}\" expires in less than {time}"), text)
}

/// A mail to everybody who gets notices.
pub(crate) fn mail(config: &NoticeConfig, subject: String, text: String) -> Draft {
    let recipient = |email: &String| DraftRecipient {
        mailbox: Mailbox { email: email.clone(), name: String::new() },
        ..DraftRecipient::default()
    };
    Draft {
        from: Mailbox { email: config.from.clone(), name: "Postern".to_owned() },
        to: config.to.iter().map(recipient).collect(),
        shared: Some(false),
        subject,
        text,
        ..Draft::default()
    }
}

/// Stands for the system itself.
fn own_key() -> ApiKey {
    let tracking = TrackingOptions {
        opens: Some(false),
        clicks: ClickTracking::None as i32,
        ..TrackingOptions::default()
    };
    let unsubscribe =
        UnsubscribeOptions { mode: UnsubscribeMode::None as i32, footer: Some(false) };
    ApiKey {
        wishes: Wishes { tracking: Some(tracking), unsubscribe: Some(unsubscribe) },
        ..ApiKey::unbound(OWN_KEY, "notices", &["messages:send"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_day_counts_and_only_once_it_came_after_the_making() {
        let end = 100 * DAY_MS;
        let of = |made: i64, left_ms: i64| days_left(end - made * DAY_MS, end, end - left_ms);
        assert_eq!(of(90, 14 * DAY_MS + 1), None);
        assert_eq!(of(90, 14 * DAY_MS), Some(14));
        assert_eq!(of(90, 3 * DAY_MS), Some(3));
        assert_eq!(of(90, DAY_MS + 1), Some(3));
        assert_eq!(of(90, DAY_MS), Some(1));
        assert_eq!(of(90, 1), Some(1));
        assert_eq!(of(90, 0), None, "it has expired");
        assert_eq!(of(10, 9 * DAY_MS), None, "whoever made it for 10 days knows");
        assert_eq!(of(10, 2 * DAY_MS), Some(3));
    }

    #[test]
    fn who_gets_notices_is_checked_at_the_start() {
        let env = Env::default();
        assert_eq!(NoticeConfig::from_env(&env), Ok(None));
        let env = env.with("POSTERN_NOTICE_TO", "ops@good.test, boss@good.test");
        assert_eq!(NoticeConfig::from_env(&env).unwrap_err().name, "POSTERN_NOTICE_FROM");
        let env = env.with("POSTERN_NOTICE_FROM", "postern@shop.test");
        let config = NoticeConfig::from_env(&env).unwrap().unwrap();
        assert_eq!(config.to, ["ops@good.test", "boss@good.test"]);
        let env = env.with("POSTERN_NOTICE_TO", "nobody");
        assert_eq!(NoticeConfig::from_env(&env).unwrap_err().name, "POSTERN_NOTICE_TO");
    }
}
