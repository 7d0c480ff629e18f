//! The command line of `postern keys` and `postern smtp-credentials`.

use clap::{Args as ClapArgs, Subcommand};

use super::{Connection, ListArgs, Named, Wishes};

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Makes a key and prints its secret, once.
    Create(KeyCreate),
    /// Takes a key of another system over by the SHA-256 of its secret.
    Import(KeyImport),
    /// Makes a key that takes the place of another and prints its secret, once.
    Rotate(Rotate),
    /// Changes what is given and leaves the rest.
    Update(KeyUpdate),
    /// Lists the keys.
    List(ListArgs),
    /// Revokes a key at once.
    Revoke(Named),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct KeyArgs {
    /// The name for people.
    pub(crate) name: String,
    /// What it may do; may be given several times.
    #[arg(long = "scope", default_value = "messages:send")]
    pub(crate) scopes: Vec<String>,
    /// A domain it may send from; may be given several times. None: any.
    #[arg(long = "domain")]
    pub(crate) domains: Vec<String>,
    /// Recipients per day; 0 for no limit.
    #[arg(long, default_value_t = 0)]
    pub(crate) daily_limit: i64,
    /// A network or address it may be used from, such as 192.0.2.0/24; may be given several times. None:
    /// anywhere.
    #[arg(long = "allow-ip", value_name = "CIDR")]
    pub(crate) allow_ip: Vec<String>,
    /// Mail of this key goes to the local inbox only.
    #[arg(long)]
    pub(crate) test: bool,
    /// The key never expires; otherwise it does after 90 days.
    #[arg(long)]
    pub(crate) never_expires: bool,
    #[command(flatten)]
    pub(crate) wishes: Wishes,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct KeyCreate {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct KeyImport {
    /// The SHA-256 of the secret, as 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: String,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct KeyUpdate {
    /// The key: key_…
    pub(crate) id: String,
    /// What it may do; may be given several times.
    #[arg(long = "scope")]
    pub(crate) scopes: Vec<String>,
    #[command(flatten)]
    pub(crate) changes: Changes,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// What is not given stays as it is.
#[derive(Debug, ClapArgs)]
pub(crate) struct Changes {
    /// The name for people.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A domain it may send from; may be given several times. `any`: any.
    #[arg(long = "domain")]
    pub(crate) domains: Vec<String>,
    /// Recipients per day; 0 for no limit.
    #[arg(long)]
    pub(crate) daily_limit: Option<i64>,
    /// A network or address it may be used from, such as 192.0.2.0/24; may be given several times.
    /// `any`: anywhere.
    #[arg(long = "allow-ip", value_name = "CIDR")]
    pub(crate) allow_ip: Vec<String>,
    /// When it stops working, such as 2027-01-31T00:00:00Z; `never`: never.
    #[arg(long, value_name = "TIME")]
    pub(crate) expire: Option<String>,
    #[command(flatten)]
    pub(crate) wishes: Wishes,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Rotate {
    /// The id, or the user name of an SMTP credential.
    pub(crate) id: String,
    /// How long the old secret works on, such as 30m, 24h or 7d; 0s: not at all.
    #[arg(long, default_value = "24h", value_name = "DURATION")]
    pub(crate) overlap: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SmtpCredentials {
    /// Makes a credential and prints its password, once.
    Create(SmtpCredentialCreate),
    /// Takes a credential over from another system by its bcrypt hash.
    Import(SmtpCredentialImport),
    /// Makes a new password and prints it, once.
    Rotate(Rotate),
    /// Changes what is given and leaves the rest.
    Update(SmtpCredentialUpdate),
    /// Lists the credentials.
    List(ListArgs),
    /// Revokes a credential at once; named by its id or its user name.
    Revoke(Named),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SmtpCredentialArgs {
    /// The name for people.
    pub(crate) name: String,
    /// A domain it may send from; may be given several times. None: any.
    #[arg(long = "domain")]
    pub(crate) domains: Vec<String>,
    /// Messages per window (setting smtp.credential_window); 0 for no limit of its own.
    #[arg(long, default_value_t = 0)]
    pub(crate) rate_limit: i64,
    /// Recipients per day; 0 for no limit.
    #[arg(long, default_value_t = 0)]
    pub(crate) daily_limit: i64,
    /// Whose option headers count besides ours, for example postmark; may be given several times.
    #[arg(long = "alias", value_name = "VENDOR")]
    pub(crate) aliases: Vec<String>,
    /// A network or address it may be used from, such as 192.0.2.0/24; may be given several times. None:
    /// anywhere.
    #[arg(long = "allow-ip", value_name = "CIDR")]
    pub(crate) allow_ip: Vec<String>,
    /// Its mail goes to the local inbox only.
    #[arg(long)]
    pub(crate) test: bool,
    #[command(flatten)]
    pub(crate) wishes: Wishes,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SmtpCredentialCreate {
    #[command(flatten)]
    pub(crate) credential: SmtpCredentialArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SmtpCredentialImport {
    /// The user name.
    #[arg(long)]
    pub(crate) username: String,
    /// The bcrypt hash: `$2b$12$…`; `-` reads it from standard input.
    #[arg(long)]
    pub(crate) hash: String,
    #[command(flatten)]
    pub(crate) credential: SmtpCredentialArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SmtpCredentialUpdate {
    /// The credential: its id or its user name.
    pub(crate) id: String,
    /// Messages per window (setting smtp.credential_window); 0 for no limit of its own.
    #[arg(long)]
    pub(crate) rate_limit: Option<i64>,
    /// Whose option headers count besides ours, for example postmark; may be given several times.
    /// `none`: nobody's.
    #[arg(long = "alias", value_name = "VENDOR")]
    pub(crate) aliases: Vec<String>,
    #[command(flatten)]
    pub(crate) changes: Changes,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
