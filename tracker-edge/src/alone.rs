//! The tracking edge as a process of its own, with its port for health and metrics.
//!
//! Ends with the process; what a crash leaves is in the journal.

use postern_kit::core_client::CoreClient;
use postern_kit::env::Env;
use postern_kit::ops::Ops;
use postern_kit::variables::{self, Role};
use postern_kit::{open_files, shutdown, telemetry};

use crate::{Edge, TrackerConfig};

/// Answers recipients until SIGTERM or SIGINT.
pub async fn run(env: &Env) -> anyhow::Result<()> {
    variables::check(env, Role::Tracker)?;
    telemetry::init(env)?;
    open_files::raise_limit();
    let config = TrackerConfig::from_env(env)?;
    let core = CoreClient::from_env(env, "tracking")?;
    let mut ops = Ops::open(env, Some(config.data.clone())).await?;
    let listener = config.listen.bind().await?;
    tracing::info!(address = %listener.local_addr()?, "tracking edge listens");
    let stop = shutdown::token_on_signal()?;
    let edge = Edge::build(config, core)?;
    edge.observe(&mut ops);
    ops.serve(stop.clone());
    edge.serve(listener, stop).await;
    Ok(())
}
