//! Drives the core over gRPC: a closed loop of callers over a few connections.
//!
//! Keeps nothing; a crash loses the measurement under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use postern_kit::core_client::tuned;
use postern_proto::v1;
use postern_proto::v1::message_service_client::MessageServiceClient;
use postern_proto::v1::stats_service_client::StatsServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::process::cpu_seconds;
use crate::report::Figure;
use crate::text::Texts;

/// The longest wait for everything to be delivered.
const DELIVERY_MAX: Duration = Duration::from_secs(120);

/// What is driven, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    /// The core's address.
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    core: String,
    /// The API key.
    #[arg(long)]
    key: String,
    /// The server's process, to measure its processor time.
    #[arg(long)]
    pid: Option<u32>,
    /// Which store it uses, for the report.
    #[arg(long, default_value = "")]
    store: String,
    /// What this is called in the report.
    #[arg(long, default_value = "gRPC SendMessage")]
    what: String,
    /// How many callers wait for their answers at the same time.
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Over how many connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// For how many seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Octets of the body.
    #[arg(long, default_value_t = 4096)]
    bytes: usize,
    /// The sender.
    #[arg(long, default_value = "load@example.com")]
    from: String,
    /// Also wait until all of it is delivered, and count that.
    #[arg(long)]
    delivered: bool,
    /// Schedule everything for tomorrow, so that acceptance is measured alone.
    #[arg(long, conflicts_with = "delivered")]
    scheduled: bool,
}

struct Shared {
    stop: AtomicBool,
    errors: AtomicU64,
    /// Mails sent so far, so that each has a text of its own.
    sent: AtomicU64,
    key: MetadataValue<Ascii>,
    texts: Texts,
    bytes: usize,
    from: String,
    send_time: Option<prost_types::Timestamp>,
}

/// Sends as fast as the answers come.
pub(crate) async fn grpc(load: &Load) -> anyhow::Result<Figure> {
    let mut channels = Vec::new();
    for _ in 0..load.connections.max(1) {
        let endpoint = tuned(Endpoint::from_shared(load.core.clone())?);
        channels.push(endpoint.connect().await.context("the core cannot be reached")?);
    }
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        errors: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        key: format!("Bearer {}", load.key).parse()?,
        texts: Texts::new(),
        bytes: load.bytes,
        from: load.from.clone(),
        send_time: load.scheduled.then(tomorrow),
    });
    let cpu_before = load.pid.map(cpu_seconds).transpose()?;
    let began = Instant::now();
    let callers: Vec<_> = (0..load.callers)
        .map(|n| tokio::spawn(call(channels[n % channels.len()].clone(), shared.clone(), n)))
        .collect();
    tokio::time::sleep(Duration::from_secs(load.seconds)).await;
    shared.stop.store(true, Ordering::Relaxed);
    let mut all = Histogram::<u64>::new(3)?;
    for caller in callers {
        all.add(caller.await??)?;
    }
    if load.delivered {
        drained(&channels[0], &shared).await?;
    }
    let mut figure = Figure::new(&load.store, &load.what, load.callers, all.len(), began.elapsed());
    if let (Some(pid), Some(before)) = (load.pid, cpu_before) {
        let thousands = all.len().max(1) as f64 / 1000.0;
        figure.cpu_per_1000 = Some((cpu_seconds(pid)? - before) / thousands);
    }
    figure.p50_ms = Some(all.value_at_quantile(0.5) as f64 / 1000.0);
    figure.p99_ms = Some(all.value_at_quantile(0.99) as f64 / 1000.0);
    figure.errors = shared.errors.load(Ordering::Relaxed);
    Ok(figure)
}

fn tomorrow() -> prost_types::Timestamp {
    let tomorrow = std::time::SystemTime::now() + Duration::from_secs(86_400);
    tomorrow.into()
}

async fn call(channel: Channel, shared: Arc<Shared>, n: usize) -> anyhow::Result<Histogram<u64>> {
    let mut service = MessageServiceClient::new(channel);
    let mut latencies = Histogram::<u64>::new(3)?;
    let message = v1::OutgoingMessage {
        from: Some(v1::EmailAddress { email: shared.from.clone(), ..Default::default() }),
        to: vec![v1::Recipient { email: format!("user{n}@example.net"), ..Default::default() }],
        subject: "Load".to_owned(),
        send_time: shared.send_time,
        ..v1::OutgoingMessage::default()
    };
    while !shared.stop.load(Ordering::Relaxed) {
        let mut message = message.clone();
        let number = shared.sent.fetch_add(1, Ordering::Relaxed);
        message.text = shared.texts.text(number, shared.bytes);
        let message = Some(message);
        let mut request =
            tonic::Request::new(v1::SendMessageRequest { message, ..Default::default() });
        request.metadata_mut().insert("authorization", shared.key.clone());
        let began = Instant::now();
        match service.send_message(request).await {
            Ok(_) => latencies.record(began.elapsed().as_micros() as u64)?,
            Err(_) => {
                shared.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(latencies)
}

/// Waits until nothing is left to be sent.
async fn drained(channel: &Channel, shared: &Shared) -> anyhow::Result<()> {
    let mut service = StatsServiceClient::new(channel.clone());
    let wait = async {
        loop {
            let mut request = tonic::Request::new(v1::GetQueueRequest {});
            request.metadata_mut().insert("authorization", shared.key.clone());
            let queue = service.get_queue(request).await?.into_inner();
            if queue.queued + queue.sending + queue.deferred == 0 {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DELIVERY_MAX, wait)
        .await
        .context("not everything was delivered in time")?
}
