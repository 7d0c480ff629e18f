//! Liquid: compiling, and rendering with bounds. Pure.
//!
//! A variable that has no value is an error that names it, unless the template itself is prepared
//! for its absence: it tests it with `if`, or gives it a `default`.

mod bounds;

use std::collections::BTreeSet;
use std::io::Write;

use liquid::model::Value;
use liquid::{Object, Parser, ParserBuilder};

pub use bounds::{LOOP_DEPTH_MAX, RANGE_MAX};

/// No rendered part is larger.
pub const OUTPUT_BYTES_MAX: usize = 10 << 20;
/// How many variables may be filled in as empty.
const EMPTY_MAX: usize = 200;

/// Why a template cannot be used or filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is not Liquid.
    #[error("{0}")]
    Syntax(String),
    /// A variable has no value.
    #[error("the template needs a value for '{0}'")]
    MissingVariable(String),
    /// The rendered subject would break the header.
    #[error("{0}")]
    Forbidden(String),
    /// It asks for more work than a mail is worth.
    #[error("{0}")]
    TooMuch(String),
}

/// A compiled part of a template.
pub struct Compiled {
    template: liquid::Template,
    optional: BTreeSet<String>,
}

/// Compiles parts. Building one costs, so it is kept.
pub struct Engine {
    parser: Parser,
}

impl Engine {
    /// An engine with the standard tags and filters; includes are not possible.
    pub fn new() -> Result<Self, TemplateError> {
        let parser = ParserBuilder::with_stdlib().build();
        Ok(Self { parser: parser.map_err(|error| TemplateError::Syntax(error.to_string()))? })
    }

    /// Compiles a part.
    pub fn compile(&self, source: &str) -> Result<Compiled, TemplateError> {
        bounds::check(source)?;
        let template = guarded(|| self.parser.parse(source))?;
        let template = template.map_err(|error| TemplateError::Syntax(one_line(&error)))?;
        Ok(Compiled { template, optional: optional_variables(source) })
    }
}

impl Compiled {
    /// Fills the part in. With `lenient`, every variable without a value is empty.
    pub fn render(&self, variables: &Object, lenient: bool) -> Result<String, TemplateError> {
        let mut variables = variables.clone();
        for name in &self.optional {
            if !variables.contains_key(name.as_str()) {
                variables.insert(name.clone().into(), Value::Nil);
            }
        }
        for _ in 0..EMPTY_MAX {
            let mut output = Bounded { bytes: Vec::new() };
            let rendered = guarded(|| self.template.render_to(&mut output, &variables))?;
            let Err(error) = rendered else {
                return String::from_utf8(output.bytes)
                    .map_err(|_| TemplateError::Syntax("the result is not UTF-8".to_owned()));
            };
            if output.bytes.len() >= OUTPUT_BYTES_MAX {
                let text = format!("the result is larger than {OUTPUT_BYTES_MAX} octets");
                return Err(TemplateError::TooMuch(text));
            }
            let missing = missing_variable(&error.to_string());
            match missing {
                Some(path) if lenient => set_nil(&mut variables, &path),
                Some(path) => return Err(TemplateError::MissingVariable(path.join("."))),
                None => return Err(TemplateError::Syntax(one_line(&error))),
            }
        }
        Err(TemplateError::TooMuch("too many variables have no value".to_owned()))
    }
}

/// Runs the library, which takes some things about a template for granted and panics where they do
/// not hold.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, TemplateError> {
    let unusable = |_| TemplateError::Syntax("the template cannot be used".to_owned());
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(unusable)
}

/// Variables from a JSON object; an empty text is an empty object.
pub fn variables(json: &str) -> Result<Object, TemplateError> {
    if json.is_empty() {
        return Ok(Object::new());
    }
    serde_json::from_str(json).map_err(|error| TemplateError::Syntax(error.to_string()))
}

struct Bounded {
    bytes: Vec<u8>,
}

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + more.len() > OUTPUT_BYTES_MAX {
            self.bytes.resize(OUTPUT_BYTES_MAX, b' ');
            return Err(std::io::Error::other("too large"));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Variables the template is prepared to miss.
fn optional_variables(source: &str) -> BTreeSet<String> {
    let mut optional = BTreeSet::new();
    for (is_tag, inside) in bounds::tags(source).flatten() {
        let mut words =
            inside.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty());
        if is_tag {
            if matches!(words.next(), Some("if" | "elsif" | "unless" | "case")) {
                optional.extend(words.map(str::to_owned));
            }
        } else if inside.contains('|')
            && inside.split('|').any(|f| f.trim_start().starts_with("default"))
        {
            optional.extend(words.next().map(str::to_owned));
        }
    }
    for word in ["and", "or", "contains", "true", "false", "nil", "empty", "blank"] {
        optional.remove(word);
    }
    optional
}

/// Which variable an error of the library is about.
fn missing_variable(error: &str) -> Option<Vec<String>> {
    if !error.contains("Unknown variable") && !error.contains("Unknown index") {
        return None;
    }
    let value = |name: &str| {
        let line = error.lines().find_map(|line| line.trim().strip_prefix(name))?;
        Some(line.trim().trim_matches('"').to_owned())
    };
    let requested =
        value("requested variable=").into_iter().chain(value("requested index=")).next()?;
    let mut path: Vec<String> =
        value("variable=").iter().flat_map(|v| v.split('.')).map(str::to_owned).collect();
    path.push(requested);
    Some(path)
}

fn set_nil(variables: &mut Object, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let name: liquid::model::KString = first.clone().into();
    let entry = variables.entry(name).or_insert(Value::Nil);
    if rest.is_empty() {
        return;
    }
    if !matches!(entry, Value::Object(_)) {
        *entry = Value::Object(Object::new());
    }
    if let Value::Object(inner) = entry {
        set_nil(inner, rest);
    }
}

fn one_line(error: &liquid::Error) -> String {
    let text = error.to_string();
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, json: &str, lenient: bool) -> Result<String, TemplateError> {
        let compiled = Engine::new().unwrap().compile(source)?;
        compiled.render(&variables(json).unwrap(), lenient)
    }

    #[test]
    fn values_are_filled_in() {
        let result = render(
            "Hi {{ name }}, {{ user.city }}",
            r#"{"name":"Ann","user":{"city":"Riga"}}"#,
            false,
        );
        assert_eq!(result.unwrap(), "Hi Ann, Riga");
    }

    #[test]
    fn a_variable_without_a_value_is_named() {
        let missing = |name: &str| Err(TemplateError::MissingVariable(name.to_owned()));
        assert_eq!(render("Hi {{ name }}", "", false), missing("name"));
        assert_eq!(render("{{ user.city }}", r#"{"user":{"a":1}}"#, false), missing("user.city"));
    }

    #[test]
    fn lenient_rendering_leaves_it_empty() {
        assert_eq!(render("Hi {{ name }}{{ user.city }}!", "", true).unwrap(), "Hi !");
        assert_eq!(render("{{ user.city }}!", r#"{"user":{"a":1}}"#, true).unwrap(), "!");
    }

    #[test]
    fn a_template_may_be_prepared_for_absence() {
        assert_eq!(render("{{ name | default: 'you' }}", "", false).unwrap(), "you");
        assert_eq!(render("{% if vip %}VIP{% endif %}.", "", false).unwrap(), ".");
    }

    #[test]
    fn work_is_bounded() {
        for greedy in [
            "{% for a in (1..1000000000) %}x{% endfor %}",
            "{% for a in (1..n) %}x{% endfor %}",
            "{% for a in b %}{% for c in d %}{% for e in f %}{% endfor %}{% endfor %}{% endfor %}",
            "{% assign s = 'x' %}{% assign s = s | append: s %}",
            "{% for a in (1..60) %}{% assign s = a %}{% endfor %}",
            "{% capture s %}{{ s }}{{ s }}{% endcapture %}",
            "{% for a in b %}{% raw %}{% endfor %}{% endraw %}{% for c in d %}{% for e in f %}{% endfor %}{% endfor %}{% endfor %}",
        ] {
            assert!(matches!(render(greedy, "", true), Err(TemplateError::TooMuch(_))), "{greedy}");
        }
        assert!(matches!(render("{% if %}", "", true), Err(TemplateError::Syntax(_))));
    }

    /// Whatever is compiled is filled in within bounds, or says why not.
    #[test]
    fn fuzz_template() {
        postern_fuzz::check!("template", |input| {
            let variables = r#"{"name":"Ann","items":[1,2,{"n":3}],"vip":true}"#;
            for lenient in [true, false] {
                match render(&postern_fuzz::text(input), variables, lenient) {
                    Ok(out) => assert!(out.len() <= OUTPUT_BYTES_MAX),
                    Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
                }
            }
        });
    }
}
