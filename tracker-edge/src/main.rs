//! The tracking edge as a process of its own.

use clap::Parser;
use postern_kit::env::Env;
use postern_kit::variables::{self, Role};
use postern_tracker_edge::alone;

/// Tracking edge of Postern: answers recipients' opens, clicks and unsubscribes.
#[derive(Debug, Parser)]
#[command(version, after_help = variables::help(Role::Tracker))]
struct Args {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    alone::run(&Env::process()).await
}
