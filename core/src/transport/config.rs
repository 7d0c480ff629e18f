//! How mail leaves. Read once at the start, where a mistake names its variable; the limits are live
//! settings.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use postern_kit::env::{Env, EnvError};
use postern_proto::settings::{
    CONNECTION_AGE, CONNECTION_IDLE, CONNECTION_MESSAGES, CONNECTION_WAIT, DESTINATION_CONNECTIONS,
    DESTINATION_DEAD, Settings,
};

/// Each is looked up whenever a sender domain is checked.
const SENDING_ADDRESSES_MAX: usize = 32;

/// Configuration of the transports.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// `POSTERN_HELO_NAME`, default `localhost`: our name in EHLO. Should be the reverse name of our
    /// address. An MX of this name is ourselves.
    pub helo_name: String,
    /// `POSTERN_RELAY_URL`: the smart host, see [`RelayConfig`].
    pub relay: Option<RelayConfig>,
    /// `POSTERN_DNS_SERVERS`: comma-separated `ip:port`; default: those of the system.
    pub dns_servers: Vec<SocketAddr>,
    /// `POSTERN_SENDING_ADDRESSES`: comma-separated addresses that mail leaves from, as receivers see
    /// them: ours, or those of the smart host. For the DNS records of sender domains.
    pub sending_addresses: Vec<IpAddr>,
    /// `POSTERN_MX_PORT`, default 25.
    pub mx_port: u16,
    /// `POSTERN_MX_ALLOW_PRIVATE`, default off: deliver to servers at loopback, private and other
    /// addresses that are not on the public Internet.
    pub mx_allow_private: bool,
}

/// A smart host: `smtp://user:password@host:port?tls=required`, `smtps://…` for implicit TLS.
///
/// `tls` is `off`, `opportunistic` (default without a login), `required` (default with a login,
/// certificate verified) or `implicit` (certificate verified). The port defaults to 25, for `smtps`
/// to 465. User and password are percent-encoded.
#[derive(Clone)]
pub struct RelayConfig {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS.
    pub tls: TlsPolicy,
    /// The login; sent only under TLS or to a loopback address.
    pub login: Option<Login>,
    /// `POSTERN_RELAY_CA_FILE`: PEM certificates to trust besides those of the system.
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RelayConfig({}:{}, {:?})", self.host, self.port, self.tls)
    }
}

/// Name and password for AUTH.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password. Never logged.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(…)")
    }
}

/// When a connection is to be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Never.
    Off,
    /// STARTTLS when offered, any certificate; in clear when it fails.
    Opportunistic,
    /// STARTTLS with a verified certificate, or no delivery.
    Required,
    /// TLS from the first byte with a verified certificate.
    Implicit,
}

/// Limits of connection reuse; a target is a host and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Connections at once to one target.
    pub connections: usize,
    /// Mails over one connection.
    pub messages: u32,
    /// Unused connections are closed after this.
    pub idle: Duration,
    /// Older connections take no further mail.
    pub age: Duration,
    /// For a connection to become free; then the delivery is deferred.
    pub wait: Duration,
    /// How long a target that could not be reached is not tried again. Mails for it are deferred at
    /// once meanwhile. Zero: every mail tries.
    pub dead: Duration,
}

impl PoolLimits {
    /// What the settings say.
    pub fn of(settings: &Settings) -> Self {
        Self {
            connections: settings.count(&DESTINATION_CONNECTIONS),
            messages: settings.small_count(&CONNECTION_MESSAGES),
            idle: settings.time(&CONNECTION_IDLE),
            age: settings.time(&CONNECTION_AGE),
            wait: settings.time(&CONNECTION_WAIT),
            dead: settings.time(&DESTINATION_DEAD),
        }
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            helo_name: "localhost".to_owned(),
            relay: None,
            dns_servers: Vec::new(),
            sending_addresses: Vec::new(),
            mx_port: 25,
            mx_allow_private: false,
        }
    }
}

impl TransportConfig {
    /// Reads the variables named on the fields.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let mut config = Self::default();
        config.helo_name = env.text("POSTERN_HELO_NAME", &config.helo_name);
        let host_char = |b: u8| b.is_ascii_alphanumeric() || b"-.[]:".contains(&b);
        if !config.helo_name.bytes().all(host_char) {
            return Err(EnvError::new("POSTERN_HELO_NAME", "is not a host name in ASCII"));
        }
        if let Some(url) = env.get("POSTERN_RELAY_URL") {
            let mut relay = relay(url).map_err(|why| EnvError::new("POSTERN_RELAY_URL", why))?;
            relay.ca_file = env.get("POSTERN_RELAY_CA_FILE").map(PathBuf::from);
            config.relay = Some(relay);
        }
        for server in env.list("POSTERN_DNS_SERVERS") {
            let parsed = server
                .parse()
                .or_else(|_| server.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53)));
            let fits = || format!("'{server}' is not ip:port");
            config
                .dns_servers
                .push(parsed.map_err(|_| EnvError::new("POSTERN_DNS_SERVERS", fits()))?);
        }
        config.sending_addresses = sending_addresses(env)?;
        config.mx_port = env.parsed("POSTERN_MX_PORT", config.mx_port)?;
        config.mx_allow_private = env.switch("POSTERN_MX_ALLOW_PRIVATE", false)?;
        Ok(config)
    }
}

fn sending_addresses(env: &Env) -> Result<Vec<IpAddr>, EnvError> {
    let name = "POSTERN_SENDING_ADDRESSES";
    let parsed = |text: &String| {
        text.parse().map_err(|_| EnvError::new(name, format!("'{text}' is not an IP address")))
    };
    let addresses: Vec<IpAddr> = env.list(name).iter().map(parsed).collect::<Result<_, _>>()?;
    if addresses.len() > SENDING_ADDRESSES_MAX {
        let problem = format!("has more than {SENDING_ADDRESSES_MAX} addresses");
        return Err(EnvError::new(name, problem));
    }
    Ok(addresses)
}

/// Parses the URL. The messages never repeat it, since it may hold a password.
fn relay(url: &str) -> Result<RelayConfig, String> {
    let (scheme, rest) = url.split_once("://").ok_or("must begin with smtp:// or smtps://")?;
    let implicit = match scheme {
        "smtp" => false,
        "smtps" => true,
        _ => return Err("must begin with smtp:// or smtps://".to_owned()),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, host_port) = match rest.rsplit_once('@') {
        None => (None, rest),
        Some((login, host_port)) => {
            let (user, password) = login.split_once(':').ok_or("has a user without password")?;
            let (user, password) = (decode(user)?, decode(password)?);
            (Some(Login { user, password }), host_port)
        }
    };
    let (host, port) = match host_port.strip_prefix('[') {
        Some(v6) => v6.split_once(']').ok_or("has a '[' without ']'")?,
        None => host_port.split_at(host_port.find(':').unwrap_or(host_port.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| "has a port that is no number".to_owned())?,
        None if port.is_empty() => {
            if implicit {
                465
            } else {
                25
            }
        }
        None => return Err("has something behind the host that is no port".to_owned()),
    };
    let host_char = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    if host.is_empty() || !host.bytes().all(host_char) {
        return Err("has no host name in ASCII".to_owned());
    }
    let tls = match query.strip_prefix("tls=") {
        None if implicit => TlsPolicy::Implicit,
        None if query.is_empty() && login.is_none() => TlsPolicy::Opportunistic,
        None if query.is_empty() => TlsPolicy::Required,
        Some("off") if !implicit => TlsPolicy::Off,
        Some("opportunistic") if !implicit => TlsPolicy::Opportunistic,
        Some("required") if !implicit => TlsPolicy::Required,
        Some("implicit") => TlsPolicy::Implicit,
        _ => return Err("takes only ?tls=off, opportunistic, required or implicit".to_owned()),
    };
    Ok(RelayConfig { host: host.to_owned(), port, tls, login, ca_file: None })
}

fn decode(text: &str) -> Result<String, String> {
    const WRONG: &str = "has a user or password that is not percent-encoded UTF-8";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (digit().ok_or(WRONG)?, digit().ok_or(WRONG)?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| WRONG.to_owned())
}
