//! The only reader of the environment. Every failure names the variable and says what would fit.
//!
//! Configuration is read once, before any port is opened, so a mistake stops the start and never a
//! running process.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::net;

/// A variable that is missing or cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct EnvError {
    /// The name of the variable.
    pub name: String,
    /// What is wrong and what would fit.
    pub problem: String,
}

impl EnvError {
    /// Says what is wrong with a variable.
    pub fn new(name: &str, problem: impl Into<String>) -> Self {
        Self { name: name.to_owned(), problem: problem.into() }
    }
}

/// A snapshot of the variables.
#[derive(Debug, Clone, Default)]
pub struct Env {
    vars: BTreeMap<String, String>,
}

impl Env {
    /// The environment of this process. Variables that are not UTF-8 are left out.
    pub fn process() -> Self {
        let vars = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { vars }
    }

    /// The same variables with one more, or one changed.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.vars.insert(name.to_owned(), value.into());
        self
    }

    /// The names that are set to something.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.vars.keys().map(String::as_str).filter(|name| self.get(name).is_some())
    }

    /// The value; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The value, or an error when it is unset.
    pub fn required(&self, name: &str) -> Result<&str, EnvError> {
        self.get(name).ok_or_else(|| EnvError::new(name, "is not set"))
    }

    /// The value as text, or the default.
    pub fn text(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    /// The parsed value, or the default.
    pub fn parsed<T>(&self, name: &str, default: T) -> Result<T, EnvError>
    where
        T: FromStr<Err: Display>,
    {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        value.parse().map_err(|error| EnvError::new(name, format!("'{value}': {error}")))
    }

    /// `true`/`false`, `on`/`off`, `yes`/`no` or `1`/`0`, or the default.
    pub fn switch(&self, name: &str, default: bool) -> Result<bool, EnvError> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "on" | "yes" | "1") => Ok(true),
            Some("false" | "off" | "no" | "0") => Ok(false),
            Some(other) => Err(EnvError::new(name, format!("'{other}' is neither on nor off"))),
        }
    }

    /// A duration such as `500ms`, `30s`, `5m`, `2h` or `3d`, or the default.
    pub fn duration(&self, name: &str, default: Duration) -> Result<Duration, EnvError> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        parse_duration(value).ok_or_else(|| {
            EnvError::new(name, format!("'{value}' is no duration; write 30s or 5m"))
        })
    }

    /// Networks such as `10.0.0.0/8`, or single addresses, separated by commas; none when unset.
    pub fn networks(&self, name: &str) -> Result<Vec<IpNet>, EnvError> {
        let list = self.list(name);
        let network = |text: &String| {
            net::network(text).ok_or_else(|| {
                EnvError::new(name, format!("'{text}' is no network; write 10.0.0.0/8"))
            })
        };
        list.iter().map(network).collect()
    }

    /// A list separated by commas; empty when unset.
    pub fn list(&self, name: &str) -> Vec<String> {
        let parts = self.get(name).unwrap_or_default().split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(vars: [(&str, &str); N]) -> Self {
        Self { vars: vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect() }
    }
}

/// Parses `500ms`, `30s`, `5m`, `2h` or `3d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_names_the_variable_and_what_would_fit() {
        let env = Env::from([("PORT", "many"), ("WAIT", "5 minutes"), ("ON", "maybe")]);
        let port = env.parsed("PORT", 1u16).unwrap_err().to_string();
        assert!(port.starts_with("PORT: 'many'"), "{port}");
        let wait = env.duration("WAIT", Duration::ZERO).unwrap_err().to_string();
        assert!(wait.contains("write 30s or 5m"), "{wait}");
        assert!(env.switch("ON", true).is_err());
        let env = env.with("NETS", "10.0.0.0/8, 10.0.0.0/33");
        let nets = env.networks("NETS").unwrap_err().to_string();
        assert_eq!(nets, "NETS: '10.0.0.0/33' is no network; write 10.0.0.0/8");
        assert_eq!(env.required("SECRET").unwrap_err().to_string(), "SECRET: is not set");
    }

    #[test]
    fn defaults_hold_for_unset_and_empty_variables() {
        let env = Env::from([("EMPTY", "  ")]);
        assert_eq!(env.parsed("EMPTY", 7u16), Ok(7));
        assert_eq!(env.list("EMPTY"), Vec::<String>::new());
        let env = env.with("DOMAINS", "a.example, b.example,");
        assert_eq!(env.list("DOMAINS"), ["a.example", "b.example"]);
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("3d"), Some(Duration::from_secs(3 * 86_400)));
        assert_eq!(parse_duration("30"), None);
        assert_eq!(parse_duration("99999999999999999d"), None);
    }
}
