//! Everything in one process: the gateways call the core's services directly.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use postern_core::app::{Core, FirstOperator};
use postern_core::config::CoreConfig;
use postern_gateway_rest::RestConfig;
use postern_gateway_smtp::{Door, Gateway, SmtpConfig};
use postern_kit::core_client::{CoreClient, GatewayToken};
use postern_kit::env::Env;
use postern_kit::limits::Limiter;
use postern_kit::ops::Ops;
use postern_kit::variables::{self, Role};
use postern_kit::{open_files, shutdown, telemetry, tls};
use postern_tracker_edge::{Edge, TrackerConfig};
use tokio_util::sync::CancellationToken;

use crate::{output, secrets};

/// Where the local inbox listens as a plain sink, for people who expect one there.
const SINK: &str = "127.0.0.1:1025";

/// What a core takes at most to stop after its attempts have ended.
const AFTER_DRAIN: Duration = Duration::from_secs(35);

/// Starts everything and runs until SIGTERM or SIGINT.
pub(crate) async fn up(env: Env) -> anyhow::Result<()> {
    variables::check(&env, Role::Up)?;
    telemetry::init(&env)?;
    open_files::raise_limit();
    let data = PathBuf::from(env.text("POSTERN_DATA", "./data"));
    let env = with_secrets(env, &data)?;
    let tracker_config = TrackerConfig::from_env(&env)?;
    let mut core_config = CoreConfig::from_env(&env)?;
    let rest_config = RestConfig::from_env(&env)?;
    let smtp_config = smtp_config(&env, &core_config, &data)?;
    // Ports before the store: a taken one is the likeliest mistake, and nothing has to be undone.
    let tracker = tracker_config.listen.bind().await?;
    let mut ops = Ops::open(&env, Some(data.clone())).await?;
    if env.get("POSTERN_TRACKING_URL").is_none() {
        core_config.lead_links_to(format!("http://{}", tracker.local_addr()?));
    }
    let grpc = core_config.listen.bind().await?;
    let rest = rest_config.listen.bind().await?;
    let smtp = smtp_config.listening.bind().await?;
    let mut welcome = Welcome {
        transport: String::new(),
        grpc: grpc.local_addr()?,
        rest: rest.local_addr()?,
        tracker: tracker.local_addr()?,
        smtp: Vec::new(),
        data: data.clone(),
        key: None,
        operator: None,
    };
    for (door, listener) in &smtp {
        welcome.smtp.push((*door, listener.local_addr()?));
    }
    let deadline = core_config.drain + AFTER_DRAIN;
    let settings = core_config.settings.clone();
    let core = Core::build(core_config).await?;
    if let Some(secret) = core.first_key().await? {
        secrets::keep_first_key(&data, &secret)?;
    }
    welcome.transport = core.transports();
    welcome.key = secrets::first_key(&data)?;
    welcome.operator = core.first_operator().await?;
    let token = GatewayToken::new(env.required("POSTERN_GATEWAY_TOKEN")?)?;
    let client = CoreClient::new(core.channel(), token, "rest");
    let edge = Edge::build(tracker_config, client.with_door("tracking"))?;
    let smtp_gateway =
        Gateway::build(smtp_config, client.with_door("smtp"), Limiter::from_env(&env)?)?;
    let tls = rest_config.tls.clone();
    let gateway = postern_gateway_rest::build(rest_config, client, settings).secured(tls)?;
    let stop = shutdown::token_on_signal()?;
    core.observe(&mut ops);
    gateway.observe(&mut ops);
    smtp_gateway.observe(&mut ops);
    edge.observe(&mut ops);
    ops.serve(stop.clone());
    // The gateways close first, so that no call of theirs meets a closed core.
    let gateways_closed = CancellationToken::new();
    let core = tokio::spawn(core.run(grpc, gateways_closed.clone()));
    output::line(&welcome.to_string());
    tokio::join!(
        gateway.serve(rest, stop.clone()),
        smtp_gateway.serve(smtp, stop.clone()),
        edge.serve(tracker, stop)
    );
    gateways_closed.cancel();
    tokio::time::timeout(deadline, core)
        .await
        .context("the core did not stop in time")??
        .context("the gRPC server failed")
}

/// The environment with the secrets that the parts share, made on the first run where nobody set
/// them, and with the journal beside the other data.
fn with_secrets(env: Env, data: &Path) -> anyhow::Result<Env> {
    let token = match env.get("POSTERN_GATEWAY_TOKEN") {
        Some(token) => token.to_owned(),
        None => secrets::gateway_token(data)?,
    };
    let keys = match env.get("POSTERN_TRACKING_KEYS") {
        Some(keys) => keys.to_owned(),
        None => secrets::tracking_keys(data)?,
    };
    let beside = data.join("tracker");
    let journal = env.text("POSTERN_TRACKER_DATA", &beside.to_string_lossy());
    Ok(env
        .with("POSTERN_TRACKER_DATA", journal.as_str())
        .with("POSTERN_GATEWAY_TOKEN", token)
        .with("POSTERN_TRACKING_KEYS", keys))
}

/// The SMTP gateway with a certificate of its own making where none was given, and with the sink
/// where the inbox is open.
fn smtp_config(env: &Env, core: &CoreConfig, data: &Path) -> anyhow::Result<SmtpConfig> {
    let sink = if core.inbox_open { SINK } else { "off" };
    let mut config = SmtpConfig::with_sink(env, sink)?;
    if config.tls.is_none() {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        if !names.contains(&config.hostname) {
            names.push(config.hostname.clone());
        }
        config.tls = Some(tls::self_signed(data, &names)?);
    }
    Ok(config)
}

/// What is printed when everything is up.
struct Welcome {
    transport: String,
    grpc: SocketAddr,
    rest: SocketAddr,
    tracker: SocketAddr,
    smtp: Vec<(Door, SocketAddr)>,
    data: PathBuf,
    key: Option<String>,
    operator: Option<FirstOperator>,
}

impl std::fmt::Display for Welcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { transport, grpc, rest, tracker, smtp, data, key, operator } = self;
        let key = key.as_deref().unwrap_or("$POSTERN_API_KEY");
        writeln!(f, "Postern is up. Mail goes to: {transport}.\n")?;
        writeln!(f, "  dashboard  http://{rest}/")?;
        match operator {
            Some(FirstOperator { username, password: Some(password) }) => {
                writeln!(
                    f,
                    "             log in as {username}, password {password} (shown this once)"
                )?;
            }
            Some(FirstOperator { username, password: None }) => {
                writeln!(f, "             log in as {username} with POSTERN_OPERATOR_PASSWORD")?;
            }
            None => {}
        }
        writeln!(f, "  inbox      http://{rest}/inbox")?;
        writeln!(f, "  REST       http://{rest}/v1        docs http://{rest}/docs")?;
        writeln!(f, "  gRPC       {grpc}")?;
        writeln!(f, "  tracking   http://{tracker}   opens, clicks, unsubscribes")?;
        for (door, address) in smtp {
            match door {
                Door::StartTls => {
                    writeln!(f, "  SMTP       {address}   STARTTLS, password: an API key")?
                }
                Door::ImplicitTls => writeln!(f, "  SMTPS      {address}")?,
                Door::Sink => {
                    writeln!(f, "  sink       {address}   plain SMTP, straight to the inbox")?
                }
            }
        }
        writeln!(f, "  data       {}", data.display())?;
        writeln!(f, "  API key    {key}\n\nSend a mail:\n")?;
        writeln!(
            f,
            "  curl -sS http://{rest}/v1/messages -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{\"from\":\"me@example.com\",\"to\":\"you@example.com\",\"subject\":\"Hello\",\"text\":\"It works.\"}}'\n"
        )?;
        f.write_str("Stop with Ctrl-C.")
    }
}
