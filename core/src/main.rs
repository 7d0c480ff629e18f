//! The core alone: reads the environment, serves gRPC until SIGTERM.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Parser;
use postern_core::app::Core;
use postern_core::config::CoreConfig;
use postern_kit::variables::{self, Role};
use postern_kit::{env::Env, shutdown, telemetry};

/// The Postern core: accepts, stores, signs, delivers and reports mail over gRPC.
#[derive(Parser)]
#[command(version, after_help = variables::help(Role::Core))]
struct Args {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    let env = Env::process();
    variables::check(&env, Role::Core)?;
    telemetry::init(&env)?;
    let config = CoreConfig::from_env(&env)?;
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
    core.run(listener, shutdown::token_on_signal()?).await.context("the gRPC server failed")
}
