//! The command line of `postern operators` and `postern audit`.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::{Connection, ListArgs, Named};

#[derive(Debug, Subcommand)]
pub(crate) enum Operators {
    /// Lists the operators.
    List(ListArgs),
    /// Adds an operator and prints the password, which is shown this once.
    Create(OperatorCreate),
    /// Gives an operator a new password and prints it; no code is asked for any more, and all
    /// sessions end.
    ResetPassword(Named),
    /// Changes what an operator may do; the last admin stays one.
    Role(OperatorRole),
    /// Removes an operator and ends all sessions; the last admin stays.
    Delete(Named),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OperatorCreate {
    /// The user name: lower-case letters, digits and . _ - @.
    pub(crate) username: String,
    /// What the operator may do.
    #[arg(long, default_value = "viewer")]
    pub(crate) role: Role,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OperatorRole {
    /// The user name, or the id.
    pub(crate) name: String,
    /// What the operator may do from now on.
    pub(crate) role: Role,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Sees everything but contents and changes nothing.
    Viewer,
    /// May do everything.
    Admin,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Lists who changed what, newest first.
    List(AuditList),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AuditList {
    /// Only of this actor: `key_…` or `opr_…`.
    #[arg(long, default_value = "", value_name = "ID")]
    pub(crate) actor: String,
    /// Only actions that begin with this, such as `api_key.`.
    #[arg(long, default_value = "")]
    pub(crate) action: String,
    /// Only about this id or name.
    #[arg(long, default_value = "")]
    pub(crate) target: String,
    /// Only since then, as 2026-11-23T04:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// At most so many entries.
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
