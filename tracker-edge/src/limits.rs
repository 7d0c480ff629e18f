//! How many requests are answered: of one client address, and of all together. `tower_governor`
//! configurations with an extractor of our own, made anew when the settings change.
//!
//! State: token buckets in memory, bounded by `retain_recent`. A crash forgets them.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock as _, QuantaClock};
use http::Request;
use postern_kit::net::customer;
use postern_proto::settings::{
    Settings, TRACKING_REQUESTS_MAX, TRACKING_REQUESTS_PER_ADDRESS, TRACKING_REQUESTS_WINDOW,
};
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::{GlobalKeyExtractor, KeyExtractor};

/// The address that was found out before, proxies considered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByAddress;

/// Whose address a request counts for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Customer(pub(crate) IpAddr);

impl KeyExtractor for ByAddress {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        let found = request.extensions().get::<Customer>();
        found.map(|Customer(ip)| *ip).ok_or(GovernorError::UnableToExtractKey)
    }
}

type Quota<K> = GovernorConfig<K, governor::middleware::NoOpMiddleware>;

/// The limits of one edge.
#[derive(Default)]
pub(crate) struct Limits {
    current: ArcSwap<Current>,
    clock: QuantaClock,
}

#[derive(Default)]
struct Current {
    /// What they were made from: per address, in total, window in milliseconds.
    made_from: [i64; 3],
    addresses: Option<Quota<ByAddress>>,
    total: Option<Quota<GlobalKeyExtractor>>,
}

impl Limits {
    /// Takes one request from the budgets; which one is used up, and how long to wait for it.
    pub(crate) fn take<T>(
        &self,
        request: &Request<T>,
        settings: &Settings,
    ) -> Result<(), (&'static str, Duration)> {
        let current = self.following(settings);
        if let Some(quota) = &current.addresses
            && let Ok(address) = ByAddress.extract(request)
            && let Err(later) = quota.limiter().check_key(&customer(address))
        {
            return Err(("requests_per_address", later.wait_time_from(self.clock.now())));
        }
        if let Some(quota) = &current.total
            && let Ok(all) = GlobalKeyExtractor.extract(request)
            && let Err(later) = quota.limiter().check_key(&all)
        {
            return Err(("requests", later.wait_time_from(self.clock.now())));
        }
        Ok(())
    }

    /// Forgets those who have their full budget again.
    pub(crate) fn tidy_up(&self) {
        if let Some(quota) = &self.current.load().addresses {
            quota.limiter().retain_recent();
        }
    }

    fn following(&self, settings: &Settings) -> arc_swap::Guard<Arc<Current>> {
        let current = self.current.load();
        let wanted =
            [&TRACKING_REQUESTS_PER_ADDRESS, &TRACKING_REQUESTS_MAX, &TRACKING_REQUESTS_WINDOW]
                .map(|definition| settings.get(definition));
        if current.made_from == wanted {
            return current;
        }
        let window = settings.time(&TRACKING_REQUESTS_WINDOW);
        let addresses = quota(ByAddress, wanted[0], window);
        let total = quota(GlobalKeyExtractor, wanted[1], window);
        self.current.store(Arc::new(Current { made_from: wanted, addresses, total }));
        self.current.load()
    }
}

/// So many requests in a window; none for no limit.
fn quota<K: KeyExtractor>(extractor: K, requests: i64, window: Duration) -> Option<Quota<K>> {
    let requests = u32::try_from(requests).ok().and_then(NonZeroU32::new)?;
    // The shortest period there is lets more through than any machine answers.
    let period = (window / requests.get()).max(Duration::from_nanos(1));
    let mut builder = GovernorConfigBuilder::default();
    builder.period(period).burst_size(requests.get());
    builder.key_extractor(extractor).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings.set(name, value).unwrap();
        }
        settings
    }

    fn from(ip: &str) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(Customer(ip.parse().unwrap()));
        request
    }

    #[test]
    fn each_address_has_its_own_budget_and_changes_hold_at_once() {
        let limits = Limits::default();
        let few =
            settings(&[("tracking.requests_per_address", "2"), ("tracking.requests_window", "1h")]);
        let taken = |ip: &str| limits.take(&from(ip), &few).is_ok();
        assert_eq!(
            [taken("192.0.2.1"), taken("192.0.2.1"), taken("192.0.2.1")],
            [true, true, false]
        );
        assert!(taken("192.0.2.2"));
        // One customer of IPv6 has a whole /64.
        assert!(taken("2001:db8::1") && taken("2001:db8::2") && !taken("2001:db8::3"));
        let (limit, wait) = limits.take(&from("192.0.2.1"), &few).unwrap_err();
        assert_eq!(limit, "requests_per_address");
        assert!(wait > Duration::from_secs(1000) && wait <= Duration::from_secs(1800), "{wait:?}");
        let none = settings(&[("tracking.requests_per_address", "0")]);
        assert!(limits.take(&from("192.0.2.1"), &none).is_ok());
    }

    #[test]
    fn all_together_have_a_budget_too() {
        let limits = Limits::default();
        let few = settings(&[("tracking.requests_max", "3"), ("tracking.requests_window", "1h")]);
        let taken = |n: u8| limits.take(&from(&format!("192.0.2.{n}")), &few).is_ok();
        assert_eq!([taken(1), taken(2), taken(3), taken(4)], [true, true, true, false]);
        assert_eq!(limits.take(&from("192.0.2.9"), &few).unwrap_err().0, "requests");
    }
}
