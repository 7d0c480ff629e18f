//! The dependency law: which of our crates may name which others.

use std::path::Path;

/// Each crate with all of ours that it may depend on.
const LAW: [(&str, &[&str]); 11] = [
    ("fuzz", &[]),
    ("proto", &[]),
    ("smtp-wire", &[]),
    ("kit", &["postern-proto"]),
    ("core", &["postern-proto", "postern-kit", "postern-smtp-wire"]),
    ("gateway-rest", &["postern-proto", "postern-kit"]),
    ("gateway-smtp", &["postern-proto", "postern-kit", "postern-smtp-wire"]),
    ("tracker-edge", &["postern-proto", "postern-kit"]),
    ("loadtest", &["postern-proto", "postern-kit", "postern-smtp-wire"]),
    (
        "postern",
        &[
            "postern-proto",
            "postern-kit",
            "postern-core",
            "postern-gateway-rest",
            "postern-gateway-smtp",
            "postern-tracker-edge",
        ],
    ),
    ("tests", &["postern-proto", "postern-kit", "postern-core", "postern-gateway-rest"]),
];

/// What breaks the law, and how to mend it.
pub(crate) fn breaches(root: &Path) -> Vec<String> {
    let mut breaches = Vec::new();
    for (folder, allowed) in LAW {
        let path = root.join(folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).expect("every crate has a manifest");
        for name in ours(&text) {
            if !allowed.contains(&name.as_str()) {
                breaches.push(format!(
                    "{folder}/Cargo.toml names {name}: {folder} may depend on {allowed:?} only; \
                     move what you need to a crate both may see, or go through the gRPC contract"
                ));
            }
        }
    }
    breaches
}

/// What our crates name of each other. Tests may be fuzz targets everywhere.
fn ours(manifest: &str) -> Vec<String> {
    let mut section = String::new();
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            line.clone_into(&mut section);
        } else if section.contains("dependencies") && line.starts_with("postern-") {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if (section.as_str(), name) != ("[dev-dependencies]", "postern-fuzz") {
                names.push(name.to_owned());
            }
        }
    }
    names
}

#[test]
fn dependencies_are_found_in_every_section() {
    let manifest = "[package]\nname = \"postern-x\"\n[dependencies]\npostern-core.workspace = true\n\
                    [dev-dependencies]\npostern-kit = { path = \"../kit\" }\npostern-fuzz.workspace = true\n";
    assert_eq!(ours(manifest), ["postern-core", "postern-kit"]);
}
