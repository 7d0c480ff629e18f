//! The tracking edge as a process of its own.

use clap::Parser;
use postern_kit::core_client::CoreClient;
use postern_kit::env::Env;
use postern_kit::variables::{self, Role};
use postern_kit::{open_files, shutdown, telemetry};
use postern_tracker_edge::{Edge, TrackerConfig};

/// Tracking edge of Postern: answers recipients' opens, clicks and unsubscribes.
#[derive(Debug, Parser)]
#[command(version, after_help = variables::help(Role::Tracker))]
struct Args {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    let env = Env::process();
    variables::check(&env, Role::Tracker)?;
    telemetry::init(&env)?;
    open_files::raise_limit();
    let config = TrackerConfig::from_env(&env)?;
    let core = CoreClient::from_env(&env, "tracking")?;
    let listener = config.listen.bind().await?;
    tracing::info!(address = %listener.local_addr()?, "tracking edge listens");
    let edge = Edge::build(config, core)?;
    edge.serve(listener, shutdown::token_on_signal()?).await;
    Ok(())
}
