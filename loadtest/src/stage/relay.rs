//! SMTP in and SMTP out: mail is put in over twenty kept connections and the time is taken when the last
//! one has arrived at a receiver that throws it away; beside Postfix, which signs nothing. Whether mail
//! was signed is seen at the receiver.
//!
//! What it keeps is thrown away with the work folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::smtp::postfix;
use crate::bench::Bench;
use crate::door::Mail;
use crate::door::http::Rest;
use crate::door::smtp::{Keep, Smtp};
use crate::figure::Figure;
use crate::pace::{Pace, drive};
use crate::process::cpu_seconds;
use crate::rival::postfix::Does;
use crate::server::{Server, Vars, vars};
use crate::sink::Sink;

const CLIENTS: usize = 20;
/// How long mail may be under way.
const DELIVERY_MAX: Duration = Duration::from_secs(120);
/// A sender domain that has keys.
const SIGNED: &str = "signed.example";

/// What is measured.
struct Way<'a> {
    name: &'static str,
    what: &'static str,
    address: SocketAddr,
    pid: u32,
    mail: Mail,
    sink: &'a Sink,
    signatures: u64,
}

/// A system that relays everything to `sink`.
pub(crate) fn relaying(sink: &Sink) -> Vars {
    let url = format!("smtp://{}?tls=off", sink.address);
    vars(&[
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", &url),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_LANE_CONCURRENCY", "64"),
        ("POSTERN_DESTINATION_CONNECTIONS", "64"),
    ])
}

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (sink, other) = (Sink::start(any).await?, Sink::start(any).await?);
    let folder = bench.work.join("relay");
    let ours = bench.binary.start_trusting(&folder, &relaying(&sink)).await?;
    sign(&ours).await?;
    let postfix = postfix(bench, "postfix-relay", Does::Relay(other.address)).await?;
    let plain = Mail::delivered();
    let signed = Mail { from: format!("load@{SIGNED}"), ..plain.clone() };
    let our = |name, what, mail, signatures| Way {
        name,
        what,
        address: ours.smtp,
        pid: ours.pid,
        mail,
        sink: &sink,
        signatures,
    };
    let what = "SMTP in and out by Postern, unsigned";
    let mut ways = vec![our("relay/none", what, plain.clone(), 0)];
    let what = "SMTP in and out by Postern, signed with RSA-2048 and Ed25519";
    ways.push(our("relay/both", what, signed, 2));
    if let Some(postfix) = &postfix {
        ways.push(Way {
            name: "postfix/relay",
            what: "SMTP in and out by Postfix, unsigned",
            address: postfix.address,
            pid: postfix.pid,
            mail: plain,
            sink: &other,
            signatures: 0,
        });
    }
    for _ in 0..bench.size.runs {
        for way in &ways {
            bench.progress.say(way.what);
            let figure = way.run(bench.time()).await?;
            bench.keep(figure)?;
        }
    }
    bench.note(
        "Ed25519 alone is not measured: a domain has an RSA key, too, and signs with both"
            .to_owned(),
    );
    ours.stop().await
}

async fn sign(server: &Server) -> anyhow::Result<()> {
    let mut rest = Rest::new(server.rest, &server.key);
    rest.post("/v1/domains", &serde_json::json!({ "name": SIGNED })).await?;
    Ok(())
}

impl Way<'_> {
    async fn run(&self, time: Duration) -> anyhow::Result<Figure> {
        let (before, signed_before) = (self.sink.behaviour.taken(), self.sink.behaviour.signed());
        let (cpu, began) = (cpu_seconds(self.pid)?, Instant::now());
        let doors = Smtp::callers(self.address, &self.mail, Keep::Kept, CLIENTS);
        let outcome = drive(doors, Pace::Closed, time).await?;
        let took = self.sink.until(before + outcome.count, began, DELIVERY_MAX).await?;
        let signed = self.sink.behaviour.signed() - signed_before;
        let wanted = self.signatures * outcome.count;
        ensure!(signed == wanted, "{signed} signatures arrived, not {wanted}: {}", self.name);
        let figure = Figure::rate(self.name, self.what, outcome.count, took);
        let (errors, error) = (outcome.errors, outcome.error);
        Ok(Figure { errors, error, ..figure.with_cpu(cpu_seconds(self.pid)? - cpu) })
    }
}
