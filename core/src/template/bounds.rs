//! How much work a template may ask for, told from its text before the library sees it: the library
//! calls itself for each block in a block and each index in an index, and a loop runs as often as it
//! says. Pure.
//!
//! The text is read as the library reads it, and where the two might disagree about what is a tag it is
//! refused. A tag that only the library sees would be bounded by nothing.

use super::TemplateError;

/// No `for` stands deeper inside others.
pub const LOOP_DEPTH_MAX: usize = 2;
/// No block of any kind stands deeper inside others.
const BLOCK_DEPTH_MAX: usize = 30;
/// No value has more indexes.
const INDEXES_MAX: usize = 20;
/// No range `(a..b)` is longer.
pub const RANGE_MAX: i64 = 1000;

/// Filters that make text or lists grow; chained in assignments they would double without end.
const GROWING: [&str; 7] = ["append", "prepend", "replace", "concat", "split", "join", "times"];
/// Tags that are open until one with `end` before the name.
const BLOCKS: [&str; 8] =
    ["if", "unless", "case", "for", "tablerow", "ifchanged", "comment", "raw"];

/// The insides of `{% … %}` (with `true`) and `{{ … }}` (with `false`).
pub(super) fn tags(source: &str) -> impl Iterator<Item = Result<(bool, &str), TemplateError>> {
    let mut rest = source;
    std::iter::from_fn(move || {
        let starts = |(at, _): &(usize, &str)| rest[at + 1..].starts_with(['{', '%']);
        let (start, _) = rest.match_indices('{').find(starts)?;
        let is_tag = rest[start..].starts_with("{%");
        let inside = &rest[start + 2..];
        let (end, name) = if is_tag { ("%}", "tag") } else { ("}}", "expression") };
        let Some(length) = inside.find(end) else {
            rest = "";
            return Some(Err(TemplateError::Syntax(format!("a {name} is not closed by {end}"))));
        };
        rest = &inside[length + 2..];
        let inside = &inside[..length];
        if inside.contains("{{") || inside.contains("{%") || !is_whole(inside, is_tag) {
            rest = "";
            let text =
                format!("a {name} may hold neither another one nor {end}, not even in quotes");
            return Some(Err(TemplateError::Syntax(text)));
        }
        let inside = inside.strip_prefix('-').unwrap_or(inside);
        let inside = inside.strip_suffix('-').unwrap_or(inside);
        // To the library a tab is no blank.
        Some(Ok((is_tag, inside.trim_matches([' ', '\n', '\r']))))
    })
}

/// Whether it ends outside quotes, and is no tag behind a brace.
fn is_whole(inside: &str, is_tag: bool) -> bool {
    let mut quote = None;
    for c in inside.chars().filter(|c| matches!(c, '"' | '\'')) {
        match quote {
            None => quote = Some(c),
            Some(open) if open == c => quote = None,
            Some(_) => {}
        }
    }
    quote.is_none() && (is_tag || !inside.starts_with('%'))
}

/// Whether a number outside quotes does not fit 64 bits, which the library takes for granted.
fn has_huge_number(inside: &str) -> bool {
    let (mut quote, mut bare) = (None, String::with_capacity(inside.len()));
    for c in inside.chars() {
        match quote {
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => bare.push(c),
            Some(open) if open == c => {
                quote = None;
                bare.push(' ');
            }
            Some(_) => {}
        }
    }
    let words = bare.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-'));
    words
        .filter(|word| word.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']))
        .any(|word| {
            let end =
                word[1..].find(|c: char| !c.is_ascii_digit()).map_or(word.len(), |end| end + 1);
            let number = &word[..end];
            number.len() > 1 && number.parse::<i64>().is_err()
        })
}

/// Refuses what asks for too much.
pub(super) fn check(source: &str) -> Result<(), TemplateError> {
    let mut open: Vec<&str> = Vec::new();
    for tag in tags(source) {
        let (is_tag, inside) = tag?;
        let is_text = open.last() == Some(&"raw");
        if !is_text && inside.matches('[').count() > INDEXES_MAX {
            return too_much(&format!("a value has more than {INDEXES_MAX} indexes"));
        }
        if !is_text && has_huge_number(inside) {
            return too_much("a number is beyond 64 bits");
        }
        if is_tag {
            check_tag(inside, &mut open)?;
        }
    }
    // The library panics where one in a comment is not.
    match open.last() {
        Some(block) => Err(TemplateError::Syntax(format!("{block} is not closed by end{block}"))),
        None => Ok(()),
    }
}

fn check_tag<'s>(inside: &'s str, open: &mut Vec<&'s str>) -> Result<(), TemplateError> {
    if open.last() == Some(&"raw") {
        // What stands in raw is no tag.
        if inside == "endraw" {
            open.pop();
        }
        return Ok(());
    }
    let word = inside.split_whitespace().next().unwrap_or_default();
    let name = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    let word = &word[..name.unwrap_or(word.len())];
    if let Some(block) = word.strip_prefix("end") {
        // In a comment the library passes over blocks that do not fit, and what they took with them.
        if open.pop() != Some(block) || word != inside {
            let text = format!("{word} closes nothing that is open there");
            return Err(TemplateError::Syntax(text));
        }
        return Ok(());
    }
    let loops = open.iter().filter(|block| is_loop(block)).count();
    let is_comment = open.contains(&"comment");
    match word {
        "capture" => return too_much("capture is not allowed; write the text where it is needed"),
        // Nothing of it is run.
        "assign" if is_comment => {}
        "assign" if loops > 0 => return too_much("assign is not allowed inside a loop"),
        "assign" if GROWING.iter().any(|filter| inside.contains(filter)) => {
            return too_much("assign is not allowed with filters that make its value grow");
        }
        // The library passes over it, and we would not.
        "comment" | "raw" if word != inside => {
            return Err(TemplateError::Syntax(format!("{word} stands alone in its tag")));
        }
        "comment" | "raw" if is_comment => {
            return too_much("a comment may hold neither comment nor raw");
        }
        block if BLOCKS.contains(&block) => open.push(block),
        _ => {}
    }
    if open.len() > BLOCK_DEPTH_MAX {
        return too_much(&format!("blocks stand more than {BLOCK_DEPTH_MAX} deep"));
    }
    if loops + usize::from(is_loop(word)) > LOOP_DEPTH_MAX {
        return too_much(&format!("loops stand more than {LOOP_DEPTH_MAX} deep"));
    }
    if is_comment { Ok(()) } else { check_range(inside) }
}

fn is_loop(block: &str) -> bool {
    matches!(block, "for" | "tablerow")
}

fn check_range(inside: &str) -> Result<(), TemplateError> {
    let Some((before, after)) = inside.split_once("..") else { return Ok(()) };
    let low = before.rsplit('(').next().and_then(|text| text.trim().parse::<i64>().ok());
    let high = after.split(')').next().and_then(|text| text.trim().parse::<i64>().ok());
    let length = low.zip(high).and_then(|(low, high)| high.checked_sub(low));
    if length.is_none_or(|length| length > RANGE_MAX) {
        return too_much(&format!("a range needs two numbers at most {RANGE_MAX} apart"));
    }
    Ok(())
}

fn too_much(text: &str) -> Result<(), TemplateError> {
    Err(TemplateError::TooMuch(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tag_hides_from_the_check() {
        let huge = "{% for a in (1..1000000000) %}{% endfor %}";
        let three = "{% for a in b %}{% for c in d %}{% for e in f %}";
        for hidden in [
            format!("{{% raw %}}{{{{{{% endraw %}}{huge}"),
            format!("{{% raw %}}{{{{ {{% endraw %}}{huge} }}}}"),
            format!("{{% raw %}}{{{{ \"{{% endraw %}}\" }}}}{{% endraw %}}{three}"),
            format!("{{% raw %}}{{% x \"{{% endraw %}}\" %}}{{% endraw %}}{three}"),
            format!("{{% raw %}}{{%--endraw%}}{{% endraw %}}{huge}"),
            "{% assign s = \"%}\" | append: s | append: s %}".to_owned(),
            format!("{{% comment %}}{{% raw %}}{{% endcomment %}}{{% endraw %}}{huge}"),
            "{% for a in b %}{% comment %}{% if %}{% endcomment %}{% endfor %}".to_owned(),
            "{% comment %}{ %}{% unless vip %}x{n }}% endunless %}".to_owned(),
            format!(
                "{{% comment %}}{{% capture x %}}{{% endcomment %}}{{% raw x %}}{{% endcomment %}}\
                 {huge}{{% raw %}}{{% endraw %}}"
            ),
            format!("{{% raw x %}}{{% endcomment %}}{huge}{{% endraw %}}"),
            format!("{{% raw %}}{{%\tendraw %}}{{% endfor %}}{{% endraw %}}{three}"),
        ] {
            assert!(check(&hidden).is_err(), "{hidden}");
        }
        for plain in [
            "{{ \"it's\" }}{% raw %}{% endfor %}{{ x }}{% endraw %}{%- if a -%}{%-endif-%}",
            "{% comment %}{% if a %}{{ b }}{% endif %}{% endcomment %}{ % }} %} { {",
            "{% for a in (1..1000) %}{% if a %}{% else %}{% endif %}{% endfor %}",
            "{% comment %}{% assign y = z | append: z %}(1..9999999){% endcomment %}",
            "{% raw %}{{ 99999999999999999999 }}{% endraw %}",
            "{% if id1234567890123456789012 == 1234567890123456789 %}{% endif %}{{ -5 }}{{ a-1 }}",
        ] {
            assert_eq!(check(plain), Ok(()), "{plain}");
        }
    }

    #[test]
    fn nothing_stands_deeper_than_the_stack_bears() {
        let ifs = "{% if a %}".repeat(10_000);
        assert!(matches!(check(&ifs), Err(TemplateError::TooMuch(_))));
        assert!(check("{{ 9223372063485775807 | plus: 1 }}").is_err());
        assert!(check("{{ a[-9223372063485775809] }}").is_err());
        assert!(check("{{ 5 | plus: 99999999999999999999999 }}").is_err());
        assert_eq!(check("{{ '9223372063485775807' | plus: 999999999999999999 }}"), Ok(()));
        let indexes = format!("{{{{ {}0{} }}}}", "a[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(check(&indexes), Err(TemplateError::TooMuch(_))));
    }
}
