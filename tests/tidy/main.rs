//! The house rules that a machine can check. Each breach is reported with the sentence that says how
//! to mend it.

mod functions;
mod manifests;
mod settings;
mod variables;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that has more lines does more than one job.
const FILE_LINES_MAX: usize = 400;
/// A function that has more lines cannot be read at a glance.
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 120;

fn root() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().expect("the crate stands in the repository").to_owned()
}

/// Rust files that git knows, with their text.
fn sources() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "this is a git checkout");
    let names = String::from_utf8(listed.stdout).expect("our file names are UTF-8");
    let existing = names.lines().filter(|name| root().join(name).exists());
    let read = |name: &str| {
        let text = std::fs::read_to_string(root().join(name)).expect("our sources are UTF-8");
        (name.to_owned(), text)
    };
    let sources: Vec<_> = existing.map(read).collect();
    assert!(sources.len() > 50, "the listing found only {} files", sources.len());
    sources
}

fn none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn files_are_short() {
    let long = |(name, text): &(String, String)| {
        let lines = text.lines().count();
        (lines > FILE_LINES_MAX).then(|| {
            format!("{name} has {lines} lines (at most {FILE_LINES_MAX}): move one of its jobs to a file of its own")
        })
    };
    none(&sources().iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn functions_are_short() {
    let mut breaches = Vec::new();
    for (name, text) in sources() {
        for function in functions::long(&text, FUNCTION_LINES_MAX) {
            breaches.push(format!(
                "{name}:{} fn {} has {} lines (at most {FUNCTION_LINES_MAX}): give a step of it a name",
                function.line, function.name, function.lines
            ));
        }
    }
    none(&breaches);
}

#[test]
fn lines_fit_a_screen() {
    let mut breaches = Vec::new();
    for (name, text) in sources() {
        for (n, line) in text.lines().enumerate() {
            if line.chars().count() > LINE_CHARS_MAX && !line.contains("\"") {
                breaches.push(format!("{name}:{} is too long: break it", n + 1));
            }
        }
    }
    none(&breaches);
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = |(name, text): &(String, String)| {
        (!text.starts_with("//!")).then(|| {
            format!("{name} does not open with //!: say what it is for and what a crash does to it")
        })
    };
    none(&sources().iter().filter_map(silent).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_lying_about() {
    // Written apart, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("dbg", "!("),
        concat!("#[ig", "nore"),
        concat!("thread::", "sleep"),
    ];
    // The one reason there is: `tests/run --all` does run those.
    let long = concat!("#[ig", "nore = \"minutes; tests/run --all runs it\"]");
    let mut breaches = Vec::new();
    for (name, text) in sources() {
        let text = text.replace(long, "");
        for word in words.iter().filter(|word| text.contains(**word)) {
            breaches.push(format!("{name} contains {word}: finish it, or open an issue"));
        }
    }
    none(&breaches);
}

#[test]
fn sql_is_spoken_in_the_store_only() {
    let outside = sources().into_iter().filter(|(name, _)| {
        let allowed = ["core/src/store/", "tests/", "loadtest/"];
        !allowed.iter().any(|place| name.starts_with(place))
    });
    let speaks = |text: &str| {
        let words =
            [concat!("INSERT ", "INTO"), concat!("SELECT ", "*"), concat!("DELETE ", "FROM")];
        words.iter().any(|word| text.contains(word))
    };
    let breach = |(name, text): (String, String)| {
        speaks(&text)
            .then(|| format!("{name} speaks SQL: give core/src/store a method with a domain name"))
    };
    none(&outside.filter_map(breach).collect::<Vec<_>>());
}

#[test]
fn both_backends_have_the_same_shape() {
    let names = |backend: &str| {
        let folder = root().join("core/src/store").join(backend);
        let entries = std::fs::read_dir(folder).expect("the backend has a folder");
        let names = entries.map(|entry| entry.expect("it can be listed").file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let (embedded, postgres) = (names("embedded"), names("postgres"));
    for common in ["database.rs", "error.rs", "intake.rs", "mod.rs", "queue.rs"] {
        for backend in [&embedded, &postgres] {
            assert!(
                backend.iter().any(|name| name == common),
                "{common} is missing: siblings repeat names"
            );
        }
    }
}

#[test]
fn crates_depend_on_what_the_law_allows() {
    none(&manifests::breaches(&root()));
}

#[test]
fn every_setting_is_used_and_described() {
    none(&settings::breaches(&root(), &sources()));
}

#[test]
fn every_variable_is_read_and_described() {
    none(&variables::breaches(&root(), &sources()));
}
