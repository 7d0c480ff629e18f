//! What a long queue costs: the rate of delivery with as many queued as the size says, beside that with
//! a thousand; memory; and how long a start takes. The queue is filled while the receiver holds its
//! answers back, so that next to nothing leaves meanwhile.
//!
//! What it keeps is thrown away with the work folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use postern_proto::v1;
use postern_proto::v1::stats_service_client::StatsServiceClient;
use tokio::time::Instant;

use super::relay::relaying;
use crate::bench::Bench;
use crate::ceiling;
use crate::door::Mail;
use crate::door::grpc::{Call, bearer, callers, connect, request, template};
use crate::figure::Figure;
use crate::pace::Door as _;
use crate::process::memory_mib;
use crate::server::Server;
use crate::sink::Sink;

/// The short queue.
const THOUSAND: u64 = 1000;
/// Octets of the template.
const BYTES: usize = 4096;
/// How many fillers there are at once.
const FILLERS: u64 = 4;
/// How often each rate is measured.
const ROUNDS: u64 = 5;
/// How long mail may be under way.
const DELIVERY_MAX: Duration = Duration::from_secs(120);

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sink = Sink::start(any).await?;
    let (folder, vars) = (bench.work.join("queue"), relaying(&sink));
    let ours = bench.binary.start(&folder, &vars).await?;
    let mut queue = Queue::of(&ours).await?;
    for _ in 0..ROUNDS {
        sink.behaviour.set_held(true);
        let before = sink.behaviour.taken();
        queue.fill(THOUSAND).await?;
        let what = "delivered over SMTP, of a thousand queued";
        let figure = window(&sink, before, ("queue/thousand", what), THOUSAND);
        bench.keep(figure.await?)?;
        sink.until(before + THOUSAND, Instant::now(), DELIVERY_MAX).await?;
    }
    sink.behaviour.set_held(true);
    let size = bench.size.queued;
    let mut filled = 0;
    let began = Instant::now();
    while filled < size {
        bench.progress.say(&format!("{filled} of {size} queued"));
        let part = (size - filled).min(50_000);
        queue.fill(part).await?;
        filled += part;
    }
    let what = "accepted in batches of a thousand while nothing leaves";
    bench.keep(Figure::rate("queue/filled", what, filled, began.elapsed()))?;
    let waiting = queue.waiting().await?;
    ensure!(waiting + 200 >= size, "{waiting} wait, not {size}");
    // What filled it is still on its way to the disk: what the disk does meanwhile belongs to the rates.
    let work = bench.work.clone();
    let sync = tokio::task::spawn_blocking(move || ceiling::fsync(&work, Duration::from_secs(1)));
    let what = "fdatasync of 4 KiB appended, with a full queue";
    bench.keep(Figure { name: "queue/fsync".into(), what: what.into(), ..sync.await?? })?;
    let part = THOUSAND.max(size / 200);
    for _ in 0..ROUNDS {
        let before = sink.behaviour.taken();
        let what = format!("delivered over SMTP, of {size} queued");
        let figure = window(&sink, before, ("queue/full", &what), part);
        bench.keep(figure.await?)?;
        sink.behaviour.set_held(true);
    }
    let (mib, _) = memory_mib(ours.pid)?;
    bench.keep(Figure::memory("queue/memory", &format!("resident, {size} queued"), mib))?;
    restart(bench, &sink, queue, ours).await
}

/// Stops it and starts it again with what is queued.
async fn restart(bench: &mut Bench, sink: &Sink, queue: Queue, ours: Server) -> anyhow::Result<()> {
    let size = bench.size.queued;
    let waiting = queue.waiting().await?;
    drop(queue);
    sink.behaviour.set_held(false);
    ours.stop().await?;
    sink.behaviour.set_held(true);
    bench.progress.say("a start with a full queue");
    let again = bench.binary.start(&bench.work.join("queue"), &relaying(sink)).await?;
    let what = format!("seconds until ready, with {waiting} of {size} queued");
    bench.keep(Figure::value("queue/start", &what, again.ready_in.as_secs_f64()))?;
    sink.behaviour.set_held(false);
    let before = sink.behaviour.taken();
    sink.until(before + 100, Instant::now(), DELIVERY_MAX).await?;
    Ok(())
}

/// Lets the receiver answer and measures the rate between a tenth and nine tenths of `count`.
async fn window(
    sink: &Sink,
    before: u64,
    (name, what): (&str, &str),
    count: u64,
) -> anyhow::Result<Figure> {
    let began = Instant::now();
    sink.behaviour.set_held(false);
    sink.until(before + count / 10, began, DELIVERY_MAX).await?;
    let (first, from) = (sink.behaviour.taken(), Instant::now());
    sink.until(before + count * 9 / 10, began, DELIVERY_MAX).await?;
    Ok(Figure::rate(name, what, sink.behaviour.taken() - first, from.elapsed()))
}

/// The queue of a system.
pub(crate) struct Queue {
    channels: Vec<tonic::transport::Channel>,
    key: tonic::metadata::MetadataValue<tonic::metadata::Ascii>,
    template: String,
    /// What is filled in.
    pub(crate) mail: Mail,
    next: u64,
}

impl Queue {
    /// Connects, and makes the template.
    pub(crate) async fn of(server: &Server) -> anyhow::Result<Self> {
        let (channels, key) = (connect(&server.core, 2).await?, bearer(&server.key)?);
        let template = template(&channels[0], &key, BYTES).await?;
        Ok(Self { channels, key, template, mail: Mail::delivered(), next: 0 })
    }

    /// Puts so many in, a thousand by a thousand.
    pub(crate) async fn fill(&mut self, count: u64) -> anyhow::Result<()> {
        let batches = count.div_ceil(1000);
        let (first, end) = (self.next, self.next + batches);
        self.next = end;
        let call = Call::Batch(self.template.clone());
        let doors = callers(&self.channels, &self.key, &call, &self.mail, FILLERS as usize);
        let mut fillers = Vec::new();
        for (place, mut door) in doors.into_iter().enumerate() {
            fillers.push(tokio::spawn(async move {
                let mut number = first + place as u64;
                while number < end {
                    door.call(number).await?;
                    number += FILLERS;
                }
                anyhow::Ok(())
            }));
        }
        for filler in fillers {
            filler.await??;
        }
        Ok(())
    }

    /// How many are not over.
    pub(crate) async fn waiting(&self) -> anyhow::Result<u64> {
        let mut service = StatsServiceClient::new(self.channels[0].clone());
        let ask = request(&self.key, v1::GetQueueRequest {});
        let queue = service.get_queue(ask).await?.into_inner();
        Ok((queue.queued + queue.sending + queue.deferred) as u64)
    }
}
