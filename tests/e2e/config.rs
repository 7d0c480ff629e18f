//! A configuration that is wrong is refused before a port is opened, with everything that is wrong;
//! what `postern init` makes is taken.

use std::path::Path;

use postern_tests::command::run;
use postern_tests::stack::Stack;
use serde_json::Value;

const ROLES: [&str; 5] = ["up", "core", "rest", "smtp", "tracker"];

fn told(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[tokio::test]
async fn every_role_refuses_a_slip_and_production_without_secrets() {
    for role in ROLES {
        let slip = [("POSTERN_LOG_FORMT", "json"), ("POSTERN_GATEWAY_TOKN", "x")];
        let output = run(&[role], &slip).await.unwrap();
        let said = told(&output.stderr);
        assert!(!output.status.success(), "{role}: {output:?}");
        assert!(said.contains("did you mean POSTERN_LOG_FORMAT?"), "{role}: {said}");
        assert!(said.contains("did you mean POSTERN_GATEWAY_TOKEN?"), "{role}: {said}");
        let token = "CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME";
        let weak = [("POSTERN_MODE", "production"), ("POSTERN_GATEWAY_TOKEN", token)];
        let output = run(&[role], &weak).await.unwrap();
        let said = told(&output.stderr);
        assert!(!output.status.success(), "{role}: {output:?}");
        assert!(said.contains("POSTERN_GATEWAY_TOKEN: is an example value"), "{role}: {said}");
        assert!(!said.contains(token), "{said}");
    }
}

#[tokio::test]
async fn config_shows_what_holds_and_never_a_secret() {
    let vars = [
        ("POSTERN_GATEWAY_TOKEN", "a-secret-that-is-long-enough-0123456789"),
        ("DATABASE_URL", "postgres://postern:hidden-password@db/postern"),
        ("POSTERN_DRAIN", "7s"),
    ];
    let output = run(&["config", "--role", "core", "--json"], &vars).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = told(&output.stdout);
    assert!(!text.contains("long-enough") && !text.contains("hidden-password"), "{text}");
    let shown: Value = serde_json::from_str(&text).unwrap();
    let variables = shown["variables"].as_array().unwrap();
    let drain = variables.iter().find(|one| one["name"] == "POSTERN_DRAIN").unwrap();
    assert_eq!((&drain["value"], &drain["default"]), (&"7s".into(), &false.into()));
    let wrong = [("POSTERN_DRAIN", "soon"), ("POSTERN_RELAY_URL", "relay")];
    let output = run(&["config"], &wrong).await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = told(&output.stderr);
    assert!(said.contains("POSTERN_DRAIN: 'soon'"), "{said}");
}

/// What a file of `postern init` holds.
fn held(file: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Runs `postern init` for a folder, in which the certificate will be too. Returns what it said.
async fn init(folder: &Path) -> String {
    let file = folder.join(".env");
    let (file, tls) = (file.to_str().unwrap(), folder.to_str().unwrap());
    let args = ["init", "--file", file, "--domain", "shop.test", "--addresses", "192.0.2.1"];
    let args = [&args[..], &["--operator-email", "ops@shop.test", "--tls-dir", tls]].concat();
    let output = run(&args, &[]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    told(&output.stdout)
}

#[tokio::test]
async fn what_init_makes_is_taken_by_every_role_in_production() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    let said = init(folder.path()).await;
    let vars = held(&file);
    let value = |name: &str| vars.iter().find(|(one, _)| one == name).unwrap().1.clone();
    for secret in ["POSTERN_GATEWAY_TOKEN", "POSTGRES_PASSWORD", "POSTERN_OPERATOR_PASSWORD"] {
        assert!(!said.contains(&value(secret)), "{secret} is printed");
    }
    let before = std::fs::read(&file).unwrap();
    init(folder.path()).await;
    assert_eq!(std::fs::read(&file).unwrap(), before, "a second run changes nothing");
    let vars: Vec<_> = vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for role in ROLES {
        let output = run(&["config", "--role", role], &vars).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{role}: {output:?}");
    }
    // A certificate of somebody's own making does for the start.
    let (certificate, key) = (value("POSTERN_SMTP_TLS_CERT"), value("POSTERN_SMTP_TLS_KEY"));
    let openssl = tokio::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=mail.shop.test", "-keyout", &key, "-out", &certificate])
        .output();
    assert!(openssl.await.unwrap().status.success());
    let sink = ("POSTERN_SMTP_SINK_LISTEN", "off");
    let stack = Stack::start(&[&vars[..], &[sink]].concat()).await.unwrap();
    let inbox = stack.raw(reqwest::Method::GET, "/inbox").send().await.unwrap();
    assert_ne!(inbox.status(), 200, "the inbox is not open");
    let id = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
}

/// `${NAME}`, `${NAME:-default}` and `${NAME:?complaint}` as docker compose fills them in.
fn filled(text: &str, vars: &[(String, String)]) -> String {
    let Some((before, rest)) = text.split_once("${") else { return text.to_owned() };
    let (inside, after) = rest.split_once('}').unwrap();
    let (name, otherwise) = inside.split_once(':').unwrap_or((inside, "?"));
    let given = vars.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
    let value = match (given, otherwise.strip_prefix('-')) {
        (Some(value), _) => value,
        (None, Some(default)) => default,
        (None, None) => panic!("{name} is needed and postern init does not make it"),
    };
    format!("{before}{value}{}", filled(after, vars))
}

#[tokio::test]
async fn init_may_run_again_where_nobody_gets_notices() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let file = path.to_str().unwrap();
    let first = ["init", "--file", file, "--domain", "shop.test", "--addresses", "192.0.2.1"];
    assert!(run(&first, &[]).await.unwrap().status.success());
    let made = std::fs::read_to_string(&path).unwrap();
    assert!(!made.contains("POSTERN_NOTICE"), "{made}");
    let again = run(&["init", "--file", file], &[]).await.unwrap();
    assert!(again.status.success(), "{again:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), made);
}

#[tokio::test]
async fn what_init_makes_is_all_that_docker_compose_needs() {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path()).await;
    let vars = held(&folder.path().join(".env"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker-compose.yml");
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().starts_with('#')).collect();
    let compose: Value = yaml_serde::from_str(&filled(&lines.join("\n"), &vars)).unwrap();
    let mut seen = 0;
    for (name, service) in compose["services"].as_object().unwrap() {
        let Some(role) = service["command"][0].as_str().filter(|one| ROLES.contains(one)) else {
            continue;
        };
        let environment = service["environment"].as_object().unwrap();
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let vars: Vec<_> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert!(vars.contains(&("POSTERN_MODE", "production")), "{name}");
        let output = run(&["config", "--role", role], &vars).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
        seen += 1;
    }
    assert!(seen >= 4, "core and gateways are in it");
}
