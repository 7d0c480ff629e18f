//! Looks after mail that Postal has: applies reports that came before our own record did, asks about
//! mail of which nothing was heard, and forgets what is old.
//!
//! Each round may be cut off by a crash and repeated, also by another node: reports are taken in once.

use std::sync::Arc;
use std::time::Duration;

use postern_kit::clock::Clock;
use postern_proto::settings::{POSTAL_ASK_AFTER, POSTAL_ORPHAN_TIME, POSTAL_SILENCE_MAX};
use tokio_util::sync::CancellationToken;

use super::api::{Api, Attempt, Fault};
use super::hook::{Hook, Refused};
use super::news::{self, Said};
use crate::in_force::InForce;
use crate::model::delivery::Category;
use crate::store::handovers::{self, KeptFrom, Silent};
use crate::store::reports::{News, Report};
use crate::store::{Database, Error};

/// How often kept reports are compared with what is known, and Postal is asked.
const TICK: Duration = Duration::from_secs(1);
/// How often old things are dropped.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How many are looked at in one round.
const BATCH: usize = 100;
/// How long keys of reports, and mails handed over that have ended, are known.
const REPORTS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Looks after mail that Postal has.
pub struct Watch {
    /// Takes reports in.
    pub hook: Arc<Hook>,
    /// Where mail handed over, and kept reports, are.
    pub db: Arc<dyn Database>,
    /// For asking; none when Postal is not used any more.
    pub api: Option<Api>,
    /// The times.
    pub settings: InForce,
    /// The time.
    pub clock: Clock,
}

/// What is done again and again.
#[derive(Debug, Clone, Copy)]
enum Task {
    Adopt,
    Ask,
    Forget,
}

impl Watch {
    /// Goes on until told to stop. Asking takes as long as Postal does, so the rest does not wait for
    /// it.
    pub async fn run(self, stop: CancellationToken) {
        let all = async {
            tokio::join!(
                self.repeat(TICK, Task::Adopt),
                self.repeat(TICK, Task::Ask),
                self.repeat(FORGET_EVERY, Task::Forget),
            )
        };
        // What is cut off is done again.
        let _cut_off = stop.run_until_cancelled(all).await;
    }

    async fn repeat(&self, pause: Duration, task: Task) {
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let done = match task {
                Task::Adopt => self.adopt().await,
                Task::Ask => self.ask().await,
                Task::Forget => self.forget().await,
            };
            if let Err(error) = done {
                tracing::warn!(%error, ?task, "mail at Postal not looked after; the next round tries again");
            }
        }
    }

    /// Takes in kept reports whose mail has become known.
    async fn adopt(&self) -> Result<(), Error> {
        for (key, body) in handovers::found_orphans(&*self.db, BATCH).await? {
            match self.hook.receive_kept(&body).await {
                Ok(true) => {}
                // Its mail has got another ticket meanwhile.
                Ok(false) => continue,
                Err(Refused::Store(error)) => return Err(error),
                Err(refused) => {
                    tracing::error!(report = key, %refused, "a kept report is no event")
                }
            }
            handovers::drop_orphan(&*self.db, &key).await?;
        }
        Ok(())
    }

    /// Asks about mail of which no end was heard in time.
    async fn ask(&self) -> Result<(), Error> {
        let (now_ms, settings) = (self.clock.now_ms(), self.settings.now());
        let next_ms = now_ms + settings.get(&POSTAL_ASK_AFTER);
        let mut api = self.api.as_ref();
        for silent in handovers::silent(&*self.db, now_ms, next_ms, BATCH).await? {
            let id = silent.subject.ticket.id;
            let told = match api {
                Some(api) => api.attempts(id).await,
                None => Err(Fault::NoMessage),
            };
            if let Err(fault) = &told
                && api.is_some()
            {
                tracing::warn!(postal.id = id, %fault, "Postal does not say what became of a mail");
                // The next would wait as long for nothing.
                api = api.filter(|_| *fault == Fault::NoMessage);
            }
            let end = told.ok().and_then(|attempts| end(&attempts));
            let over = now_ms - silent.create_ms >= settings.get(&POSTAL_SILENCE_MAX);
            let end = end.or_else(|| over.then(silence));
            let Some((key, news)) = end else { continue };
            self.report(silent, &key, news, next_ms).await?;
        }
        Ok(())
    }

    async fn report(
        &self,
        silent: Silent,
        key: &str,
        news: News,
        ask_ms: i64,
    ) -> Result<(), Error> {
        let token = &silent.subject.ticket.token;
        let key = format!("asked/{token}/{key}");
        let create_ms = self.clock.now_ms();
        let report = Report { key, subject: silent.subject, news, create_ms, ask_ms };
        self.hook.report(report).await.map(|_| ())
    }

    /// Drops what nobody needs any more.
    pub(crate) async fn forget(&self) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        let kept = KeptFrom {
            reports_ms: now_ms - REPORTS_KEPT.as_millis() as i64,
            orphans_ms: now_ms - self.settings.now().get(&POSTAL_ORPHAN_TIME),
        };
        let dropped = handovers::forget(&*self.db, kept).await?;
        if dropped > 0 {
            tracing::info!(
                count = dropped,
                "dropped reports of Postal about mail that is not ours"
            );
        }
        Ok(())
    }
}

/// The end that the attempts tell of, if they do; and what tells it from other reports. Webhooks tell
/// of what is under way.
fn end(attempts: &[Attempt]) -> Option<(String, News)> {
    let last = attempts.last()?;
    let said = Said { output: &last.output, details: &last.details };
    let news = match last.status.as_str() {
        "Sent" => news::delivered(said),
        "HardFail" => news::gave_up(said),
        "Held" => news::held(said),
        "Bounced" => news::bounced(),
        "HoldCancelled" => {
            news::failed(Category::Policy, "Postal held the message until it was given up")
        }
        _ => return None,
    };
    Some((last.id.to_string(), news))
}

fn silence() -> (String, News) {
    let text = "Postal told of no end in the time that postal.silence_max allows";
    ("silence".to_owned(), news::failed(Category::Timeout, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::EventType;

    fn attempt(status: &str) -> Attempt {
        let (details, output) = ("said".to_owned(), "550 5.1.1 no".to_owned());
        Attempt { id: 3, status: status.to_owned(), details, output }
    }

    #[test]
    fn only_an_end_is_taken_from_an_answer() {
        for (status, event) in [
            ("Sent", Some(EventType::Delivered)),
            ("HardFail", Some(EventType::Bounced)),
            ("Bounced", Some(EventType::Bounced)),
            ("Held", Some(EventType::Failed)),
            ("HoldCancelled", Some(EventType::Failed)),
            ("SoftFail", None),
            ("Pending", None),
            ("Error", None),
        ] {
            let told = end(&[attempt("SoftFail"), attempt(status)]);
            assert_eq!(told.as_ref().map(|(_, news)| news.event), event, "{status}");
        }
        assert_eq!(end(&[]), None);
    }
}
