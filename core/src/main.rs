//! The core alone: reads the environment, serves gRPC until SIGTERM.

use clap::Parser;
use postern_core::alone;
use postern_kit::env::Env;
use postern_kit::variables::{self, Role};

/// The Postern core: accepts, stores, signs, delivers and reports mail over gRPC.
#[derive(Parser)]
#[command(version, after_help = variables::help(Role::Core))]
struct Args {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    alone::run(&Env::process()).await
}
