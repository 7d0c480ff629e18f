//! Whole systems to break: the roles as processes of their own on PostgreSQL and Redis, or all in one
//! on the embedded store. Every way between two parts leads through a proxy of the test's.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use postern_tests::balancer::Balancer;
use postern_tests::cluster::Server;
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::proxy::Proxy;
use postern_tests::role::{TOKEN, TRACKING_KEYS};
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::binary;
use postern_tests::wait;
use serde_json::{Value, json};

use crate::address::Host;
use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::load::Doors;
use crate::process::Process;

const GRPC: u16 = 50051;
const REST: u16 = 8080;
const SMTP: u16 = 2587;
const EDGE: u16 = 8081;
const OPS: u16 = 9464;
const REDIS: u16 = 6379;
const POSTGRES: u16 = 5432;

/// A running system with what it speaks to.
pub(crate) struct System {
    /// What may be killed. The cores come first.
    pub(crate) processes: Vec<Process>,
    /// What the cores stand on, where they stand on it.
    pub(crate) ground: Option<Ground>,
    /// The ways to the cores, from the balancer.
    pub(crate) to_cores: Vec<Proxy>,
    /// Where clients go.
    pub(crate) doors: Doors,
    /// What was acknowledged.
    pub(crate) ledger: Arc<Ledger>,
    /// The destination of all mail.
    pub(crate) receiver: Receiver,
    /// The destination of all webhooks.
    pub(crate) hooks: HookReceiver,
    _balancer: Option<Balancer>,
}

/// PostgreSQL and Redis, and the ways to PostgreSQL, one for each core.
pub(crate) struct Ground {
    pub(crate) postgres: Server,
    /// How PostgreSQL is started.
    pub(crate) options: String,
    pub(crate) redis: Process,
    pub(crate) ways: Vec<Proxy>,
    /// Where PostgreSQL is: `host:port`.
    pub(crate) address: String,
}

/// What is done to an empty folder before data is put into it.
type Prepare<'a> = &'a mut dyn FnMut(&Path) -> anyhow::Result<()>;

impl Ground {
    async fn lay(host: Host, prepare: Prepare<'_>, options: &str) -> anyhow::Result<Self> {
        let mut postgres = Server::bare()?;
        prepare(postgres.folder())?;
        postgres.port = POSTGRES;
        let options = format!("-c listen_addresses={host} {options}");
        postgres.init()?;
        postgres.start(&options)?;
        let (at, port) = (host.to_string(), REDIS.to_string());
        let command = ["redis-server", "--bind", &at, "--port", &port, "--save", ""];
        let mut redis = Process::new("redis", &command, host.at(REDIS), &[])?;
        redis.start().await?;
        let address = host.at(POSTGRES);
        let ways = vec![Proxy::start(&address).await?, Proxy::start(&address).await?];
        Ok(Self { postgres, options, redis, ways, address })
    }
}

impl System {
    /// Two cores and one of each gateway on PostgreSQL, started with `options`, and Redis.
    pub(crate) async fn split(options: &str, more: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::split_on(&mut |_| Ok(()), options, more).await
    }

    /// The same with PostgreSQL's folder prepared.
    pub(crate) async fn split_on(
        prepare: Prepare<'_>,
        options: &str,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let host = Host::any();
        let ground = Ground::lay(host, prepare, options).await?;
        let (receiver, hooks) = (Receiver::start().await?, HookReceiver::start().await?);
        let redis = format!("redis://{}", host.at(REDIS));
        let (relay, edge) = (receiver.relay_url(), format!("http://{}", host.at(EDGE)));
        let (mut processes, mut to_cores, mut key) = (Vec::new(), Vec::new(), String::new());
        for (place, (name, way)) in ["core-1", "core-2"].into_iter().zip(&ground.ways).enumerate() {
            let listens = host.at(GRPC + place as u16);
            let ops = host.at(OPS + place as u16);
            let url = format!("postgres://postern@{}/postgres", way.addr);
            let vars = [
                &core_vars(&relay, &edge)[..],
                &[
                    ("DATABASE_URL", url.as_str()),
                    ("REDIS_URL", &redis),
                    ("POSTERN_DATA", "data"),
                    ("POSTERN_GRPC_LISTEN", &listens),
                    ("POSTERN_METRICS_LISTEN", &ops),
                ],
                more,
            ];
            let mut core = process(name, &["core"], &listens, &vars.concat())?;
            core.start().await?;
            to_cores.push(Proxy::start(&listens).await?);
            if processes.is_empty() {
                // It listens before its store is open.
                let shown = async || Ok(first_key(&core.log()?));
                key = wait::until("the first key", shown).await?;
            }
            processes.push(core);
        }
        let ways: Vec<_> = to_cores.iter().map(|way| way.addr.to_string()).collect();
        let balancer = Balancer::start(&[&ways[0], &ways[1]]).await?;
        let core = format!("http://{}", balancer.addr);
        for mut gateway in gateways(host, &core, &redis)? {
            gateway.start().await?;
            processes.push(gateway);
        }
        let doors = doors(host, balancer.addr.to_string(), key);
        let ledger = Arc::new(Ledger::new());
        let _balancer = Some(balancer);
        let ground = Some(ground);
        let system =
            Self { processes, ground, to_cores, doors, ledger, receiver, hooks, _balancer };
        system.prepare().await?;
        Ok(system)
    }

    /// Everything in one process on the embedded store.
    pub(crate) async fn embedded(more: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::embedded_on(&mut |_| Ok(()), more).await
    }

    /// The same with mail sent through a gate, whose url is among the variables.
    pub(crate) async fn embedded_through(
        gate: &Gate,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let system = Self::embedded(more).await?;
        gate.lead_to(system.receiver.port());
        Ok(system)
    }

    /// The same with its data folder prepared.
    pub(crate) async fn embedded_on(
        prepare: Prepare<'_>,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let (receiver, hooks) = (Receiver::start().await?, HookReceiver::start().await?);
        let host = Host::any();
        let (relay, edge) = (receiver.relay_url(), format!("http://{}", host.at(EDGE)));
        let own = [
            ("POSTERN_DATA", "data".to_owned()),
            ("POSTERN_GRPC_LISTEN", host.at(GRPC)),
            ("POSTERN_REST_LISTEN", host.at(REST)),
            ("POSTERN_SMTP_LISTEN", host.at(SMTP)),
            ("POSTERN_TRACKER_LISTEN", host.at(EDGE)),
            ("POSTERN_METRICS_LISTEN", host.at(OPS)),
            ("POSTERN_SMTPS_LISTEN", "off".to_owned()),
            ("POSTERN_SMTP_SINK_LISTEN", "off".to_owned()),
            ("POSTERN_SMTP_PLAIN_AUTH", "on".to_owned()),
        ];
        let own: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let vars = [&core_vars(&relay, &edge)[..], &own, more].concat();
        let mut process = process("all-in-one", &[], &host.at(REST), &vars)?;
        let data = process.folder().join("data");
        std::fs::create_dir(&data)?;
        prepare(&data)?;
        process.start().await?;
        Self::over((process, host), receiver, hooks).await
    }

    async fn over(
        (process, host): (Process, Host),
        receiver: Receiver,
        hooks: HookReceiver,
    ) -> anyhow::Result<Self> {
        let file = process.folder().join("data/first-api-key");
        let key = wait::until("the first key", async || Ok(std::fs::read_to_string(&file).ok()));
        let key = key.await?.trim().to_owned();
        let system = Self {
            processes: vec![process],
            ground: None,
            to_cores: Vec::new(),
            doors: doors(host, host.at(GRPC), key),
            ledger: Arc::new(Ledger::new()),
            receiver,
            hooks,
            _balancer: None,
        };
        system.prepare().await?;
        Ok(system)
    }

    /// Makes the two endpoints of webhooks.
    async fn prepare(&self) -> anyhow::Result<()> {
        let every = json!({
            "url": self.hooks.url("every"), "max_concurrency": 8,
            "event_types": [
                "message.accepted", "message.delivered", "message.deferred", "message.bounced",
                "message.failed", "message.expired", "message.recovered", "message.opened",
            ],
        });
        let ordered = json!({
            "url": self.hooks.url("ordered"), "ordered": true,
            "event_types": ["message.delivered"],
        });
        for webhook in [every, ordered] {
            let url = format!("http://{}/v1/webhooks", self.doors.rest);
            let made = wait::until("a webhook is made", async || {
                let request = reqwest::Client::new().post(&url).bearer_auth(&self.doors.key);
                let answer = request.json(&webhook).send().await?;
                // Just after the start the gateway may not have reached its core yet, and the core
                // that did not make the key learns of it in half a second.
                let early = [401, 503].contains(&answer.status().as_u16());
                Ok((!early).then_some(answer))
            });
            let made = made.await?;
            ensure!(made.status() == 201, "{} {}", made.status(), made.text().await?);
        }
        Ok(())
    }

    /// What is behind a path of `/v1`.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = reqwest::Client::new().get(format!("http://{}{path}", self.doors.rest));
        let answer = request.bearer_auth(&self.doors.key).send().await?;
        ensure!(answer.status() == 200, "{path}: {}", answer.status());
        Ok(answer.json().await?)
    }

    /// What the cores stand on.
    pub(crate) fn ground(&mut self) -> &mut Ground {
        self.ground.as_mut().expect("roles of their own stand on a ground")
    }

    /// The process of this name.
    pub(crate) fn process(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        self.processes.iter_mut().find(|one| one.name == name).context("no such process")
    }
}

/// What every core is told.
fn core_vars<'a>(relay: &'a str, edge: &'a str) -> [(&'a str, &'a str); 12] {
    [
        ("POSTERN_GATEWAY_TOKEN", TOKEN),
        ("POSTERN_TRACKING_KEYS", TRACKING_KEYS),
        ("POSTERN_TRACKING_URL", edge),
        ("POSTERN_TRACKING_SYNC_BEFORE_ANSWER", "on"),
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", relay),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_RETRY_DELAYS", "1s"),
        ("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow"),
        ("POSTERN_WEBHOOKS_RETRY_PERCENT", "0"),
        ("POSTERN_DATABASE_TIMEOUT", "2s"),
        ("POSTERN_LOG_FORMAT", "json"),
    ]
}

fn gateways(host: Host, core: &str, redis: &str) -> anyhow::Result<Vec<Process>> {
    let roles = [
        ("rest", "rest", "POSTERN_REST_LISTEN", REST),
        ("smtp", "smtp", "POSTERN_SMTP_LISTEN", SMTP),
        ("edge", "tracker", "POSTERN_TRACKER_LISTEN", EDGE),
    ];
    let gateway = |(place, (name, role, listen, port)): (usize, (_, &str, _, u16))| {
        let (listens, ops) = (host.at(port), host.at(OPS + 10 + place as u16));
        let mut vars = vec![
            ("POSTERN_GATEWAY_TOKEN", TOKEN),
            ("POSTERN_CORE_URL", core),
            ("POSTERN_METRICS_LISTEN", ops.as_str()),
            (listen, listens.as_str()),
            ("POSTERN_LOG_FORMAT", "json"),
        ];
        match role {
            "smtp" => vars.extend([
                ("POSTERN_SMTPS_LISTEN", "off"),
                ("POSTERN_SMTP_PLAIN_AUTH", "on"),
                ("REDIS_URL", redis),
            ]),
            "tracker" => vars.extend([
                ("POSTERN_TRACKING_KEYS", TRACKING_KEYS),
                ("POSTERN_TRACKER_DATA", "journal"),
            ]),
            _ => {}
        }
        process(name, &[role], &listens, &vars)
    };
    roles.into_iter().enumerate().map(gateway).collect()
}

fn process(
    name: &'static str,
    role: &[&str],
    listens: &str,
    vars: &[(&str, &str)],
) -> anyhow::Result<Process> {
    let binary = binary();
    let command = [&[binary.to_str().context("a path is UTF-8")?], role].concat();
    Process::new(name, &command, listens.to_owned(), vars)
}

fn doors(host: Host, grpc: String, key: String) -> Doors {
    Doors { rest: host.at(REST), grpc, smtp: host.at(SMTP), edge: host.at(EDGE), key }
}

fn first_key(log: &str) -> Option<String> {
    let line = log.lines().find_map(|line| line.strip_prefix("first API key, shown only now: "));
    line.map(|key| key.trim().to_owned())
}
