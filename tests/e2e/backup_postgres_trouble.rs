//! What goes wrong around backups of PostgreSQL: the log breaks off, the store for copies is away, a
//! copy is cut off. Each is told, nothing that was kept is given up, and it mends itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use postern_tests::cluster::Server;
use postern_tests::wait;

use super::backup_postgres::{Scripts, received, restored, text};

/// A receiver that has been away for longer than the primary keeps log.
async fn lose_the_log(primary: &Server) {
    let client = primary.client().await.unwrap();
    let lost = async || {
        for _ in 0..3 {
            let sql =
                "SELECT pg_switch_wal() FROM (SELECT pg_logical_emit_message(true, 'x', 'y')) x";
            client.batch_execute(sql).await?;
        }
        client.batch_execute("CHECKPOINT").await?;
        let sql = "SELECT 1 FROM pg_replication_slots WHERE wal_status = 'lost'";
        Ok((!client.query(sql, &[]).await?.is_empty()).then_some(()))
    };
    wait::until("the log is lost", lost).await.unwrap();
}

async fn until_check(scripts: &Scripts, primary: &Server, found: &str) {
    let look = async || {
        let check = scripts.run(primary, "check", &[]);
        let told = text(&check.stderr);
        Ok((check.status.success() == found.is_empty() && told.contains(found)).then_some(()))
    };
    wait::until(&format!("check says {found:?}"), look).await.unwrap();
}

#[tokio::test]
async fn a_log_that_broke_off_is_told_and_begun_anew_with_a_base_and_a_gap_is_never_passed_over() {
    let primary = Server::primary("-c max_slot_wal_keep_size=64MB -c wal_keep_size=0").unwrap();
    let scripts = Scripts::new();
    let receiver = scripts.receive(&primary);
    received(&primary).await;
    scripts.base(&primary, &[]);
    until_check(&scripts, &primary, "").await;
    drop(receiver);
    lose_the_log(&primary).await;
    until_check(&scripts, &primary, "is lost").await;

    let left = scripts.path("backups/base/base-20200101T000000Z.part");
    std::fs::create_dir(&left).unwrap();
    let dir = scripts.path("backups");
    let vars = [("BACKUP_DIR", &*dir), ("BACKUP_PAUSE", "1")];
    let running = scripts.start(&primary, "backup", &["run"], &vars);
    let two = async || {
        Ok((scripts.bases().iter().filter(|n| !n.ends_with(".part")).count() == 2).then_some(()))
    };
    wait::until("a base after the gap", two).await.unwrap();
    until_check(&scripts, &primary, "").await;
    assert!(!Path::new(&left).exists(), "what was cut off is removed");
    primary.crash().unwrap();
    until_check(&scripts, &primary, "cannot be asked").await;
    primary.start("").unwrap();
    until_check(&scripts, &primary, "").await;
    let client = primary.client().await.unwrap();
    client.batch_execute("CREATE TABLE late AS SELECT 1 AS one").await.unwrap();
    received(&primary).await;
    drop(running);

    let [old, new] = <[String; 2]>::try_from(scripts.bases()).unwrap();
    let server = Server::bare().unwrap();
    let refused = server.command(&scripts.path("restore"), &[&old, &server.data()], &[]);
    let refused = refused.unwrap().output().unwrap();
    let told = text(&refused.stderr);
    assert!(!refused.status.success() && told.contains("of the log is missing"), "{told}");
    assert!(!Path::new(&server.data()).exists(), "nothing was made");
    let accept = [("RESTORE_GAP", "accept")];
    server.run_with(&scripts.path("restore"), &[&old, &server.data()], &accept).unwrap();
    let server = restored(&scripts, &new, "").await;
    let client = server.client().await.unwrap();
    assert_eq!(client.query("SELECT one FROM late", &[]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_gap_within_one_segment_is_seen_and_a_restart_makes_no_base_before_its_time() {
    let primary = Server::primary("").unwrap();
    let scripts = Scripts::new();
    let client = primary.client().await.unwrap();
    let receiver = scripts.receive(&primary);
    received(&primary).await;
    scripts.base(&primary, &[]);
    client.batch_execute("CREATE TABLE first AS SELECT 1 AS one").await.unwrap();
    received(&primary).await;
    drop(receiver);
    // On a quiet server a segment lasts long: what is lost is within the one that was under way.
    client.batch_execute("SELECT pg_drop_replication_slot('postern_backup')").await.unwrap();
    let switch = "INSERT INTO first VALUES (2); SELECT pg_switch_wal()";
    client.batch_execute(switch).await.unwrap();
    client.batch_execute("CREATE TABLE second AS SELECT 1 AS one").await.unwrap();
    let receiver = scripts.receive(&primary);
    received(&primary).await;
    drop(receiver);
    let base = scripts.bases().remove(0);
    let server = Server::bare().unwrap();
    let refused = server.command(&scripts.path("restore"), &[&base, &server.data()], &[]);
    let refused = refused.unwrap().output().unwrap();
    let told = text(&refused.stderr);
    assert!(!refused.status.success() && told.contains("of the log is missing"), "{refused:?}");

    std::fs::remove_file(scripts.path("backups/base-wanted")).unwrap();
    let dir = scripts.path("backups");
    let vars = [("BACKUP_DIR", &*dir), ("BACKUP_PAUSE", "0.1")];
    for _ in 0..3 {
        let running = scripts.start(&primary, "backup", &["run"], &vars);
        received(&primary).await;
        drop(running);
    }
    assert_eq!(scripts.bases(), [base], "the last one is not a day old");
    let none = scripts.run(&primary, "base", &[("BACKUP_KEEP", "0")]);
    assert!(!none.status.success() && text(&none.stderr).contains("BACKUP_KEEP"), "{none:?}");
    // A base that cannot be made is noted, beside when the last one was.
    primary.crash().unwrap();
    let due = [&vars[..], &[("BACKUP_EVERY", "0")]].concat();
    let _running = scripts.start(&primary, "backup", &["run"], &due);
    let noted = async || {
        let status = std::fs::read_to_string(scripts.path("backups/last-backup"))?;
        let has = |name| status.contains(&format!("postern_backup_last_{name}_timestamp_seconds "));
        Ok((has("failure") && has("success")).then_some(()))
    };
    wait::until("the failure is noted", noted).await.unwrap();
}

/// What a store for copies was given, by path.
type Given = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Takes what is put, as S3 does; whether the signature is right it cannot tell.
async fn take(
    State(given): State<Given>,
    uri: Uri,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> StatusCode {
    let signed = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
    if !signed.starts_with("AWS4-HMAC-SHA256 Credential=ACCESS/") {
        return StatusCode::FORBIDDEN;
    }
    given.lock().unwrap().insert(uri.path().to_owned(), body.to_vec());
    StatusCode::OK
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_is_kept_when_its_copy_fails_and_is_copied_in_parts_when_the_store_is_back() {
    let primary = Server::primary("").unwrap();
    let scripts = Scripts::new();
    let receiver = scripts.receive(&primary);
    received(&primary).await;
    let key = scripts.path("s3.key");
    std::fs::write(&key, "ACCESS:secret\n").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/bucket/prefix", listener.local_addr().unwrap());
    let closed = "http://127.0.0.1:1/bucket";
    let vars = |url| [("S3_URL", url), ("S3_KEY_FILE", key.as_str()), ("S3_PART", "1M")];
    let failed = scripts.run(&primary, "base", &vars(closed));
    assert_eq!(failed.status.code(), Some(3), "{failed:?}");
    assert!(text(&failed.stderr).contains("the copy here is complete"), "{failed:?}");
    assert_eq!(scripts.bases().len(), 1);
    assert!(scripts.run(&primary, "check", &vars(closed)).status.success(), "it may take an hour");
    let late = [vars(closed).as_slice(), &[("BACKUP_COPY_MAX", "0")]].concat();
    let late = scripts.run(&primary, "check", &late);
    assert!(!late.status.success() && text(&late.stderr).contains("is not in http"), "{late:?}");

    let given = Given::default();
    let store = axum::Router::new()
        .fallback(take)
        .layer(axum::extract::DefaultBodyLimit::max(8 << 20))
        .with_state(Arc::clone(&given));
    let store = tokio::spawn(axum::serve(listener, store).into_future());
    let copied = scripts.run(&primary, "copy", &vars(&url));
    assert!(copied.status.success(), "{copied:?}");
    drop(receiver);
    store.abort();
    let parts = given.lock().unwrap().clone();
    assert!(
        parts.len() > 1 && parts.keys().all(|name| name.starts_with("/bucket/prefix/base-")),
        "{:?}",
        parts.keys()
    );
    let tar = scripts.path("back.tar.gz");
    std::fs::write(&tar, parts.into_values().collect::<Vec<_>>().concat()).unwrap();
    let back = scripts.path("backups");
    primary.run_with("tar", &["-xzf", &tar, "-C", &back], &[]).unwrap();
    let base = scripts.bases().remove(0);
    let name = Path::new(&base).file_name().unwrap().to_str().unwrap();
    primary.run("pg_verifybackup", &["--quiet", &format!("{back}/{name}")]).unwrap();
}

#[tokio::test]
async fn a_replica_whose_first_copy_was_cut_off_copies_again_and_waits_for_nobody_when_promoted() {
    let primary = Server::primary("").unwrap();
    let client = primary.client().await.unwrap();
    let replica = Server::bare().unwrap();
    // The script has no options for where it listens: it gets that with the copy.
    let folder = replica.folder().display();
    let socket = format!("ALTER SYSTEM SET unix_socket_directories = '{folder}'");
    let port = format!("ALTER SYSTEM SET port = {}", replica.port);
    for sql in [
        "CREATE ROLE replicator REPLICATION LOGIN",
        &socket,
        &port,
        "ALTER SYSTEM SET synchronous_standby_names = 'replica'",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    let scripts = Scripts::new();
    // Where a first copy was cut off: some of it is there, and PG_VERSION is not.
    let data = replica.data();
    let rest = [&*format!("{data}/copy/base"), &*format!("{data}/global")];
    primary.run_with("mkdir", &[&["-p"], &rest[..]].concat(), &[]).unwrap();
    let vars =
        [("PRIMARY_HOST", "127.0.0.1"), ("REPLICATION_PASSWORD", "unused"), ("PGDATA", &*data)];
    let streaming = async || {
        // pg_basebackup streams too: the replica has to answer.
        if replica.client().await.is_err() {
            return Ok(None);
        }
        let sql = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        Ok((client.query(sql, &[]).await?.len() == 1).then_some(()))
    };
    let running = scripts.start(&primary, "replica-entrypoint.sh", &[], &vars);
    wait::until("it streams", streaming).await.unwrap();
    drop(running);
    primary.run_with("touch", &[&format!("{data}/kept")], &[]).unwrap();
    let running = scripts.start(&primary, "replica-entrypoint.sh", &[], &vars);
    wait::until("it streams again", streaming).await.unwrap();
    assert!(Path::new(&format!("{data}/kept")).exists(), "a whole copy is not made again");
    primary.crash().unwrap();
    replica.promote().unwrap();
    // It would hang here, waiting for a replica of its own.
    replica.client().await.unwrap().batch_execute("CREATE TABLE goes_on (x int)").await.unwrap();
    drop(running);
}
