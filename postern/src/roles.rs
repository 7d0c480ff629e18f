//! Single roles: what is said of them. Each is a crate that serves alone as well as within this program.
//!
//! Pure; a crash has nothing to lose.

/// Behind `--help`.
pub(crate) const HELP: &str = "\
`postern up --help`, `postern core --help` and so on list the environment variables that
each reads; `postern config` shows what holds. Without any, everything binds to loopback, keeps its data in ./data
and catches all mail in the local inbox.";
