//! `postern acme`: gets certificates by ACME (RFC 8555) and keeps them fresh, as two files that every
//! listener takes up by itself.
//!
//! A process of its own: it alone opens the ports of the challenges and knows the account. A crash loses an
//! order under way, which is begun anew. One between the renaming of the key and that of the chain leaves two
//! that do not fit: the next start replaces them by a pair of its own, and orders at once.

mod challenge;
mod config;
mod files;
mod order;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use postern_kit::env::Env;
use postern_kit::ops::Ops;
use postern_kit::tls::CertStore;
use postern_kit::variables::{self, Role};
use postern_kit::{backoff, shutdown, telemetry};
use tokio_util::sync::CancellationToken;

use self::challenge::Challenges;
use self::config::AcmeConfig;
use self::files::Folder;

/// Whether it is time is looked at no less often than this: clocks jump, and files are removed.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
const RETRY_MAX: Duration = Duration::from_secs(6 * 3600);
const JITTER_PERCENT: u32 = 20;

/// Serves challenges and renews until SIGTERM or SIGINT.
pub(crate) async fn run(env: &Env) -> anyhow::Result<()> {
    variables::check(env, Role::Acme)?;
    telemetry::init(env)?;
    let config = AcmeConfig::from_env(env)?;
    let folder = Folder::open(&config.folder)
        .with_context(|| format!("POSTERN_ACME_FOLDER {}", config.folder.display()))?;
    let mut ops = Ops::open(env, None).await?;
    let challenges = Arc::new(Challenges::default());
    let stop = shutdown::token_on_signal()?;
    let doors = challenge::open(&config, &challenges, &stop).await?;
    // Something to answer with until the first order is through; nobody takes it for a certificate.
    let store = match CertStore::open(folder.files(&config.names)?) {
        Ok(store) => store,
        Err(error) => {
            tracing::warn!(%error, "chain and key cannot be used; ordering anew");
            folder.discard()?;
            CertStore::open(folder.files(&config.names)?)?
        }
    };
    ops.certificates("acme", std::slice::from_ref(&store));
    ops.serve(stop.clone());
    let renewing = renew(&config, &folder, &store, &challenges, &stop);
    tokio::join!(renewing, doors);
    Ok(())
}

async fn renew(
    config: &AcmeConfig,
    folder: &Folder,
    store: &CertStore,
    challenges: &Challenges,
    stop: &CancellationToken,
) {
    let mut failures = 0;
    while !stop.is_cancelled() {
        let wait = match due_in(config, folder, store, Timestamp::now()) {
            Some(wait) => wait.min(LOOK_EVERY),
            None => match stop.run_until_cancelled(order::make(config, folder, challenges)).await {
                None => return,
                Some(result) => {
                    let taken = result.and_then(|()| taken_up(config, folder, store));
                    let Err(error) = taken else {
                        failures = 0;
                        continue;
                    };
                    let random = rand::random::<f64>();
                    let wait =
                        backoff::delay(failures, config.retry, RETRY_MAX, JITTER_PERCENT, random);
                    failures += 1;
                    let told = format!("{error:#}");
                    tracing::error!(error = told, failures, ?wait, "no certificate; trying again");
                    wait
                }
            },
        };
        let _stopped = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
    }
}

/// Fails where the new one is not what was wanted either: ordering again at once would use up what the authority
/// grants in a week.
fn taken_up(config: &AcmeConfig, folder: &Folder, store: &CertStore) -> anyhow::Result<()> {
    store.reload().context("the new certificate cannot be used")?;
    let expires = store.expires().map(|at| at.to_string());
    tracing::info!(expires, "new certificate");
    let wanted = due_in(config, folder, store, Timestamp::now()).is_none();
    anyhow::ensure!(!wanted, "the new certificate lacks a name, or has no time left by our clock");
    Ok(())
}

/// How long until a new certificate is wanted; none when it is wanted now. It is when the one there is does
/// not come from an order, lacks a name, or has less time left than it should: the configured time, or a
/// third of its life where that is shorter.
fn due_in(
    config: &AcmeConfig,
    folder: &Folder,
    store: &CertStore,
    now: Timestamp,
) -> Option<Duration> {
    let (begins, expires) = store.validity()?;
    if !folder.is_ordered() || !config.names.iter().all(|name| store.is_good_for(name)) {
        return None;
    }
    let third = expires.duration_since(begins) / 3;
    let before = jiff::SignedDuration::try_from(config.renew_before).unwrap_or(third).min(third);
    let left = expires.duration_since(now) - before;
    left.is_positive().then(|| left.unsigned_abs())
}
