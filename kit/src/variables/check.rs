//! What can be said about the environment before anybody reads it: names that nobody knows, values
//! that cannot be, and what production does not allow. Pure functions.

use std::fmt;
use std::time::Duration;

use super::{ALL, Kind, Role, Variable, find, production, setting_of};
use crate::env::{Env, EnvError};
use crate::listen::ListenAddr;
use crate::live;

/// Variables of the test suite, and where the tests find the binary.
const OF_TESTS: [&str; 2] = ["POSTERN_TEST_", "POSTERN_BIN"];
/// Names less alike than this are no hint.
const LIKENESS_MIN: f64 = 0.85;

/// Everything that is wrong with the environment, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<EnvError>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return only.fmt(f);
        }
        write!(f, "the configuration has {} problems:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Refuses an environment in which a role cannot start. Called before a port is opened.
pub fn check(env: &Env, role: Role) -> Result<(), Problems> {
    match problems(env, role) {
        none if none.is_empty() => Ok(()),
        some => Err(Problems(some)),
    }
}

/// Everything the table says is wrong for this role.
pub fn problems(env: &Env, role: Role) -> Vec<EnvError> {
    let mut problems = unknown(env);
    let read = ALL.iter().filter(|variable| variable.is_read_by(role));
    problems.extend(read.filter_map(|variable| value(env, variable).err()));
    if matches!(role, Role::Up | Role::Core) {
        problems.extend(live::problems(env));
    }
    if production::is_production(env) {
        problems.extend(production::problems(env, role));
    }
    problems
}

/// A name nobody reads is a setting without an effect: most likely a slip.
fn unknown(env: &Env) -> Vec<EnvError> {
    let is_known = |name: &str| find(name).is_some() || setting_of(name).is_some();
    let is_of_tests = |name: &str| OF_TESTS.iter().any(|prefix| name.starts_with(prefix));
    let ours = env.names().filter(|name| name.starts_with("POSTERN_"));
    let unknown =
        ours.filter(|name| !is_known(name) && !is_of_tests(name) && !is_service_link(env, name));
    unknown.map(|name| EnvError::new(name, hint(name))).collect()
}

/// Kubernetes gives every container the addresses of the services beside it, under names made from
/// theirs: `POSTERN_CORE_SERVICE_HOST`, `POSTERN_CORE_PORT_50051_TCP_ADDR`.
fn is_service_link(env: &Env, name: &str) -> bool {
    let services = env.names().filter_map(|name| name.strip_suffix("_SERVICE_HOST"));
    let mut rests = services.filter_map(|service| name.strip_prefix(service));
    rests.any(|rest| rest.starts_with("_SERVICE_") || rest.starts_with("_PORT"))
}

fn hint(name: &str) -> String {
    let known = ALL.iter().map(|variable| variable.name.to_owned());
    let known = known.chain(postern_proto::settings::ALL.iter().map(|one| one.variable()));
    // All begin alike, which says nothing.
    let own = |name: &str| name.trim_start_matches("POSTERN_").to_owned();
    let likeness = |other: &String| strsim::jaro_winkler(&own(name), &own(other));
    let nearest = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|nearest| likeness(nearest) >= LIKENESS_MIN) {
        Some(nearest) => format!("is not known; did you mean {nearest}?"),
        None => "is not known; remove it".to_owned(),
    }
}

/// Reads a value the way its reader will, as far as its kind says how.
fn value(env: &Env, variable: &Variable) -> Result<(), EnvError> {
    let name = variable.name;
    match variable.kind {
        Kind::Switch => env.switch(name, false).map(drop),
        Kind::Count => env.parsed(name, 0u64).map(drop),
        Kind::Time => env.duration(name, Duration::ZERO).map(drop),
        Kind::Networks => env.networks(name).map(drop),
        Kind::Address => ListenAddr::from_env(env, name, "127.0.0.1:0").map(drop),
        Kind::Choice(words) => match env.get(name) {
            Some(other) if !words.contains(&other) => {
                let problem = match words {
                    [one, two] => format!("'{other}' is neither {one} nor {two}"),
                    more => format!("'{other}' is none of {}", more.join(", ")),
                };
                Err(EnvError::new(name, problem))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(env: &Env, role: Role) -> Vec<String> {
        problems(env, role).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_one() {
        let env = Env::from([("POSTERN_REST_LISTN", "127.0.0.1:1"), ("POSTERN_QQ", "1")]);
        let said = said(&env, Role::Smtp);
        assert_eq!(said[0], "POSTERN_QQ: is not known; remove it");
        let hint = "POSTERN_REST_LISTN: is not known; did you mean POSTERN_REST_LISTEN?";
        assert_eq!(said[1], hint);
        let live = Env::from([("POSTERN_SMTP_RECIPIENT_MAX", "1")]);
        let hint =
            "POSTERN_SMTP_RECIPIENT_MAX: is not known; did you mean POSTERN_SMTP_RECIPIENTS_MAX?";
        assert_eq!(check(&live, Role::Core).unwrap_err().to_string(), hint);
    }

    #[test]
    fn service_links_of_kubernetes_are_no_mistake() {
        let links = [
            ("POSTERN_CORE_SERVICE_HOST", "10.0.0.1"),
            ("POSTERN_CORE_SERVICE_PORT_GRPC", "50051"),
            ("POSTERN_CORE_PORT", "tcp://10.0.0.1:50051"),
            ("POSTERN_CORE_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ];
        assert_eq!(check(&Env::from(links), Role::Rest), Ok(()));
        let alone = Env::from([("POSTERN_CORE_PORT", "50051")]);
        assert_eq!(check(&alone, Role::Rest).unwrap_err().0.len(), 1);
    }

    #[test]
    fn every_problem_is_listed_and_only_what_the_role_reads() {
        let env = Env::from([
            ("POSTERN_DRAIN", "soon"),
            ("POSTERN_MX_ALLOW_PRIVATE", "maybe"),
            ("POSTERN_SENDER_POLICY", "all"),
            ("POSTERN_MAX_AGE", "long"),
            ("POSTERN_REST_LISTEN", "8080"),
        ]);
        assert_eq!(said(&env, Role::Core).len(), 4);
        assert_eq!(said(&env, Role::Up).len(), 5);
        assert_eq!(said(&env, Role::Rest).len(), 1);
        assert_eq!(said(&env, Role::Tracker), Vec::<String>::new());
        let text = check(&env, Role::Up).unwrap_err().to_string();
        assert!(text.starts_with("the configuration has 5 problems:\n  POSTERN_"), "{text}");
        assert!(text.contains("'all' is neither any nor registered"), "{text}");
    }
}
