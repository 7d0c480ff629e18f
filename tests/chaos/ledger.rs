//! What was acknowledged. An entry is written after the yes and never before, so it says exactly what
//! the system has promised.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use postern_tests::wait;
use tokio::sync::watch;

/// The ledger of one system.
#[derive(Debug)]
pub(crate) struct Ledger {
    pages: Mutex<Pages>,
    count: watch::Sender<usize>,
}

/// What is written in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pages {
    /// The id of each acknowledged message by its recipient's address, which is used once.
    pub(crate) accepted: BTreeMap<String, String>,
    /// How often each door said no, or nothing, by what it said.
    pub(crate) refused: BTreeMap<String, usize>,
}

impl Ledger {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { pages: Mutex::default(), count: watch::Sender::new(0) }
    }

    /// A yes.
    pub(crate) fn accepted(&self, address: &str, id: &str) {
        let mut pages = self.lock();
        pages.accepted.insert(address.to_owned(), id.to_owned());
        self.count.send_replace(pages.accepted.len());
    }

    /// A no, or no answer at all.
    pub(crate) fn refused(&self, door: &str, why: &str) {
        let why: String = why.chars().take(80).collect();
        *self.lock().refused.entry(format!("{door}: {why}")).or_default() += 1;
    }

    /// How many were acknowledged.
    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until so many more are acknowledged.
    pub(crate) async fn grow(&self, more: usize) -> anyhow::Result<()> {
        let wanted = self.count() + more;
        let mut count = self.count.subscribe();
        let grown = tokio::time::timeout(wait::LIMIT, count.wait_for(|count| *count >= wanted));
        let refused = || format!("mail is not accepted any more: {:?}", self.lock().refused);
        grown.await.with_context(refused)?.context("the ledger is gone").map(drop)
    }

    /// What is written now.
    pub(crate) fn read(&self) -> Pages {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
