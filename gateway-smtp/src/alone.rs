//! The SMTP gateway as a process of its own, with its port for health and metrics.
//!
//! Ends with the process and keeps nothing.

use postern_kit::core_client::CoreClient;
use postern_kit::env::Env;
use postern_kit::limits::Limiter;
use postern_kit::ops::Ops;
use postern_kit::variables::{self, Role};
use postern_kit::{open_files, shutdown, telemetry};

use crate::{Gateway, SmtpConfig};

/// Serves SMTP until SIGTERM or SIGINT.
pub async fn run(env: &Env) -> anyhow::Result<()> {
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
