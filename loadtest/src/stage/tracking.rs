//! The tracking pixel and clicks over 64 kept connections, beside nginx with its `empty_gif` and its access
//! log, in turns and by the same client. The journal is written as always, and hits are shipped to the
//! core meanwhile; at the end the core must have counted every hit that was answered.
//!
//! What it keeps is thrown away with the work folder.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::time::Instant;

use crate::bench::Bench;
use crate::door::http::{Gets, Rest};
use crate::figure::Figure;
use crate::pace::Pace;
use crate::rival::nginx::Nginx;
use crate::rival::program;
use crate::server::{Server, vars};

const CONNECTIONS: usize = 64;
/// How long hits may be under way to the core.
const COUNTED_MAX: Duration = Duration::from_secs(240);

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let vars = vars(&[("POSTERN_TRACKING_SCANNER_WINDOW", "0ms")]);
    let ours = bench.binary.start(&bench.work.join("tracking"), &vars).await?;
    let (pixel, click) = links(&ours).await?;
    let nginx = if program("nginx").is_some() {
        Some(Nginx::start(&bench.work.join("nginx")).await?)
    } else {
        bench.note("nginx is left out: it is not installed".to_owned());
        None
    };
    let mut answered = 0;
    for _ in 0..bench.size.runs {
        for (name, path, what) in [
            ("tracking/pixel", &pixel, "GET of a tracking pixel, 64 connections"),
            ("tracking/click", &click, "GET of a tracked link, answered with its target"),
        ] {
            let doors = Gets::callers(ours.edge, path, CONNECTIONS);
            bench.drive(name, what, Some(ours.pid), doors, Pace::Closed).await?;
            answered += bench.figures.last().map_or(0, |figure| figure.count);
        }
        if let Some(nginx) = &nginx {
            let doors = Gets::callers(nginx.address, "/pixel.gif", CONNECTIONS);
            let what = "GET of nginx's empty_gif with its log, 64 connections";
            bench.drive("nginx/pixel", what, nginx.pid(), doors, Pace::Closed).await?;
        }
    }
    if let Some(nginx) = nginx {
        nginx.stop().await?;
    }
    let began = Instant::now();
    counted(bench, &ours, answered).await?;
    let what = format!("seconds until the core had counted all {answered} hits");
    bench.keep(Figure::value("tracking/counted", &what, began.elapsed().as_secs_f64()))?;
    ours.stop().await
}

/// Waits until the core has counted as many hits as were answered.
async fn counted(bench: &Bench, server: &Server, answered: u64) -> anyhow::Result<()> {
    let mut rest = Rest::new(server.rest, &server.key);
    let began = Instant::now();
    loop {
        let stats = rest.get("/v1/stats?campaign_id=load").await?;
        let total = &stats["total"];
        let hits = |what: &str| {
            let number = &total[what];
            number.as_u64().or_else(|| number.as_str()?.parse().ok()).unwrap_or_default()
        };
        let counted = hits("opens") + hits("clicks");
        if counted >= answered {
            return Ok(());
        }
        bench.progress.say(&format!("the core has counted {counted} of {answered} hits"));
        ensure!(began.elapsed() < COUNTED_MAX, "{counted} of {answered} hits were counted");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The paths of the pixel and of the link in a mail that was sent to the inbox.
async fn links(server: &Server) -> anyhow::Result<(String, String)> {
    let mut rest = Rest::new(server.rest, &server.key);
    let link = "https://shop.example/a/path?with=a&amp;query=string";
    let message = json!({
        "from": "hi@shop.test", "to": "ann@good.test", "subject": "load", "campaign_id": "load",
        "tracking": { "opens": true, "clicks": "html" },
        "html": format!("<body><a href=\"{link}\">x</a></body>"),
    });
    rest.post("/v1/messages", &message).await?;
    let mail = rest.get("/v1/sink/wait?recipient=ann@good.test&timeout=30s").await;
    let mail = mail.context("the mail did not come to the inbox")?;
    let id = mail["id"].as_str().with_context(|| format!("no mail in the answer {mail}"))?;
    let raw = rest.text(&format!("/v1/sink/messages/{id}/raw")).await?;
    // Quoted-printable, whose soft line ends may stand within a link.
    let text = raw.replace("=\r\n", "").replace("=3D", "=");
    let path = |kind: &str| {
        let from = text.find(kind).with_context(|| format!("the mail has no link with {kind}"))?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
        anyhow::Ok(text[from..].chars().take_while(|c| is_token(*c)).collect())
    };
    Ok((path("/o/")?, path("/c/")?))
}
