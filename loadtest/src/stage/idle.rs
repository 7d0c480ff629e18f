//! What an idle system costs: resident memory after its start, and of each SMTP connection that has said
//! EHLO and nothing else.
//!
//! What it keeps is thrown away with the work folder.

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::Bench;
use crate::figure::Figure;
use crate::process::memory_mib;

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.progress.say("an idle system");
    let ours = bench.binary.start(&bench.work.join("idle"), &bench.store(None)).await?;
    let (idle, _) = memory_mib(ours.pid)?;
    let what = "all-in-one on SQLite, idle, resident";
    bench.keep(Figure::memory("idle/sqlite", what, idle))?;
    // The first ones pay for what all share.
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(connect(ours.smtp).await?);
    }
    let (before, _) = memory_mib(ours.pid)?;
    bench.progress.say("idle SMTP connections");
    for _ in 0..bench.size.idle {
        held.push(connect(ours.smtp).await.context("see ulimit -n")?);
    }
    let (after, _) = memory_mib(ours.pid)?;
    for stream in &mut held {
        ask(stream, b"NOOP\r\n").await?;
    }
    let each = (after - before) * 1024.0 / bench.size.idle as f64;
    let what = format!("KiB of an idle SMTP connection without TLS, of {}", bench.size.idle);
    bench.keep(Figure::value("idle/connection", &what, each))?;
    drop(held);
    ours.stop().await
}

async fn connect(address: std::net::SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    ask(&mut stream, b"").await?;
    ask(&mut stream, b"EHLO idle.example.com\r\n").await?;
    Ok(stream)
}

/// Says something and reads until a line that ends a reply.
async fn ask(stream: &mut TcpStream, text: &[u8]) -> anyhow::Result<()> {
    stream.write_all(text).await?;
    let (mut reply, mut block) = (Vec::new(), [0; 1024]);
    loop {
        let read = stream.read(&mut block).await?;
        ensure!(read > 0, "closed");
        reply.extend_from_slice(&block[..read]);
        let last = reply.strip_suffix(b"\r\n").and_then(|all| all.rsplit(|b| *b == b'\n').next());
        if let Some(last) = last.filter(|last| last.get(3) != Some(&b'-')) {
            ensure!(last.starts_with(b"2"), "{}", String::from_utf8_lossy(last));
            return Ok(());
        }
    }
}
