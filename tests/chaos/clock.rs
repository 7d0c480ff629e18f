//! The clock of a core jumps, forth and back. Debian's `faketime` sits between the process and the
//! kernel; it fakes the time of day only, as a jump of the real clock does.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::outcome::Trial;
use crate::process::Process;
use crate::system::System;

const SOME: usize = 20;

/// Where Debian keeps the library.
fn library() -> anyhow::Result<PathBuf> {
    for entry in std::fs::read_dir("/usr/lib")? {
        let path = entry?.path().join("faketime/libfaketimeMT.so.1");
        if path.exists() {
            return Ok(path);
        }
    }
    anyhow::bail!("install faketime")
}

/// Starts a process again under a clock that can be moved.
async fn under_faked_clock(process: &mut Process) -> anyhow::Result<PathBuf> {
    let clock = process.folder().join("clock");
    jump(&clock, "+0");
    let library = library()?;
    process.set("LD_PRELOAD", library.to_str().context("a path is UTF-8")?);
    process.set("FAKETIME_TIMESTAMP_FILE", clock.to_str().context("a path is UTF-8")?);
    process.set("FAKETIME_NO_CACHE", "1");
    process.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    process.kill_9().await?;
    process.start().await?;
    Ok(clock)
}

/// Moves the clock so far from the real one.
fn jump(clock: &Path, offset: &str) {
    let next = clock.with_extension("next");
    std::fs::write(&next, offset).unwrap();
    std::fs::rename(&next, clock).unwrap();
}

/// Jumps, some mails after each. What was due at a time that a jump ahead has made up is due when the
/// clock gets there, so one that is undone is short, and the long one is the last.
async fn jumps(trial: &Trial, clock: &Path) {
    for offset in ["-2h", "+0", "+15s", "+0", "-10m", "+2h"] {
        jump(clock, offset);
        trial.grow(SOME).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jumps_of_a_cores_clock_cost_no_mail() {
    let mut system = System::split("", &[]).await.unwrap();
    let clock = under_faked_clock(&mut system.processes[0]).await.unwrap();
    let trial = Trial::start(system).await.unwrap();
    jumps(&trial, &clock).await;
    // The core that is ahead thinks that the other one died long ago.
    trial.grow(20 * SOME).await.unwrap();
    trial.end("clock of a core").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jumps_of_the_only_clock_cost_no_mail() {
    let mut system = System::embedded(&[]).await.unwrap();
    let clock = under_faked_clock(&mut system.processes[0]).await.unwrap();
    let trial = Trial::start(system).await.unwrap();
    jumps(&trial, &clock).await;
    trial.end("the only clock").await.unwrap();
}
