//! The REST gateway as a process of its own.

use clap::Parser;
use postern_gateway_rest::alone;
use postern_kit::env::Env;
use postern_kit::variables::{self, Role};

/// HTTP gateway of Postern: REST API, the old /api/v1, documentation and the inbox page.
#[derive(Debug, Parser)]
#[command(version, after_help = variables::help(Role::Rest))]
struct Args {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    alone::run(&Env::process()).await
}
