//! When the certificates of a process end: as a figure, and in words where one has ended.
//!
//! Looked up in the certificates in use each time, so an exchanged one counts at once. Nothing is
//! kept; a crash has nothing to lose.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric as _;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::tls::CertStore;

/// The certificates of the listeners of a process. Copies are of the same list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Certificates(Arc<Mutex<Vec<Listener>>>);

#[derive(Debug)]
struct Listener {
    name: &'static str,
    stores: Vec<Arc<CertStore>>,
}

impl Certificates {
    /// Adds those of a listener.
    pub(crate) fn add(&self, name: &'static str, stores: &[Arc<CertStore>]) {
        if !stores.is_empty() {
            self.listeners().push(Listener { name, stores: stores.to_vec() });
        }
    }

    /// What has ended, a line for each.
    pub(crate) fn expired(&self, now: Timestamp) -> Vec<String> {
        let listeners = self.listeners();
        let of = |listener: &Listener| {
            let text = expired(&listener.stores, now)?;
            Some(format!("{}: {text}", listener.name))
        };
        listeners.iter().filter_map(of).collect()
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        // The list is whole even if a thread panicked while it held the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let listeners = self.listeners();
        // The first to end is the one that somebody has to look after.
        let ends: Vec<_> =
            listeners.iter().filter_map(|one| Some((one.name, first_end(&one.stores)?))).collect();
        if ends.is_empty() {
            return Ok(());
        }
        let (name, help) = (
            "postern_certificate_expiry_timestamp",
            "When the first certificate of a listener ends, Unix time",
        );
        let unit = Some(&Unit::Seconds);
        let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (listener, end) in ends {
            let gauge = ConstGauge::new(end.as_second());
            gauge.encode(metric.encode_family(&[("listener", listener)])?)?;
        }
        Ok(())
    }
}

/// When the first of these certificates ends; none without any.
pub fn first_end(stores: &[Arc<CertStore>]) -> Option<Timestamp> {
    stores.iter().filter_map(|one| one.expires()).min()
}

/// Says which of these certificates have ended; nothing while none has.
pub fn expired(stores: &[Arc<CertStore>], now: Timestamp) -> Option<String> {
    let of = |store: &Arc<CertStore>| {
        let end = store.expires().filter(|end| *end <= now)?;
        Some(format!("the certificate {} ended at {end}", store.file().display()))
    };
    let ended: Vec<_> = stores.iter().filter_map(of).collect();
    (!ended.is_empty()).then(|| ended.join("; "))
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::tls::CertFiles;

    /// A certificate that ends with a year.
    fn write(files: &CertFiles, year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        std::fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
    }

    #[test]
    fn the_first_end_of_a_listener_is_shown_and_an_exchange_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let file =
            |n: u32| CertFiles { cert: path(&format!("{n}.pem")), key: path(&format!("{n}.key")) };
        let files = [file(1), file(2)];
        write(&files[0], 2040);
        write(&files[1], 2020);
        let stores = files.clone().map(|files| CertStore::open(files).unwrap());
        let certificates = Certificates::default();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(certificates.clone()));
        let shown = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        assert_eq!(shown(), "# EOF\n");
        certificates.add("tracker", &stores);
        certificates.add("smtp", &[]);
        let name = "postern_certificate_expiry_timestamp_seconds{listener=\"tracker\"}";
        let end = |date: &str| date.parse::<Timestamp>().unwrap().as_second();
        let first = end("2020-12-31T00:00:00Z");
        assert!(shown().contains(&format!("{name} {first}\n")), "{}", shown());
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let told = certificates.expired(now);
        let expected = format!(
            "tracker: the certificate {} ended at 2020-12-31T00:00:00Z",
            files[1].cert.display()
        );
        assert_eq!(told, [expected]);
        write(&files[1], 2050);
        stores[1].reload().unwrap();
        assert!(certificates.expired(now).is_empty());
        let first = end("2040-12-31T00:00:00Z");
        assert!(shown().contains(&format!("{name} {first}\n")), "{}", shown());
    }
}
