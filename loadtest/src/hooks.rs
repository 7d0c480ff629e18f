//! A receiver of webhooks: it answers 200 and counts, each event once.
//!
//! It counts in memory; a crash loses the measurement under way.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What has come.
#[derive(Debug, Default)]
struct Seen {
    /// The ids of events.
    ids: Mutex<HashSet<String>>,
    /// Requests, with those that came again.
    requests: AtomicU64,
}

/// A receiver that runs; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Hooks {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Hooks {
    /// Listens.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                let service = service_fn(move |request| answer(request, shared.clone()));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A sender that goes away ends its connection, which is nobody's error.
                tokio::spawn(async move { connection.await.ok() });
            }
        });
        Ok(Self { address, seen, task })
    }

    /// How many events came so far.
    pub(crate) fn taken(&self) -> u64 {
        self.seen.ids.lock().map(|ids| ids.len()).unwrap_or_default() as u64
    }

    /// How many requests brought an event that had come before.
    pub(crate) fn repeated(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed).saturating_sub(self.taken())
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Seen>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_default().to_owned();
    // What did not come whole is not counted, and will come again.
    if request.into_body().collect().await.is_ok() {
        seen.requests.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut ids) = seen.ids.lock() {
            ids.insert(id);
        }
    }
    Ok(Response::new(Empty::new()))
}
