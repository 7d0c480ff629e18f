//! Shows operators what waits in the journal and what became of hits.
//!
//! Read from the journal and the shipping when asked; counters begin at zero after a crash.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::App;

/// What the edge shows.
pub(crate) struct Figures(pub(crate) Arc<App>);

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Figures")
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Self(app) = self;
        let waiting = ConstGauge::new(i64::try_from(app.journal.octets()).unwrap_or(i64::MAX));
        let (name, help) = ("postern_tracking_journal", "What the core has not been told yet");
        let kind = waiting.metric_type();
        waiting.encode(encoder.encode_descriptor(name, help, Some(&Unit::Bytes), kind)?)?;
        let counters = [
            ("postern_tracking_hits_shipped", "Hits that the core took", app.shipping.shipped()),
            (
                "postern_tracking_hits_lost",
                "Hits that did not get into the journal",
                app.journal.lost(),
            ),
            ("postern_tracking_hits_refused", "Hits that the core refused", app.shipping.refused()),
        ];
        for (name, help, count) in counters {
            let counter = ConstCounter::new(count);
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        let going = ConstGauge::new(i64::from(app.shipping.is_going()));
        let (name, help) = ("postern_tracking_core_reached", "1 while the core takes hits");
        let kind = going.metric_type();
        going.encode(encoder.encode_descriptor(name, help, None, kind)?)
    }
}
