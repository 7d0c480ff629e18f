//! Every knob of the core, read once and checked before a port opens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postern_kit::core_client::GatewayToken;
use postern_kit::env::{Env, EnvError};
use postern_kit::limits::Limiter;
use postern_kit::listen::ListenAddr;
use postern_kit::live;
use postern_kit::ops;
use postern_kit::spans;
use postern_kit::variables;

use postern_proto::link::BadKeys;
use postern_proto::settings::Settings;

use crate::ams::AmsConfig;
use crate::intake::{Policy, SenderPolicy, address};
use crate::notice::NoticeConfig;
use crate::operator::PASSWORD_MIN;
use crate::postal::config::PostalConfig;
use crate::queue::schedule::RetryPolicy;
use crate::store::postgres::{PostgresConfig, ReplicaConfig};
use crate::track::Tracker;
use crate::transport::{TransportChoice, TransportConfig};

/// Where data is.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    /// An SQLite file in this folder.
    Embedded(PathBuf),
    /// PostgreSQL.
    Postgres(PostgresConfig),
}

/// The operator that is made at the first start.
#[derive(Clone)]
pub struct FirstOperatorConfig {
    /// The user name.
    pub username: String,
    /// The password; none: one is made and shown once.
    pub password: Option<String>,
}

impl std::fmt::Debug for FirstOperatorConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FirstOperatorConfig({}, …)", self.username)
    }
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
    /// How mail gets where it goes.
    pub transport: TransportConfig,
    /// The Postal that mail may be handed to, and that reports.
    pub postal: PostalConfig,
    /// Who may send what.
    pub policy: Policy,
    /// When to try again.
    pub retry: RetryPolicy,
    /// How long a stop waits for attempts under way.
    pub drain: Duration,
    /// How long a loop may not get on before the services that need it do not serve.
    pub stall_time: Duration,
    /// What the live settings are when nobody changes them.
    pub settings: Settings,
    /// A gateway may use the inbox without a caller's key.
    pub inbox_open: bool,
    /// The campaign manager that is told what recipients did; none without its url.
    pub ams: Option<AmsConfig>,
    /// The operator that is made when there is none.
    pub first_operator: FirstOperatorConfig,
    /// Counts logins and calls, together with the other cores where there is a Redis.
    pub limiter: Arc<Limiter>,
    /// Webhooks may be posted into private networks, and over plain HTTP.
    pub webhooks_may_be_private: bool,
    /// Who is told by mail what needs looking after; none: the log alone.
    pub notices: Option<NoticeConfig>,
    /// The file that tells when the newest backup was made, where the configuration names one.
    pub backup_status: Option<PathBuf>,
    /// Where the spans of traces go; none: nowhere.
    pub traces: Option<spans::Export>,
}

impl CoreConfig {
    /// The folder of the embedded store; none on PostgreSQL.
    pub fn data_folder(&self) -> Option<PathBuf> {
        match &self.store {
            StoreConfig::Embedded(folder) => Some(folder.clone()),
            StoreConfig::Postgres(_) => None,
        }
    }

    /// Reads the environment.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let settings = live::defaults(env)?;
        let policy = policy(env, &settings)?;
        let listen = ListenAddr::from_env(env, "POSTERN_GRPC_LISTEN", "127.0.0.1:50051")?;
        Ok(Self {
            store: store(env)?,
            traces: spans::Export::from_env(env)?,
            gateway_token: GatewayToken::new(env.required("POSTERN_GATEWAY_TOKEN")?)?,
            transport: TransportConfig::from_env(env)?,
            postal: PostalConfig::from_env(env)?,
            retry: RetryPolicy { delays: delays(env)?, ..RetryPolicy::default() },
            policy,
            drain: env.duration("POSTERN_DRAIN", Duration::from_secs(25))?,
            stall_time: ops::stall_time(env)?,
            settings,
            inbox_open: env.switch("POSTERN_INBOX", variables::is_local(env, &listen))?,
            ams: AmsConfig::from_env(env)?,
            first_operator: first_operator(env)?,
            limiter: Arc::new(Limiter::from_env(env)?),
            webhooks_may_be_private: private_targets(env)?,
            notices: NoticeConfig::from_env(env)?,
            backup_status: env.get("POSTERN_BACKUP_STATUS").map(PathBuf::from),
            listen,
        })
    }

    /// Where tracking links lead, for an edge in the same process whose port is known only now.
    pub fn lead_links_to(&mut self, base: String) {
        if let Some(tracker) = &self.policy.tracker {
            self.policy.tracker = Some(Arc::new(Tracker { base, ..Tracker::clone(tracker) }));
        }
    }
}

fn first_operator(env: &Env) -> Result<FirstOperatorConfig, EnvError> {
    let (name, secret) = ("POSTERN_OPERATOR_NAME", "POSTERN_OPERATOR_PASSWORD");
    let username = crate::rpc::operators::username(name, &env.text(name, "admin"))
        .map_err(|failure| EnvError::new(name, failure.message))?;
    let password = env.get(secret).map(str::to_owned);
    let weak = |text: &String| text.chars().count() < PASSWORD_MIN || text.contains("CHANGE_ME");
    if password.as_ref().is_some_and(weak) {
        let problem = format!("needs at least {PASSWORD_MIN} characters, and not CHANGE_ME");
        return Err(EnvError::new(secret, problem));
    }
    Ok(FirstOperatorConfig { username, password })
}

fn private_targets(env: &Env) -> Result<bool, EnvError> {
    let name = "POSTERN_WEBHOOK_PRIVATE_TARGETS";
    match env.text(name, "refuse").as_str() {
        "refuse" => Ok(false),
        "allow" => Ok(true),
        other => Err(EnvError::new(name, format!("'{other}' is neither refuse nor allow"))),
    }
}

/// Links can be made when there are keys to sign them with.
fn tracker(env: &Env, stays_local: bool) -> Result<Option<Arc<Tracker>>, EnvError> {
    let (keys, url) = ("POSTERN_TRACKING_KEYS", "POSTERN_TRACKING_URL");
    let base = edge_url(url, &env.text(url, "http://127.0.0.1:8081"))?;
    let by_sender = edge_urls_by_sender(env)?;
    let Some(text) = env.get(keys) else { return Ok(None) };
    let is_here_only = env.get(url).is_none();
    if is_here_only && !stays_local {
        tracing::warn!(
            "no tracking and no unsubscribe fields: set {url} to what recipients can reach"
        );
    }
    let keys = text.parse().map_err(|bad: BadKeys| EnvError::new(keys, bad.to_string()))?;
    Ok(Some(Arc::new(Tracker { keys, base, by_sender, is_here_only })))
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

fn policy(env: &Env, settings: &Settings) -> Result<Policy, EnvError> {
    let transports = TransportChoice::from_env(env)?;
    let senders = match env.get("POSTERN_SENDER_POLICY") {
        None => None,
        Some("any") => Some(SenderPolicy::Any),
        Some("registered") => Some(SenderPolicy::Registered),
        Some(other) => {
            let problem = format!("'{other}' is neither any nor registered");
            return Err(EnvError::new("POSTERN_SENDER_POLICY", problem));
        }
    };
    Ok(Policy {
        senders,
        sender_domains: env.list("POSTERN_SENDER_DOMAINS"),
        idempotency_required: env.switch("POSTERN_IDEMPOTENCY_REQUIRED", false)?,
        tracker: tracker(env, transports.is_local(settings))?,
        transports,
    })
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
        replica: replica(env)?,
    }))
}

fn replica(env: &Env) -> Result<Option<ReplicaConfig>, EnvError> {
    let lag_max = env.duration("POSTERN_REPLICA_LAG_MAX", Duration::from_secs(5))?;
    let url = env.get("DATABASE_REPLICA_URL").map(str::to_owned);
    Ok(url.map(|url| ReplicaConfig { url, lag_max }))
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
