//! The restore drill of PostgreSQL, with the scripts of `deploy/postgres` and real servers: load, back up,
//! destroy, restore, compare every row, continue sending.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Child;

use postern_tests::cluster::{Server, shared_folder};
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use serde_json::json;
use tempfile::TempDir;

use super::ops::{ask, ops};

/// The scripts, where the server's user may read them, and the folder that backups go to.
pub(super) struct Scripts {
    folder: TempDir,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let folder = shared_folder().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres");
        for name in ["backup", "restore", "replica-entrypoint.sh"] {
            let copy = folder.path().join(name);
            std::fs::copy(source.join(name), &copy).unwrap();
            std::fs::set_permissions(copy, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn run(
        &self,
        server: &Server,
        command: &str,
        vars: &[(&str, &str)],
    ) -> std::process::Output {
        let dir = self.path("backups");
        let vars = [&[("BACKUP_DIR", dir.as_str())], vars].concat();
        server.command(&self.path("backup"), &[command], &vars).unwrap().output().unwrap()
    }

    pub(super) fn base(&self, server: &Server, vars: &[(&str, &str)]) {
        let made = self.run(server, "base", vars);
        assert!(made.status.success(), "{made:?}");
    }

    /// The base backups there are, oldest first.
    pub(super) fn bases(&self) -> Vec<String> {
        let folder = std::fs::read_dir(self.path("backups/base")).unwrap();
        let mut names: Vec<_> =
            folder.map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// Receives the log until it is dropped.
    pub(super) fn receive(&self, server: &Server) -> Receiver {
        let dir = self.path("backups");
        self.start(server, "backup", &["wal"], &[("BACKUP_DIR", &dir)])
    }

    /// Starts a script that runs until what is returned is dropped.
    pub(super) fn start(
        &self,
        server: &Server,
        script: &str,
        args: &[&str],
        vars: &[(&str, &str)],
    ) -> Receiver {
        let mut command = server.command(&self.path(script), args, vars).unwrap();
        // In a group of its own, so that all of it can be stopped.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // It says that it was stopped.
        Receiver(command.stderr(std::process::Stdio::null()).spawn().unwrap())
    }
}

pub(super) struct Receiver(Child);

impl Drop for Receiver {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _gone = std::process::Command::new("kill").args(["--", &group]).status();
        let _ended = self.0.wait();
    }
}

/// What every table holds: how many rows, and a digest of all of them.
async fn contents(server: &Server) -> BTreeMap<String, (i64, Option<String>)> {
    let client = server.client().await.unwrap();
    let sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'";
    let mut all = BTreeMap::new();
    for row in client.query(sql, &[]).await.unwrap() {
        let table: String = row.get(0);
        let sql = format!(
            "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM \"{table}\" t"
        );
        let row = client.query_one(&sql, &[]).await.unwrap();
        all.insert(table, (row.get(0), row.get(1)));
    }
    all
}

/// Waits until the receiver has everything that the server has written.
pub(super) async fn received(server: &Server) {
    let client = server.client().await.unwrap();
    client.batch_execute("CHECKPOINT").await.unwrap();
    let look = async || {
        let sql = "SELECT 1 FROM pg_stat_replication WHERE application_name = 'pg_receivewal' \
                   AND flush_lsn >= pg_current_wal_flush_lsn()";
        Ok((!client.query(sql, &[]).await?.is_empty()).then_some(()))
    };
    wait::until("the log is received", look).await.unwrap();
}

/// A server over what a backup gives back, which takes writes.
pub(super) async fn restored(scripts: &Scripts, base: &str, time: &str) -> Server {
    let server = Server::bare().unwrap();
    let data = server.data();
    let args: Vec<&str> = [base, &data, time].into_iter().filter(|arg| !arg.is_empty()).collect();
    server.run_with(&scripts.path("restore"), &args, &[]).unwrap();
    server.start("").unwrap();
    let ready = async || {
        let client = server.client().await?;
        let row = client.query_one("SELECT pg_is_in_recovery()", &[]).await?;
        Ok((!row.get::<_, bool>(0)).then_some(()))
    };
    wait::until("the log is replayed", ready).await.unwrap();
    server
}

#[tokio::test]
async fn what_was_backed_up_comes_back_to_the_last_moment_or_to_a_time_and_mail_goes_on() {
    let primary = Server::primary("").unwrap();
    let scripts = Scripts::new();
    let url = primary.url();
    let status = scripts.path("backups/last-backup");
    let vars = [
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_BACKUP_STATUS", &status),
        ("POSTERN_LOG_FORMAT", "json"),
    ];
    let mut stack = Stack::start(&vars).await.unwrap();
    let receiver = scripts.receive(&primary);
    for n in 0..10 {
        stack.send_to(&format!("early{n}@good.test")).await.unwrap();
    }
    let gone = json!({"email": "gone@good.test", "reason": "manual"});
    assert_eq!(stack.post("/v1/suppressions", &gone).await.unwrap().status, 201);
    let age = "\npostern_backup_last_success_timestamp_seconds ";
    let metrics = ask(&ops(&stack), "/metrics").await.1;
    assert!(!metrics.contains(age), "{metrics}");
    scripts.base(&primary, &[]);
    let metrics = ask(&ops(&stack), "/metrics").await.1;
    assert!(metrics.contains(age), "{metrics}");
    let mut later = mail_to("later@good.test");
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    later["send_time"] = json!(format!("{tomorrow:.0}"));
    let later = stack.send(&later).await.unwrap();
    for n in 0..10 {
        let id = stack.send_to(&format!("late{n}@good.test")).await.unwrap();
        stack.wait_state(&id, "delivered").await.unwrap();
    }
    let key = stack.key.clone();
    stack.kill_9().await.unwrap();
    let client = primary.client().await.unwrap();
    let before = contents(&primary).await;
    let now: String = client.query_one("SELECT now()::text", &[]).await.unwrap().get(0);
    client.batch_execute("DELETE FROM suppressions").await.unwrap();
    let after = contents(&primary).await;
    assert_ne!(before, after);
    received(&primary).await;
    drop(receiver);
    drop(client);
    drop(primary);

    let base = scripts.bases().remove(0);
    assert!(contents(&restored(&scripts, &base, "").await).await == after, "to the last moment");
    let server = restored(&scripts, &base, &now).await;
    assert_eq!(contents(&server).await, before, "to the time before the mistake");
    let url = server.url();
    let stack = Stack::join(&[("DATABASE_URL", url.as_str())], &key).await.unwrap();
    let id = stack.send_to("again@good.test").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    assert_eq!(stack.message(&later).await.unwrap()["recipients"][0]["state"], "scheduled");
    let gone = stack.send_to("gone@good.test").await.unwrap();
    stack.wait_state(&gone, "suppressed").await.unwrap();
}

#[tokio::test]
async fn old_backups_go_damaged_ones_are_refused_and_a_missing_one_is_noticed() {
    let primary = Server::primary("").unwrap();
    let scripts = Scripts::new();
    let none = scripts.run(&primary, "check", &[]);
    assert!(
        !none.status.success() && text(&none.stderr).contains("no base backup yet"),
        "{none:?}"
    );
    let receiver = scripts.receive(&primary);
    let client = primary.client().await.unwrap();
    let switch = "SELECT pg_switch_wal() FROM (SELECT pg_logical_emit_message(true, 'x', 'y')) x";
    for _ in 0..2 {
        scripts.base(&primary, &[("BACKUP_KEEP", "1")]);
        // Names of a backup are as fine as a second.
        let at: String = client
            .query_one("SELECT date_trunc('second', clock_timestamp())::text", &[])
            .await
            .unwrap()
            .get(0);
        let next = async || {
            let sql = "SELECT date_trunc('second', clock_timestamp())::text";
            Ok((client.query_one(sql, &[]).await?.get::<_, String>(0) != at).then_some(()))
        };
        wait::until("the next second", next).await.unwrap();
        client.batch_execute(switch).await.unwrap();
        received(&primary).await;
    }
    let bases = scripts.bases();
    assert_eq!(bases.len(), 1, "{bases:?}");
    assert!(scripts.run(&primary, "check", &[]).status.success());
    let old = scripts.run(&primary, "check", &[("BACKUP_AGE_MAX", "-1")]);
    assert!(!old.status.success() && text(&old.stderr).contains("too old"), "{old:?}");
    let dump = scripts.run(&primary, "dump", &[]);
    assert!(dump.status.success(), "{dump:?}");
    drop(receiver);
    std::fs::write(format!("{}/PG_VERSION", bases[0]), "14\n").unwrap();
    let server = Server::bare().unwrap();
    let refused = server.command(&scripts.path("restore"), &[&bases[0], &server.data()], &[]);
    let refused = refused.unwrap().output().unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    assert!(text(&refused.stderr).contains("is damaged"), "{refused:?}");
    assert!(!Path::new(&server.data()).exists(), "nothing was made");
}

pub(super) fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
