//! Honest numbers: starts a Postern, drives every door of it and measures, in the same run and on the
//! same disk, what the machine, the stores and other servers do. Links no server crate. `loadtest/run`
//! builds what it needs and starts it.
//!
//! Keeps nothing but what it wrote; a crash leaves the figures that were measured before it.

mod text;
mod process;
mod figure;
mod pace;
mod door;
mod sink;
mod hooks;
mod server;
mod rival;
mod ceiling;
mod progress;
mod bench;
mod stage;
mod machine;
mod target;
mod svg;
mod report;
mod command;

use clap::Parser as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    command::Command::parse().run().await
}
