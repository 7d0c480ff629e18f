//! What an operator knows about the words of refusals: phrases with their meaning, read from the old
//! system's file. Pure.
//!
//! Codes come first, as in [`super::classify`]; these phrases come before the built-in ones. They are
//! matched as whole words, so `429` is not found in the id `14294`.

use serde::Deserialize;
use yaml_serde::{Mapping, Value};

use super::classify::{self, Words};
use crate::model::delivery::{Category, Reply};

/// The largest file.
pub const FILE_BYTES_MAX: usize = 256 << 10;
/// The most phrases.
pub const PATTERNS_MAX: usize = 1000;
/// The longest phrase.
pub const PATTERN_CHARS_MAX: usize = 200;

/// Phrases in the order in which they are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<(Category, String)>);

impl Patterns {
    /// Phrases that were found usable when they were imported.
    pub fn new(patterns: Vec<(Category, String)>) -> Self {
        Self(patterns)
    }

    /// The meaning of a refusal, of which `category` is what is built in.
    pub fn refine(&self, reply: &Reply, category: Category) -> Category {
        let refusal = matches!(reply.code / 100, 4 | 5);
        if self.0.is_empty() || !refusal || classify::is_decided_by_code(reply) {
            return category;
        }
        let words = Words::of(&format!("{} {} {}", reply.code, reply.enhanced, reply.text));
        let found = self.0.iter().find(|(_, phrase)| words.contain(phrase));
        // No recipient is given up for our own fault.
        let ours = category == Category::AuthFailed || words.are_about_sender();
        found.map_or(category, |(found, _)| if ours && found.is_dead() { category } else { *found })
    }
}

/// What became of one phrase of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The category in the file.
    pub category: String,
    /// The phrase in the file.
    pub pattern: String,
    /// What it means here.
    pub meaning: Category,
    /// Why it could never decide anything, and so is left out; none when it is used.
    pub unusable: Option<String>,
}

/// A file, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// The usable phrases.
    pub patterns: Vec<(Category, String)>,
    /// Every phrase of the file, in its order.
    pub findings: Vec<Finding>,
    /// Parts of the file that have no effect here.
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    version: Value,
    #[serde(default)]
    non_bounce_categories: Vec<String>,
    #[serde(default)]
    stop_mailing_categories: Vec<String>,
    patterns: Mapping,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    patterns: Vec<Value>,
}

/// Reads a file. The error says what is wrong where.
pub fn parse(text: &str) -> Result<Import, String> {
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("has {} octets; at most {FILE_BYTES_MAX} are taken", text.len()));
    }
    let file: File = yaml_serde::from_str(text).map_err(|error| error.to_string())?;
    let mut import = Import { notes: notes(&file)?, ..Import::default() };
    for (name, group) in &file.patterns {
        let name = name.as_str().ok_or("patterns: a category is no text")?;
        let meaning = meaning(name).ok_or_else(|| unknown(&format!("patterns.{name}")))?;
        let group = Group::deserialize(group.clone())
            .map_err(|error| format!("patterns.{name}: {error}"))?;
        for (n, pattern) in group.patterns.iter().enumerate() {
            let place = format!("patterns.{name}.patterns[{n}]");
            let pattern = phrase(pattern).ok_or_else(|| format!("{place}: is no text"))?;
            if pattern.chars().count() > PATTERN_CHARS_MAX {
                return Err(format!("{place}: has more than {PATTERN_CHARS_MAX} characters"));
            }
            if import.findings.len() == PATTERNS_MAX {
                return Err(format!("{place}: there are more than {PATTERNS_MAX} patterns"));
            }
            import.add(name, &pattern, meaning);
        }
    }
    Ok(import)
}

impl Import {
    fn add(&mut self, category: &str, pattern: &str, meaning: Category) {
        let words = Words::of(pattern);
        let unusable = if pattern.contains(['*', '\\', '[', ']', '^', '$', '|', '+', '?']) {
            Some("it is written as a regular expression; patterns are words".to_owned())
        } else if words.is_empty() {
            Some("it has no words".to_owned())
        } else {
            let before = self.patterns.iter().find(|(_, phrase)| words.contain(phrase));
            before.map(|(_, phrase)| format!("'{phrase}' stands before it and always decides"))
        };
        if unusable.is_none() {
            self.patterns.push((meaning, words.phrase().to_owned()));
        }
        let (category, pattern) = (category.to_owned(), pattern.to_owned());
        self.findings.push(Finding { category, pattern, meaning, unusable });
    }
}

/// A pattern; numbers need no quotes in YAML.
fn phrase(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What a category of the old system is called here; ours have their own names.
fn meaning(name: &str) -> Option<Category> {
    match name {
        "rate_limit" | "temporary" => Some(Category::RateLimited),
        "spam_block" => Some(Category::SpamContent),
        "user_not_found" => Some(Category::UnknownUser),
        "authentication" => Some(Category::AuthFailed),
        "unknown" => Some(Category::Other),
        name => Category::from_name(name),
    }
}

fn unknown(place: &str) -> String {
    let ours: Vec<_> = Category::ALL.iter().map(|category| category.name()).collect();
    let old = "rate_limit, temporary, spam_block, user_not_found, authentication, unknown";
    format!("{place}: is no category; there are {old}, {}", ours.join(", "))
}

fn notes(file: &File) -> Result<Vec<String>, String> {
    let mut notes = Vec::new();
    let lists = [
        ("non_bounce_categories", &file.non_bounce_categories),
        ("stop_mailing_categories", &file.stop_mailing_categories),
    ];
    for (name, list) in lists {
        if let Some(bad) = list.iter().find(|category| meaning(category).is_none()) {
            return Err(unknown(&format!("{name}: {bad}")));
        }
    }
    if !file.non_bounce_categories.is_empty() {
        let text = "non_bounce_categories has no effect: unknown_user and inactive suppress, nothing else does";
        notes.push(text.to_owned());
    }
    if !file.stop_mailing_categories.is_empty() {
        notes.push("stop_mailing_categories has no effect on classification".to_owned());
    }
    if !matches!(file.version, Value::Null | Value::Number(_) | Value::String(_)) {
        return Err("version: is neither a number nor a text".to_owned());
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
version: "1.0"
non_bounce_categories: [rate_limit, temporary, connection]
stop_mailing_categories: [rate_limit]
patterns:
  rate_limit:
    description: Too fast
    patterns: ["429", "5.7.1.*rate.*limit", 421]
  spam_block:
    description: Taken for spam
    patterns: [spam, likely spam, "..."]
  user_not_found:
    patterns: ["Kein solcher Empfänger", "550 5.9.9"]
"#;

    fn reply(code: u32, enhanced: &str, text: &str) -> Reply {
        let (enhanced, text) = (enhanced.to_owned(), text.to_owned());
        Reply { code, enhanced, text, ..Reply::default() }
    }

    #[test]
    fn a_file_of_the_old_system_is_read_and_what_can_never_match_is_named() {
        let import = parse(FILE).unwrap();
        let unusable: Vec<_> =
            import.findings.iter().filter(|one| one.unusable.is_some()).collect();
        let unusable: Vec<_> = unusable.iter().map(|one| one.pattern.as_str()).collect();
        assert_eq!(unusable, ["5.7.1.*rate.*limit", "likely spam", "..."]);
        assert_eq!((import.findings.len(), import.patterns.len()), (8, 5));
        assert_eq!(import.notes.len(), 2);
    }

    #[test]
    fn phrases_are_found_as_whole_words_behind_what_codes_say() {
        let patterns = Patterns::new(parse(FILE).unwrap().patterns);
        let refined = |reply: &Reply| patterns.refine(reply, Category::Other);
        let text = "kein SOLCHER Empfänger!";
        assert_eq!(refined(&reply(550, "", text)), Category::UnknownUser);
        assert_eq!(refined(&reply(550, "5.9.9", "no")), Category::UnknownUser);
        let ours = patterns.refine(&reply(550, "", text), Category::AuthFailed);
        assert_eq!(ours, Category::AuthFailed, "a recipient is not given up for it");
        let ours = patterns.refine(&reply(450, "", "dmarc error 429"), Category::AuthFailed);
        assert_eq!(ours, Category::RateLimited, "which gives nobody up");
        let sender = reply(550, "", "Sender address rejected: kein solcher Empfänger");
        assert_eq!(patterns.refine(&sender, Category::Policy), Category::Policy);
        assert_eq!(refined(&reply(550, "", "queued as 14294")), Category::Other);
        assert_eq!(refined(&reply(450, "", "error 429")), Category::RateLimited);
        // The code says that it is about our own signature: that is nobody's address.
        let decided = reply(550, "5.7.20", text);
        assert_eq!(patterns.refine(&decided, Category::AuthFailed), Category::AuthFailed);
        assert_eq!(refined(&reply(250, "", text)), Category::Other);
    }

    #[test]
    fn mistakes_say_where_they_are() {
        for (text, place) in [
            ("patterns: {nonsense: {patterns: [a]}}", "patterns.nonsense: is no category"),
            (
                "patterns: {spam_block: {patterns: [[a]]}}",
                "patterns.spam_block.patterns[0]: is no text",
            ),
            ("patterns: {spam_block: {words: [a]}}", "patterns.spam_block: unknown field"),
            ("{}", "missing field `patterns`"),
            ("more: 1\npatterns: {}", "unknown field `more`"),
            ("stop_mailing_categories: [x]\npatterns: {}", "stop_mailing_categories: x"),
            ("\t", "found character"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(place), "{text:?}: {problem}");
        }
        let long = format!("patterns: {{spam_block: {{patterns: [{}]}}}}", "a".repeat(201));
        assert!(parse(&long).unwrap_err().contains("more than 200 characters"));
        assert!(parse(&"#".repeat(FILE_BYTES_MAX + 1)).is_err());
    }
}
