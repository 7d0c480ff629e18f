//! Shows operators what waits in the journal and what became of hits.
//!
//! Read from the journal and the shipping when asked; counters begin at zero after a crash.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::App;

/// What recipients did, counted as it happens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hits {
    kinds: Family<[(&'static str, &'static str); 1], Counter>,
    rate_limited: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Hits {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "What recipients did, by kind; also what looks like a program's doing";
        registry.register("postern_tracking_hits", help, self.kinds.clone());
        let help = "Refused requests by the limit that was used up";
        registry.register("postern_tracking_rate_limited", help, self.rate_limited.clone());
    }

    /// Counts `open`, `click`, `unsubscribe` or `resubscribe`.
    pub(crate) fn count(&self, kind: &'static str) {
        self.kinds.get_or_create(&[("kind", kind)]).inc();
    }

    /// Counts a refusal by a limit.
    pub(crate) fn limited(&self, limit: &'static str) {
        self.rate_limited.get_or_create(&[("limit", limit)]).inc();
    }
}

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
