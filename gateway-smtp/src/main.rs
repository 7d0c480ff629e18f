//! The SMTP gateway as a process of its own.

use clap::Parser;
use postern_gateway_smtp::{Gateway, SmtpConfig};
use postern_kit::core_client::CoreClient;
use postern_kit::env::Env;
use postern_kit::limits::Limiter;
use postern_kit::variables::{self, Role};
use postern_kit::{open_files, shutdown, telemetry};

/// SMTP gateway of Postern: mail programs and campaign managers hand their mail in here.
#[derive(Debug, Parser)]
#[command(version, after_help = variables::help(Role::Smtp))]
struct Args {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    let env = Env::process();
    variables::check(&env, Role::Smtp)?;
    telemetry::init(&env)?;
    open_files::raise_limit();
    let config = SmtpConfig::from_env(&env)?;
    let core = CoreClient::from_env(&env, "smtp")?;
    let listeners = config.listening.bind().await?;
    let gateway = Gateway::build(config, core, Limiter::from_env(&env)?)?;
    gateway.serve(listeners, shutdown::token_on_signal()?).await;
    Ok(())
}
