//! WatchEvents: a caller reads the events that are kept, from the beginning, again and again.
//!
//! Nothing is kept; a crash loses the measurement under way.

use anyhow::Context as _;
use postern_proto::v1;
use postern_proto::v1::event_service_client::EventServiceClient;
use tonic::Streaming;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use super::grpc::request;
use crate::pace::Door;

/// A reader of the stream.
#[derive(Debug)]
pub(crate) struct Watch {
    service: EventServiceClient<Channel>,
    key: MetadataValue<Ascii>,
    open: Option<Streaming<v1::WatchEventsResponse>>,
}

impl Watch {
    /// So many readers over these connections.
    pub(crate) fn callers(
        channels: &[Channel],
        key: &MetadataValue<Ascii>,
        count: usize,
    ) -> Vec<Self> {
        let one = |n: usize| Self {
            service: EventServiceClient::new(channels[n % channels.len()].clone()),
            key: key.clone(),
            open: None,
        };
        (0..count).map(one).collect()
    }
}

impl Door for Watch {
    async fn call(&mut self, _number: u64) -> anyhow::Result<u64> {
        if self.open.is_none() {
            let ask = v1::WatchEventsRequest {
                from_beginning: true,
                heartbeat: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
                ..v1::WatchEventsRequest::default()
            };
            let answer = self.service.watch_events(request(&self.key, ask)).await?;
            let mut stream = answer.into_inner();
            // The first answer only tells from where it watches.
            stream.message().await?.context("the stream did not begin")?;
            self.open = Some(stream);
        }
        let stream = self.open.as_mut().context("the stream is open")?;
        let next = stream.message().await?.context("the stream has ended")?;
        if next.event.is_none() {
            // A heartbeat: all that is kept has been read.
            self.open = None;
            return Ok(0);
        }
        Ok(1)
    }
}
