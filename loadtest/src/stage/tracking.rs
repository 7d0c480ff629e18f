//! The tracking pixel over 64 kept connections, beside nginx with its `empty_gif` and its access log, in
//! turns and by the same client. The journal is written as always, and hits are shipped to the core
//! meanwhile.
//!
//! What it keeps is thrown away with the work folder.

use anyhow::Context as _;
use serde_json::json;

use crate::bench::Bench;
use crate::door::http::{Gets, Rest};
use crate::pace::Pace;
use crate::rival::nginx::Nginx;
use crate::rival::program;
use crate::server::{Server, vars};

const CONNECTIONS: usize = 64;

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let vars = vars(&[("POSTERN_TRACKING_SCANNER_WINDOW", "0ms")]);
    let ours = bench.binary.start(&bench.work.join("tracking"), &vars).await?;
    let pixel = pixel(&ours).await?;
    let nginx = if program("nginx").is_some() {
        Some(Nginx::start(&bench.work.join("nginx")).await?)
    } else {
        bench.note("nginx is left out: it is not installed".to_owned());
        None
    };
    for _ in 0..bench.size.runs {
        let doors = Gets::callers(ours.edge, &pixel, CONNECTIONS);
        let what = "GET of a tracking pixel, 64 connections";
        bench.drive("tracking/pixel", what, Some(ours.pid), doors, Pace::Closed).await?;
        if let Some(nginx) = &nginx {
            let doors = Gets::callers(nginx.address, "/pixel.gif", CONNECTIONS);
            let what = "GET of nginx's empty_gif with its log, 64 connections";
            bench.drive("nginx/pixel", what, nginx.pid(), doors, Pace::Closed).await?;
        }
    }
    if let Some(nginx) = nginx {
        nginx.stop().await?;
    }
    ours.stop().await
}

/// The path of the pixel of a mail that was sent to the inbox.
async fn pixel(server: &Server) -> anyhow::Result<String> {
    let mut rest = Rest::new(server.rest, &server.key);
    let message = json!({
        "from": "hi@shop.test", "to": "ann@good.test", "subject": "load", "campaign_id": "load",
        "tracking": { "opens": true }, "html": "<body>x</body>",
    });
    rest.post("/v1/messages", &message).await?;
    let mail = rest.get("/v1/sink/wait?recipient=ann@good.test&timeout=30s").await;
    let mail = mail.context("the mail did not come to the inbox")?;
    let id = mail["id"].as_str().with_context(|| format!("no mail in the answer {mail}"))?;
    let raw = rest.text(&format!("/v1/sink/messages/{id}/raw")).await?;
    // Quoted-printable, whose soft line ends may stand within the link.
    let text = raw.replace("=\r\n", "").replace("=3D", "=");
    let from = text.find("/o/").context("the mail has no pixel")?;
    let is_token = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    Ok(text[from..].chars().take_while(|c| is_token(*c)).collect())
}
