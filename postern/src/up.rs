//! Everything in one process: core and gateways, joined by an in-process channel.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use postern_core::app::Core;
use postern_core::config::CoreConfig;
use postern_gateway_rest::RestConfig;
use postern_kit::core_client::{CoreClient, GatewayToken};
use postern_kit::env::Env;
use postern_kit::{in_process, shutdown, telemetry};

use crate::{output, secrets};

/// Starts everything and runs until SIGTERM or SIGINT.
pub(crate) async fn up(env: Env) -> anyhow::Result<()> {
    telemetry::init(&env)?;
    let data = PathBuf::from(env.text("POSTERN_DATA", "./data"));
    let token = match env.get("POSTERN_GATEWAY_TOKEN") {
        Some(token) => token.to_owned(),
        None => secrets::gateway_token(&data)?,
    };
    let env = env.with("POSTERN_GATEWAY_TOKEN", token.as_str());
    let core_config = CoreConfig::from_env(&env)?;
    let rest_config = RestConfig::from_env(&env)?;
    // Ports first: a taken one is the likeliest mistake, and nothing has to be undone.
    let grpc = core_config.listen.bind().await?;
    let rest = rest_config.listen.bind().await?;
    let (grpc_addr, rest_addr) = (grpc.local_addr()?, rest.local_addr()?);
    let transport = core_config.transport_choice.to_string();
    let core = Core::build(core_config).await?;
    if let Some(secret) = core.first_key().await? {
        secrets::keep_first_key(&data, &secret)?;
    }
    let key = secrets::first_key(&data)?;
    let (channel, incoming) = in_process::connection();
    let client = CoreClient::new(channel, GatewayToken::new(&token)?, "rest");
    let gateway = postern_gateway_rest::build(rest_config, client);
    let stop = shutdown::token_on_signal()?;
    // The gateways close first, so that no call of theirs meets a closed core.
    let gateways_closed = tokio_util::sync::CancellationToken::new();
    let core_stop = gateways_closed.clone();
    let core = tokio::spawn(core.run(grpc, Some(incoming), core_stop));
    welcome(&data, grpc_addr, rest_addr, key.as_deref(), &transport);
    gateway.serve(rest, stop).await;
    gateways_closed.cancel();
    let deadline = Duration::from_secs(60);
    tokio::time::timeout(deadline, core)
        .await
        .context("the core did not stop in time")??
        .context("the gRPC server failed")
}

fn welcome(
    data: &std::path::Path,
    grpc: std::net::SocketAddr,
    rest: std::net::SocketAddr,
    key: Option<&str>,
    transport: &str,
) {
    let key = key.unwrap_or("$POSTERN_API_KEY");
    output::line(&format!(
        "Postern is up. Mail goes to: {transport}.

  inbox    http://{rest}/inbox
  REST     http://{rest}/v1        docs http://{rest}/docs
  gRPC     {grpc}
  data     {}
  API key  {key}

Send a mail:

  curl -sS http://{rest}/v1/messages -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{\"from\":\"me@example.com\",\"to\":\"you@example.com\",\"subject\":\"Hello\",\"text\":\"It works.\"}}'

Stop with Ctrl-C.",
        data.display(),
    ));
}
