//! One binary: everything in one process, single roles, and the operator's commands.
//!
//! It holds no state of its own; a crash is a crash of the role it runs.

mod cli;
mod acme;
mod backup;
mod import_old;
mod up;
mod secrets;
mod roles;
mod client;
mod commands;
mod output;

use std::process::ExitCode;

use clap::Parser as _;
use postern_kit::env::Env;

/// Every request is many small allocations on several threads, which this one is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    let env = Env::process();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&error.into()),
    };
    match runtime.block_on(commands::run(args, env)) {
        Ok(code) => code,
        Err(error) => output::fail(&error),
    }
}
