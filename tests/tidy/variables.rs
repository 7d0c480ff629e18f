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
const OTHERS: [&str; 6] = [
    "DATABASE_URL",
    "REDIS_URL",
    "NO_COLOR",
    "ENCRYPTION_PRIMARY_KEY",
    "ENCRYPTION_DETERMINISTIC_KEY",
    "ENCRYPTION_KEY_DERIVATION_SALT",
];

pub(super) fn breaches(root: &Path, sources: &[(String, String)]) -> Vec<String> {
    let mut breaches: Vec<String> = manual(root).into_iter().collect();
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
            _ => read.contains(name) || name == variables::MODE,
        };
        if !used {
            breaches.push(format!("{name} is in {TABLE}table.rs and read nowhere: remove it"));
        }
    }
    breaches
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

/// The names that stand in quotes in code that is no test.
fn read(sources: &[(String, String)]) -> BTreeSet<String> {
    let is_code = |name: &str| {
        let tests =
            name.starts_with("tests/") || name.contains("/tests") || name.contains("conformance");
        !tests && !name.starts_with(TABLE) && !name.starts_with("loadtest/")
    };
    let mut read = BTreeSet::new();
    for (_, text) in sources.iter().filter(|(name, _)| is_code(name)) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        read.extend(code.split('"').filter(|word| is_variable(word)).map(str::to_owned));
    }
    read
}

fn is_variable(word: &str) -> bool {
    let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let ours = word.strip_prefix("POSTERN_").is_some_and(|rest| !rest.is_empty());
    (ours && word.chars().all(capital) && !word.ends_with('_')) || OTHERS.contains(&word)
}
