//! The command line of `postern messages`, `queue`, `errors` and `suppressions`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::{Connection, ListArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum Messages {
    /// Prints a mail as it goes out (RFC 5322), without what counts opens and clicks.
    Content(MessageContent),
    /// Sends a message once more, as a new message.
    Resend(MessageResend),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct MessageContent {
    /// The message: `msg_…`.
    pub(crate) id: String,
    /// The recipient whose mail it is: `rcp_…`; otherwise the first.
    #[arg(long, default_value = "", value_name = "ID")]
    pub(crate) recipient: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct MessageResend {
    /// The message: `msg_…`.
    pub(crate) id: String,
    /// Only to this recipient: `rcp_…`; may be given several times.
    #[arg(long, value_name = "ID")]
    pub(crate) recipient: Vec<String>,
    /// Run again with the same key, it sends nothing twice.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Check everything and send nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Lists destinations with mail that waits, and paused ones, those with the most first.
    List(ListArgs),
    /// Lets the mail to a domain wait until it is resumed.
    Pause(DestinationPause),
    /// Lets the mail to a domain go on.
    Resume(Destination),
    /// Makes mail to a domain due at once that waits for another attempt.
    Retry(DestinationRetry),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DestinationPause {
    /// The domain of the recipients.
    pub(crate) domain: String,
    /// Why; it is shown in the list.
    #[arg(long, default_value = "")]
    pub(crate) note: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Destination {
    /// The domain of the recipients.
    pub(crate) domain: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DestinationRetry {
    /// The domain of the recipients.
    pub(crate) domain: String,
    /// Only count.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Errors {
    /// Counts what went wrong by category and by destination, and lists the newest.
    List(ErrorsList),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ErrorsList {
    /// Only since then, as 2026-11-23T04:00:00Z; otherwise of the last 24 hours.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only of this campaign.
    #[arg(long, default_value = "")]
    pub(crate) campaign: String,
    /// Only of this category, such as `mailbox_full`.
    #[arg(long, default_value = "")]
    pub(crate) category: String,
    /// Only of this destination.
    #[arg(long, default_value = "")]
    pub(crate) domain: String,
    /// How many are listed: at most 1000.
    #[arg(long, default_value_t = 50)]
    pub(crate) page_size: i32,
    /// Where to go on, as the answer before said.
    #[arg(long, default_value = "")]
    pub(crate) page_token: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Suppressions {
    /// Adds addresses that get no mail; those that are there already stay as they are, so it may be
    /// run again.
    Import(SuppressionsImport),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SuppressionsImport {
    /// CSV whose first line names the columns email and, where there are such, reason, campaign_id
    /// and note (other columns are left out); or one address a line. `-` reads standard input.
    pub(crate) file: PathBuf,
    /// Check everything and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
