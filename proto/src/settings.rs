//! The live settings: the one table of their names, kinds, ranges and defaults.
//!
//! The core keeps the values that differ from the defaults and tells everybody; a gateway that has
//! not reached the core yet goes by the defaults. Constant data and pure functions; a crash has
//! nothing to lose.

mod table;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::table::*;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number without a unit.
    Count,
    /// A number of octets.
    Octets,
    /// A duration such as `500ms`, `30s`, `5m`, `2h` or `3d`, held in milliseconds.
    Time,
    /// `on` or `off`, held as 1 or 0.
    Switch,
    /// One of these words, held as its place among them.
    Choice(&'static [&'static str]),
}

/// A setting that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// The name.
    pub name: &'static str,
    /// How its values are written.
    pub kind: Kind,
    /// The value when nobody changed it.
    pub default: i64,
    /// The smallest value.
    pub min: i64,
    /// The largest value.
    pub max: i64,
    /// What it is for.
    pub description: &'static str,
}

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The definition of this name.
pub fn find(name: &str) -> Option<&'static Definition> {
    ALL.iter().find(|definition| definition.name == name)
}

impl Definition {
    /// Reads a value. The error says what would fit.
    pub fn parse(&self, text: &str) -> Result<i64, String> {
        let value = match self.kind {
            Kind::Count | Kind::Octets => text.parse().ok(),
            Kind::Time => parse_time(text),
            Kind::Switch => place(&["off", "on"], text),
            Kind::Choice(words) => place(words, text),
        };
        let fitting = value.filter(|value| (self.min..=self.max).contains(value));
        fitting.ok_or_else(|| {
            let (min, max) = (self.show(self.min), self.show(self.max));
            match self.kind {
                Kind::Count => format!("needs a number from {min} to {max}"),
                Kind::Octets => format!("needs a number of octets from {min} to {max}"),
                Kind::Time => format!("needs a duration such as 30s or 5m, from {min} to {max}"),
                Kind::Switch => "needs on or off".to_owned(),
                Kind::Choice(words) => format!("needs one of {}", words.join(", ")),
            }
        })
    }

    /// Writes a value as [`Self::parse`] reads it.
    pub fn show(&self, value: i64) -> String {
        match self.kind {
            Kind::Count | Kind::Octets => value.to_string(),
            Kind::Time => {
                let units = [(HOUR, "h"), (MINUTE, "m"), (SECOND, "s")];
                let unit = units.iter().find(|(size, _)| value > 0 && value % size == 0);
                unit.map_or(format!("{value}ms"), |(size, name)| format!("{}{name}", value / size))
            }
            Kind::Switch => if value == 0 { "off" } else { "on" }.to_owned(),
            Kind::Choice(words) => {
                usize::try_from(value).ok().and_then(|at| words.get(at)).unwrap_or(&"").to_string()
            }
        }
    }

    /// The environment variable that gives the default.
    pub fn variable(&self) -> String {
        format!("POSTERN_{}", self.name.replace('.', "_").to_uppercase())
    }
}

fn place(words: &[&str], text: &str) -> Option<i64> {
    words.iter().position(|word| *word == text).and_then(|at| i64::try_from(at).ok())
}

fn parse_time(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let size = match unit {
        "ms" => 1,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(size)
}

/// The values in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    changed: BTreeMap<&'static str, i64>,
}

impl Settings {
    /// Takes a value over. An unknown name or a value that does not fit is an error that says why;
    /// what was in force stays.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let definition = find(name).ok_or_else(|| "is no setting".to_owned())?;
        self.changed.insert(definition.name, definition.parse(text)?);
        Ok(())
    }

    /// The value of a setting, as a number.
    pub fn get(&self, definition: &Definition) -> i64 {
        self.changed.get(definition.name).copied().unwrap_or(definition.default)
    }

    /// The value of a setting that counts or weighs something.
    pub fn count(&self, definition: &Definition) -> usize {
        usize::try_from(self.get(definition)).unwrap_or(usize::MAX)
    }

    /// The value of a setting that counts up to no more than 32 bits hold.
    pub fn small_count(&self, definition: &Definition) -> u32 {
        u32::try_from(self.get(definition)).unwrap_or(u32::MAX)
    }

    /// The value of a setting that is on or off.
    pub fn is_on(&self, definition: &Definition) -> bool {
        self.get(definition) != 0
    }

    /// The value of a setting that is a time.
    pub fn time(&self, definition: &Definition) -> Duration {
        Duration::from_millis(u64::try_from(self.get(definition)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_sound() {
        assert!(ALL.windows(2).all(|two| two[0].name < two[1].name));
        for definition in ALL {
            assert_eq!(
                definition.parse(&definition.show(definition.default)),
                Ok(definition.default)
            );
            assert!(definition.min <= definition.default && definition.default <= definition.max);
            assert_eq!(find(definition.name), Some(definition));
        }
    }

    #[test]
    fn bad_values_are_refused_and_change_nothing() {
        let mut settings = Settings::default();
        settings.set("smtp.recipients_max", "7").unwrap();
        for (name, text) in [
            ("smtp.recipients_max", "0"),
            ("smtp.recipients_max", "1001"),
            ("smtp.recipients_max", "many"),
            ("smtp.command_time_max", "30"),
            ("smtp.nothing", "1"),
            ("tracking.opens", "1"),
            ("tracking.opens", "ON"),
        ] {
            assert!(settings.set(name, text).is_err(), "{name} {text}");
        }
        assert_eq!(settings.count(&SMTP_RECIPIENTS_MAX), 7);
        settings.set("smtp.command_time_max", "30s").unwrap();
        assert_eq!(settings.time(&SMTP_COMMAND_TIME_MAX), Duration::from_secs(30));
        assert_eq!(SMTP_COMMAND_TIME_MAX.show(90_000), "90s");
        settings.set("tracking.opens", "on").unwrap();
        assert!(settings.is_on(&TRACKING_OPENS) && !settings.is_on(&TRACKING_CLICKS));
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        let kind = Kind::Choice(&["left", "right"]);
        let way = Definition { name: "way", kind, default: 0, min: 0, max: 1, description: "" };
        assert_eq!(way.parse("right"), Ok(1));
        assert_eq!((way.show(0).as_str(), way.show(1).as_str()), ("left", "right"));
        assert_eq!(way.parse("up"), Err("needs one of left, right".to_owned()));
    }
}
