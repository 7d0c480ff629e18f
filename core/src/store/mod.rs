//! PERSIST: the only place that speaks SQL. A method is a transaction with a domain name.
//!
//! The hot paths ([`Intake`], [`Queue`], [`Tracking`], [`Reports`]) are traits with an implementation
//! for each backend, because speed needs each database's own dialect. What is asked for rarely
//! ([`ledger`], [`directory`], [`inbox`]) is written once over [`db::Database`], so the two backends
//! cannot drift apart.
//!
//! A crash loses nothing that a method has returned: every write is on stable storage first
//! (SQLite: WAL with `synchronous=FULL`; PostgreSQL: `synchronous_commit=on`, checked at start).

pub mod error;
pub mod value;
pub mod db;
pub mod plan;
pub mod intake;
pub mod queue;
pub mod leases;
pub mod ledger;
pub mod any_id;
pub mod messages;
pub mod retention;
mod affairs;
pub mod idempotency;
pub mod directory;
pub mod domains;
pub mod smtp_credentials;
pub mod credentials;
pub mod settings;
pub mod operators;
pub mod destinations;
pub mod errors;
pub mod nodes;
pub mod gateways;
pub mod troubles;
pub mod audit;
pub mod bounce_patterns;
pub mod templates;
pub mod tracking;
pub mod reports;
pub mod handovers;
pub mod addressees;
pub mod campaigns;
pub mod ams;
pub mod feed_place;
pub mod webhooks;
pub mod webhook_deliveries;
pub mod webhook_attempts;
pub mod inbox;
pub mod replica;
pub mod group;
pub mod embedded;
pub mod postgres;
pub mod old_system;
#[cfg(test)]
pub(crate) mod conformance;

use std::sync::Arc;

pub use db::Database;
pub use error::Error;
pub use intake::Intake;
pub use queue::Queue;
pub use replica::{Reads, Replicated};
pub use reports::Reports;
pub use tracking::Tracking;

/// One backend, as the rest of the core sees it.
#[derive(Clone)]
pub struct Stores {
    /// Accepting.
    pub intake: Arc<dyn Intake>,
    /// Claiming and finishing.
    pub queue: Arc<dyn Queue>,
    /// What recipients do.
    pub tracking: Arc<dyn Tracking>,
    /// What other systems report of mail handed to them.
    pub reports: Arc<dyn Reports>,
    /// Everything else.
    pub db: Arc<dyn Database>,
    /// The same for reads that may be a moment old: lists, searches, statistics.
    pub reads: Reads,
    /// What those go to, where there is a replica.
    pub replica: Option<Arc<Replicated>>,
}
