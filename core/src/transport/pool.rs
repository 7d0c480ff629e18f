//! Connections that are kept for the next mail, by host and port: domains hosted at one provider
//! share them. Bounded per target in number, age, mails and idle time. A target that could not be
//! reached is remembered for a while.
//!
//! All of it is in memory: a crash closes the connections and forgets the rest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use postern_proto::settings::SMTP_TIMEOUT_REACH;
use tokio::time::{Duration, Instant, timeout};

use super::config::PoolLimits;
use super::connect::{Connector, Target};
use super::health::Health;
use super::judge::Peer;
use super::permits::Permits;
use super::session::{Sent, Session};
use crate::model::delivery::{Category, Mail, Outcome, Phase};

/// Targets that are remembered at once, besides those in use.
const SITES_MAX: usize = 10_000;
/// The connections are looked through at least this often.
const SWEEP_MAX: Duration = Duration::from_secs(10);

/// What a server said about a mail, or why there was no server to say anything.
pub(super) enum Attempt {
    /// This stands.
    Answered(Outcome),
    /// No mail was offered; another server may be tried.
    Unreached(Outcome),
}

pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    sites: Mutex<HashMap<String, Arc<Site>>>,
    sweeping: AtomicBool,
}

/// The connections to one target.
#[derive(Default)]
struct Site {
    permits: Permits,
    /// The last one used is used next, so that the others can grow old.
    idle: Mutex<Vec<Session>>,
    health: Mutex<Health>,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Self {
        let sites = Mutex::default();
        let sweeping = AtomicBool::new(false);
        Self { shared: Arc::new(Shared { connector, sites, sweeping }) }
    }

    /// For how long another server or address may be tried.
    pub(super) fn reach(&self) -> Duration {
        self.shared.connector.settings.now().time(&SMTP_TIMEOUT_REACH)
    }

    /// Sends a mail over a kept connection, or a new one. Of several addresses no further one is
    /// tried after `until`.
    pub(super) async fn deliver(&self, target: &Target, mail: &Mail, until: Instant) -> Attempt {
        let shared = &self.shared;
        let site = shared.site(&target.key());
        if !shared.sweeping.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(shared), shared.sweep_pause()));
        }
        let limits = shared.limits();
        let permit = timeout(limits.wait, site.permits.acquire(limits.connections)).await;
        let Ok(_permit) = permit else {
            let peer = Peer { host: target.host.clone(), tls: "" };
            let text = "all connections to this server are busy";
            let category = Category::RateLimited;
            return Attempt::Answered(peer.defer(category, "4.4.5", text, Phase::Local));
        };
        self.deliver_to(&site, target, mail, until, &limits).await
    }

    /// The same, once there is room for a connection.
    async fn deliver_to(
        &self,
        site: &Arc<Site>,
        target: &Target,
        mail: &Mail,
        until: Instant,
        limits: &PoolLimits,
    ) -> Attempt {
        while let Some(mut session) = site.take(limits) {
            match session.send(mail).await {
                Sent::Done(outcome) => {
                    lock(&site.health).tried(&outcome, Instant::now());
                    self.keep(site, session);
                    return Attempt::Answered(outcome);
                }
                // The others lay idle for longer and are likely closed too.
                Sent::Stale => {
                    lock(&site.idle).clear();
                }
            }
        }
        let memory = limits.dead;
        if let Some(outcome) = lock(&site.health).verdict(Instant::now(), memory) {
            return Attempt::Unreached(outcome);
        }
        let mut session = match self.shared.connector.open(target, until).await {
            Ok(session) => {
                lock(&site.health).answered(Instant::now());
                session
            }
            Err(outcome) => {
                lock(&site.health).failed(&outcome, Instant::now(), memory);
                return Attempt::Unreached(outcome);
            }
        };
        match session.send(mail).await {
            Sent::Done(outcome) => {
                self.keep(site, session);
                Attempt::Answered(outcome)
            }
            Sent::Stale => unreachable!("a new connection is never stale"),
        }
    }

    fn keep(&self, site: &Arc<Site>, session: Session) {
        if !session.is_reusable(&self.shared.limits()) {
            farewell(vec![session]);
            return;
        }
        lock(&site.idle).push(session);
    }
}

impl Shared {
    fn limits(&self) -> PoolLimits {
        PoolLimits::of(&self.connector.settings.now())
    }

    /// The pause between two looks through the connections.
    fn sweep_pause(&self) -> Duration {
        self.limits().idle.clamp(Duration::from_millis(10), SWEEP_MAX) / 2
    }

    fn site(&self, key: &str) -> Arc<Site> {
        let mut sites = lock(&self.sites);
        if let Some(site) = sites.get(key) {
            return site.clone();
        }
        if sites.len() >= SITES_MAX {
            // What is only a memory makes room.
            sites.retain(|_, site| site.is_in_use());
        }
        let site = Arc::<Site>::default();
        sites.insert(key.to_owned(), site.clone());
        site
    }

    /// Takes out what is too old, and forgets targets nobody uses.
    fn expired(&self) -> Vec<Session> {
        let (mut expired, now, limits) = (Vec::new(), Instant::now(), self.limits());
        lock(&self.sites).retain(|_, site| {
            let stale = |session: &mut Session| !session.is_fresh(&limits);
            expired.extend(lock(&site.idle).extract_if(.., stale));
            site.is_in_use() || lock(&site.health).is_of_use(now, limits.dead)
        });
        expired
    }
}

impl Site {
    /// Whether it has a connection, or somebody who is delivering.
    fn is_in_use(self: &Arc<Self>) -> bool {
        // Whoever is delivering holds another reference.
        Arc::strong_count(self) > 1 || !lock(&self.idle).is_empty()
    }

    /// The most recently used connection that still stands.
    fn take(&self, limits: &PoolLimits) -> Option<Session> {
        let mut idle = lock(&self.idle);
        while let Some(session) = idle.pop() {
            if session.is_fresh(limits) {
                return Some(session);
            }
            farewell(vec![session]);
        }
        None
    }
}

/// Closes idle connections until the pool is gone.
async fn sweep(shared: Weak<Shared>, mut pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        pause = shared.sweep_pause();
        farewell(shared.expired());
    }
}

/// Says goodbye in the background; nobody waits for it.
fn farewell(sessions: Vec<Session>) {
    if !sessions.is_empty() {
        tokio::spawn(async move {
            for session in sessions {
                session.quit().await;
            }
        });
    }
}

/// A panic elsewhere leaves lists and maps that are whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
