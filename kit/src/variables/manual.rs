//! The table as text: for the manual and for `--help`. Pure functions.

use std::fmt::Write as _;

use super::{ALL, Role, Variable};

/// The table of the manual, as `postern config --markdown` prints it.
pub fn markdown() -> String {
    let mut text =
        String::from("| variable | value | default | read by | what |\n|---|---|---|---|---|\n");
    for variable in ALL {
        let Variable { name, kind, default, description, .. } = variable;
        let default = match *default {
            "" => "unset".to_owned(),
            words if words.contains(' ') => words.to_owned(),
            value => format!("`{value}`"),
        };
        let description = description.replace('|', "\\|");
        let required = match readers(variable.required).as_str() {
            "" => String::new(),
            roles => format!(". Required in production: {roles}"),
        };
        let (kind, roles) = (kind.name(), readers(variable.roles));
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "| `{name}` | {kind} | {default} | {roles} | {description}{required} |");
    }
    text
}

fn readers(roles: &[Role]) -> String {
    if roles == Role::SERVING {
        return "all".to_owned();
    }
    roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
}

/// The variables that a role reads, for `--help`.
pub fn help(role: Role) -> String {
    let mut text = String::from("Environment:\n");
    for variable in ALL.iter().filter(|variable| variable.is_read_by(role)) {
        let Variable { name, default, description, .. } = variable;
        let default = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        let _ = writeln!(text, "  {name}{default}\n      {}", description.replace('`', ""));
    }
    text.push_str("Limits and time limits are live settings of the core: postern settings list.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variables::{Kind, setting_of};

    #[test]
    fn the_table_is_sound() {
        for (place, variable) in ALL.iter().enumerate() {
            let name = variable.name;
            assert!(ALL[..place].iter().all(|other| other.name != name), "{name} stands twice");
            assert!(setting_of(name).is_none(), "{name} is the default of a live setting");
            assert!(!variable.description.is_empty() && !variable.roles.is_empty(), "{name}");
            assert!(variable.required.iter().all(|role| variable.roles.contains(role)), "{name}");
            let words = ["PASSWORD", "_TOKEN", "_KEY"];
            let secret = words.iter().any(|word| name.ends_with(word));
            let paths = matches!(variable.kind, Kind::Path | Kind::List);
            let public = name == "POSTERN_POSTAL_WEBHOOK_KEY";
            assert!(!secret || paths || public || variable.kind.is_secret(), "{name} is shown");
        }
    }

    #[test]
    fn help_names_what_a_role_reads_and_nothing_else() {
        let help = help(Role::Rest);
        assert!(help.contains("  POSTERN_REST_LISTEN [127.0.0.1:8080]\n"), "{help}");
        assert!(!help.contains("POSTERN_TRACKER_LISTEN"), "{help}");
    }
}
