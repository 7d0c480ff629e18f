//! The disk is full: that of PostgreSQL, and that of the embedded store. The disks are small file
//! systems in memory, which only root may make; where they cannot be made these tests say so and do
//! nothing.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;

use crate::outcome::Trial;
use crate::system::System;

const SOME: usize = 20;

/// A small disk; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// One of so many MiB on an empty folder, owned as the folder is.
    fn mount(folder: &Path, mib: usize) -> anyhow::Result<Self> {
        let owner = std::fs::metadata(folder)?;
        let size = format!("size={mib}m");
        let args = ["-t", "tmpfs", "-o", size.as_str(), "tmpfs"];
        let mounted = Command::new("mount").args(args).arg(folder).status()?;
        ensure!(mounted.success(), "mount: {mounted}");
        chown(folder, Some(owner.uid()), Some(owner.gid()))?;
        Ok(Self(folder.to_owned()))
    }

    /// Takes all the room there is, or gives it back.
    fn fill(&self, full: bool) -> anyhow::Result<()> {
        let ballast = self.0.join("ballast");
        if !full {
            return Ok(std::fs::remove_file(ballast)?);
        }
        let mut zeros = std::io::repeat(0);
        let copied = std::io::copy(&mut zeros, &mut std::fs::File::create(ballast)?);
        ensure!(copied.is_err(), "a small disk has no end");
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
        // Whoever made the folder, or the one around it, could not remove it while it was a disk.
        let _removed = std::fs::remove_dir(&self.0);
        let _not_empty = self.0.parent().map(std::fs::remove_dir);
    }
}

/// Whether file systems can be made; says so when not. Root in a container may not, either.
fn may_mount(test: &str) -> bool {
    let made = tempfile::tempdir().map_err(anyhow::Error::from).and_then(|folder| {
        let disk = SmallDisk::mount(folder.path(), 1)?;
        drop(disk);
        Ok(())
    });
    if let Err(error) = &made {
        println!("SKIPPED, NOT TESTED: {test}: no small disk can be made: {error:#}");
    }
    made.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgresql_stops_acceptance_only_while_it_is_full() {
    if !may_mount("the full disk of PostgreSQL") {
        return;
    }
    let mut disk = None;
    let mut make = |folder: &Path| {
        disk = Some(SmallDisk::mount(folder, 400)?);
        Ok(())
    };
    let system = System::split_on(&mut make, "-c max_wal_size=64MB", &[]).await.unwrap();
    let disk = disk.unwrap();
    let mut trial = Trial::start(system).await.unwrap();
    trial.disk_was_full = true;
    disk.fill(true).unwrap();
    trial.refused(5).await.unwrap();
    disk.fill(false).unwrap();
    // Where not even its log had room it has stopped.
    let ground = trial.system.ground();
    let data = ground.postgres.data();
    if ground.postgres.run("pg_ctl", &["-D", &data, "status"]).is_err() {
        println!("PostgreSQL has stopped and is started again");
        ground.postgres.start(&ground.options).unwrap();
    }
    trial.grow(SOME).await.unwrap();
    trial.end("PostgreSQL's disk full").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_embedded_store_stops_acceptance_only_while_it_is_full() {
    if !may_mount("the full disk of the embedded store") {
        return;
    }
    let mut disk = None;
    let mut make = |folder: &Path| {
        disk = Some(SmallDisk::mount(folder, 200)?);
        Ok(())
    };
    let system = System::embedded_on(&mut make, &[]).await.unwrap();
    let disk = disk.unwrap();
    let mut trial = Trial::start(system).await.unwrap();
    trial.disk_was_full = true;
    for _ in 0..2 {
        disk.fill(true).unwrap();
        trial.refused(5).await.unwrap();
        disk.fill(false).unwrap();
        trial.grow(SOME).await.unwrap();
    }
    trial.end("the only disk full").await.unwrap();
}
