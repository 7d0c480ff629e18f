//! What `docker-compose.yml` promises of every container, as far as it can be seen without an engine.

use std::path::PathBuf;

use postern_tests::command::run;
use serde_json::Value;

/// The services, with what they share put in its place.
fn services() -> Vec<(String, Value)> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docker-compose.yml");
    let text = std::fs::read_to_string(file).unwrap();
    let mut compose: yaml_serde::Value = yaml_serde::from_str(&text).unwrap();
    // What is merged has merged something itself.
    for _ in 0..2 {
        compose.apply_merge().unwrap();
    }
    let compose = serde_json::to_value(&compose).unwrap();
    let services = compose["services"].as_object().unwrap();
    services.iter().map(|(name, service)| (name.clone(), service.clone())).collect()
}

#[test]
fn no_container_has_more_than_it_needs() {
    let services = services();
    assert!(services.len() >= 8);
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert!(service["healthcheck"]["test"].is_array(), "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(
            service["security_opt"],
            serde_json::json!(["no-new-privileges:true"]),
            "{name}"
        );
        let memory = service["deploy"]["resources"]["limits"]["memory"].as_str();
        assert!(memory.is_some_and(|memory| memory.ends_with(['m', 'g'])), "{name}: {memory:?}");
        let image = service["image"].as_str().unwrap();
        let version = image.rsplit_once(':').map(|(_, version)| version).unwrap_or_default();
        assert!(
            version.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()),
            "{name}: {image} is not pinned"
        );
        // The image of Postern has a user of its own, the others are told one.
        assert!(service["build"].is_object() || service["user"].is_string(), "{name} runs as root");
    }
    let image = std::fs::read_to_string(
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/Dockerfile"),
    );
    assert!(image.unwrap().contains("\nUSER postern\n"));
}

#[tokio::test]
async fn what_is_mounted_and_started_is_there() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut mounted = 0;
    for (name, service) in services() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            if source.starts_with("./") {
                assert!(root.join(source).is_file(), "{name} mounts {source}, which is not there");
                mounted += 1;
            }
        }
        if service["build"].is_object() {
            let role = service["command"][0].as_str().unwrap();
            let help = run(&[role, "--help"], &[]).await.unwrap();
            assert!(help.status.success(), "{name} runs {role}: {help:?}");
        }
    }
    assert!(mounted >= 3);
}
