//! Arguments of the commands that set an installation up and keep it.

use std::path::PathBuf;

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

#[derive(Debug, ClapArgs)]
pub(crate) struct Healthcheck {
    /// What to ask [default: /livez at the port of POSTERN_METRICS_LISTEN].
    #[arg(long)]
    pub(crate) url: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Backup {
    /// The folder for backups [default: `backups` in the data folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Keep so many backups there, the new one included, and remove older ones; otherwise all stay.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) keep: Option<u16>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Restore {
    /// The backup.
    pub(crate) file: PathBuf,
    /// Move what is in the data folder aside; otherwise it has to be empty.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Init {
    /// The file to make, or to add to.
    #[arg(long, default_value = ".env", value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The domain mail is sent from; this host is then mail.DOMAIN, and tracking links lead to t.DOMAIN.
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// The addresses mail leaves from, separated by commas.
    #[arg(long, value_name = "IP,…")]
    pub(crate) addresses: Option<String>,
    /// Who is told by mail when something needs attention.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) operator_email: Option<String>,
    /// The folder of fullchain.pem and privkey.pem [default: that of Let's Encrypt for this host].
    #[arg(long, value_name = "DIR")]
    pub(crate) tls_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ImportOld {
    /// The old system's database; it is only read. Otherwise POSTERN_OLD_DATABASE_URL.
    #[arg(long, value_name = "DATABASE_URL", conflicts_with = "dump")]
    pub(crate) from: Option<String>,
    /// A dump of it by pg_dump, plain or custom.
    #[arg(long, value_name = "FILE", requires = "scratch_url")]
    pub(crate) dump: Option<PathBuf>,
    /// An empty database the dump is loaded into; drop it afterwards.
    #[arg(long, value_name = "URL", requires = "dump")]
    pub(crate) scratch_url: Option<String>,
    /// Check everything and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: super::Connection,
}
