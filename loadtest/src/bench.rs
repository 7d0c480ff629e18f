//! What all parts of a run share: where the binary is, how long each measurement takes, and where the
//! figures go.
//!
//! Each figure is written out when it is made; a crash loses the one under way.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::figure::Figure;
use crate::pace::{Door, Pace, drive};
use crate::process::cpu_seconds;
use crate::progress::Progress;
use crate::server::{Binary, Vars};

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Seconds of one measurement.
    pub(crate) seconds: f64,
    /// Runs of each.
    pub(crate) runs: usize,
    /// Mails of a full queue.
    pub(crate) queued: u64,
    /// Mails of a bulk campaign.
    pub(crate) bulk: u64,
    /// Idle connections.
    pub(crate) idle: usize,
}

impl Size {
    /// What the targets ask for.
    pub(crate) const FULL: Self =
        Self { seconds: 4.0, runs: 3, queued: 1_000_000, bulk: 1_000_000, idle: 5000 };
    /// To see that everything runs; its figures jump.
    pub(crate) const QUICK: Self =
        Self { seconds: 1.0, runs: 1, queued: 20_000, bulk: 20_000, idle: 500 };
}

/// What all parts share.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The system's binary.
    pub(crate) binary: Binary,
    /// A folder on the disk that is measured.
    pub(crate) work: PathBuf,
    /// How much is done.
    pub(crate) size: Size,
    /// PostgreSQL and Redis.
    pub(crate) database: Option<String>,
    pub(crate) redis: Option<String>,
    /// The command that starts Haraka.
    pub(crate) haraka: Option<PathBuf>,
    /// Plans of ghz.
    pub(crate) repository: PathBuf,
    pub(crate) progress: Progress,
    /// What was measured.
    pub(crate) figures: Vec<Figure>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
    lines: File,
}

impl Bench {
    /// Figures go into `lines`, too.
    pub(crate) fn new(
        binary: &Path,
        work: &Path,
        size: Size,
        lines: &Path,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            binary: Binary { path: binary.to_owned() },
            work: work.to_owned(),
            size,
            database: None,
            redis: None,
            haraka: None,
            repository: PathBuf::from("."),
            progress: Progress::new(1.0),
            figures: Vec::new(),
            notes: Vec::new(),
            lines: File::create(lines)?,
        })
    }

    /// How long one measurement takes.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.size.seconds)
    }

    /// Keeps a figure.
    pub(crate) fn keep(&mut self, figure: Figure) -> anyhow::Result<()> {
        writeln!(self.lines, "{}", serde_json::to_string(&figure)?)?;
        self.figures.push(figure);
        Ok(())
    }

    /// Something was left out.
    pub(crate) fn note(&mut self, note: String) {
        self.progress.say(&note);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Drives a door, whose server's processor time is counted when its process is given. Returns the
    /// rate.
    pub(crate) async fn drive<D: Door>(
        &mut self,
        name: &str,
        what: &str,
        server: Option<u32>,
        doors: Vec<D>,
        pace: Pace,
    ) -> anyhow::Result<f64> {
        self.progress.say(&format!("{name}: {what}"));
        let before = server.map(cpu_seconds).transpose()?;
        let outcome = drive(doors, pace, self.time()).await?;
        let mut figure = Figure::of(name, what, &outcome);
        if let (Some(pid), Some(before)) = (server, before) {
            figure = figure.with_cpu(cpu_seconds(pid)? - before);
        }
        if let Pace::Rate(rate) = pace {
            figure.asked_per_second = Some(rate);
        }
        let rate = figure.per_second;
        self.keep(figure)?;
        Ok(rate)
    }

    /// The variables of a store: SQLite's are none.
    pub(crate) fn store(&self, postgres_schema: Option<&str>) -> Vars {
        let mut vars = Vars::new();
        if let (Some(schema), Some(url)) = (postgres_schema, &self.database) {
            vars.push(("DATABASE_URL".to_owned(), url.clone()));
            vars.push(("POSTERN_DATABASE_SCHEMA".to_owned(), schema.to_owned()));
            if let Some(redis) = &self.redis {
                vars.push(("REDIS_URL".to_owned(), redis.clone()));
            }
        }
        vars
    }
}
