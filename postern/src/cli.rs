//! The command line.

mod credentials;
mod domains;
mod mail;
mod operators;
mod setup;
mod webhooks;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use postern_kit::variables;

pub(crate) use credentials::*;
pub(crate) use domains::*;
pub(crate) use mail::*;
pub(crate) use operators::*;
pub(crate) use setup::*;
pub(crate) use webhooks::*;

/// Postern sends mail. Without a command it starts everything in one process, for development: the
/// core, the REST gateway and a local inbox that catches all mail.
#[derive(Debug, Parser)]
#[command(version, after_help = crate::roles::HELP)]
pub(crate) struct Args {
    /// What to do; nothing: `up`.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts everything in one process (the default).
    #[command(after_help = variables::help(variables::Role::Up))]
    Up,
    /// Starts the core alone.
    #[command(after_help = variables::help(variables::Role::Core))]
    Core,
    /// Starts the REST gateway alone; the core is at POSTERN_CORE_URL.
    #[command(after_help = variables::help(variables::Role::Rest))]
    Rest,
    /// Starts the SMTP gateway alone; the core is at POSTERN_CORE_URL.
    #[command(after_help = variables::help(variables::Role::Smtp))]
    Smtp,
    /// Starts the tracking edge alone; the core is at POSTERN_CORE_URL.
    #[command(after_help = variables::help(variables::Role::Tracker))]
    Tracker,
    /// Gets certificates by ACME and keeps them fresh, as files that the other processes take up.
    #[command(after_help = variables::help(variables::Role::Acme))]
    Acme,
    /// Writes a `.env` with generated secrets for production; adds what is missing, changes nothing.
    Init(Init),
    /// Backs up the embedded store with secrets and journal, also while the server runs.
    Backup(Backup),
    /// Puts a backup into the data folder; the server must not run.
    Restore(Restore),
    /// Shows what this environment would start, secrets masked, and everything that is wrong with it.
    Config(Config),
    /// Asks a process of this machine whether it gets on; for containers.
    Healthcheck(Healthcheck),
    /// Sends a mail.
    Send(Send),
    /// Shows what became of a message.
    Status(Status),
    /// Shows the journey of a message: every step, what was said to remote servers, and webhooks.
    Trace(Trace),
    /// Follows the event feed.
    Watch(Watch),
    /// Shows what a mail holds, and sends it once more.
    #[command(subcommand)]
    Messages(Messages),
    /// Shows mail that waits by destination, lets destinations wait, go on and be tried at once.
    #[command(subcommand)]
    Queue(Queue),
    /// Shows what went wrong lately.
    #[command(subcommand)]
    Errors(Errors),
    /// Takes in addresses that get no mail.
    #[command(subcommand)]
    Suppressions(Suppressions),
    /// Makes, imports, changes, rotates, lists and revokes API keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Makes, imports, changes, rotates, lists and revokes SMTP credentials.
    #[command(subcommand)]
    SmtpCredentials(SmtpCredentials),
    /// Shows and changes live settings.
    #[command(subcommand)]
    Settings(Settings),
    /// Keeps sender domains and their DKIM keys, shows and checks the DNS records to publish.
    #[command(subcommand)]
    Domains(Domains),
    /// Keeps endpoints that events are posted to, and what was posted.
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// Holds campaigns, lets them go on, and shows which are held.
    #[command(subcommand)]
    Campaigns(Campaigns),
    /// Keeps the people who may log in to the dashboard.
    #[command(subcommand)]
    Operators(Operators),
    /// Shows who changed what.
    #[command(subcommand)]
    Audit(Audit),
    /// Takes over links that the old system wrote into mail already sent.
    #[command(subcommand)]
    LegacyLinks(LegacyLinks),
    /// Takes over what the old system's database keeps; may be run again.
    ImportOld(ImportOld),
    /// Takes over files of the old system.
    #[command(subcommand)]
    Import(Import),
}

/// How the operator's commands reach the core.
#[derive(Debug, ClapArgs)]
pub(crate) struct Connection {
    /// The core's address.
    #[arg(long, default_value = "http://127.0.0.1:50051", value_name = "URL")]
    pub(crate) core: String,
    /// The API key; otherwise POSTERN_API_KEY, otherwise the first key in the data folder.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Send {
    /// The sender, for example `Shop <hi@shop.example>`.
    #[arg(long)]
    pub(crate) from: String,
    /// A recipient; may be given several times, each gets a mail of their own.
    #[arg(long, required = true)]
    pub(crate) to: Vec<String>,
    /// The subject.
    #[arg(long, default_value = "")]
    pub(crate) subject: String,
    /// The plain text body; `-` reads standard input.
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// The html body; `-` reads standard input.
    #[arg(long)]
    pub(crate) html: Option<String>,
    /// A file to attach; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) attach: Vec<PathBuf>,
    /// A template's id or alias instead of bodies.
    #[arg(long)]
    pub(crate) template: Option<String>,
    /// A variable of the template as name=value; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) var: Vec<String>,
    /// A label; may be given several times.
    #[arg(long)]
    pub(crate) tag: Vec<String>,
    /// An idempotency key: repeating the command with it sends nothing twice.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Check everything and send nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Status {
    /// The message: `msg_…`, or the id you gave it.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Trace {
    /// The message: `msg_…`, or the id you gave it.
    pub(crate) id: String,
    /// Leave out what was said line by line.
    #[arg(long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Watch {
    /// Only events of this type, for example message.bounced; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only events of this message.
    #[arg(long, default_value = "")]
    pub(crate) message: String,
    /// Begin with the oldest event that is kept.
    #[arg(long)]
    pub(crate) from_beginning: bool,
    /// Go on behind this token, as printed with --json.
    #[arg(long, default_value = "")]
    pub(crate) resume: String,
    /// Stop after so many events.
    #[arg(long)]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// What messages of a credential get when they do not say; without these the settings decide.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Tracking, for messages that do not say")]
pub(crate) struct Wishes {
    /// A pixel in html parts.
    #[arg(long, value_name = "on|off")]
    pub(crate) track_opens: Option<Switch>,
    /// Which links are rewritten.
    #[arg(long, value_name = "none|html|text|all")]
    pub(crate) track_clicks: Option<Clicks>,
    /// Leave links of the campaign manager's own tracker (amsweb.php) as they are.
    #[arg(long)]
    pub(crate) keep_campaign_links: bool,
    /// Unsubscribe header fields.
    #[arg(long, value_name = "none|header|one-click")]
    pub(crate) unsubscribe: Option<Unsubscribe>,
    /// A footer with an unsubscribe link in html parts.
    #[arg(long, value_name = "on|off")]
    pub(crate) unsubscribe_footer: Option<Switch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Clicks {
    None,
    Html,
    Text,
    All,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Unsubscribe {
    None,
    Header,
    OneClick,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Settings {
    /// Lists settings with their values.
    List(SettingsList),
    /// Changes a setting; it takes effect everywhere within two seconds.
    Set(SettingSet),
    /// Puts a setting back to its default.
    Reset(Named),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SettingsList {
    /// Only settings whose names begin with this.
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SettingSet {
    /// The name.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Campaigns {
    /// Holds a campaign: its mail waits until it is resumed.
    Hold(CampaignChange),
    /// Lets a held campaign go on.
    Resume(CampaignChange),
    /// Shows how a campaign stands, and its log.
    Show(Named),
    /// Lists the campaigns that are held.
    List(ListArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CampaignChange {
    /// The campaign, as its messages name it.
    pub(crate) campaign: String,
    /// Why; it is kept in the log.
    #[arg(long, default_value = "")]
    pub(crate) note: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LegacyLinks {
    /// Imports a file; links that are there already stay as they are, so it may be run again.
    Import(LegacyLinksImport),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LegacyLinksImport {
    /// One JSON object per line: token, url (empty for a pixel), address, campaign_id, message_id;
    /// `-` reads standard input.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// Takes over what words of refusals mean, in the place of what was imported before; says which
    /// patterns can never match.
    BouncePatterns(BouncePatterns),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BouncePatterns {
    /// The old system's bounce pattern file in YAML; `-` reads standard input.
    pub(crate) file: PathBuf,
    /// Check everything and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Named {
    /// The id, or the name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
}
