//! The SMTP gateway as a process of its own.

use clap::Parser;
use postern_gateway_smtp::alone;
use postern_kit::env::Env;
use postern_kit::variables::{self, Role};

/// SMTP gateway of Postern: mail programs and campaign managers hand their mail in here.
#[derive(Debug, Parser)]
#[command(version, after_help = variables::help(Role::Smtp))]
struct Args {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    alone::run(&Env::process()).await
}
