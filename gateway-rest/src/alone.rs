//! The REST gateway as a process of its own, with its port for health and metrics.
//!
//! Ends with the process and keeps nothing.

use postern_kit::core_client::CoreClient;
use postern_kit::env::Env;
use postern_kit::ops::Ops;
use postern_kit::variables::{self, Role};
use postern_kit::{shutdown, telemetry};
use postern_proto::settings::Settings;

use crate::{RestConfig, build};

/// Serves HTTP until SIGTERM or SIGINT.
pub async fn run(env: &Env) -> anyhow::Result<()> {
    variables::check(env, Role::Rest)?;
    telemetry::init(env)?;
    let config = RestConfig::from_env(env)?;
    let core = CoreClient::from_env(env, "rest")?;
    let mut ops = Ops::open(env, None).await?;
    let listener = config.listen.bind().await?;
    tracing::info!(address = %listener.local_addr()?, "rest gateway listens");
    let tls = config.tls.clone();
    let gateway = build(config, core, Settings::default()).secured(tls)?;
    let stop = shutdown::token_on_signal()?;
    gateway.observe(&mut ops);
    ops.serve(stop.clone());
    gateway.serve(listener, stop).await;
    Ok(())
}
