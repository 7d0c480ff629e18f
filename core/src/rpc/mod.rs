//! ACCEPT: the gRPC services. Each method decodes, calls one function and encodes; the work is
//! elsewhere.

pub mod auth;
mod call;
mod pace;
pub mod page;
pub mod etag;
pub mod convert;
pub mod send;
mod request_id;
pub mod messages;
pub mod events;
pub mod templates;
pub mod suppressions;
pub mod domains;
mod domain_shown;
pub mod stats;
pub mod sink;
pub mod session;
pub mod credentials;
mod credential_rules;
mod api_keys;
pub mod limits;
pub mod smtp_credentials;
pub mod check_password;
pub mod settings;
pub mod tracking;
pub mod hits;
pub mod subscriptions;
pub mod campaigns;
pub mod webhooks;
mod webhook_draft;
mod webhook_deliveries;
pub mod postal;
pub mod bounces;
pub mod act;
pub mod audit;
pub mod operators;
pub mod queue;
pub mod system;
mod errors;
mod content;
pub mod login;
pub mod server;

use std::sync::Arc;

use postern_kit::clock::Clock;
use postern_kit::spans::Spans;
use tokio_util::sync::CancellationToken;

use crate::directory::Directory;
use crate::domain;
use crate::intake::Intake;
use crate::postal::hook::Hook;
use crate::store::{Database, Queue, Reads, Tracking};

use self::auth::Gate;
use self::check_password::Checker;
use self::login::Logins;
use self::page::Pages;

/// What the services share.
#[derive(Clone)]
pub struct Context {
    /// Who may call.
    pub gate: Arc<Gate>,
    /// Accepting.
    pub intake: Arc<Intake>,
    /// Keys, domains, templates.
    pub directory: Arc<Directory>,
    /// Canceling and counting.
    pub queue: Arc<dyn Queue>,
    /// What recipients do.
    pub tracking: Arc<dyn Tracking>,
    /// What Postal reports.
    pub hook: Arc<Hook>,
    /// Everything else that is stored.
    pub db: Arc<dyn Database>,
    /// The same for reads that may be a moment old, see [`crate::store::replica`].
    pub reads: Reads,
    /// Password checks of gateways.
    pub checker: Checker,
    /// How often somebody tried to log in to the dashboard.
    pub logins: Logins,
    /// Looks up what sender domains have published.
    pub domain_checker: Arc<domain::Checker>,
    /// Page tokens.
    pub pages: Arc<Pages>,
    /// The time.
    pub clock: Clock,
    /// Where the spans of traces go.
    pub spans: Spans,
    /// Cancelled when the process drains: streams end.
    pub draining: CancellationToken,
}
