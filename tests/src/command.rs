//! The binary as a command that ends by itself.

use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::stack::binary;
use crate::wait;

/// Runs `postern <args…>` with these variables and nothing else, and waits until it has ended.
pub async fn run(args: &[&str], vars: &[(&str, &str)]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary());
    command.args(args).env_clear().envs(vars.iter().copied());
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(tokio::time::timeout(wait::LIMIT, command.output()).await??)
}
