//! What is kept or looked at for so long as a setting says, at a time that the test chooses.

use std::sync::Arc;

use postern_kit::clock::Clock;
use postern_proto::ids::{AuditId, HitId, MessageId, WebhookId};
use postern_proto::settings::Settings;
use tempfile::TempDir;
use uuid::Uuid;

use super::Core;
use super::tests::{NOW, env, key};
use crate::campaign::Watcher;
use crate::config::CoreConfig;
use crate::directory::Directory;
use crate::model::delivery::{State, Ticket};
use crate::model::directory::ApiKey;
use crate::model::event::{Engagement, EventFilter, EventType};
use crate::model::operator::AuditEntry;
use crate::model::webhook::{DeliveryState, Endpoint, Format, Wanted};
use crate::postal::watch::Watch;
use crate::store::conformance::build::{begun, finish, node};
use crate::store::embedded::Embedded;
use crate::store::handovers::{self, Orphan};
use crate::store::messages::{self, MessageFilter};
use crate::store::reports::Subject;
use crate::store::tracking::NewHit;
use crate::store::webhook_attempts::{self, Ended};
use crate::store::webhook_deliveries::{self as deliveries, Collected, Take};
use crate::store::{Stores, audit, ledger, settings, webhooks};

const HOUR_MS: i64 = 3_600_000;

/// A core that does not run, in a folder of its own.
async fn core(clock: &Clock) -> (Core, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let env = env().with("POSTERN_DATA", folder.path().to_str().unwrap());
    let config = CoreConfig::from_env(&env).unwrap();
    (Core::build_at(config, clock.clone()).await.unwrap(), folder)
}

impl Core {
    pub(super) async fn set(&self, name: &str, value: &str) {
        settings::put(&*self.context.db, name, value, None).await.unwrap();
        self.context.directory.refresh().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_the_audit_log_go_after_audit_retention() {
    // Its id tells when it was made.
    let id = AuditId::generate();
    let made_ms = (id.uuid().as_u128() >> 80) as i64;
    let clock = Clock::manual(made_ms);
    let (core, _folder) = core(&clock).await;
    let entry = AuditEntry {
        id,
        create_ms: made_ms,
        actor: "op".to_owned(),
        actor_name: String::new(),
        action: "webhook.test".to_owned(),
        target: String::new(),
        detail: String::new(),
        client_ip: String::new(),
        request_id: String::new(),
    };
    audit::write(&*core.context.db, entry).await.unwrap();
    let kept = async || {
        core.keeper.purge().await.unwrap();
        audit::list(&*core.context.db, &audit::Filter::default(), 10).await.unwrap().len()
    };
    clock.advance(30 * HOUR_MS);
    assert_eq!(kept().await, 1, "the default");
    core.set("audit.retention", "31h").await;
    assert_eq!(kept().await, 1);
    core.set("audit.retention", "29h").await;
    assert_eq!(kept().await, 0);
}

/// A mail, for the sake of its event and its recipient.
async fn first_mail(core: &Core) {
    let now_ms = core.context.clock.now_ms();
    let (create_ms, expire_ms) = (now_ms - 90 * 24 * HOUR_MS, Some(now_ms + HOUR_MS));
    core.keep(&ApiKey { create_ms, expire_ms, ..key(1, 0) }).await;
    assert_eq!(core.notices.round().await.unwrap(), 1);
}

/// A webhook to which the first event there is was delivered.
async fn delivered(core: &Core, node: Uuid) -> WebhookId {
    let db = &*core.context.db;
    first_mail(core).await;
    let row = ledger::events(db, &EventFilter::default(), 0, 1).await.unwrap().remove(0);
    let id = WebhookId::generate();
    let endpoint = Endpoint {
        id,
        wanted: Wanted {
            url: "https://shop.example/hook".to_owned(),
            description: String::new(),
            event_types: vec!["message.*".to_owned()],
            campaign_ids: Vec::new(),
            format: Format::Postern,
            ordered: false,
            max_concurrency: 8,
            rate_limit: 0,
            headers: Default::default(),
        },
        secret: "whsec_new".to_owned(),
        old_secret: String::new(),
        old_secret_expire_ms: 0,
        disabled: false,
        disable_reason: String::new(),
        failing_ms: None,
        cursor: 0,
        create_ms: NOW,
    };
    webhooks::create(db, &endpoint).await.unwrap();
    let events = vec![(row.sequence, row.event.id)];
    let cursor = row.sequence;
    deliveries::collect(db, &[Collected { endpoint: id, events, cursor }], NOW).await.unwrap();
    let take =
        Take { endpoint: id, node, now_ms: NOW, until_ms: NOW + 1000, limit: 1, ordered: false };
    let taken = deliveries::take(db, &take).await.unwrap().remove(0);
    let ended = Ended {
        endpoint: id,
        sequence: taken.event.sequence,
        attempt: taken.attempt,
        node,
        skipped: false,
        end_ms: NOW,
        status: 200,
        error: "",
        response: String::new(),
        state: DeliveryState::Delivered,
        due_ms: NOW,
        failing: None,
    };
    webhook_attempts::end(db, &[ended]).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_webhooks_go_after_webhooks_retention() {
    let clock = Clock::manual(NOW);
    let (core, _folder) = core(&clock).await;
    let id = delivered(&core, core.keeper.node).await;
    let kept = async || {
        core.notifying.webhooks.keep_house(0).await;
        deliveries::list(&*core.context.db, id, None, None, 10).await.unwrap().len()
    };
    clock.advance(2 * HOUR_MS);
    assert_eq!(kept().await, 1, "the default");
    core.set("webhooks.retention", "3h").await;
    assert_eq!(kept().await, 1);
    core.set("webhooks.retention", "1h").await;
    assert_eq!(kept().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_about_unknown_mail_go_after_postal_orphan_time() {
    let clock = Clock::manual(NOW);
    let (core, _folder) = core(&clock).await;
    let (db, hook) = (core.context.db.clone(), core.context.hook.clone());
    let in_force = core.context.directory.in_force();
    let watch = Watch { hook, db: db.clone(), api: None, settings: in_force, clock: clock.clone() };
    let ticket = Ticket { id: 9, token: "t9".to_owned() };
    let subject =
        Subject { ticket, rfc_message_id: String::new(), email: "a@good.test".to_owned() };
    let orphan = Orphan { key: "o".to_owned(), subject, body: "{}".to_owned() };
    // An orphan that is still there is not kept a second time: it stays the only one.
    assert!(handovers::keep_orphan(&*db, &orphan, NOW).await.unwrap());
    let dropped = async || {
        let kept = |at| handovers::KeptFrom { reports_ms: 0, orphans_ms: at };
        watch.forget().await.unwrap();
        // What is dropped now had been left by the watch.
        handovers::forget(&*db, kept(NOW + 1)).await.unwrap() == 0
    };
    clock.advance(1000);
    core.set("postal.orphan_time", "2s").await;
    assert!(!dropped().await);
    assert!(handovers::keep_orphan(&*db, &orphan, NOW).await.unwrap());
    core.set("postal.orphan_time", "500ms").await;
    assert!(dropped().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_is_known_again_for_tracking_hit_retention() {
    // Its id tells when it was made.
    let id = HitId::generate();
    let made_ms = (id.uuid().as_u128() >> 80) as i64;
    let clock = Clock::manual(made_ms);
    let (core, _folder) = core(&clock).await;
    first_mail(&core).await;
    let filter = MessageFilter::default();
    let (list, _) = messages::list(&*core.context.db, &filter, None, 1).await.unwrap();
    let found = messages::message(&*core.context.db, list[0].0.id).await.unwrap().unwrap();
    let hit = NewHit {
        id,
        delivery: found.1[0].id,
        kind: EventType::Opened,
        link: 0,
        create_ms: made_ms,
        engagement: Engagement::default(),
    };
    let is_known = async || {
        core.keeper.purge().await.unwrap();
        core.context.tracking.record(vec![hit.clone()]).await.unwrap().repeated == 1
    };
    assert!(!is_known().await);
    clock.advance(2 * HOUR_MS);
    assert!(is_known().await, "the default");
    core.set("tracking.hit_retention", "3h").await;
    assert!(is_known().await);
    core.set("tracking.hit_retention", "1h").await;
    assert!(!is_known().await);
}

/// A campaign of one mail, which was refused at the beginning.
async fn refused(stores: &Stores) {
    let node = node(stores).await;
    let (id, begun): (MessageId, _) = begun(stores, node).await;
    let finish = finish(id, begun, State::Bounced, EventType::Bounced);
    assert_eq!(stores.queue.finish(node, &[finish], NOW).await.unwrap(), [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn campaigns_are_judged_by_what_happened_within_autostop_window() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Embedded::open(folder.path()).unwrap();
    let (db, clock) = (stores.db.clone(), Clock::manual(NOW));
    let mut defaults = Settings::default();
    for (name, value) in [("autostop.enabled", "on"), ("autostop.minimum", "1")] {
        defaults.set(name, value).unwrap();
    }
    let directory = Arc::new(Directory::load(db.clone(), defaults).await.unwrap());
    let watcher = Watcher {
        db: db.clone(),
        directory: directory.clone(),
        clock: clock.clone(),
        has_ams: false,
    };
    refused(&stores).await;
    clock.advance(2 * HOUR_MS);
    assert_eq!(watcher.round().await.unwrap(), 0, "the default is an hour");
    settings::put(&*db, "autostop.window", "3h", None).await.unwrap();
    directory.refresh().await.unwrap();
    assert_eq!(watcher.round().await.unwrap(), 1);
}
