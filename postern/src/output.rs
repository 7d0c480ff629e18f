//! What a person, or a script with `--json`, sees. The only place that prints.

use std::io::Write as _;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use postern_proto::status::Failure;

/// The request was refused: bad input, missing rights, nothing there.
pub(crate) const REFUSED: u8 = 1;
/// It may work later: the core or its store cannot be reached, or a limit is used up.
pub(crate) const TRY_AGAIN: u8 = 75;

/// Prints a line. A reader that has gone away is not an error.
pub(crate) fn line(text: &str) {
    let _gone = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints text that ends its own lines.
pub(crate) fn text(text: &str) {
    octets(text.as_bytes());
}

/// Says on standard error what is wrong.
pub(crate) fn complain(text: &str) {
    let _gone = writeln!(std::io::stderr().lock(), "postern: {text}");
}

/// Prints octets as they are.
pub(crate) fn octets(octets: &[u8]) {
    let _gone = std::io::stdout().lock().write_all(octets);
}

/// Shows how much of a file is done, on standard error, where that is a terminal; without a size it
/// only shows that something is.
pub(crate) fn progress(size: Option<u64>) -> ProgressBar {
    let template = match size {
        Some(_) => "{bar:40} {percent:>3} %  {msg}  {eta} left",
        None => "{spinner} {msg}",
    };
    // The templates are constants, and a test of the command reads both.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.with_style(style)
}

/// Prints an error with what can be done about it, and says how the process ends.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let mut out = std::io::stderr().lock();
    let Some(status) = error.downcast_ref::<tonic::Status>() else {
        let _gone = writeln!(out, "postern: {error:#}");
        return ExitCode::from(REFUSED);
    };
    let failure = Failure::from_status(status);
    let _gone = writeln!(out, "postern: {}", failure.message);
    for violation in failure.violations.iter().skip(1) {
        let _gone = writeln!(out, "  {}: {}", violation.field, violation.message);
    }
    let _gone = writeln!(out, "  ({})", failure.reason.meaning().name);
    if failure.reason.meaning().retryable {
        ExitCode::from(TRY_AGAIN)
    } else {
        ExitCode::from(REFUSED)
    }
}
