//! The REST gateway as a process of its own.

use anyhow::Context as _;
use clap::Parser;
use postern_gateway_rest::{RestConfig, build};
use postern_kit::core_client::CoreClient;
use postern_kit::env::Env;
use postern_kit::variables::{self, Role};
use postern_kit::{shutdown, telemetry};
use postern_proto::settings::Settings;

/// HTTP gateway of Postern: REST API, the old /api/v1, documentation and the inbox page.
#[derive(Debug, Parser)]
#[command(version, after_help = variables::help(Role::Rest))]
struct Args {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    let env = Env::process();
    variables::check(&env, Role::Rest)?;
    telemetry::init(&env)?;
    let config = RestConfig::from_env(&env)?;
    let core = CoreClient::from_env(&env, "rest")?;
    let listener = config.listen.bind().await?;
    let addr = listener.local_addr().context("the listener has no address")?;
    tracing::info!(%addr, inbox = config.inbox, "rest gateway listens");
    let gateway = build(config, core, Settings::default());
    gateway.serve(listener, shutdown::token_on_signal()?).await;
    Ok(())
}
