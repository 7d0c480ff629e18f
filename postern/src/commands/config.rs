//! `postern config`: what this environment would start, with secrets masked, and everything that is
//! wrong with it. It opens no port and changes nothing.

use std::process::ExitCode;

use postern_core::config::CoreConfig;
use postern_gateway_rest::RestConfig;
use postern_gateway_smtp::SmtpConfig;
use postern_kit::core_client::CoreClient;
use postern_kit::env::{Env, EnvError};
use postern_kit::limits::Limiter;
use postern_kit::variables::{self, Role, Shown};
use postern_tracker_edge::TrackerConfig;
use serde_json::json;

use crate::cli::{Config, ServingRole};
use crate::output::{self, line};

/// The environment would not start.
const BAD: u8 = 2;
/// Stands in for a secret that the all-in-one makes itself at its first start, and is not kept.
const STAND_IN: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

pub(super) fn config(args: &Config, env: &Env) -> ExitCode {
    if args.markdown {
        output::text(&variables::markdown());
        return ExitCode::SUCCESS;
    }
    let role = role(args.role);
    let problems = problems(env, role);
    let shown = variables::effective(env, role);
    if args.json {
        show_json(&shown, &problems);
    } else {
        show(&shown, &problems);
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(BAD) }
}

fn role(role: ServingRole) -> Role {
    match role {
        ServingRole::Up => Role::Up,
        ServingRole::Core => Role::Core,
        ServingRole::Rest => Role::Rest,
        ServingRole::Smtp => Role::Smtp,
        ServingRole::Tracker => Role::Tracker,
    }
}

/// What the table says first, then what the readers say of values the table cannot judge. A variable
/// is named once.
fn problems(env: &Env, role: Role) -> Vec<EnvError> {
    let mut problems = variables::problems(env, role);
    for problem in read(env, role) {
        if problems.iter().all(|known| known.name != problem.name) {
            problems.push(problem);
        }
    }
    problems
}

/// Every part's reading of the environment, as its start does it.
fn read(env: &Env, role: Role) -> Vec<EnvError> {
    let env = &with_stand_ins(env, role);
    let is = |part: Role| role == part || role == Role::Up;
    let mut results = Vec::new();
    if is(Role::Core) {
        results.push(CoreConfig::from_env(env).err());
    }
    if is(Role::Rest) {
        results.push(RestConfig::from_env(env).err());
    }
    if is(Role::Smtp) {
        results.push(SmtpConfig::from_env(env).err());
        results.push(Limiter::from_env(env).err());
    }
    if is(Role::Tracker) {
        results.push(TrackerConfig::from_env(env).err());
    }
    if !matches!(role, Role::Core | Role::Up) {
        results.push(CoreClient::from_env(env, "rest").err());
    }
    results.into_iter().flatten().collect()
}

fn with_stand_ins(env: &Env, role: Role) -> Env {
    let keys = format!("1:{STAND_IN}");
    let made = [("POSTERN_GATEWAY_TOKEN", STAND_IN), ("POSTERN_TRACKING_KEYS", keys.as_str())];
    let missing = made.iter().filter(|(name, _)| role == Role::Up && env.get(name).is_none());
    missing.fold(env.clone(), |env, (name, value)| env.with(name, *value))
}

fn show(shown: &[Shown], problems: &[EnvError]) {
    for Shown { name, value, is_default, .. } in shown {
        let value = if value.is_empty() { "-" } else { value };
        line(&format!("{name} = {value}{}", if *is_default { "  (default)" } else { "" }));
    }
    for problem in problems {
        output::complain(&problem.to_string());
    }
}

fn show_json(shown: &[Shown], problems: &[EnvError]) {
    let variables: Vec<_> = shown
        .iter()
        .map(|one| {
            json!({"name": one.name, "value": one.value, "default": one.is_default,
                   "secret": one.is_secret, "description": one.description})
        })
        .collect();
    let problems: Vec<_> =
        problems.iter().map(|one| json!({"name": one.name, "problem": one.problem})).collect();
    line(&json!({"variables": variables, "problems": problems}).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_readers_refuse_is_listed_beside_what_the_table_refuses() {
        let env = Env::from([
            ("POSTERN_DRAIN", "soon"),
            ("POSTERN_RELAY_URL", "http://relay"),
            ("POSTERN_TRACKER_TLS_KEYS", "key.pem"),
            ("POSTERN_SMTP_HOSTNAME", "a b"),
        ]);
        // The core's reader stops at its first mistake, which the table has named already.
        let found = problems(&env, Role::Up);
        let names: Vec<_> = found.iter().map(|problem| problem.name.as_str()).collect();
        assert!(names.contains(&"POSTERN_DRAIN"), "{names:?}");
        assert!(names.contains(&"POSTERN_TRACKER_TLS_KEYS"), "{names:?}");
        assert!(names.contains(&"POSTERN_SMTP_HOSTNAME"), "{names:?}");
        assert_eq!(problems(&Env::default(), Role::Up), Vec::new());
        assert_eq!(problems(&Env::default(), Role::Rest)[0].name, "POSTERN_GATEWAY_TOKEN");
    }
}
