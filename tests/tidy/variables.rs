//! A variable that no code reads would be a promise without an effect, and one that the table does not
//! have would be refused at the start as unknown. The manual holds the table as the program prints it.

use std::collections::BTreeSet;
use std::path::Path;

use postern_kit::variables::{self, Role, setting_of};

const MANUAL: &str = "docs/CONFIGURATION.md";
const BEGIN: &str = "<!-- made by `postern config --markdown` -->\n";
const END: &str = "<!-- end -->\n";
/// Files that name variables without reading them.
const TABLE: &str = "kit/src/variables/";
/// Names of variables that do not begin as ours do.
const OTHERS: [&str; 10] = [
    "DATABASE_URL",
    "DATABASE_REPLICA_URL",
    "REDIS_URL",
    "NO_COLOR",
    "ENCRYPTION_PRIMARY_KEY",
    "ENCRYPTION_DETERMINISTIC_KEY",
    "ENCRYPTION_KEY_DERIVATION_SALT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_TRACES_SAMPLER_ARG",
];
/// What a library reads by itself: the exporter of OpenTelemetry.
const BY_LIBRARY: &str = "OTEL_EXPORTER_OTLP_HEADERS";

pub(super) fn breaches(root: &Path, sources: &[(String, String)]) -> Vec<String> {
    let mut breaches: Vec<String> = manual(root).into_iter().chain(defaults(sources)).collect();
    let read = read(sources);
    assert!(read.len() > 50, "only {} variables were found in the code", read.len());
    for name in read.iter().filter(|name| variables::find(name).is_none()) {
        if setting_of(name).is_none() {
            breaches.push(format!("{name} is read and not in {TABLE}table.rs: describe it there"));
        }
    }
    let compose = std::fs::read_to_string(root.join("docker-compose.yml")).expect("it is there");
    for variable in variables::ALL {
        let name = variable.name;
        let used = match variable.roles {
            [Role::Compose] => compose.contains(&format!("${{{name}")),
            // The table is what reads the mode.
            _ => read.contains(name) || [variables::MODE, BY_LIBRARY].contains(&name),
        };
        if !used {
            breaches.push(format!("{name} is in {TABLE}table.rs and read nowhere: remove it"));
        }
    }
    breaches
}

/// What the code takes for an unset variable, where it says so beside the name, and where that is not
/// what the table says.
fn defaults(sources: &[(String, String)]) -> Vec<String> {
    let (mut compared, mut breaches) = (0, Vec::new());
    for (file, code) in code(sources) {
        let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
        for variable in variables::ALL {
            let beside = code.split_once(&format!("\"{}\", ", variable.name));
            let beside = beside.filter(|(before, _)| !before.ends_with("EnvError::new("));
            let Some(told) = beside.and_then(|(_, rest)| default(rest)) else { continue };
            compared += 1;
            // The dashboard tells a port only, and the all-in-one has some defaults of its own.
            let held = variable.default;
            let is_part =
                held.ends_with(&format!(":{told}")) || held.starts_with(&format!("{told};"));
            if told != held && !is_part {
                breaches.push(format!(
                    "{file} has {told} for {}, and the table {}: make them one",
                    variable.name, variable.default
                ));
            }
        }
    }
    assert!(compared > 30, "only {compared} defaults were found in the code");
    breaches
}

/// A default as the table writes it; none where the code has an expression.
fn default(code: &str) -> Option<String> {
    let end = code.find([')', ','])?;
    let value = code[..end].trim();
    let number = |text: &str| text.parse::<u64>().ok();
    match value {
        "true" => Some("on".to_owned()),
        "false" => Some("off".to_owned()),
        _ => {
            let time =
                value.strip_prefix("Duration::from_").or_else(|| value.strip_prefix("seconds"));
            if let Some((unit, count)) = time.and_then(|time| time.split_once('(')) {
                let count = number(count)?;
                return Some(match unit {
                    "millis" => format!("{count}ms"),
                    _ if count % 60 == 0 => format!("{}m", count / 60),
                    _ => format!("{count}s"),
                });
            }
            let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            // What stands there may be the next name of a list.
            let text = text.filter(|text| !is_variable(text) && !text.contains('"'));
            text.map(str::to_owned).or_else(|| number(value).map(|_| value.to_owned()))
        }
    }
}

fn manual(root: &Path) -> Option<String> {
    let manual = std::fs::read_to_string(root.join(MANUAL)).expect("the manual is UTF-8");
    let held = manual.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let held = held.map(|(held, _)| held);
    (held != Some(variables::markdown().as_str())).then(|| {
        format!(
            "{MANUAL} differs from the table: put what `postern config --markdown` prints there"
        )
    })
}

/// Code that is no test and runs none, with the name of its file.
fn code<'a>(sources: &'a [(String, String)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_code = |name: &str| {
        let tests =
            ["/tests", "conformance", "/simulation/"].iter().any(|part| name.contains(part));
        let runs_tests =
            ["tests/", "loadtest/", "fuzz/"].iter().any(|folder| name.starts_with(folder));
        !tests && !name.starts_with(TABLE) && !runs_tests
    };
    let code = move |(name, text): &'a (String, String)| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        is_code(name).then_some((name.as_str(), code))
    };
    sources.iter().filter_map(code)
}

/// The names that stand in quotes in code that is no test.
fn read(sources: &[(String, String)]) -> BTreeSet<String> {
    let mut read = BTreeSet::new();
    for (_, code) in code(sources) {
        read.extend(code.split('"').filter(|word| is_variable(word)).map(str::to_owned));
    }
    read
}

fn is_variable(word: &str) -> bool {
    let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let ours = word.strip_prefix("POSTERN_").is_some_and(|rest| !rest.is_empty());
    (ours && word.chars().all(capital) && !word.ends_with('_')) || OTHERS.contains(&word)
}
