//! Every knob of the core, read once and checked before a port opens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postern_kit::core_client::GatewayToken;
use postern_kit::env::{Env, EnvError};
use postern_kit::listen::ListenAddr;

use postern_proto::link::BadKeys;
use postern_proto::settings::{self, Settings};

use crate::ams::AmsConfig;
use crate::intake::{Policy, SenderPolicy, address};
use crate::notice::NoticeConfig;
use crate::postal::config::PostalConfig;
use crate::queue::lanes::LaneLimits;
use crate::queue::schedule::RetryPolicy;
use crate::rpc::server::ServerLimits;
use crate::store::postgres::PostgresConfig;
use crate::track::Tracker;
use crate::transport::{TransportChoice, TransportConfig};
use crate::worker::keeper::Retention;

/// The variables, for `--help`.
pub const HELP: &str = "\
Environment (core):
  POSTERN_GRPC_LISTEN        address of the gRPC port            [127.0.0.1:50051]
  DATABASE_URL               PostgreSQL; unset: SQLite in POSTERN_DATA
  POSTERN_DATABASE_SCHEMA, POSTERN_DATABASE_CONNECTIONS [16], POSTERN_DATABASE_TIMEOUT [5s]
  POSTERN_DATA               folder of the embedded store        [./data]
  POSTERN_GATEWAY_TOKEN      secret shared with the gateways     (required)
  POSTERN_TRANSPORT          sink, relay, mx or postal           [sink]
  POSTERN_TRANSPORT_DOMAINS  others by sender domain: a.example=relay,b.example=mx
  POSTERN_RELAY_URL          smart host: smtp://user:password@host:port?tls=required
  POSTERN_HELO_NAME          our name in EHLO                    [localhost]
  POSTERN_SENDING_ADDRESSES  addresses mail leaves from, for DNS records of sender domains
  POSTERN_SENDER_POLICY      any or registered                   [any with only sink, else registered]
  POSTERN_SENDER_DOMAINS     allowed sender domains besides the registered ones
  POSTERN_DAILY_LIMIT        recipients per day, 0 for no limit  [0]
  POSTERN_MESSAGE_BYTES      largest message in octets           [26214400]
  POSTERN_MAX_AGE            how long a message is tried         [3d]
  POSTERN_RETRY_DELAYS       pauses between attempts             [1m,5m,15m,30m,1h,2h,4h]
  POSTERN_IDEMPOTENCY_TTL    how long answers are kept           [72h]
  POSTERN_IDEMPOTENCY_REQUIRED  refuse to send without a key     [off]
  POSTERN_CONTENT_RETENTION  how long contents are kept          [3d]
  POSTERN_TRACKING_URL       where tracking links lead           [http://127.0.0.1:8081]
  POSTERN_TRACKING_DOMAINS   elsewhere by sender domain: a.example=https://t.a.example,…
  POSTERN_WEBHOOK_PRIVATE_TARGETS   refuse, or allow: private networks and http   [refuse]
  POSTERN_AMS_URL            JSON-RPC API of AMS: https://ams.example/api/v1; unset: none
  POSTERN_AMS_KEY, POSTERN_AMS_CERT_SHA256   its API key; the certificate it signed itself
  POSTERN_TRACKING_KEYS      secrets that sign them: 1:<64 hex digits>,…; unset: no tracking
  POSTERN_NOTICE_TO          who is told by mail that a credential is about to expire; unset: the log
  POSTERN_NOTICE_FROM        the sender of that mail
  POSTERN_INBOX_KEEP         mails kept in the local inbox       [10000]
  POSTERN_CONCURRENCY        attempts under way at once          [256]
  POSTERN_LANE_CONCURRENCY   attempts at once to one destination [20]
  POSTERN_RPC_TIMEOUT        longest unary call                  [30s]
  POSTERN_DRAIN              how long a stop waits for attempts  [25s]
  POSTERN_LOG                log filter                          [info]
  POSTERN_LOG_FORMAT         text or json                        [text]
Transports read more: POSTERN_DNS_SERVERS, POSTERN_MX_PORT, POSTERN_MX_ALLOW_PRIVATE,
POSTERN_SMTP_TIMEOUT_*, POSTERN_DESTINATION_CONNECTIONS, POSTERN_CONNECTION_*, POSTERN_POSTAL_*.";

/// Where data is.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    /// An SQLite file in this folder.
    Embedded(PathBuf),
    /// PostgreSQL.
    Postgres(PostgresConfig),
}

/// The core's configuration.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// The gRPC port.
    pub listen: ListenAddr,
    /// Where data is.
    pub store: StoreConfig,
    /// The secret of the gateways.
    pub gateway_token: GatewayToken,
    /// Where mail goes.
    pub transport_choice: TransportChoice,
    /// How it gets there.
    pub transport: TransportConfig,
    /// The Postal that mail may be handed to, and that reports.
    pub postal: PostalConfig,
    /// Who may send what.
    pub policy: Policy,
    /// When to try again.
    pub retry: RetryPolicy,
    /// How many attempts at once.
    pub lanes: LaneLimits,
    /// What is kept for how long.
    pub retention: Retention,
    /// What a gRPC request may weigh and take.
    pub server: ServerLimits,
    /// How long a stop waits for attempts under way.
    pub drain: Duration,
    /// What the live settings are when nobody changes them.
    pub settings: Settings,
    /// A gateway may use the inbox without a caller's key.
    pub inbox_open: bool,
    /// How tracking links are made; none without keys.
    pub tracker: Option<Arc<Tracker>>,
    /// The campaign manager that is told what recipients did; none without its url.
    pub ams: Option<AmsConfig>,
    /// Webhooks may be posted into private networks, and over plain HTTP.
    pub webhooks_may_be_private: bool,
    /// Who is told that a credential is about to expire; none: the log.
    pub notices: Option<NoticeConfig>,
}

impl CoreConfig {
    /// Reads the environment.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let transport_choice = TransportChoice::from_env(env)?;
        let stays_local = transport_choice.is_local();
        let policy = policy(env, stays_local)?;
        let listen = ListenAddr::from_env(env, "POSTERN_GRPC_LISTEN", "127.0.0.1:50051")?;
        Ok(Self {
            store: store(env)?,
            gateway_token: GatewayToken::new(env.required("POSTERN_GATEWAY_TOKEN")?)?,
            transport_choice,
            transport: TransportConfig::from_env(env)?,
            postal: PostalConfig::from_env(env)?,
            retry: RetryPolicy { delays: delays(env)?, ..RetryPolicy::default() },
            lanes: LaneLimits {
                total: env.parsed("POSTERN_CONCURRENCY", 256)?,
                per_lane: env.parsed("POSTERN_LANE_CONCURRENCY", 20)?,
            },
            retention: Retention {
                content: env.duration("POSTERN_CONTENT_RETENTION", hours(72))?,
                inbox: env.parsed("POSTERN_INBOX_KEEP", 10_000)?,
            },
            server: ServerLimits {
                message_bytes_max: policy.message_bytes_max,
                timeout: env.duration("POSTERN_RPC_TIMEOUT", Duration::from_secs(30))?,
                concurrent_streams: 1024,
            },
            policy,
            drain: env.duration("POSTERN_DRAIN", Duration::from_secs(25))?,
            settings: settings(env)?,
            inbox_open: env.switch("POSTERN_INBOX", listen.addr.ip().is_loopback())?,
            tracker: tracker(env, stays_local)?,
            ams: AmsConfig::from_env(env)?,
            webhooks_may_be_private: private_targets(env)?,
            notices: NoticeConfig::from_env(env)?,
            listen,
        })
    }

    /// Where tracking links lead, for an edge in the same process whose port is known only now.
    pub fn lead_links_to(&mut self, base: String) {
        if let Some(tracker) = &self.tracker {
            self.tracker = Some(Arc::new(Tracker { base, ..Tracker::clone(tracker) }));
        }
    }
}

fn private_targets(env: &Env) -> Result<bool, EnvError> {
    let name = "POSTERN_WEBHOOK_PRIVATE_TARGETS";
    match env.text(name, "refuse").as_str() {
        "refuse" => Ok(false),
        "allow" => Ok(true),
        other => Err(EnvError::new(name, format!("'{other}' is neither refuse nor allow"))),
    }
}

/// Links can be made when there are keys to sign them with, and recipients can reach them.
fn tracker(env: &Env, stays_local: bool) -> Result<Option<Arc<Tracker>>, EnvError> {
    let (keys, url) = ("POSTERN_TRACKING_KEYS", "POSTERN_TRACKING_URL");
    let base = edge_url(url, &env.text(url, "http://127.0.0.1:8081"))?;
    let by_sender = edge_urls_by_sender(env)?;
    let Some(text) = env.get(keys) else { return Ok(None) };
    if env.get(url).is_none() && !stays_local {
        tracing::warn!(
            "no tracking and no unsubscribe fields: set {url} to what recipients can reach"
        );
        return Ok(None);
    }
    let keys = text.parse().map_err(|bad: BadKeys| EnvError::new(keys, bad.to_string()))?;
    Ok(Some(Arc::new(Tracker { keys, base, by_sender })))
}

/// Reads `POSTERN_TRACKING_DOMAINS`: sender domains whose links lead to a name of their own.
fn edge_urls_by_sender(env: &Env) -> Result<BTreeMap<String, String>, EnvError> {
    let name = "POSTERN_TRACKING_DOMAINS";
    let mut by_sender = BTreeMap::new();
    for entry in env.list(name) {
        let wrong = |problem: String| EnvError::new(name, problem);
        let (domain, url) =
            entry.split_once('=').ok_or_else(|| wrong(format!("'{entry}' is not domain=url")))?;
        let domain = address::parse_domain(domain.trim())
            .map_err(|problem| wrong(format!("'{entry}' {problem}")))?;
        if by_sender.insert(domain, edge_url(name, url.trim())?).is_some() {
            return Err(wrong(format!("'{entry}' names a domain a second time")));
        }
    }
    Ok(by_sender)
}

/// The url of a tracking edge, without a slash at its end.
fn edge_url(name: &str, text: &str) -> Result<String, EnvError> {
    let base = text.trim_end_matches('/');
    let parsed = url::Url::parse(base).ok().filter(|parsed| {
        let plain = parsed.query().is_none() && parsed.fragment().is_none();
        matches!(parsed.scheme(), "http" | "https") && parsed.has_host() && plain
    });
    let ordinary = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]".contains(&b);
    if parsed.is_none() || base.len() > 256 || !base.bytes().all(ordinary) {
        let problem = format!("'{text}' is no url of a tracking edge: https://t.example.com");
        return Err(EnvError::new(name, problem));
    }
    Ok(base.to_owned())
}

fn policy(env: &Env, stays_local: bool) -> Result<Policy, EnvError> {
    let default = if stays_local { "any" } else { "registered" };
    let senders = match env.text("POSTERN_SENDER_POLICY", default).as_str() {
        "any" => SenderPolicy::Any,
        "registered" => SenderPolicy::Registered,
        other => {
            let problem = format!("'{other}' is neither any nor registered");
            return Err(EnvError::new("POSTERN_SENDER_POLICY", problem));
        }
    };
    Ok(Policy {
        senders,
        sender_domains: env.list("POSTERN_SENDER_DOMAINS"),
        daily_limit: env.parsed("POSTERN_DAILY_LIMIT", 0)?,
        message_bytes_max: env.parsed("POSTERN_MESSAGE_BYTES", 25 << 20)?,
        max_age: env.duration("POSTERN_MAX_AGE", hours(72))?,
        idempotency_ttl: idempotency_ttl(env)?,
        idempotency_required: env.switch("POSTERN_IDEMPOTENCY_REQUIRED", false)?,
    })
}

fn idempotency_ttl(env: &Env) -> Result<Duration, EnvError> {
    let name = "POSTERN_IDEMPOTENCY_TTL";
    let ttl = env.duration(name, hours(72))?;
    if (hours(1)..=hours(30 * 24)).contains(&ttl) {
        return Ok(ttl);
    }
    Err(EnvError::new(name, "must be from 1h to 30d"))
}

fn store(env: &Env) -> Result<StoreConfig, EnvError> {
    let Some(url) = env.get("DATABASE_URL") else {
        return Ok(StoreConfig::Embedded(env.text("POSTERN_DATA", "./data").into()));
    };
    Ok(StoreConfig::Postgres(PostgresConfig {
        url: url.to_owned(),
        schema: env.text("POSTERN_DATABASE_SCHEMA", ""),
        connections: env.parsed("POSTERN_DATABASE_CONNECTIONS", 16)?,
        timeout: env.duration("POSTERN_DATABASE_TIMEOUT", Duration::from_secs(5))?,
    }))
}

/// `POSTERN_SMTP_RECIPIENTS_MAX` gives the default of `smtp.recipients_max`, and so on.
fn settings(env: &Env) -> Result<Settings, EnvError> {
    let mut settings = Settings::default();
    for definition in settings::ALL {
        let variable = format!("POSTERN_{}", definition.name.replace('.', "_").to_uppercase());
        if let Some(text) = env.get(&variable) {
            let set = settings.set(definition.name, text);
            set.map_err(|problem| EnvError::new(&variable, problem))?;
        }
    }
    Ok(settings)
}

fn delays(env: &Env) -> Result<Vec<Duration>, EnvError> {
    let name = "POSTERN_RETRY_DELAYS";
    let texts = env.list(name);
    if texts.is_empty() {
        return Ok(RetryPolicy::default().delays);
    }
    let delay = |text: &String| {
        let problem = format!("'{text}' is no duration; write 1m,5m,1h");
        postern_kit::env::parse_duration(text).ok_or_else(|| EnvError::new(name, problem))
    };
    texts.iter().map(delay).collect()
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(3600 * count)
}
