//! The alert rules: each fires when it should and only then (by Prometheus' own `promtool`), asks only for
//! what the program shows, and has a chapter in the handbook.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use postern_tests::cluster::Server;
use postern_tests::postal::Postal;
use postern_tests::stack::Stack;
use serde_json::Value;

use super::ops::{ask, ops};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn promtool(args: &[&str]) -> Output {
    let folder = root().join("deploy/prometheus");
    Command::new("promtool").args(args).current_dir(folder).output().unwrap()
}

/// The rules as Prometheus reads them.
fn rules() -> Vec<Value> {
    let rules: Value = yaml_serde::from_str(&read("deploy/prometheus/alerts.yml")).unwrap();
    rules["groups"][0]["rules"].as_array().unwrap().clone()
}

/// What the dashboard of Grafana asks for.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/postern.json")).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| {
        panel["targets"].as_array().map(|targets| {
            let query = |target: &Value| target["expr"].as_str().unwrap().to_owned();
            targets.iter().map(query).collect::<Vec<_>>()
        })
    });
    targets.flatten().collect()
}

/// The names of metrics in an expression.
fn names(expression: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c: char| !word(c));
    words.filter(|word| word.starts_with("postern_")).map(str::to_owned).collect()
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    let checked = promtool(&["check", "config", "prometheus.yml"]);
    assert!(checked.status.success(), "{checked:?}");
    let tested = promtool(&["test", "rules", "alerts.test.yml"]);
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    let tests: Value = yaml_serde::from_str(&read("deploy/prometheus/alerts.test.yml")).unwrap();
    let fired = |name: &str| {
        let tests = tests["tests"].as_array().unwrap().iter();
        let all = tests.flat_map(|test| test["alert_rule_test"].as_array().unwrap());
        let of = all.filter(|one| one["alertname"] == name);
        of.map(|one| one["exp_alerts"].is_array()).collect::<BTreeSet<_>>()
    };
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert_eq!(fired(name), BTreeSet::from([false, true]), "{name} is tested both ways");
    }
}

#[test]
fn prometheus_understands_what_the_dashboard_asks() {
    let folder = tempfile::tempdir().unwrap();
    let record = |(number, query): (usize, String)| serde_json::json!({"record": format!("query:{number}"), "expr": query});
    let rules: Vec<_> = queries().into_iter().enumerate().map(record).collect();
    assert!(rules.len() >= 20, "{}", rules.len());
    let rules = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let path = folder.path().join("rules.yml");
    std::fs::write(&path, rules.to_string()).unwrap();
    let checked = promtool(&["check", "rules", path.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn each_alert_has_a_chapter_that_says_what_to_do() {
    let handbook = read("docs/OPERATIONS.md");
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        let at = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(at, format!("docs/OPERATIONS.md#{}", name.to_lowercase()));
        let chapter = handbook.split_once(&format!("\n### {name}\n"));
        let (_, chapter) = chapter.unwrap_or_else(|| panic!("no chapter {name}"));
        let chapter = chapter.split("\n#").next().unwrap();
        assert!(chapter.len() > 80, "{name}: {chapter}");
    }
}

#[tokio::test]
async fn what_alerts_ask_for_is_shown_and_written_down() {
    let primary = Server::primary("").unwrap();
    let replica = Server::replica_of(&primary, "replica").unwrap();
    let postal = Postal::start().await.unwrap();
    let (url, replica_url) = (primary.url(), replica.url());
    let postal_url = format!("http://{}", postal.addr);
    let vars = [
        ("POSTERN_LOG_FORMAT", "json"),
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_REPLICA_URL", replica_url.as_str()),
        ("POSTERN_POSTAL_URL", postal_url.as_str()),
        ("POSTERN_POSTAL_API_KEY", "a-key-of-postal"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let backup = "postern_backup_last_success_timestamp_seconds 1795719600\n";
    std::fs::write(stack.folder().join("last-backup"), backup).unwrap();
    let id = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let (_, shown) = ask(&ops(&stack), "/metrics").await;
    let manual = read("docs/METRICS.md");
    let alerts = rules();
    let alerts = alerts.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let wanted: BTreeSet<_> = alerts.chain(queries()).flat_map(|query| names(&query)).collect();
    assert!(wanted.len() >= 20, "{wanted:?}");
    for name in wanted {
        let name = name.trim_end_matches("_bucket").to_owned();
        assert!(manual.contains(&format!("`{name}`")), "{name} is not in docs/METRICS.md");
        let is_shown = shown.lines().any(|line| line.starts_with(&name));
        assert!(is_shown, "{name} is not in {shown}");
    }
}
