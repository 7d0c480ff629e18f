//! What is wrong is told by mail, at a time that the test chooses.

use postern_kit::clock::Clock;
use postern_proto::v1::PartCondition;
use uuid::Uuid;

use super::Core;
use super::tests::{NOW, env};
use crate::config::CoreConfig;
use crate::store::gateways::{self, Gateway};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A core that does not run, in a folder of its own, which sees nothing wrong.
async fn core(clock: &Clock) -> (Core, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let env = env().with("POSTERN_DATA", folder.path().to_str().unwrap());
    let config = CoreConfig::from_env(&env).unwrap();
    let core = Core::build_at(config, clock.clone()).await.unwrap();
    core.set("notice.disk_free", "0").await;
    (core, folder)
}

/// Looks as often and for as long as a trouble has to last. Returns the subjects of all mail so far.
async fn looked(core: &mut Core, clock: &Clock) -> Vec<String> {
    for _ in 0..6 {
        core.alarms.round().await.unwrap();
        clock.advance(30_000);
    }
    let mut subjects = core.subjects().await;
    subjects.reverse();
    // The name of this machine stands behind.
    subjects.iter().map(|one| one.split(" (").next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_backup_is_told_again_every_notice_repeat_until_there_is_a_new_one() {
    let clock = Clock::manual(NOW);
    let (mut core, folder) = core(&clock).await;
    let made = |at_ms: i64| {
        let text = format!("postern_backup_last_success_timestamp_seconds {}\n", at_ms / 1000);
        std::fs::write(folder.path().join("last-backup"), text).unwrap();
    };
    made(NOW - 25 * HOUR_MS);
    assert!(looked(&mut core, &clock).await.is_empty(), "it is not too old yet");
    core.set("notice.backup_age", "24h").await;
    let first = "Trouble: there is no recent backup";
    assert_eq!(looked(&mut core, &clock).await, [first]);
    clock.advance(5 * HOUR_MS);
    assert_eq!(looked(&mut core, &clock).await, [first], "told six hours apart");
    clock.advance(HOUR_MS);
    let again = "Still trouble: there is no recent backup";
    assert_eq!(looked(&mut core, &clock).await, [first, again]);
    core.set("notice.repeat", "1m").await;
    let told = looked(&mut core, &clock).await;
    assert!(told.len() > 2 && told[2..].iter().all(|one| *one == again), "{told:?}");
    made(clock.now_ms());
    let over = looked(&mut core, &clock).await;
    assert_eq!(over[told.len()..], ["Resolved: there is no recent backup"], "{over:?}");
    assert_eq!(looked(&mut core, &clock).await, over);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_told_once() {
    let clock = Clock::manual(NOW);
    let (mut core, _folder) = core(&clock).await;
    let db = core.context.db.clone();
    let mut gateway = Gateway {
        id: Uuid::now_v7(),
        kind: "smtp".to_owned(),
        host: "edge".to_owned(),
        version: "1".to_owned(),
        condition: i64::from(PartCondition::Up as i32),
        detail: String::new(),
        // It is heard of all the time.
        heartbeat_ms: NOW + DAY_MS,
        certificate_ms: Some(NOW + 20 * DAY_MS),
    };
    gateways::report(&*db, &gateway, 0).await.unwrap();
    assert!(looked(&mut core, &clock).await.is_empty());
    core.set("notice.certificate_left", "21d").await;
    let told = "Trouble: a certificate ends soon";
    assert_eq!(looked(&mut core, &clock).await, [told]);
    gateway.certificate_ms = Some(NOW + 90 * DAY_MS);
    gateways::report(&*db, &gateway, 0).await.unwrap();
    let over = "Resolved: a certificate ends soon";
    assert_eq!(looked(&mut core, &clock).await, [told, over]);
}
