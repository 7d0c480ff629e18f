//! What each command does.

mod backup;
mod config;
mod healthcheck;
mod init;
mod send;
mod status;
mod trace;
mod watch;
mod messages;
mod queue;
mod errors;
mod suppressions;
mod keys;
mod change;
mod smtp_credentials;
mod settings;
mod domains;
mod campaigns;
mod webhooks;
mod operators;
mod audit;
mod legacy_links;
mod wishes;
mod time;
mod import;
mod import_old;
mod json;

use std::process::ExitCode;

use postern_kit::env::Env;

use crate::cli::{Args, Command};
use crate::{acme, up};

/// Runs the command and says how the process ends.
pub(crate) async fn run(args: Args, env: Env) -> anyhow::Result<ExitCode> {
    match args.command {
        None | Some(Command::Up) => Box::pin(up::up(env)).await?,
        Some(Command::Core) => postern_core::alone::run(&env).await?,
        Some(Command::Rest) => postern_gateway_rest::alone::run(&env).await?,
        Some(Command::Smtp) => postern_gateway_smtp::alone::run(&env).await?,
        Some(Command::Tracker) => postern_tracker_edge::alone::run(&env).await?,
        Some(Command::Acme) => Box::pin(acme::run(&env)).await?,
        Some(Command::Config(args)) => return Ok(config::config(&args, &env)),
        Some(Command::Healthcheck(args)) => {
            return healthcheck::healthcheck(&args, &env).await;
        }
        Some(Command::Init(args)) => init::init(&args)?,
        Some(Command::Backup(args)) => return backup::backup(&args, &env),
        Some(Command::Restore(args)) => return Ok(backup::restore(&args, &env)),
        Some(Command::Send(args)) => send::send(args, &env).await?,
        Some(Command::Status(args)) => status::status(&args, &env).await?,
        Some(Command::Trace(args)) => trace::trace(&args, &env).await?,
        Some(Command::Watch(args)) => watch::watch(args, &env).await?,
        Some(Command::Messages(command)) => messages::messages(command, &env).await?,
        Some(Command::Queue(command)) => queue::queue(command, &env).await?,
        Some(Command::Errors(command)) => errors::errors(command, &env).await?,
        Some(Command::Suppressions(command)) => {
            return suppressions::suppressions(command, &env).await;
        }
        Some(Command::Keys(command)) => keys::keys(command, &env).await?,
        Some(Command::SmtpCredentials(command)) => {
            smtp_credentials::smtp_credentials(command, &env).await?;
        }
        Some(Command::Settings(command)) => settings::settings(command, &env).await?,
        Some(Command::Domains(command)) => return domains::domains(command, &env).await,
        Some(Command::Webhooks(command)) => webhooks::webhooks(command, &env).await?,
        Some(Command::Campaigns(command)) => campaigns::campaigns(command, &env).await?,
        Some(Command::Operators(command)) => operators::operators(command, &env).await?,
        Some(Command::Audit(command)) => audit::audit(command, &env).await?,
        Some(Command::LegacyLinks(command)) => legacy_links::legacy_links(command, &env).await?,
        Some(Command::ImportOld(args)) => return import_old::import_old(&args, &env).await,
        Some(Command::Import(command)) => import::import(command, &env).await?,
    }
    Ok(ExitCode::SUCCESS)
}
