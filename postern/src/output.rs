//! What a person, or a script with `--json`, sees. The only place that prints.

use std::io::Write as _;
use std::process::ExitCode;

use postern_proto::status::Failure;

/// The request was refused: bad input, missing rights, nothing there.
pub(crate) const REFUSED: u8 = 1;
/// It may work later: the core or its store cannot be reached, or a limit is used up.
pub(crate) const TRY_AGAIN: u8 = 75;

/// Prints a line. A reader that has gone away is not an error.
pub(crate) fn line(text: &str) {
    let _gone = writeln!(std::io::stdout().lock(), "{text}");
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
