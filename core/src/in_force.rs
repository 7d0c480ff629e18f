//! The live settings as they are at the moment, for those who need nothing else of the directory.
//!
//! In memory only; the store has them all.

use std::sync::Arc;

use arc_swap::ArcSwap;
use postern_proto::settings::Settings;

/// A view of the settings in force that all its clones share.
#[derive(Debug, Clone, Default)]
pub struct InForce(Arc<ArcSwap<Settings>>);

impl InForce {
    /// Begins with these.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// What holds now.
    pub fn now(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    /// From here on these hold.
    pub fn replace(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }
}
