//! The core as a process of its own, with its port for health and metrics.
//!
//! Ends with the process; what a crash leaves is in the store.

use std::io::Write as _;

use anyhow::Context as _;
use postern_kit::env::Env;
use postern_kit::ops::Ops;
use postern_kit::variables::{self, Role};
use postern_kit::{shutdown, telemetry};

use crate::app::Core;
use crate::config::CoreConfig;

/// Serves gRPC until SIGTERM or SIGINT.
pub async fn run(env: &Env) -> anyhow::Result<()> {
    variables::check(env, Role::Core)?;
    telemetry::init(env)?;
    let config = CoreConfig::from_env(env)?;
    let mut ops = Ops::open(env, config.data_folder()).await?;
    let listener = config.listen.bind().await?;
    let core = Core::build(config).await?;
    if let Some(secret) = core.first_key().await? {
        // Nobody could call a core whose only key was never seen.
        writeln!(std::io::stdout(), "first API key, shown only now: {secret}")?;
    }
    if let Some(first) = core.first_operator().await?
        && let Some(password) = first.password
    {
        let name = first.username;
        writeln!(std::io::stdout(), "first operator {name}, password, shown only now: {password}")?;
    }
    tracing::info!(address = %listener.local_addr()?, "core listens");
    let stop = shutdown::token_on_signal()?;
    core.observe(&mut ops);
    ops.serve(stop.clone());
    core.run(listener, stop).await.context("the gRPC server failed")
}
