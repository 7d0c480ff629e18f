//! Finds long functions. Formatted code closes a function at the indent it opened it with.

/// A function that is too long.
pub(crate) struct Long {
    /// Where it begins, from 1.
    pub(crate) line: usize,
    /// Its name.
    pub(crate) name: String,
    /// How many lines it has.
    pub(crate) lines: usize,
}

/// Functions with more than `max` lines.
pub(crate) fn long(text: &str, max: usize) -> Vec<Long> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines[start..].iter().position(|later| *later == closing);
        let count = end.map_or(1, |end| end + 1);
        if count > max {
            found.push(Long { line: start + 1, name, lines: count });
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let code = line.trim_start();
    if code.starts_with("//") || line.trim_end().ends_with(';') {
        return None;
    }
    let rest = code.strip_prefix("pub(crate) ").or_else(|| code.strip_prefix("pub(super) "));
    let rest = rest.or_else(|| code.strip_prefix("pub ")).unwrap_or(code);
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let name = rest.strip_prefix("fn ")?;
    Some(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

#[test]
fn a_long_function_is_found() {
    let text = format!(
        "impl X {{\n    pub async fn long() {{\n{}    }}\n}}\n",
        "        x();\n".repeat(9)
    );
    let found = long(&text, 10);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].line, found[0].name.as_str(), found[0].lines), (2, "long", 11));
    assert!(long(&text, 11).is_empty());
}
