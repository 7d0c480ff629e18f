//! `postern healthcheck`: for containers, whose images have no other program that could ask.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use postern_kit::env::Env;
use postern_kit::listen::ListenAddr;

use crate::cli::Healthcheck;
use crate::output::{REFUSED, line};

/// Longer than one check of readiness takes.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Where a process listens that was told nothing.
const LISTEN: (&str, &str) = ("POSTERN_METRICS_LISTEN", "127.0.0.1:9464");

/// Asks, says what was answered, and fails where it is not good.
pub(super) async fn healthcheck(args: &Healthcheck, env: &Env) -> anyhow::Result<ExitCode> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => format!("http://{}/livez", address(env)?),
    };
    let client = reqwest::Client::builder().timeout(TIME_MAX).no_proxy().build()?;
    let answer = client.get(&url).send().await.with_context(|| format!("{url} does not answer"))?;
    let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
    line(text.trim_end());
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// Where a process with this environment is asked from its own machine.
fn address(env: &Env) -> anyhow::Result<String> {
    let (name, default) = LISTEN;
    anyhow::ensure!(env.text(name, default) != "off", "{name} is off: there is nobody to ask");
    let listen = ListenAddr::from_env(env, name, default)?;
    // It may listen on every address, which is none to ask at.
    let ip = match listen.addr.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, listen.addr.port()).to_string())
}
