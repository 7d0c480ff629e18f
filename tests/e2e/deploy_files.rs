//! The files under `deploy`: Kubernetes' own schemas, systemd's own check, and everything they name against
//! what the program knows. None of it has run under an engine here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use postern_kit::env::Env;
use postern_kit::variables;
use postern_tests::command::run;
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    let all = entries.map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

fn succeed(what: &str, output: &Output) {
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{what}: {}", said.join(""));
}

/// The resources of a file.
fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let parts = text.split("\n---\n");
    parts.map(|part| yaml_serde::from_str(part).unwrap()).collect()
}

fn is_known(name: &str) {
    let known = variables::ALL.iter().any(|variable| variable.name == name);
    assert!(known, "{name} is no variable of Postern");
}

#[test]
fn kubernetes_takes_every_resource_and_nothing_is_left_out() {
    let python = Env::process().text("POSTERN_TEST_PYTHON", "python3");
    let mut listed = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for path in files("deploy/k8s", ".yaml") {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "kustomization.yaml" {
            let resources = documents(&path)[0]["resources"].clone();
            listed.extend(
                resources.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()),
            );
            continue;
        }
        for document in documents(&path) {
            kinds.insert(document["kind"].as_str().unwrap().to_owned());
        }
        let mut check = Command::new(&python);
        check.args(["-m", "kubernetes_validate", "--strict", "-k", "1.30.0"]).arg(&path);
        succeed(&name, &check.output().unwrap());
    }
    let there: BTreeSet<_> = files("deploy/k8s", ".yaml")
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(listed, there, "what kustomization.yaml lists");
    for kind in ["Deployment", "StatefulSet", "PodDisruptionBudget", "HorizontalPodAutoscaler"] {
        assert!(kinds.contains(kind), "no {kind} among {kinds:?}");
    }
}

#[tokio::test]
async fn pods_run_what_the_program_knows_without_privileges() {
    let mut roles = BTreeSet::new();
    for document in files("deploy/k8s", ".yaml").iter().flat_map(|path| documents(path)) {
        let pod = &document["spec"]["template"]["spec"];
        let Some(container) = pod["containers"].get(0) else { continue };
        let role = container["args"][0].as_str().unwrap();
        let help = run(&[role, "--help"], &[]).await.unwrap();
        assert!(help.status.success(), "{help:?}");
        roles.insert(role.to_owned());
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{role}");
        let rights = &container["securityContext"];
        assert_eq!(rights["readOnlyRootFilesystem"], true, "{role}");
        assert_eq!(rights["allowPrivilegeEscalation"], false, "{role}");
        let ports = container["ports"].as_array().unwrap();
        let port = |text: &str| text.rsplit(':').next().unwrap().parse::<u64>().unwrap();
        let mut listening = BTreeSet::new();
        for variable in container["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            is_known(name);
            if name.ends_with("_LISTEN") {
                listening.insert(port(variable["value"].as_str().unwrap()));
            }
        }
        let opened: BTreeSet<u64> =
            ports.iter().map(|port| port["containerPort"].as_u64().unwrap()).collect();
        assert_eq!(opened, listening, "{role}");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], "ops", "{role}");
        }
    }
    assert_eq!(roles, ["core", "rest", "smtp", "tracker"].map(str::to_owned).into());
}

#[tokio::test]
async fn systemd_takes_every_unit_and_no_two_want_one_port() {
    let folder = tempfile::tempdir().unwrap();
    let mut check = Command::new("systemd-analyze");
    check.args(["verify", "--man=no"]);
    let mut ports = BTreeSet::new();
    for path in [files("deploy/systemd", ".service"), files("deploy/systemd", ".timer")].concat() {
        let text = std::fs::read_to_string(&path).unwrap();
        for assignment in text.lines().filter_map(|line| line.strip_prefix("Environment=")) {
            for pair in assignment.split(' ') {
                let (name, value) = pair.split_once('=').unwrap();
                is_known(name);
                if name == "POSTERN_METRICS_LISTEN" {
                    assert!(ports.insert(value.to_owned()), "{value} twice");
                }
            }
        }
        let binary = "/usr/local/bin/postern";
        if let Some(command) = text.lines().find_map(|line| line.strip_prefix("ExecStart=")) {
            let rest = command.strip_prefix(binary).unwrap();
            let words: Vec<&str> = rest.split_whitespace().collect();
            let help = run(&[words[0], "--help"], &[]).await.unwrap();
            let help = String::from_utf8(help.stdout).unwrap();
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(help.contains(option), "{command}: {help}");
            }
        }
        // systemd wants to see the program, which is not installed here.
        let copy = folder.path().join(path.file_name().unwrap());
        std::fs::write(&copy, text.replace(binary, "/bin/true")).unwrap();
        check.arg(copy);
    }
    assert_eq!(ports.len(), 5);
    let checked = check.output().unwrap();
    succeed("systemd-analyze", &checked);
    assert!(checked.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn alerts_and_logs_have_somewhere_to_go() {
    let read = |path: &str| {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        yaml_serde::from_str::<Value>(&text).unwrap()
    };
    let alerts = read("deploy/alertmanager/alertmanager.yml");
    let receivers = alerts["receivers"].as_array().unwrap().iter().map(|one| &one["name"]);
    let receivers: Vec<_> = receivers.collect();
    let routes = alerts["route"]["routes"].as_array().unwrap().iter();
    for route in routes.chain([&alerts["route"]]) {
        assert!(receivers.contains(&&route["receiver"]), "{route}");
    }
    let (loki, promtail) = (read("deploy/loki/loki.yml"), read("deploy/loki/promtail.yml"));
    assert!(loki["compactor"]["retention_enabled"] == true);
    assert_eq!(loki["limits_config"]["retention_period"], "720h");
    let url = promtail["clients"][0]["url"].as_str().unwrap();
    let port = loki["server"]["http_listen_port"].as_u64().unwrap();
    assert!(url.starts_with(&format!("http://loki:{port}/")), "{url}");
    let sources = read("deploy/grafana/provisioning/datasources/postern.yml");
    let urls: Vec<_> =
        sources["datasources"].as_array().unwrap().iter().map(|s| &s["url"]).collect();
    assert_eq!(urls, ["http://prometheus:9090", &format!("http://loki:{port}")]);
}
