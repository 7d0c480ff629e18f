//! The command line of `postern domains`.

use clap::{Args as ClapArgs, Subcommand};

use super::{Connection, ListArgs, Named};

#[derive(Debug, Subcommand)]
pub(crate) enum Domains {
    /// Adds a domain, makes its DKIM keys and prints the records to publish.
    Add(Named),
    /// Prints the records to publish.
    Records(Named),
    /// Lists the domains.
    List(ListArgs),
    /// Looks up what is published and says what to do next; fails unless everything required is right.
    Check(Named),
    /// Makes new DKIM keys and prints the records to publish before they are activated.
    Rotate(DomainRotate),
    /// Lets new DKIM keys sign, once their records are published; the old ones stay published a while.
    Activate(DomainActivate),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DomainRotate {
    /// The domain, or its id.
    pub(crate) name: String,
    /// The first part of the new selectors; otherwise the year and month.
    #[arg(long, default_value = "")]
    pub(crate) selector: String,
    /// How many hours the old keys stay published once the new ones sign; 0 when they were stolen.
    #[arg(long, default_value_t = 7 * 24)]
    pub(crate) overlap_hours: u32,
    /// Drop keys that still wait to be activated.
    #[arg(long)]
    pub(crate) replace_pending: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DomainActivate {
    /// The domain, or its id.
    pub(crate) name: String,
    /// The first part of the selectors; otherwise the keys that wait to be activated.
    #[arg(long, default_value = "")]
    pub(crate) selector: String,
    /// Do not look whether the records are published.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
