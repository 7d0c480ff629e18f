//! The command line of `postern webhooks`.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::{Connection, ListArgs, Named};

#[derive(Debug, Subcommand)]
pub(crate) enum Webhooks {
    /// Makes an endpoint and prints its secret, once.
    Create(WebhookCreate),
    /// Lists the endpoints.
    List(ListArgs),
    /// Removes an endpoint with its deliveries.
    Delete(Named),
    /// Makes a new secret; the old one signs too for a while.
    RotateSecret(WebhookRotate),
    /// Lets a disabled endpoint go on.
    Enable(WebhookEnable),
    /// Stops posting and collecting.
    Disable(Named),
    /// Posts a test at once and shows what came of it.
    Test(Named),
    /// Lists deliveries, newest first.
    Deliveries(WebhookDeliveries),
    /// Shows a delivery with its tries.
    Show(WebhookDelivery),
    /// Tries a delivery again at once.
    Resend(WebhookDelivery),
    /// Tries everything again that failed since a time.
    Recover(WebhookSince),
    /// Posts events of a time once more, with the ids they have always had.
    Replay(WebhookReplay),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WebhookCreate {
    /// Where to: https://…
    pub(crate) url: String,
    /// For people.
    #[arg(long, default_value = "")]
    pub(crate) description: String,
    /// Which events, for example message.bounced or message.*; may be given several times. None: all.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only events of this campaign; may be given several times.
    #[arg(long = "campaign")]
    pub(crate) campaigns: Vec<String>,
    /// How events are written.
    #[arg(long, default_value = "postern")]
    pub(crate) format: WebhookFormat,
    /// One at a time, in the order of the feed.
    #[arg(long)]
    pub(crate) ordered: bool,
    /// How many at once, up to 64; 0: 8.
    #[arg(long, default_value_t = 0)]
    pub(crate) max_concurrency: i32,
    /// How many a second; 0 for no limit.
    #[arg(long, default_value_t = 0)]
    pub(crate) rate_limit: i32,
    /// A header field that is sent along, as name=value; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) header: Vec<String>,
    /// Take the secret of an existing endpoint over; `-` reads it from standard input.
    #[arg(long)]
    pub(crate) secret: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WebhookFormat {
    Postern,
    Thin,
    Legacy,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WebhookRotate {
    /// The endpoint: whk_…
    pub(crate) id: String,
    /// How many hours the old secret signs too.
    #[arg(long, default_value_t = 24)]
    pub(crate) overlap_hours: u32,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WebhookEnable {
    /// The endpoint: whk_…
    pub(crate) id: String,
    /// Begin with what happened since then, as 2026-11-23T04:00:00Z; otherwise with what is to come.
    #[arg(long, value_name = "TIME")]
    pub(crate) recover_since: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WebhookDeliveries {
    /// The endpoint: whk_…
    pub(crate) id: String,
    /// Only deliveries in this state: pending, delivered or failed.
    #[arg(long)]
    pub(crate) state: Option<WebhookState>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WebhookState {
    Pending,
    Delivered,
    Failed,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WebhookDelivery {
    /// The endpoint: whk_…
    pub(crate) id: String,
    /// The event: evt_…
    pub(crate) event: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WebhookSince {
    /// The endpoint: whk_…
    pub(crate) id: String,
    /// Since when, as 2026-11-23T04:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WebhookReplay {
    /// The endpoint: whk_…
    pub(crate) id: String,
    /// Only events at or after this time, as 2026-11-23T04:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: String,
    /// Only events before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only events of this type; may be given several times. None: those the endpoint wants.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only events of this campaign.
    #[arg(long, default_value = "")]
    pub(crate) campaign: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
