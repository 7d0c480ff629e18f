//! Logs: text for people at a terminal, JSON for machines.
//!
//! Messages are lowercase and stand alone; ids travel as fields. Secrets, bodies and full addresses
//! are never logged. A crash loses at most the line being written.

use std::io::IsTerminal as _;

use crate::env::{Env, EnvError};
use tracing_subscriber::EnvFilter;

/// What is logged when nobody says otherwise. The steps of a migration are no news when all is well.
const FILTER: &str = "info,refinery_core=warn";

/// Starts logging to standard error. `POSTERN_LOG` is the filter (default `info`),
/// `POSTERN_LOG_FORMAT` is `text` or `json`. Colours are for terminals only.
pub fn init(env: &Env) -> Result<(), EnvError> {
    let wanted = env.text("POSTERN_LOG", FILTER);
    let filter =
        EnvFilter::try_new(&wanted).map_err(|e| EnvError::new("POSTERN_LOG", e.to_string()))?;
    let colours = std::io::stderr().is_terminal() && env.text("NO_COLOR", "").is_empty();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        // A log that cannot be written, on a full disk, must not take the program down: the report
        // of it would panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second start in the same process, as in tests, keeps the first subscriber.
    let _already_started = match env.text("POSTERN_LOG_FORMAT", "text").as_str() {
        "text" => builder.try_init(),
        "json" => builder.json().try_init(),
        other => {
            let problem = format!("'{other}' is neither text nor json");
            return Err(EnvError::new("POSTERN_LOG_FORMAT", problem));
        }
    };
    Ok(())
}

/// Shows an address in logs without giving it away: `a***@example.com`.
pub fn mask_address(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => {
            let first: String = local.chars().take(1).collect();
            format!("{first}***@{domain}")
        }
        None => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked() {
        assert_eq!(mask_address("ann@example.com"), "a***@example.com");
        assert_eq!(mask_address("no address"), "***");
    }
}
