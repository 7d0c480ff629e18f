//! A receiver of SMTP whose latency and errors can be set while it runs, and which throws the mail
//! away: the other end of what is delivered.
//!
//! It counts in memory; a crash loses the measurement under way.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A line that is longer is no mail of ours.
const LINE_BYTES: usize = 8192;

/// How it behaves, and what it has seen.
#[derive(Debug)]
pub(crate) struct Behaviour {
    /// Content is not answered while this is set.
    held: watch::Sender<bool>,
    /// Microseconds until content is answered.
    latency_us: AtomicU64,
    /// Of a thousand mails so many are refused for now (451).
    deferred_per_1000: AtomicU64,
    /// Of a thousand mails so many are refused for good (550).
    refused_per_1000: AtomicU64,
    /// Mails that were taken.
    taken: AtomicU64,
    /// Mails to be counted one by one: those whose subject says so, with their arrival.
    marked: Mutex<Vec<(String, Instant)>>,
    /// Signatures seen.
    signed: AtomicU64,
    seen: AtomicU64,
}

impl Behaviour {
    fn new() -> Self {
        Self {
            held: watch::Sender::new(false),
            latency_us: AtomicU64::new(0),
            deferred_per_1000: AtomicU64::new(0),
            refused_per_1000: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            signed: AtomicU64::new(0),
            marked: Mutex::new(Vec::new()),
            seen: AtomicU64::new(0),
        }
    }

    /// From now on content waits for its answer, or no longer.
    pub(crate) fn set_held(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// From now on content is answered after this time.
    pub(crate) fn set_latency(&self, latency: Duration) {
        self.latency_us.store(latency.as_micros() as u64, Ordering::Relaxed);
    }

    /// From now on so many of a thousand are refused, for now and for good.
    pub(crate) fn set_errors(&self, deferred_per_1000: u64, refused_per_1000: u64) {
        self.deferred_per_1000.store(deferred_per_1000, Ordering::Relaxed);
        self.refused_per_1000.store(refused_per_1000, Ordering::Relaxed);
    }

    /// How many were taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many DKIM signatures were seen so far, of taken mail or not.
    pub(crate) fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// The subjects that begin with `marked`, and when they arrived.
    pub(crate) fn marked(&self) -> Vec<(String, Instant)> {
        self.marked.lock().map(|marked| marked.clone()).unwrap_or_default()
    }

    async fn verdict(&self, subject: &str) -> &'static str {
        let latency = self.latency_us.load(Ordering::Relaxed);
        if latency > 0 {
            tokio::time::sleep(Duration::from_micros(latency)).await;
        }
        // The sender lives as long as this.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        // Spread evenly, and the same in each run.
        let place = self.seen.fetch_add(1, Ordering::Relaxed).wrapping_mul(617) % 1000;
        let refused = self.refused_per_1000.load(Ordering::Relaxed);
        if place < refused {
            return "550 5.1.1 no such user\r\n";
        }
        if place < refused + self.deferred_per_1000.load(Ordering::Relaxed) {
            return "451 4.3.0 later\r\n";
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        if subject.starts_with("marked")
            && let Ok(mut marked) = self.marked.lock()
        {
            marked.push((subject.to_owned(), Instant::now()));
        }
        "250 2.0.0 taken\r\n"
    }
}

/// A receiver that runs; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Sink {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it does.
    pub(crate) behaviour: Arc<Behaviour>,
    task: JoinHandle<()>,
}

impl Sink {
    /// Listens.
    pub(crate) async fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.context("the sink cannot listen")?;
        let address = listener.local_addr()?;
        let behaviour = Arc::new(Behaviour::new());
        let shared = behaviour.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                // A client that goes away ends its session, which is nobody's error.
                tokio::spawn(async move { session(stream, &shared).await.ok() });
            }
        });
        Ok(Self { address, behaviour, task })
    }

    /// Waits until so many were taken; how long it took from `began`.
    pub(crate) async fn until(
        &self,
        count: u64,
        began: Instant,
        limit: Duration,
    ) -> anyhow::Result<Duration> {
        while self.behaviour.taken() < count {
            let taken = self.behaviour.taken();
            anyhow::ensure!(began.elapsed() < limit, "{taken} of {count} arrived in {limit:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(began.elapsed())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn session(stream: TcpStream, behaviour: &Behaviour) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(LINE_BYTES, stream);
    let mut answers = b"220 sink ESMTP\r\n".to_vec();
    let mut line = Vec::new();
    loop {
        // Answers to commands that came together go together.
        if !stream.buffer().contains(&b'\n') {
            stream.write_all(&answers).await?;
            answers.clear();
        }
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_slice() {
            b"EHLO" => "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 104857600\r\n",
            b"DATA" => {
                answers.extend_from_slice(b"354 go on\r\n");
                stream.write_all(&answers).await?;
                answers.clear();
                let subject = content(&mut stream, &mut line, behaviour).await?;
                behaviour.verdict(&subject).await
            }
            b"QUIT" => {
                answers.extend_from_slice(b"221 2.0.0 bye\r\n");
                return Ok(stream.write_all(&answers).await?);
            }
            _ => "250 2.0.0 ok\r\n",
        };
        answers.extend_from_slice(reply.as_bytes());
    }
}

/// Reads a mail up to its dot; its subject.
async fn content(
    stream: &mut BufReader<TcpStream>,
    line: &mut Vec<u8>,
    behaviour: &Behaviour,
) -> anyhow::Result<String> {
    let mut subject = String::new();
    loop {
        line.clear();
        anyhow::ensure!(stream.read_until(b'\n', line).await? > 0, "closed within a mail");
        if line == b".\r\n" {
            return Ok(subject);
        }
        if line.starts_with(b"DKIM-Signature:") {
            behaviour.signed.fetch_add(1, Ordering::Relaxed);
        }
        if subject.is_empty()
            && let Some(value) = line.strip_prefix(b"Subject: ")
        {
            subject = String::from_utf8_lossy(value).trim_end().to_owned();
        }
    }
}
