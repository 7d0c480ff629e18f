//! The command line: a whole run, and single tools for a system that runs already.
//!
//! Keeps nothing but what it wrote; a crash leaves the figures that were measured before it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use clap::{Args, Parser, Subcommand, ValueEnum as _};

use crate::bench::{Bench, Size};
use crate::door::Mail;
use crate::door::grpc::{Call, bearer, callers, connect};
use crate::door::http::{Gets, Sends};
use crate::door::smtp::{Keep, Smtp};
use crate::door::stream::Watch;
use crate::figure::Figure;
use crate::machine::{Machine, load};
use crate::pace::{Door, Outcome, Pace, drive};
use crate::process::cpu_seconds;
use crate::progress::Progress;
use crate::report::Report;
use crate::sink::Sink;
use crate::stage::Stage;

/// Measures Postern and what it is held against.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Starts systems, drives them, and writes one report into a folder.
    Run(Run),
    /// Drives one door of a system that runs; prints the figure as JSON.
    Drive(Drive),
    /// Takes mail over SMTP and throws it away, until it is killed.
    Sink(SinkArgs),
}

/// A whole run.
#[derive(Debug, Args)]
struct Run {
    /// Small sizes and one run of each, some two minutes: to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// Only this part; can be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<Stage>,
    /// Runs of each measurement.
    #[arg(long)]
    runs: Option<usize>,
    /// Seconds of each measurement.
    #[arg(long)]
    seconds: Option<f64>,
    /// Mails of the full queue.
    #[arg(long)]
    queued: Option<u64>,
    /// Mails of the bulk campaign.
    #[arg(long)]
    bulk: Option<u64>,
    /// The folder of the report.
    #[arg(long, default_value = "target/loadtest")]
    out: PathBuf,
    /// The release build of postern.
    #[arg(long, default_value = "target/release/postern")]
    postern: PathBuf,
    /// PostgreSQL; unset: its figures are left out.
    #[arg(long, env = "POSTERN_TEST_DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    /// Redis, beside PostgreSQL.
    #[arg(long, env = "POSTERN_TEST_REDIS_URL", hide_env_values = true)]
    redis: Option<String>,
    /// The command of Haraka; unset: it is left out.
    #[arg(long)]
    haraka: Option<PathBuf>,
}

/// One door.
#[derive(Debug, Args)]
struct Drive {
    /// send, raw, status:MESSAGE, batch:TEMPLATE, stream, rest, smtp, smtp-new, or get:PATH.
    door: String,
    /// Where it is: `127.0.0.1:50051`.
    address: SocketAddr,
    /// The API key, for gRPC and REST.
    #[arg(long, env = "POSTERN_API_KEY", hide_env_values = true, default_value = "")]
    key: String,
    /// Calls a second (an open loop); unset: as fast as it answers.
    #[arg(long)]
    rate: Option<f64>,
    /// Callers; in an open loop the most that wait at once.
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// For how many seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Send it now, and not tomorrow.
    #[arg(long)]
    now: bool,
    /// The server's process, whose processor time is counted.
    #[arg(long)]
    pid: Option<u32>,
}

/// A receiver.
#[derive(Debug, Args)]
struct SinkArgs {
    /// Where it listens.
    address: SocketAddr,
    /// Milliseconds until content is answered.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Of a thousand mails so many are refused for now.
    #[arg(long, default_value_t = 0)]
    deferred: u64,
    /// Of a thousand mails so many are refused for good.
    #[arg(long, default_value_t = 0)]
    refused: u64,
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Run(run) => run.run().await,
            What::Drive(drive) => drive.run().await,
            What::Sink(sink) => sink.run().await,
        }
    }
}

impl Run {
    fn size(&self) -> Size {
        let base = if self.quick { Size::QUICK } else { Size::FULL };
        Size {
            seconds: self.seconds.unwrap_or(base.seconds),
            runs: self.runs.unwrap_or(base.runs).max(1),
            queued: self.queued.unwrap_or(base.queued),
            bulk: self.bulk.unwrap_or(base.bulk),
            idle: base.idle,
        }
    }

    async fn run(self) -> anyhow::Result<()> {
        let (began, clock) = (prost_types::Timestamp::from(SystemTime::now()), Instant::now());
        let (size, load_before) = (self.size(), load());
        std::fs::create_dir_all(&self.out)?;
        // On the disk of the report, which is that of the build: /tmp may be memory.
        let work = tempfile::Builder::new().prefix("work-").tempdir_in(&self.out)?;
        crate::rival::open_to_all(work.path())?;
        let lines = self.out.join("figures.jsonl");
        let mut bench = Bench::new(&self.postern, &work.path().canonicalize()?, size, &lines)?;
        bench.database = self.database.clone();
        bench.redis = self.redis.clone();
        bench.haraka = self.haraka.clone();
        let all = Stage::value_variants();
        let stages = if self.only.is_empty() { all } else { &self.only };
        bench.progress = Progress::new(stages.iter().map(|stage| stage.planned(&size)).sum());
        for stage in stages {
            bench.progress.begin(stage.planned(&size));
            // One that fails must not take the figures of the others with it.
            if let Err(error) = stage.run(&mut bench).await {
                bench.note(format!("{stage:?} failed: {error:#}"));
            }
        }
        bench.progress.end();
        let mut report = Report {
            began: began.to_string(),
            seconds: clock.elapsed().as_secs_f64(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            machine: Machine::ask(&self.postern, work.path()),
            settings: settings(&size, &load_before),
            notes: bench.notes.clone(),
            targets: Vec::new(),
            figures: Vec::new(),
        };
        report.take(&bench.figures);
        report.write(&self.out)?;
        say(&self.out.join("report.md").display().to_string())?;
        let failed = bench.notes.iter().filter(|note| note.contains(" failed: ")).count();
        anyhow::ensure!(failed == 0, "{failed} parts failed; the report says why");
        Ok(())
    }
}

fn settings(size: &Size, load_before: &str) -> Vec<(String, String)> {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    vec![
        pair(
            "payload",
            "text of 4 KiB, different in each mail; batches: a template of 4 KiB".into(),
        ),
        pair("durability", "as delivered: every answer after its sync".into()),
        pair("runs", size.runs.to_string()),
        pair("seconds of each", size.seconds.to_string()),
        pair("full queue", size.queued.to_string()),
        pair("bulk campaign", size.bulk.to_string()),
        pair("relaying", "64 connections to one server".into()),
        pair("limits", "those that protect from clients are lifted, see the commands".into()),
        pair("load of the machine before", load_before.to_owned()),
        pair("load of the machine after", load()),
    ]
}

fn say(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

impl Drive {
    async fn run(self) -> anyhow::Result<()> {
        let before = self.pid.map(cpu_seconds).transpose()?;
        let outcome = self.outcome().await?;
        let mut figure = Figure::of(&self.door, &self.door, &outcome);
        figure.asked_per_second = self.rate;
        if let (Some(pid), Some(before)) = (self.pid, before) {
            figure = figure.with_cpu(cpu_seconds(pid)? - before);
        }
        say(&serde_json::to_string(&figure)?)
    }

    async fn outcome(&self) -> anyhow::Result<Outcome> {
        let mail = if self.now { Mail::delivered() } else { Mail::scheduled() };
        let (door, rest) = self.door.split_once(':').unwrap_or((&self.door, ""));
        let smtp = |keep| Smtp::callers(self.address, &mail, keep, self.callers);
        let call = match door {
            "rest" => {
                let doors = Sends::callers(self.address, &self.key, &mail, self.callers);
                return self.pace(doors).await;
            }
            "get" => return self.pace(Gets::callers(self.address, rest, self.callers)).await,
            "smtp" => return self.pace(smtp(Keep::Kept)).await,
            "smtp-new" => return self.pace(smtp(Keep::New)).await,
            "send" => Some(Call::Send),
            "raw" => Some(Call::Raw),
            "status" => Some(Call::Status(rest.to_owned())),
            "batch" => Some(Call::Batch(rest.to_owned())),
            "stream" => None,
            other => anyhow::bail!("there is no door {other}; see --help"),
        };
        let channels = connect(&format!("http://{}", self.address), 4).await?;
        let key = bearer(&self.key)?;
        match call {
            Some(call) => self.pace(callers(&channels, &key, &call, &mail, self.callers)).await,
            None => self.pace(Watch::callers(&channels, &key, self.callers)).await,
        }
    }

    async fn pace<D: Door>(&self, doors: Vec<D>) -> anyhow::Result<Outcome> {
        let pace = self.rate.map_or(Pace::Closed, Pace::Rate);
        drive(doors, pace, Duration::from_secs_f64(self.seconds)).await
    }
}

impl SinkArgs {
    async fn run(self) -> anyhow::Result<()> {
        let sink = Sink::start(self.address).await?;
        sink.behaviour.set_latency(Duration::from_millis(self.latency_ms));
        sink.behaviour.set_errors(self.deferred, self.refused);
        say(&format!("listening {}", sink.address))?;
        std::future::pending().await
    }
}
