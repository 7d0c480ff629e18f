//! The live settings: the one table of their names, kinds, ranges and defaults.
//!
//! The core keeps the values that differ from the defaults and tells everybody; a gateway that has
//! not reached the core yet goes by the defaults. Constant data and pure functions; a crash has
//! nothing to lose.

use std::collections::BTreeMap;
use std::time::Duration;

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

macro_rules! settings {
    ($($constant:ident = $name:literal, $kind:ident, $default:expr, $min:expr, $max:expr, $text:literal;)*) => {
        $(#[doc = $text]
        pub const $constant: Definition = Definition {
            name: $name,
            kind: Kind::$kind,
            default: $default,
            min: $min,
            max: $max,
            description: $text,
        };)*

        /// Every setting, by name.
        pub const ALL: &[Definition] = &[$($constant,)*];
    };
}

settings! {
    AMS_BATCH_ITEMS = "ams.batch_items", Count, 20_000, 1, 20_000,
        "opens, clicks and unsubscriptions that AMS is told in one call";
    AMS_GIVE_UP = "ams.give_up", Time, 30 * 24 * HOUR, HOUR, 400 * 24 * HOUR,
        "how long AMS may refuse what happened in a campaign before it is no longer told";
    AMS_INTERVAL = "ams.interval", Time, 30 * SECOND, 100, HOUR,
        "how often AMS is told what recipients did";
    AMS_RETRY_INTERVAL = "ams.retry_interval", Time, MINUTE, 100, HOUR,
        "how soon AMS is asked again about a campaign it refused; later and later up to an hour";
    AUTOSTOP_BOUNCE_PERCENT = "autostop.bounce_percent", Count, 10, 0, 100,
        "a campaign is held when more of its mail than this was refused, in percent of the mail that ended within autostop.window; 0: for no share";
    AUTOSTOP_ENABLED = "autostop.enabled", Switch, 0, 0, 1,
        "hold campaigns whose mail goes badly, and stop their mailings in AMS; once in the life of a campaign";
    AUTOSTOP_INTERVAL = "autostop.interval", Time, 30 * SECOND, 100, HOUR,
        "how often campaigns are looked at";
    AUTOSTOP_MINIMUM = "autostop.minimum", Count, 100, 1, 1_000_000,
        "mail of a campaign that must have ended within autostop.window before it is judged";
    AUTOSTOP_RATE_LIMITED = "autostop.rate_limited", Count, 0, 0, 1_000_000,
        "a campaign is held at more refusals than this because of too much mail; 0: at no number";
    AUTOSTOP_SPAM = "autostop.spam", Count, 0, 0, 1_000_000,
        "a campaign is held at more refusals than this as spam or for the sender's reputation; 0: at no number";
    AUTOSTOP_UNKNOWN_USER = "autostop.unknown_user", Count, 0, 0, 1_000_000,
        "a campaign is held at more refusals than this because there is no such mailbox; 0: at no number";
    AUTOSTOP_WINDOW = "autostop.window", Time, HOUR, MINUTE, 24 * HOUR,
        "the time over which campaigns are judged";
    POSTAL_BREAKER_FAILURES = "postal.breaker_failures", Count, 5, 1, 1000,
        "calls of Postal in a row that fail before mail for it waits";
    POSTAL_BREAKER_OPEN_TIME = "postal.breaker_open_time", Time, 30 * SECOND, 100, HOUR,
        "how long mail for Postal waits before one call tries again; twice as long after each that fails";
    POSTAL_BREAKER_OPEN_TIME_MAX = "postal.breaker_open_time_max", Time, 5 * MINUTE, 100, 24 * HOUR,
        "the longest that mail for Postal waits before one call tries again";
    SMTP_AUTH_FAILURE_WINDOW = "smtp.auth_failure_window", Time, 15 * MINUTE, SECOND, 24 * HOUR,
        "the time in which failed logins are counted";
    SMTP_AUTH_FAILURES_PER_ADDRESS = "smtp.auth_failures_per_address", Count, 20, 1, 1_000_000,
        "failed logins of one client address within smtp.auth_failure_window before it is locked out";
    SMTP_AUTH_FAILURES_PER_USER = "smtp.auth_failures_per_user", Count, 50, 1, 1_000_000,
        "failed logins under one user name within smtp.auth_failure_window before it is locked out";
    SMTP_COMMAND_TIME_MAX = "smtp.command_time_max", Time, 5 * MINUTE, SECOND, HOUR,
        "how long a client may take for one command";
    SMTP_COMMANDS_MAX = "smtp.commands_max", Count, 10_000, 10, 10_000_000,
        "commands of one session";
    SMTP_CONNECTIONS_MAX = "smtp.connections_max", Count, 10_000, 1, 1_000_000,
        "open connections of one gateway";
    SMTP_CONNECTIONS_PER_ADDRESS_MAX = "smtp.connections_per_address_max", Count, 500, 1, 1_000_000,
        "open connections of one client address to one gateway";
    SMTP_CONTENT_OCTETS_MAX = "smtp.content_octets_max", Octets, 512 << 20, 1 << 20, 1 << 40,
        "content that one gateway holds in memory, of all sessions together";
    SMTP_CREDENTIAL_MESSAGES = "smtp.credential_messages", Count, 0, 0, 1_000_000_000,
        "messages per smtp.credential_window of a credential without a rate_limit of its own; 0: no limit";
    SMTP_CREDENTIAL_RECIPIENTS = "smtp.credential_recipients", Count, 0, 0, 1_000_000_000,
        "recipients per smtp.credential_window of one credential; 0: no limit";
    SMTP_CREDENTIAL_WINDOW = "smtp.credential_window", Time, HOUR, SECOND, 24 * HOUR,
        "the time in which the messages and recipients of a credential are counted";
    SMTP_DATA_TIME_MAX = "smtp.data_time_max", Time, 10 * MINUTE, SECOND, 6 * HOUR,
        "how long a client may take for one message";
    SMTP_ERRORS_MAX = "smtp.errors_max", Count, 20, 1, 10_000,
        "refused commands of one session before it is closed";
    SMTP_LINE_OCTETS_MAX = "smtp.line_octets_max", Octets, 65_536, 998, 40 << 20,
        "the longest line of a message";
    SMTP_MESSAGE_OCTETS_MAX = "smtp.message_octets_max", Octets, 25 << 20, 1024, 100 << 20,
        "the largest message; the core's POSTERN_MESSAGE_BYTES holds besides";
    SMTP_MESSAGES_PER_SESSION_MAX = "smtp.messages_per_session_max", Count, 1000, 1, 1_000_000,
        "messages of one session";
    SMTP_RECIPIENTS_MAX = "smtp.recipients_max", Count, 1000, 1, 1000,
        "recipients of one message";
    SMTP_SESSION_TIME_MAX = "smtp.session_time_max", Time, HOUR, SECOND, 24 * HOUR,
        "how long a session may last";
    TRACKING_CLICKS = "tracking.clicks", Switch, 0, 0, 1,
        "rewrite the links of html parts, where neither message nor key says";
    TRACKING_FOOTER = "tracking.footer", Switch, 0, 0, 1,
        "add a footer with an unsubscribe link to html parts, where neither message nor key says";
    TRACKING_HIT_RETENTION = "tracking.hit_retention", Time, 30 * 24 * HOUR, HOUR, 400 * 24 * HOUR,
        "how long the core knows a hit again that an edge reports twice";
    TRACKING_HONEYPOT = "tracking.honeypot", Switch, 0, 0, 1,
        "add a link that people cannot see to html parts whose links are rewritten";
    TRACKING_JOURNAL_OCTETS_MAX = "tracking.journal_octets_max", Octets, 1 << 30, 1 << 20, 1 << 40,
        "the size of the journal of one edge above which hits are answered but not recorded";
    TRACKING_LINKS_MAX = "tracking.links_max", Count, 1000, 1, 65_000,
        "links of one mail that are rewritten; those behind them stay as they are";
    TRACKING_OPENS = "tracking.opens", Switch, 0, 0, 1,
        "add a pixel to html parts, where neither message nor key says";
    TRACKING_REQUESTS_MAX = "tracking.requests_max", Count, 0, 0, 1_000_000_000,
        "requests per tracking.requests_window that one edge answers, of all clients; 0: no limit";
    TRACKING_REQUESTS_PER_ADDRESS = "tracking.requests_per_address", Count, 6000, 0, 1_000_000_000,
        "requests per tracking.requests_window of one client address; 0: no limit";
    TRACKING_REQUESTS_WINDOW = "tracking.requests_window", Time, MINUTE, SECOND, HOUR,
        "the time in which requests to an edge are counted";
    TRACKING_SCANNER_WINDOW = "tracking.scanner_window", Time, 5 * SECOND, 0, HOUR,
        "a hit sooner than this after the mail was accepted is taken for a security scanner's; 0ms: none is";
    TRACKING_SHIP_HITS_MAX = "tracking.ship_hits_max", Count, 500, 1, 1000,
        "hits that an edge reports to the core in one batch";
    TRACKING_SHIP_INTERVAL = "tracking.ship_interval", Time, SECOND, 10, MINUTE,
        "how long a hit may wait for others before an edge reports it";
    TRACKING_SYNC_BEFORE_ANSWER = "tracking.sync_before_answer", Switch, 0, 0, 1,
        "an edge answers only when the hit is on stable storage";
    TRACKING_SYNC_INTERVAL = "tracking.sync_interval", Time, 50, 1, SECOND,
        "the longest time until what an edge has journaled is on stable storage";
    TRACKING_TEXT_CLICKS = "tracking.text_clicks", Switch, 0, 0, 1,
        "rewrite the links of text parts, where neither message nor key says";
    TRACKING_UNSUBSCRIBE_HEADERS = "tracking.unsubscribe_headers", Switch, 1, 0, 1,
        "add the header fields of RFC 8058 to mail of a campaign that has none, where neither message nor key says";
    WEBHOOKS_DISABLE_AFTER = "webhooks.disable_after", Time, 5 * 24 * HOUR, MINUTE, 400 * 24 * HOUR,
        "an endpoint at which every delivery has failed for this long is disabled";
    WEBHOOKS_RETENTION = "webhooks.retention", Time, 30 * 24 * HOUR, HOUR, 400 * 24 * HOUR,
        "how long deliveries that are over are kept with their tries";
    WEBHOOKS_RETRY_PERCENT = "webhooks.retry_percent", Count, 100, 0, 1000,
        "pauses between the tries of a delivery, in percent of the schedule (5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h)";
    WEBHOOKS_TIMEOUT = "webhooks.timeout", Time, 15 * SECOND, SECOND, MINUTE,
        "how long an endpoint may take for its answer";
}

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
            Kind::Switch => ["off", "on"].iter().position(|word| *word == text).map(|n| n as i64),
        };
        let fitting = value.filter(|value| (self.min..=self.max).contains(value));
        fitting.ok_or_else(|| {
            let (min, max) = (self.show(self.min), self.show(self.max));
            match self.kind {
                Kind::Count => format!("needs a number from {min} to {max}"),
                Kind::Octets => format!("needs a number of octets from {min} to {max}"),
                Kind::Time => format!("needs a duration such as 30s or 5m, from {min} to {max}"),
                Kind::Switch => "needs on or off".to_owned(),
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
        }
    }
}

fn parse_time(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let size = match unit {
        "ms" => 1,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => 24 * HOUR,
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
}
