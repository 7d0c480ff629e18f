//! What is in force in this environment, with secrets masked. Pure functions.

use postern_proto::settings;

use super::{ALL, Kind, Role};
use crate::env::Env;

/// A variable with what holds for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The name.
    pub name: String,
    /// The value, masked where it is a secret; empty where nothing holds.
    pub value: String,
    /// It is unset, and this is what holds then.
    pub is_default: bool,
    /// A secret, of which nothing is shown.
    pub is_secret: bool,
    /// What it is for.
    pub description: &'static str,
}

/// What this role would start with, in the order of the manual; then, for a core, the defaults of
/// live settings.
pub fn effective(env: &Env, role: Role) -> Vec<Shown> {
    let read = ALL.iter().filter(|variable| variable.is_read_by(role));
    let mut all: Vec<Shown> = read
        .map(|variable| Shown {
            name: variable.name.to_owned(),
            value: match env.get(variable.name) {
                Some(text) => masked(variable.kind, text),
                None => variable.default.to_owned(),
            },
            is_default: env.get(variable.name).is_none(),
            is_secret: variable.kind.is_secret(),
            description: variable.description,
        })
        .collect();
    if matches!(role, Role::Up | Role::Core) {
        all.extend(settings::ALL.iter().map(|definition| {
            let name = definition.variable();
            let set = env.get(&name).map(str::to_owned);
            Shown {
                is_default: set.is_none(),
                value: set.unwrap_or_else(|| definition.show(definition.default)),
                name,
                is_secret: false,
                description: definition.description,
            }
        }));
    }
    all
}

/// How much of a secret there is may be known, and nothing else of it.
fn masked(kind: Kind, text: &str) -> String {
    if kind.is_secret() {
        return format!("*** ({} characters)", text.chars().count());
    }
    if kind != Kind::Url {
        return text.to_owned();
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        // Databases are also named by words, of which one may be the password.
        return format!("*** ({} characters)", text.chars().count());
    };
    // Rather too much is masked than too little: a password may hold what ends it elsewhere.
    let rest = match rest.rsplit_once('@') {
        Some((login, host)) if login.contains(':') => {
            format!("{}:***@{host}", login.split(':').next().unwrap_or_default())
        }
        _ => rest.to_owned(),
    };
    let shown = rest
        .split_once("password=")
        .map_or(rest.clone(), |(start, _)| format!("{start}password=***"));
    format!("{scheme}://{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_defaults_are_told() {
        let env = Env::from([
            ("POSTERN_GATEWAY_TOKEN", "very-secret"),
            ("DATABASE_URL", "postgres://postern:very-secret@db/postern"),
            ("POSTERN_SMTP_RECIPIENTS_MAX", "7"),
        ]);
        let shown = effective(&env, Role::Core);
        assert!(shown.iter().all(|one| !one.value.contains("very-secret")), "{shown:?}");
        let value = |name: &str| {
            let one = shown.iter().find(|one| one.name == name).unwrap();
            (one.value.as_str(), one.is_default)
        };
        assert_eq!(value("DATABASE_URL"), ("postgres://postern:***@db/postern", false));
        assert_eq!(value("POSTERN_GATEWAY_TOKEN"), ("*** (11 characters)", false));
        assert_eq!(value("POSTERN_DRAIN"), ("25s", true));
        assert_eq!(value("POSTERN_SMTP_RECIPIENTS_MAX"), ("7", false));
        assert!(shown.iter().all(|one| one.name != "POSTERN_REST_LISTEN"));
    }

    #[test]
    fn no_way_to_write_a_password_shows_it() {
        for text in [
            "postgres://me:hidden@db/x",
            "postgres://me:hid/den@db/x",
            "postgres://me:hid@den@db/x",
            "postgres://db/x?user=me&password=hidden",
            "host=db user=me password=hidden",
            "redis://:hidden@redis:6379",
        ] {
            let shown = masked(Kind::Url, text);
            assert!(!shown.contains("hid") && !shown.contains("den"), "{shown}");
        }
        assert_eq!(masked(Kind::Url, "redis://redis:6379"), "redis://redis:6379");
        assert_eq!(masked(Kind::Url, "smtp://me@relay:25"), "smtp://me@relay:25");
    }
}
