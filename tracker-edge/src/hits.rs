//! Opens and clicks by signed links: verified, judged, journaled, answered; nobody is asked.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use postern_proto::ids::{HitId, RecipientId};
use postern_proto::link::{HONEYPOT_INDEX, Kind, Link, target};
use postern_proto::settings::{
    Settings, TRACKING_JOURNAL_OCTETS_MAX, TRACKING_SCANNER_WINDOW, TRACKING_SYNC_BEFORE_ANSWER,
    TRACKING_SYNC_INTERVAL,
};
use postern_proto::v1;
use postern_proto::v1::HitKind;
use postern_proto::v1::link_reference::Reference;

use crate::App;
use crate::answer::{self, Pixel};
use crate::journal::{Journal, Record};
use crate::pages;
use crate::verdict;
use crate::visitor::Visitor;

/// `/o/<token>.gif`: the pixel.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(file): Path<String>,
) -> Response {
    let (token, pixel) = Pixel::of(&file);
    match app.config.keys.open(token) {
        Ok(Link { delivery, kind: Kind::Open }) => {
            record(&app, &visitor, Happened::open(Whose::Signed(delivery))).await;
            pixel.answer(StatusCode::OK)
        }
        // An image that is broken would look like our fault to somebody who reads the mail.
        _ => pixel.answer(StatusCode::NOT_FOUND),
    }
}

/// `/c/<token>`: a link.
pub(crate) async fn click(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(token): Path<String>,
) -> Response {
    let Ok(Link { delivery, kind: Kind::Click { index, target } }) = app.config.keys.open(&token)
    else {
        return pages::wrong_link(visitor.language);
    };
    let whose = Whose::Signed(delivery);
    if index == HONEYPOT_INDEX {
        record(&app, &visitor, Happened { honeypot: true, ..Happened::click(whose, "", -1) }).await;
        return pages::wrong_link(visitor.language);
    }
    // The core signs safe targets only; a key that leaked must not make us an open redirect.
    let Some(answer) = target::location(&target).and_then(|location| answer::redirect(&location))
    else {
        return pages::wrong_link(visitor.language);
    };
    record(&app, &visitor, Happened::click(whose, &target, i32::from(index))).await;
    answer
}

/// Whose mail the link was in.
#[derive(Debug, Clone)]
pub(crate) enum Whose {
    /// As a signed link says.
    Signed(RecipientId),
    /// As a link of the old system claims.
    Claimed(v1::LegacyReference),
}

impl From<Whose> for v1::LinkReference {
    fn from(whose: Whose) -> Self {
        let reference = match whose {
            Whose::Signed(delivery) => Reference::RecipientId(delivery.to_string()),
            Whose::Claimed(legacy) => Reference::Legacy(legacy),
        };
        Self { reference: Some(reference) }
    }
}

/// What is to be recorded.
pub(crate) struct Happened<'a> {
    whose: Whose,
    kind: HitKind,
    url: &'a str,
    link_index: i32,
    honeypot: bool,
}

impl<'a> Happened<'a> {
    /// The pixel was loaded.
    pub(crate) fn open(whose: Whose) -> Self {
        Self { whose, kind: HitKind::Open, url: "", link_index: -1, honeypot: false }
    }

    /// A link was followed; `link_index` is -1 where it is not known.
    pub(crate) fn click(whose: Whose, url: &'a str, link_index: i32) -> Self {
        Self { whose, kind: HitKind::Click, url, link_index, honeypot: false }
    }
}

/// Judges a hit and writes it into the journal. Where that fails the loss is counted, and reported by
/// [`crate::ship`]; the reader gets the answer all the same.
pub(crate) async fn record(app: &App, visitor: &Visitor, happened: Happened<'_>) {
    let settings = app.live.now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = match happened.whose {
        Whose::Signed(delivery) => Some(now.saturating_sub(accepted_at(delivery))),
        Whose::Claimed(_) => None,
    };
    let window = settings.time(&TRACKING_SCANNER_WINDOW);
    let (mut verdict, mut reasons) = verdict::judge(visitor, happened.kind, age, window);
    if happened.honeypot {
        verdict = v1::Verdict::Bot;
        reasons.push("honeypot");
    }
    let hit = v1::Hit {
        id: HitId::generate().to_string(),
        kind: happened.kind as i32,
        recipient: Some(happened.whose.into()),
        url: happened.url.to_owned(),
        link_index: happened.link_index,
        create_time: Some(postern_proto::time::timestamp(now.as_millis() as i64)),
        client_ip: visitor.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        user_agent: visitor.user_agent.clone(),
        verdict: verdict as i32,
        reasons: reasons.into_iter().map(str::to_owned).collect(),
    };
    app.hits.count(match happened.kind {
        HitKind::Click => "click",
        _ => "open",
    });
    keep(&app.journal, &settings, &Record::Hit(hit)).await;
}

/// Writes into the journal; where answers wait for stable storage, returns when it is there.
async fn keep(journal: &Journal, settings: &Settings, record: &Record) {
    let max = settings.get(&TRACKING_JOURNAL_OCTETS_MAX).unsigned_abs();
    let Ok(ticket) = journal.append(record, max) else { return };
    if settings.is_on(&TRACKING_SYNC_BEFORE_ANSWER) {
        journal.wait_synced(ticket).await;
    }
}

/// When a delivery was accepted: its id is a UUIDv7 (RFC 9562 §5.7), which begins with that.
fn accepted_at(delivery: RecipientId) -> Duration {
    Duration::from_millis((delivery.uuid().as_u128() >> 80) as u64)
}

/// How long a record waits for others before it is synced: half of what is promised, since the sync
/// takes its time too; not at all while answers wait for it.
pub(crate) fn sync_pause(settings: &Settings) -> Duration {
    match settings.is_on(&TRACKING_SYNC_BEFORE_ANSWER) {
        true => Duration::ZERO,
        false => settings.time(&TRACKING_SYNC_INTERVAL) / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_its_mail_was_accepted() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let told = accepted_at(RecipientId::generate());
        assert!(now.abs_diff(told) < Duration::from_secs(60), "{told:?}");
    }

    #[tokio::test]
    async fn an_answer_waits_for_stable_storage_where_the_settings_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _reader) = Journal::open(folder.path()).unwrap();
        let record = Record::Hit(v1::Hit::default());
        let mut settings = Settings::default();
        assert_eq!(sync_pause(&settings), Duration::from_millis(25));
        settings.set("tracking.sync_interval", "1s").unwrap();
        assert_eq!(sync_pause(&settings), Duration::from_millis(500));
        // Nobody syncs yet, and nobody waits.
        keep(&journal, &settings, &record).await;
        settings.set("tracking.sync_before_answer", "on").unwrap();
        assert_eq!(sync_pause(&settings), Duration::ZERO);
        let kept = keep(&journal, &settings, &record);
        tokio::pin!(kept);
        tokio::select! {
            biased;
            () = kept.as_mut() => panic!("nothing was synced"),
            () = std::future::ready(()) => {}
        }
        let stop = tokio_util::sync::CancellationToken::new();
        let syncing = journal.keep_synced(|| sync_pause(&settings), stop.clone());
        let waiting = async {
            kept.await;
            stop.cancel();
        };
        tokio::join!(syncing, waiting);
    }
}
