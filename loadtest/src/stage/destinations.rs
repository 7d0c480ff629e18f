//! A hundred destinations, each with a server of its own: first mail for eighty healthy ones alone, then
//! the same beside ten that are dead (five refuse connections, five never greet) and ten that are slow
//! (two seconds for each mail). What is measured is the rate of the healthy ones.
//!
//! What it keeps is thrown away with the work folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::bench::Bench;
use crate::door::http::Rest;
use crate::figure::Figure;
use crate::server::{Server, vars};
use crate::sink::Sink;

const ALL: u8 = 100;
const REFUSING: u8 = 5;
const DEAD: u8 = 10;
/// The dead and the slow.
const TROUBLED: u8 = 20;
const SLOW: Duration = Duration::from_secs(2);
/// How long mail may be under way.
const DELIVERY_MAX: Duration = Duration::from_secs(240);

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let world = World::start(&bench.work).await?;
    let port = world.port.to_string();
    let vars = vars(&[
        ("POSTERN_TRANSPORT", "mx"),
        ("POSTERN_MX_PORT", &port),
        ("POSTERN_MX_ALLOW_PRIVATE", "on"),
        ("POSTERN_DNS_SERVERS", &world.dns),
        ("POSTERN_SENDER_POLICY", "any"),
    ]);
    let each = (bench.size.queued / 10_000).clamp(20, 100);
    for (name, first, what) in [
        ("destinations/healthy", TROUBLED, "arrived at 80 destinations"),
        ("destinations/troubled", 0, "arrived at 80 destinations, 10 dead and 10 slow beside them"),
    ] {
        for run in 0..bench.size.runs {
            // A new one each time: what waits for the dead must not be in the next one's way.
            let folder = bench.work.join(format!("{}-{run}", name.replace('/', "-")));
            let ours = bench.binary.start(&folder, &vars).await?;
            bench.progress.say(what);
            let (all, half) = world.run(&ours, (name, what), first, each).await?;
            bench.keep(all)?;
            bench.keep(half)?;
        }
    }
    Ok(())
}

/// The servers of the destinations and the names of them.
struct World {
    port: u16,
    dns: String,
    healthy: Vec<Sink>,
    _slow: Vec<Sink>,
    /// They listen and never greet.
    _silent: Vec<TcpListener>,
    _names: Child,
}

fn address(destination: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 2, destination + 1), port))
}

impl World {
    async fn start(work: &Path) -> anyhow::Result<Self> {
        // The port that is free for the first one is taken to be free on all these addresses.
        let silent = TcpListener::bind(address(REFUSING, 0)).await?;
        let port = silent.local_addr()?.port();
        let mut silent = vec![silent];
        for destination in REFUSING + 1..DEAD {
            silent.push(TcpListener::bind(address(destination, port)).await?);
        }
        let (mut slow, mut healthy) = (Vec::new(), Vec::new());
        for destination in DEAD..ALL {
            let sink = Sink::start(address(destination, port)).await?;
            if destination < TROUBLED {
                sink.behaviour.set_latency(SLOW);
                slow.push(sink);
            } else {
                healthy.push(sink);
            }
        }
        let (names, dns) = names(work).await?;
        Ok(Self { port, dns, healthy, _slow: slow, _silent: silent, _names: names })
    }

    fn arrived(&self) -> u64 {
        self.healthy.iter().map(|sink| sink.behaviour.taken()).sum()
    }

    /// Sends `each` mails to every destination from `first` on, in turns.
    async fn run(
        &self,
        server: &Server,
        (name, what): (&str, &str),
        first: u8,
        each: u64,
    ) -> anyhow::Result<(Figure, Figure)> {
        let before = self.arrived();
        let (began, cpu) = (Instant::now(), server.cpu()?);
        let mut rest = Rest::new(server.rest, &server.key);
        for mail in 0..each {
            let items: Vec<Value> = (first..ALL)
                .map(|d| json!({ "to": { "email": format!("user{mail}@d{d}.example") } }))
                .collect();
            let message = json!({ "from": { "email": "load@example.com" }, "subject": "Load",
                "text": "x".repeat(70) });
            rest.post("/v1/messages/batch", &json!({ "message": message, "items": items })).await?;
        }
        let wanted = u64::from(ALL - TROUBLED) * each;
        let mut half = None;
        while self.arrived() - before < wanted {
            let arrived = self.arrived() - before;
            if arrived * 2 >= wanted {
                half.get_or_insert_with(|| began.elapsed());
            }
            ensure!(began.elapsed() < DELIVERY_MAX, "{arrived} of {wanted} arrived");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let all = Figure::rate(name, what, wanted, began.elapsed());
        let half = half.unwrap_or_else(|| began.elapsed()).as_secs_f64();
        let what = format!("seconds until half of the {wanted} had {what}");
        let half = Figure::value(&format!("{name}-half"), &what, half);
        Ok((all.with_cpu(server.cpu()? - cpu), half))
    }
}

/// A name server that knows the destinations.
async fn names(work: &Path) -> anyhow::Result<(Child, String)> {
    let mut zone = Map::new();
    for d in 0..ALL {
        let host = format!("mx.d{d}.example");
        zone.insert(format!("d{d}.example"), json!({ "MX": [[10, host]] }));
        zone.insert(host, json!({ "A": [address(d, 0).ip().to_string()] }));
    }
    let file = work.join("zone");
    std::fs::write(&file, Value::Object(zone).to_string())?;
    let mut child = Command::new("tests/py/dns_server.py")
        .args(["127.0.0.1", "0"])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("run it from the top of the repository")?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("stdout is piped")?).read_line(&mut line).await?;
    let port = line.trim().strip_prefix("listening ").context("the name server did not start")?;
    Ok((child, format!("127.0.0.1:{port}")))
}
