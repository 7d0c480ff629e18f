//! Arguments of the commands that set an installation up and keep it.

use clap::{Args as ClapArgs, ValueEnum};

#[derive(Debug, ClapArgs)]
pub(crate) struct Config {
    /// Whose variables.
    #[arg(long, value_enum, default_value = "up")]
    pub(crate) role: ServingRole,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the table of the manual instead.
    #[arg(long, conflicts_with_all = ["json", "role"])]
    pub(crate) markdown: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ServingRole {
    Up,
    Core,
    Rest,
    Smtp,
    Tracker,
}
