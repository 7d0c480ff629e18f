//! A live setting that nobody reads would be a promise without an effect, and one that nobody described
//! would be found by accident only.

use std::path::Path;

use postern_proto::settings::ALL;

/// Where the settings are defined.
const TABLE: &str = "proto/src/settings/table.rs";
const MANUAL: &str = "docs/CONFIGURATION.md";

/// The settings that no source outside the table uses, that no test sets, and that the manual does not
/// name.
pub(super) fn breaches(root: &Path, sources: &[(String, String)]) -> Vec<String> {
    let manual = std::fs::read_to_string(root.join(MANUAL)).expect("the manual is UTF-8");
    let is_code =
        |name: &str| name != TABLE && !name.starts_with("tests/") && !name.contains("/tests/");
    let code: Vec<_> = sources.iter().filter(|(name, _)| is_code(name)).collect();
    let tests: Vec<&str> = sources.iter().map(|(name, text)| tests(name, text)).collect();
    let mut breaches = Vec::new();
    for setting in ALL {
        let set = [setting.name.to_owned(), setting.variable()].map(|name| format!("\"{name}\""));
        if !tests.iter().any(|text| set.iter().any(|name| text.contains(name))) {
            breaches
                .push(format!("no test sets {}: show that its effect can be seen", setting.name));
        }
        let constant = setting.name.replace('.', "_").to_uppercase();
        let uses = |text: &str| text.lines().any(|line| names(line, &constant));
        if !code.iter().any(|(_, text)| uses(text)) {
            breaches
                .push(format!("{} is used nowhere: give it an effect or remove it", setting.name));
        }
        if !manual.contains(&format!("`{}`", setting.name)) {
            breaches.push(format!("{} is not in {MANUAL}: describe it there", setting.name));
        }
    }
    breaches
}

/// The part of a source that is tests.
fn tests<'a>(name: &str, text: &'a str) -> &'a str {
    match text.find("#[cfg(test)]") {
        _ if name.contains("tests/") || name.ends_with("tests.rs") => text,
        Some(at) => &text[at..],
        None => "",
    }
}

/// Whether a line of code has this constant; a list of imports is no use.
fn names(line: &str, constant: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let used = line.starts_with("    ") && !line.trim_start().starts_with("//");
    let list = line.trim().split(", ").all(|part| {
        let part = part.trim_end_matches(',');
        part.chars().all(|c| word(c) && !c.is_ascii_lowercase())
    });
    used && !list && line.split(|c: char| !word(c)).any(|part| part == constant)
}
