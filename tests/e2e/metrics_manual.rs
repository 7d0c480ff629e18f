//! The manual of metrics lists what is shown, all of it and nothing else, as real processes show it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use postern_tests::cluster::Server;
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::postal::Postal;
use postern_tests::role::Single;
use postern_tests::smtp_client::SmtpClient;
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::json;

use super::ops::{ask, figures, ops};
use super::tracking_edge::{get, tracked};
use super::webhooks::create;

const POSTED: &str = "postern_webhook_posts_total{outcome=\"delivered\"}";
const JSON: (&str, &str) = ("POSTERN_LOG_FORMAT", "json");

/// The families of an answer by the names that the manual has for them, with what the format adds.
fn families(shown: &str) -> BTreeSet<String> {
    let types = shown.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let named = |line: &str| {
        let (name, kind) = line.split_once(' ').unwrap();
        let end = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        format!("{name}{end}")
    };
    types.map(named).collect()
}

/// What the rows of the manual name: metrics, and the labels of each.
fn manual() -> BTreeMap<String, BTreeSet<String>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/METRICS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let quoted = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut all = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split(" | ").collect();
        assert!(cells.len() >= 3, "{row}");
        // An empty cell of labels is `| |`, which leaves no blanks to split at.
        let labels = if cells[0].ends_with("` |") { BTreeSet::new() } else { quoted(cells[1]) };
        for name in quoted(cells[0]) {
            assert!(
                all.insert(name.clone(), labels.clone()).is_none(),
                "{name} stands there twice"
            );
        }
    }
    all
}

/// The labels of the samples of each family, without those that the format makes.
fn labels(shown: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in shown.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let ends = ["_bucket", "_sum", "_count"];
        let name = ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let (list, _) = rest.rsplit_once('}').unwrap();
        let names = list.split("\",").map(|pair| pair.split_once('=').unwrap().0.to_owned());
        all.entry(name.to_owned()).or_default().extend(names.filter(|name| name != "le"));
    }
    all
}

/// Makes every counter move that is not shown before it has: mail of all kinds, and refusals of all kinds.
async fn move_all(stack: &Stack, receiver: &HookReceiver) {
    create(stack, &receiver.url("hook"), json!({})).await;
    let (_, link) = tracked(stack, "ann@good.test").await;
    get(&format!("{}{}", stack.tracker, link("/o/"))).await;
    for url in [format!("{}/v1/messages", stack.rest), format!("{}/robots.txt", stack.tracker)] {
        let refused = wait::until("a request too many", async || {
            Ok((get(&url).await.status() == 429).then_some(()))
        });
        refused.await.unwrap();
    }
    stack.grpc_send_to("bob@good.test").await.unwrap();
    stack.grpc_send_to("bob@good.test").await.unwrap_err();
    let mut client = SmtpClient::connect(stack.smtp.starttls).await.unwrap();
    client.ask("EHLO test\r\n").await.unwrap();
    client.auth("nobody", "wrong").await.unwrap();
    let mut second = SmtpClient::dial(stack.smtp.starttls).await.unwrap();
    assert!(second.reply().await.unwrap().starts_with("421 "));
    wait::until("the webhook is posted", async || {
        Ok(figures(&ops(stack)).await.contains_key(POSTED).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_manual_lists_what_is_shown_and_nothing_else() {
    let primary = Server::primary("").unwrap();
    let replica = Server::replica_of(&primary, "replica").unwrap();
    let postal = Postal::start().await.unwrap();
    let (url, replica_url) = (primary.url(), replica.url());
    let postal_url = format!("http://{}", postal.addr);
    let vars = [
        JSON,
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_REPLICA_URL", replica_url.as_str()),
        ("POSTERN_POSTAL_URL", postal_url.as_str()),
        ("POSTERN_POSTAL_API_KEY", "a-key-of-postal"),
        ("POSTERN_SMTP_PLAIN_AUTH", "on"),
        ("POSTERN_SMTP_CONNECTIONS_PER_ADDRESS_MAX", "1"),
        ("POSTERN_REST_LIMIT_IP_PER_MINUTE", "5"),
        ("POSTERN_GRPC_LIMIT_KEY_PER_MINUTE", "1"),
        ("POSTERN_TRACKING_REQUESTS_PER_ADDRESS", "20"),
        ("POSTERN_TRACKING_REQUESTS_WINDOW", "1h"),
        ("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow"),
    ];
    let receiver = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&vars).await.unwrap();
    let backup = "postern_backup_last_success_timestamp_seconds 1795719600\n";
    std::fs::write(stack.folder().join("last-backup"), backup).unwrap();
    move_all(&stack, &receiver).await;
    let (_, shown) = ask(&ops(&stack), "/metrics").await;
    let manual = manual();
    let documented: BTreeSet<_> = manual.keys().cloned().collect();
    let families = families(&shown);
    assert!(families.len() > 30, "{families:?}");
    let missing: Vec<_> = families.difference(&documented).collect();
    assert!(missing.is_empty(), "not in the manual: {missing:?}");
    let invented: Vec<_> = documented.difference(&families).collect();
    assert!(invented.is_empty(), "in the manual and not shown: {invented:?}");
    for (name, labels) in labels(&shown) {
        assert_eq!(Some(&labels), manual.get(&name), "the labels of {name}");
    }
}

#[tokio::test]
async fn the_binary_of_a_single_part_shows_the_figures_of_its_part() {
    let data = tempfile::tempdir().unwrap();
    let core = Single::core(&data.path().join("core")).await.unwrap();
    let address = format!("127.0.0.1:{}", core.port);
    let rest = Single::gateway("postern-gateway-rest", &address, data.path()).await.unwrap();
    let smtp = Single::gateway("postern-gateway-smtp", &address, data.path()).await.unwrap();
    let edge = Single::gateway("postern-tracker-edge", &address, data.path()).await.unwrap();
    for (part, family) in [
        (&core, "postern_queue_oldest_due_age_seconds"),
        (&rest, "postern_http_request_duration_seconds"),
        (&smtp, "postern_smtp_connections"),
        (&edge, "postern_tracking_journal_bytes"),
    ] {
        let (status, shown) = ask(&part.ops, "/metrics").await;
        assert_eq!(status, 200, "{shown}");
        assert!(families(&shown).contains(family), "{family} is not in {shown}");
        assert_eq!(ask(&part.ops, "/livez").await, (200, "ok\n".to_owned()), "{family}");
        let ready = wait::until("readyz", async || {
            Ok((ask(&part.ops, "/readyz").await.0 == 200).then_some(()))
        });
        ready.await.unwrap();
    }
}
