//! Stopping: one signal becomes one token that every part of the process watches.
//!
//! A part that holds work drains it; what cannot be drained in time is safe in the store anyway,
//! because a stop is never more than a crash announced beforehand.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Resolves when SIGTERM or SIGINT arrives.
pub async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
    }
    Ok(())
}

/// A token that is cancelled by SIGTERM or SIGINT.
pub fn token_on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        if signal().await.is_ok() {
            cancel.cancel();
        }
    });
    Ok(token)
}

/// Waits until all tracked tasks have ended, but no longer than `deadline`. Tells whether they did.
pub async fn drain(tasks: &TaskTracker, deadline: Duration) -> bool {
    tasks.close();
    tokio::time::timeout(deadline, tasks.wait()).await.is_ok()
}
