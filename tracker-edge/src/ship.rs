//! Tells the core what the journal holds, in batches, oldest first, until each is acknowledged. A
//! batch whose answer was lost is sent again; the core knows hits by their ids and unsubscribing
//! twice changes nothing.
//!
//! A core that is away is asked again with growing delay, for as long as it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use postern_kit::backoff;
use postern_kit::core_client::{Caller, CoreClient};
use postern_kit::progress::Progress;
use postern_proto::settings::{TRACKING_SHIP_HITS_MAX, TRACKING_SHIP_INTERVAL};
use postern_proto::v1;
use postern_proto::v1::tracking_service_client::TrackingServiceClient;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::App;
use crate::journal::{Batch, Reader, Record};

/// Delays between attempts while the core is away.
const DELAY_MIN: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// How long the core may take for one batch.
const BATCH_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the last batches may take when stopping; what is left is shipped after the next start.
const LAST_TIME_MAX: Duration = Duration::from_secs(5);

/// How shipping goes.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    is_stuck: AtomicBool,
    shipped: AtomicU64,
    refused: AtomicU64,
    progress: Progress,
}

impl Standing {
    /// The last batch was acknowledged, or there was none.
    pub(crate) fn is_going(&self) -> bool {
        !self.is_stuck.load(Ordering::Relaxed)
    }

    /// Records that the core has acknowledged since the start.
    pub(crate) fn shipped(&self) -> u64 {
        self.shipped.load(Ordering::Relaxed)
    }

    /// Whether the batch under way gets on.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Records that the core refused for good, which is a fault of ours.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Ships until `stop`, and once more then.
pub(crate) async fn run(app: Arc<App>, core: CoreClient, reader: Reader, stop: CancellationToken) {
    let mut shipper = Shipper { app, core, reader, attempt: 0, lost: 0 };
    let standing = shipper.app.clone();
    loop {
        let pause = standing.shipping.progress.during(shipper.go()).await;
        shipper.report_losses();
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
    }
    let last = async { while shipper.go().await.is_zero() {} };
    if tokio::time::timeout(LAST_TIME_MAX, last).await.is_err() {
        tracing::info!("the rest of the journal is shipped after the next start");
    }
}

struct Shipper {
    app: Arc<App>,
    core: CoreClient,
    reader: Reader,
    /// Failures in a row.
    attempt: u32,
    /// Losses that were reported.
    lost: u64,
}

impl Shipper {
    /// Ships one batch. Returns how long to wait before the next.
    async fn go(&mut self) -> Duration {
        let settings = self.app.live.now();
        let (max, interval) =
            (settings.count(&TRACKING_SHIP_HITS_MAX), settings.time(&TRACKING_SHIP_INTERVAL));
        let batch = match self.reader.read(self.app.journal.end(), max) {
            Ok(batch) => batch,
            Err(error) => return self.stuck("the journal cannot be read", &error),
        };
        if batch.next == self.reader.position() {
            return interval;
        }
        let full = batch.records.len() == max;
        if let Err(status) = self.tell(&batch).await {
            return self.stuck("the core does not take hits now; they wait", &status.message());
        }
        let count = batch.records.len() as u64;
        match self.reader.acknowledge(batch.next) {
            Ok(deleted) => self.app.journal.released(deleted),
            Err(error) => return self.stuck("what was shipped cannot be noted down", &error),
        }
        self.attempt = 0;
        self.app.shipping.shipped.fetch_add(count, Ordering::Relaxed);
        if self.app.shipping.is_stuck.swap(false, Ordering::Relaxed) {
            tracing::info!("the core takes hits again");
        }
        if full { Duration::ZERO } else { interval }
    }

    fn stuck(&mut self, what: &str, why: &dyn std::fmt::Display) -> Duration {
        if !self.app.shipping.is_stuck.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %why, "{what}");
        }
        let delay = backoff::delay(self.attempt, DELAY_MIN, DELAY_MAX, 20, rand::random());
        self.attempt = self.attempt.saturating_add(1);
        delay
    }

    /// Hits that follow one another go together.
    async fn tell(&self, batch: &Batch) -> Result<(), Status> {
        let mut hits = Vec::new();
        for record in &batch.records {
            match record {
                Record::Hit(hit) => hits.push(hit.clone()),
                Record::Unsubscribe(request) => {
                    self.report(std::mem::take(&mut hits)).await?;
                    self.unsubscribe(request.clone()).await?;
                }
            }
        }
        self.report(hits).await
    }

    async fn report(&self, hits: Vec<v1::Hit>) -> Result<(), Status> {
        if hits.is_empty() {
            return Ok(());
        }
        match self.send(hits.clone()).await {
            // One of them is malformed: the others must not wait for it for ever.
            Err(status) if status.code() == Code::InvalidArgument && hits.len() > 1 => {
                for hit in hits {
                    self.send_one(hit).await?;
                }
                Ok(())
            }
            Err(status) if status.code() == Code::InvalidArgument => {
                self.refused("a hit", &status);
                Ok(())
            }
            answer => answer,
        }
    }

    async fn send_one(&self, hit: v1::Hit) -> Result<(), Status> {
        match self.send(vec![hit]).await {
            Err(status) if status.code() == Code::InvalidArgument => {
                self.refused("a hit", &status);
                Ok(())
            }
            answer => answer,
        }
    }

    async fn send(&self, hits: Vec<v1::Hit>) -> Result<(), Status> {
        let mut request = self.core.request(v1::ReportHitsRequest { hits }, &Caller::default());
        request.set_timeout(BATCH_TIME_MAX);
        let mut core = TrackingServiceClient::new(self.core.channel.clone());
        let answer = core.report_hits(request).await.map(|_| ());
        self.app.shipping.progress.step();
        answer
    }

    async fn unsubscribe(&self, wish: v1::UnsubscribeRequest) -> Result<(), Status> {
        let mut request = self.core.request(wish, &Caller::default());
        request.set_timeout(BATCH_TIME_MAX);
        let mut core = TrackingServiceClient::new(self.core.channel.clone());
        let answer = core.unsubscribe(request).await;
        self.app.shipping.progress.step();
        match answer {
            Ok(_) => Ok(()),
            Err(status) if matches!(status.code(), Code::InvalidArgument | Code::NotFound) => {
                self.refused("an unsubscription", &status);
                Ok(())
            }
            Err(status) => Err(status),
        }
    }

    fn refused(&self, what: &str, status: &Status) {
        self.app.shipping.refused.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            error = status.message(),
            "the core refused {what} for good; it is dropped"
        );
    }

    /// Says how many hits were answered but could not be journaled.
    fn report_losses(&mut self) {
        let lost = self.app.journal.lost();
        if lost > self.lost {
            let since = lost - self.lost;
            tracing::error!(
                hits = since,
                total = lost,
                "hits were answered but not recorded: the journal is full or cannot be written"
            );
            self.lost = lost;
        }
    }
}
