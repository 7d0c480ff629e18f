//! `kill -9` of each process at instants drawn from a seed. What is killed starts again at once, or
//! after some more mails went through what is left.

use std::time::Duration;

use anyhow::Context as _;
use postern_kit::env::Env;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::outcome::Trial;
use crate::system::System;

/// The seed, printed, so that a run can be repeated.
pub(crate) fn seeded(name: &str) -> anyhow::Result<StdRng> {
    let seed: u64 = match Env::process().get("POSTERN_CHAOS_SEED") {
        Some(given) => given.parse().context("POSTERN_CHAOS_SEED is no number")?,
        None => rand::random(),
    };
    println!("{name}: POSTERN_CHAOS_SEED={seed}");
    Ok(StdRng::seed_from_u64(seed))
}

/// Kills so many times and judges what is left.
async fn kill(name: &str, system: System, kills: usize) -> anyhow::Result<()> {
    let mut random = seeded(name)?;
    let mut trial = Trial::start(system).await?;
    for _ in 0..kills {
        trial.grow(random.random_range(1..20)).await?;
        // Between two answers, too.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..50_000))).await;
        let victim = random.random_range(0..trial.system.processes.len());
        trial.kill(victim).await?;
        // Only where something is left that takes mail.
        if trial.system.processes.len() > 1 && random.random_bool(0.3) {
            trial.grow(random.random_range(1..10)).await?;
        }
        trial.system.processes[victim].start().await?;
    }
    trial.grow(20).await?;
    trial.end(name).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_every_role_lose_nothing() {
    let system = System::split("", &[]).await.unwrap();
    kill("roles", system, 14).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_all_in_one_lose_nothing() {
    let system = System::embedded(&[]).await.unwrap();
    kill("all-in-one", system, 6).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; tests/run --all runs it"]
async fn a_long_row_of_kills_of_every_role_loses_nothing() {
    let system = System::split("", &[]).await.unwrap();
    kill("roles, long", system, 140).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; tests/run --all runs it"]
async fn a_long_row_of_kills_of_all_in_one_loses_nothing() {
    let system = System::embedded(&[]).await.unwrap();
    kill("all-in-one, long", system, 60).await.unwrap();
}
