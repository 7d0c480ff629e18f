//! Drives the core over gRPC: a closed loop of callers over a few connections.

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

use crate::report::Figure;

/// The longest wait for everything to be delivered.
const DELIVERY_MAX: Duration = Duration::from_secs(120);

/// What is driven, and for how long.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) callers: usize,
    pub(crate) seconds: Duration,
    pub(crate) bytes: usize,
    pub(crate) delivered: bool,
    pub(crate) scheduled: bool,
}

struct Shared {
    stop: AtomicBool,
    errors: AtomicU64,
    key: MetadataValue<Ascii>,
    text: String,
    send_time: Option<prost_types::Timestamp>,
}

/// Sends as fast as the answers come.
pub(crate) async fn grpc(
    core: &str,
    key: &str,
    connections: usize,
    load: &Load,
) -> anyhow::Result<Figure> {
    let mut channels = Vec::new();
    for _ in 0..connections.max(1) {
        let endpoint = tuned(Endpoint::from_shared(core.to_owned())?);
        channels.push(endpoint.connect().await.context("the core cannot be reached")?);
    }
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        errors: AtomicU64::new(0),
        key: format!("Bearer {key}").parse()?,
        text: "x".repeat(load.bytes),
        send_time: load.scheduled.then(tomorrow),
    });
    let began = Instant::now();
    let callers: Vec<_> = (0..load.callers)
        .map(|n| tokio::spawn(call(channels[n % channels.len()].clone(), shared.clone(), n)))
        .collect();
    tokio::time::sleep(load.seconds).await;
    shared.stop.store(true, Ordering::Relaxed);
    let mut all = Histogram::<u64>::new(3)?;
    for caller in callers {
        all.add(caller.await??)?;
    }
    let mut seconds = began.elapsed().as_secs_f64();
    let mut what = "gRPC SendMessage accepted, delivery alongside";
    if load.scheduled {
        what = "gRPC SendMessage accepted, nothing delivered";
    }
    if load.delivered {
        drained(&channels[0], &shared).await?;
        (what, seconds) = ("gRPC SendMessage delivered", began.elapsed().as_secs_f64());
    }
    let mut figure = Figure::new(what, all.len(), seconds);
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
        from: Some(v1::EmailAddress { email: "load@example.com".to_owned(), ..Default::default() }),
        to: vec![v1::Recipient { email: format!("user{n}@example.net"), ..Default::default() }],
        subject: "Load".to_owned(),
        text: shared.text.clone(),
        send_time: shared.send_time,
        ..v1::OutgoingMessage::default()
    };
    while !shared.stop.load(Ordering::Relaxed) {
        let message = Some(message.clone());
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
