//! A receiver of webhooks: it answers 200 and counts.
//!
//! It counts in memory; a crash loses the measurement under way.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A receiver that runs; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Hooks {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    taken: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Hooks {
    /// Listens.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let taken = Arc::new(AtomicU64::new(0));
        let shared = taken.clone();
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
        Ok(Self { address, taken, task })
    }

    /// How many came so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    taken: Arc<AtomicU64>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    // What did not come whole is not counted, and will come again.
    if request.into_body().collect().await.is_ok() {
        taken.fetch_add(1, Ordering::Relaxed);
    }
    Ok(Response::new(Empty::new()))
}
