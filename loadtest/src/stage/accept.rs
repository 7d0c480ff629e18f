//! How much is accepted: over gRPC and REST, beside the same rows written into the store directly, in
//! turns. All mail is kept until tomorrow, so that nothing but acceptance is measured.
//!
//! What it keeps is thrown away with the work folder.

use std::path::Path;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use crate::bench::Bench;
use crate::ceiling;
use crate::door::Mail;
use crate::door::grpc::{Call, bearer, callers, connect, template};
use crate::door::http::Sends;
use crate::door::stream::Watch;
use crate::figure::Figure;
use crate::pace::Pace;
use crate::process::memory_mib;
use crate::server::Server;

/// Connections of gRPC.
const CONNECTIONS: usize = 4;
/// Octets of the template, and of the mails.
const BYTES: usize = 4096;
/// Where the tables of the store driven directly are, in PostgreSQL.
const ALONE: &str = "alone";
/// Callers of an open loop: enough that none is waited for.
const OPEN_CALLERS: usize = 256;

/// A running system and what its callers need.
struct Driven {
    server: Server,
    store: &'static str,
    channels: Vec<Channel>,
    key: MetadataValue<Ascii>,
    mail: Mail,
    template: String,
    message: String,
}

/// Over SQLite.
pub(crate) async fn sqlite(bench: &mut Bench) -> anyhow::Result<()> {
    let alone = bench.work.join("sqlite-alone");
    bench.binary.start(&alone, &bench.store(None)).await?.stop().await?;
    let server = bench.binary.start(&bench.work.join("sqlite"), &bench.store(None)).await?;
    let driven = Driven::of(server, "sqlite").await?;
    for _ in 0..bench.size.runs {
        let work = bench.work.clone();
        bench.progress.say("syncs of the disk");
        let sync = tokio::task::spawn_blocking(move || {
            ceiling::fsync(&work, std::time::Duration::from_secs(1))
        });
        bench.keep(sync.await??)?;
        for count in [64, 256] {
            driven.grpc(bench, count).await?;
            let (alone, time) = (alone.clone(), bench.time());
            bench.progress.say("SQLite driven directly");
            let direct = tokio::task::spawn_blocking(move || {
                ceiling::sqlite::run(&alone, time, BYTES, count)
            });
            bench.keep(direct.await??)?;
        }
        driven.others(bench).await?;
    }
    driven.end(bench).await
}

/// Over PostgreSQL and Redis.
pub(crate) async fn postgresql(bench: &mut Bench) -> anyhow::Result<()> {
    let Some(url) = bench.database.clone() else {
        bench.note("no PostgreSQL was given: its figures are left out".to_owned());
        return Ok(());
    };
    for schema in [ALONE, "driven"] {
        ceiling::postgres::schema(&url, schema).await?;
    }
    let start = async |folder: &Path, schema: &str| {
        bench.binary.start(folder, &bench.store(Some(schema))).await
    };
    start(&bench.work.join("postgresql-alone"), ALONE).await?.stop().await?;
    let server = start(&bench.work.join("postgresql"), "driven").await?;
    let driven = Driven::of(server, "postgresql").await?;
    for _ in 0..bench.size.runs {
        for count in [64, 256] {
            driven.grpc(bench, count).await?;
            bench.progress.say("PostgreSQL driven directly");
            let direct = ceiling::postgres::run(&url, ALONE, bench.time(), BYTES, count);
            bench.keep(direct.await?)?;
        }
        driven.others(bench).await?;
    }
    driven.end(bench).await
}

impl Driven {
    async fn of(server: Server, store: &'static str) -> anyhow::Result<Self> {
        let channels = connect(&server.core, CONNECTIONS).await?;
        let key = bearer(&server.key)?;
        let mail = Mail::scheduled();
        let template = template(&channels[0], &key, BYTES).await?;
        let mut first = callers(&channels, &key, &Call::Send, &mail, 1);
        let message = first[0].send(0).await?;
        Ok(Self { server, store, channels, key, mail, template, message })
    }

    fn name(&self, what: &str) -> String {
        format!("{}/{what}", self.store)
    }

    async fn call(
        &self,
        bench: &mut Bench,
        (name, what): (&str, &str),
        (call, count, pace): (Call, usize, Pace),
    ) -> anyhow::Result<f64> {
        let doors = callers(&self.channels, &self.key, &call, &self.mail, count);
        let pid = Some(self.server.pid);
        bench.drive(&self.name(name), what, pid, doors, pace).await
    }

    async fn grpc(&self, bench: &mut Bench, count: usize) -> anyhow::Result<f64> {
        let what = format!("gRPC SendMessage, {count} callers on {CONNECTIONS} connections");
        let name = format!("grpc-{count}");
        self.call(bench, (&name, &what), (Call::Send, count, Pace::Closed)).await
    }

    async fn others(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let pid = Some(self.server.pid);
        let rest = Sends::callers(self.server.rest, &self.server.key, &self.mail, 64);
        let what = "REST POST /v1/messages, 64 connections";
        bench.drive(&self.name("rest-64"), what, pid, rest, Pace::Closed).await?;
        let batch = Call::Batch(self.template.clone());
        let what = "gRPC BatchSendMessages of 1000 with a template, 4 callers, recipients";
        self.call(bench, ("batch", what), (batch, 4, Pace::Closed)).await?;
        let what = "gRPC SendRawMessage, 64 callers";
        self.call(bench, ("raw-64", what), (Call::Raw, 64, Pace::Closed)).await?;
        let status = Call::Status(self.message.clone());
        let what = "gRPC GetMessage of one message, 64 callers";
        self.call(bench, ("status-64", what), (status, 64, Pace::Closed)).await?;
        let watch = Watch::callers(&self.channels, &self.key, 4);
        let what = "gRPC WatchEvents of what is kept, 4 readers, events";
        bench.drive(&self.name("stream-4"), what, pid, watch, Pace::Closed).await?;
        // Half of what this run reached at most.
        let grpc = [self.name("grpc-64"), self.name("grpc-256")];
        let most = bench.figures.iter().rev().filter(|figure| grpc.contains(&figure.name)).take(2);
        let rate = most.map(|figure| figure.per_second).fold(0.0, f64::max) / 2.0;
        let what = "gRPC SendMessage at half of the highest rate, open loop";
        let open = (Call::Send, OPEN_CALLERS, Pace::Rate(rate.max(1.0)));
        self.call(bench, ("half", what), open).await?;
        Ok(())
    }

    async fn end(self, bench: &mut Bench) -> anyhow::Result<()> {
        let (resident, peak) = memory_mib(self.server.pid)?;
        bench.keep(Figure::memory(&self.name("memory"), "resident after the load", resident))?;
        bench.keep(Figure::memory(&self.name("memory-peak"), "resident at its peak", peak))?;
        self.server.stop().await
    }
}
