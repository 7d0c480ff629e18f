//! Single roles: one part of the system in this process.

use anyhow::Context as _;
use postern_core::app::Core;
use postern_core::config::CoreConfig;
use postern_gateway_rest::RestConfig;
use postern_gateway_smtp::{Gateway, SmtpConfig};
use postern_kit::core_client::CoreClient;
use postern_kit::env::Env;
use postern_kit::limits::Limiter;
use postern_kit::ops::Ops;
use postern_kit::variables::{self, Role};
use postern_kit::{open_files, shutdown, telemetry};
use postern_proto::settings::Settings;
use postern_tracker_edge::{Edge, TrackerConfig};

/// Behind `--help`.
pub(crate) const HELP: &str = "\
`postern up --help`, `postern core --help` and so on list the environment variables that
each reads; `postern config` shows what holds. Without any, everything binds to loopback, keeps its data in ./data
and catches all mail in the local inbox.";

/// The core alone.
pub(crate) async fn core(env: &Env) -> anyhow::Result<()> {
    variables::check(env, Role::Core)?;
    telemetry::init(env)?;
    let config = CoreConfig::from_env(env)?;
    let mut ops = Ops::open(env, config.data_folder()).await?;
    let listener = config.listen.bind().await?;
    let core = Core::build(config).await?;
    if let Some(secret) = core.first_key().await? {
        crate::output::line(&format!("first API key, shown only now: {secret}"));
    }
    if let Some(first) = core.first_operator().await?
        && let Some(password) = first.password
    {
        let name = first.username;
        crate::output::line(&format!(
            "first operator {name}, password, shown only now: {password}"
        ));
    }
    tracing::info!(address = %listener.local_addr()?, "core listens");
    let stop = shutdown::token_on_signal()?;
    core.observe(&mut ops);
    ops.serve(stop.clone());
    core.run(listener, stop).await.context("the gRPC server failed")
}

/// The REST gateway alone.
pub(crate) async fn rest(env: &Env) -> anyhow::Result<()> {
    variables::check(env, Role::Rest)?;
    telemetry::init(env)?;
    let config = RestConfig::from_env(env)?;
    let core = CoreClient::from_env(env, "rest")?;
    let mut ops = Ops::open(env, None).await?;
    let listener = config.listen.bind().await?;
    tracing::info!(address = %listener.local_addr()?, "rest gateway listens");
    let gateway = postern_gateway_rest::build(config, core, Settings::default());
    let stop = shutdown::token_on_signal()?;
    gateway.observe(&mut ops);
    ops.serve(stop.clone());
    gateway.serve(listener, stop).await;
    Ok(())
}

/// The SMTP gateway alone.
pub(crate) async fn smtp(env: &Env) -> anyhow::Result<()> {
    variables::check(env, Role::Smtp)?;
    telemetry::init(env)?;
    open_files::raise_limit();
    let config = SmtpConfig::from_env(env)?;
    let core = CoreClient::from_env(env, "smtp")?;
    let mut ops = Ops::open(env, None).await?;
    let listeners = config.listening.bind().await?;
    let gateway = Gateway::build(config, core, Limiter::from_env(env)?)?;
    let stop = shutdown::token_on_signal()?;
    gateway.observe(&mut ops);
    ops.serve(stop.clone());
    gateway.serve(listeners, stop).await;
    Ok(())
}

/// The tracking edge alone.
pub(crate) async fn tracker(env: &Env) -> anyhow::Result<()> {
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
