//! Whole cores that are built and not run, at a time that the test chooses.

use postern_kit::clock::Clock;
use postern_kit::env::Env;
use postern_proto::ids::{KeyId, MessageId, RecipientId};

use super::Core;
use crate::capture::Capture;
use crate::config::{CoreConfig, StoreConfig};
use crate::model::delivery::{Mail, Outcome};
use crate::model::directory::{ApiKey, CredentialKind};
use crate::store::conformance::in_schema;
use crate::store::inbox::{self, InboxFilter};
use crate::store::messages::{self, MessageFilter};
use crate::store::{credentials, directory, settings};
use crate::transport::Transport as _;

/// When the tests begin.
pub(super) const NOW: i64 = 1_800_000_000_000;
const DAY_MS: i64 = 86_400_000;

pub(super) fn env() -> Env {
    Env::from([
        ("POSTERN_NOTICE_TO", "ops@good.test"),
        ("POSTERN_NOTICE_FROM", "postern@shop.test"),
    ])
    .with("POSTERN_GATEWAY_TOKEN", "t".repeat(32))
}

pub(super) fn key(hash: u8, expire_days: i64) -> ApiKey {
    let name = format!("key {hash}");
    ApiKey {
        hash: [hash; 32],
        expire_ms: Some(NOW + expire_days * DAY_MS),
        create_ms: NOW,
        ..ApiKey::unbound(KeyId::generate(), &name, &["messages:send"])
    }
}

impl Core {
    pub(super) async fn keep(&self, key: &ApiKey) {
        directory::create_key(&*self.context.db, key).await.unwrap();
        self.context.directory.refresh().await.unwrap();
    }

    /// The subjects of all mail that was accepted, newest first.
    pub(super) async fn subjects(&self) -> Vec<String> {
        let filter = MessageFilter::default();
        let (list, _) = messages::list(&*self.context.db, &filter, None, 100).await.unwrap();
        list.into_iter().map(|(row, _)| row.subject).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_announced_to_end_14_3_and_1_days_before() {
    let folder = tempfile::tempdir().unwrap();
    let env = env().with("POSTERN_DATA", folder.path().to_str().unwrap());
    let clock = Clock::manual(NOW);
    let config = CoreConfig::from_env(&env).unwrap();
    let core = Core::build_at(config, clock.clone()).await.unwrap();
    core.keep(&key(1, 90)).await;
    core.keep(&ApiKey { revoke_ms: Some(NOW), ..key(2, 90) }).await;
    let mut expected = Vec::new();
    for (day, days) in [(75, 0), (76, 14), (80, 0), (87, 3), (88, 0), (89, 1), (89, 0), (91, 0)] {
        clock.advance(NOW + day * DAY_MS - clock.now_ms());
        let sent = core.notices.round().await.unwrap();
        assert_eq!(sent, usize::from(days > 0), "day {day}");
        match days {
            0 => {}
            1 => expected.insert(0, "API key \"key 1\" expires in less than 1 day".to_owned()),
            days => {
                expected.insert(0, format!("API key \"key 1\" expires in less than {days} days"))
            }
        }
        assert_eq!(core.subjects().await, expected, "day {day}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_successor_is_announced_only_while_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let env = env().with("POSTERN_DATA", folder.path().to_str().unwrap());
    let clock = Clock::manual(NOW);
    let config = CoreConfig::from_env(&env).unwrap();
    let core = Core::build_at(config, clock.clone()).await.unwrap();
    let old = key(1, 90);
    core.keep(&old).await;
    clock.advance(10 * DAY_MS);
    let now_ms = clock.now_ms();
    let new = ApiKey { create_ms: now_ms, replaces: Some(old.id), ..key(2, 100) };
    assert!(directory::rotate_key(&*core.context.db, &new, now_ms + DAY_MS).await.unwrap());
    core.context.directory.refresh().await.unwrap();
    assert_eq!(core.notices.round().await.unwrap(), 0);
    let uses = &core.context.gate.uses;
    uses.note(CredentialKind::ApiKey, old.id.uuid(), now_ms + 5, None);
    uses.flush(&*core.context.db).await.unwrap();
    assert_eq!(core.notices.round().await.unwrap(), 1);
    assert_eq!(core.subjects().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_how_long_is_said_by_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let env = env().with("POSTERN_DATA", folder.path().to_str().unwrap());
    let clock = Clock::manual(NOW);
    let core = Core::build_at(CoreConfig::from_env(&env).unwrap(), clock.clone()).await.unwrap();
    let (db, queue) = (core.context.db.clone(), core.context.queue.clone());
    let set = async |name, value| {
        settings::put(&*db, name, value, None).await.unwrap();
        core.context.directory.refresh().await.unwrap();
        core.keeper.purge().await.unwrap();
    };
    let kept = async || {
        let filter = MessageFilter::default();
        let (list, _) = messages::list(&*db, &filter, None, 10).await.unwrap();
        let mut contents = 0;
        for (row, _) in &list {
            contents += usize::from(queue.content(row.content_id).await.unwrap().is_some());
        }
        (list.len(), contents)
    };
    core.keep(&key(1, 90)).await;
    core.keep(&key(2, 90)).await;
    clock.advance(80 * DAY_MS);
    assert_eq!(core.notices.round().await.unwrap(), 2);
    let filter = MessageFilter::default();
    for (row, _) in messages::list(&*db, &filter, None, 10).await.unwrap().0 {
        assert_eq!(queue.cancel(row.id, clock.now_ms()).await.unwrap(), 1);
    }
    clock.advance(DAY_MS);
    core.keeper.purge().await.unwrap();
    assert_eq!(kept().await, (2, 2), "the defaults");
    set("content.retention", "25h").await;
    assert_eq!(kept().await, (2, 2));
    set("content.retention", "23h").await;
    assert_eq!(kept().await, (2, 0));
    set("message.retention", "0ms").await;
    assert_eq!(kept().await, (2, 0), "for ever");
    set("message.retention", "23h").await;
    assert_eq!(kept().await, (1, 0), "the one with the newest event stays");
    let inbox = Capture::new(db.clone(), clock.clone(), std::sync::Arc::default());
    for _ in 0..3 {
        let mail = Mail {
            delivery: RecipientId::generate(),
            message: MessageId::generate(),
            from: "a@shop.test".to_owned(),
            to: "b@good.test".to_owned(),
            bytes: "Subject: s\r\n\r\nx\r\n".into(),
        };
        assert!(matches!(inbox.deliver(mail).await, Outcome::Delivered { .. }));
    }
    set("inbox.keep", "2").await;
    assert_eq!(inbox::list(&*db, &InboxFilter::default(), 10).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cores_announce_once_together_even_after_a_crash() {
    in_schema(async |postgres| {
        let clock = Clock::manual(NOW);
        let build = async || {
            let mut config = CoreConfig::from_env(&env()).unwrap();
            config.store = StoreConfig::Postgres(postgres.clone());
            Core::build_at(config, clock.clone()).await.unwrap()
        };
        let (one, other) = (build().await, build().await);
        let made: Vec<_> = (1..=20).map(|hash| key(hash, 90)).collect();
        for key in &made {
            one.keep(key).await;
        }
        other.context.directory.refresh().await.unwrap();
        clock.advance(88 * DAY_MS);
        let noted = tokio::join!(one.notices.round(), other.notices.round());
        assert_eq!(noted.0.unwrap() + noted.1.unwrap(), 20);
        let mut subjects = one.subjects().await;
        subjects.sort();
        subjects.dedup();
        assert_eq!((subjects.len(), other.subjects().await.len()), (20, 20));
        // As after a crash between the mail and the note that it was sent.
        credentials::forget_notices(&*one.context.db, i64::MAX).await.unwrap();
        let restarted = super::notices(&one.context, &one.config);
        assert_eq!(restarted.round().await.unwrap(), 20);
        assert_eq!(one.subjects().await.len(), 20);
    })
    .await;
}
