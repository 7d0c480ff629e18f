//! The real binary as a child process with a data folder of its own, spoken to through its doors.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use postern_kit::env::Env;
use postern_proto::v1::event_service_client::EventServiceClient;
use postern_proto::v1::message_service_client::MessageServiceClient;
use postern_proto::v1::{EmailAddress, OutgoingMessage, Recipient, SendMessageRequest};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tonic::transport::Channel;

use crate::answer::Answer;
use crate::wait;

/// A running system. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct Stack {
    child: Child,
    vars: Vec<(String, String)>,
    data: TempDir,
    http: reqwest::Client,
    /// Where the REST gateway is: `http://127.0.0.1:port`.
    pub rest: String,
    /// Where the tracking edge is: `http://127.0.0.1:port`.
    pub tracker: String,
    /// Where gRPC is: `127.0.0.1:port`.
    pub grpc: String,
    /// Where the SMTP gateway is, with STARTTLS, with implicit TLS, and as a plain sink.
    pub smtp: SmtpPorts,
    /// The first API key, which may do everything.
    pub key: String,
    /// A gRPC channel.
    pub channel: Channel,
}

/// The ports of the SMTP gateway on 127.0.0.1.
#[derive(Debug, Clone, Copy, Default)]
pub struct SmtpPorts {
    /// STARTTLS.
    pub starttls: u16,
    /// Implicit TLS.
    pub tls: u16,
    /// The plain sink.
    pub sink: u16,
}

struct Addresses {
    smtp: SmtpPorts,
    rest: String,
    tracker: String,
    grpc: String,
    key: String,
}

impl Stack {
    /// Starts it with these variables and waits until it is ready.
    pub async fn start(vars: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_in(tempfile::tempdir()?, vars).await
    }

    /// Starts another one over the same PostgreSQL, whose first key is known.
    pub async fn join(vars: &[(&str, &str)], key: &str) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        std::fs::write(data.path().join("first-api-key"), key)?;
        Self::start_in(data, vars).await
    }

    async fn start_in(data: TempDir, vars: &[(&str, &str)]) -> anyhow::Result<Self> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let vars: Vec<_> = vars.iter().map(own).collect();
        let (child, addresses) = spawn(&vars, data.path()).await?;
        let stack = Self {
            child,
            vars,
            data,
            http: reqwest::Client::new(),
            rest: addresses.rest,
            tracker: addresses.tracker,
            channel: connect(&addresses.grpc)?,
            grpc: addresses.grpc,
            smtp: addresses.smtp,
            key: addresses.key,
        };
        stack.wait_ready().await?;
        Ok(stack)
    }

    /// Starts the process again over the same data, on new ports.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let (child, addresses) = spawn(&self.vars, self.data.path()).await?;
        self.child = child;
        self.channel = connect(&addresses.grpc)?;
        (self.rest, self.grpc) = (addresses.rest, addresses.grpc);
        (self.smtp, self.tracker) = (addresses.smtp, addresses.tracker);
        ensure!(addresses.key == self.key, "the first key changed");
        self.wait_ready().await
    }

    /// Kills the process as a power cut would and waits until it is gone.
    pub async fn kill_9(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill postern")
    }

    /// Asks the process to stop; returns at once.
    pub async fn sigterm(&self) -> anyhow::Result<()> {
        let id = self.child.id().context("postern is not running")?;
        let killed = Command::new("kill").args(["-TERM", &id.to_string()]).status();
        ensure!(killed.await?.success(), "kill -TERM failed");
        Ok(())
    }

    /// Takes the disk away from the process, as far as it would write to it, or gives it back.
    pub async fn fill_disk(&self, full: bool) -> anyhow::Result<()> {
        let id = self.child.id().context("postern is not running")?.to_string();
        // No file may have a byte: the soft limit, which can be raised again.
        let limit = if full { "--fsize=0:" } else { "--fsize=unlimited:" };
        let set = Command::new("prlimit").args(["--pid", &id, limit]).status();
        ensure!(set.await?.success(), "prlimit failed");
        Ok(())
    }

    /// Waits until the process ends.
    pub async fn wait_exit(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let exit = tokio::time::timeout(limit, self.child.wait()).await;
        Ok(exit.context("postern did not stop in time")??)
    }

    /// Runs `postern <args…>` as the operator beside the running system.
    pub async fn operator(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(binary());
        let core = format!("http://{}", self.grpc);
        command
            .args(args)
            .args(["--core", &core])
            .env_clear()
            .env("POSTERN_DATA", self.data.path())
            .kill_on_drop(true);
        Ok(tokio::time::timeout(wait::LIMIT, command.output()).await??)
    }

    /// GET with the first key.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        Answer::read(self.raw(Method::GET, path).bearer_auth(&self.key).send().await?).await
    }

    /// The body behind a path as text, with the first key.
    pub async fn get_text(&self, path: &str) -> anyhow::Result<String> {
        let response = self.raw(Method::GET, path).bearer_auth(&self.key).send().await?;
        Ok(response.error_for_status()?.text().await?)
    }

    /// POST of JSON with the first key.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.post_with(path, body, &[]).await
    }

    /// POST of JSON with the first key and further header fields.
    pub async fn post_with(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let mut request = self.raw_post(path).bearer_auth(&self.key).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.send().await?).await
    }

    /// A POST to finish as one likes; without a key.
    pub fn raw_post(&self, path: &str) -> reqwest::RequestBuilder {
        self.raw(Method::POST, path)
    }

    /// A request to finish as one likes; without a key.
    pub fn raw(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.rest))
    }

    /// Sends over REST; the message must be accepted. Returns its id.
    pub async fn send(&self, message: &Value) -> anyhow::Result<String> {
        let answer = self.post("/v1/messages", message).await?;
        ensure!(answer.status == 202, "{answer:?}");
        Ok(answer.text("id").to_owned())
    }

    /// Sends a small mail over REST to an address. Returns its id.
    pub async fn send_to(&self, recipient: &str) -> anyhow::Result<String> {
        self.send(&mail_to(recipient)).await
    }

    /// The message as REST shows it.
    pub async fn message(&self, id: &str) -> anyhow::Result<Value> {
        let answer = self.get(&format!("/v1/messages/{id}")).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.body)
    }

    /// Waits until the only recipient of a message is in this state; returns the message.
    pub async fn wait_state(&self, id: &str, state: &str) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let found = wait::until("the state", async || {
            last = self.message(id).await?;
            let now = last["recipients"][0]["state"].as_str();
            Ok((now == Some(state)).then(|| last.clone()))
        })
        .await;
        found.with_context(|| format!("{id} is not {state}: {last}"))
    }

    /// The events of a message, oldest first.
    pub async fn events(&self, id: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.get(&format!("/v1/events?message_id={id}&page_size=1000")).await?;
        let events = answer.body["events"].as_array();
        events.cloned().with_context(|| format!("{answer:?}"))
    }

    /// A client of the message service.
    pub fn messages(&self) -> MessageServiceClient<Channel> {
        MessageServiceClient::new(self.channel.clone())
    }

    /// A client of the event service.
    pub fn event_service(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone())
    }

    /// A gRPC request with the first key.
    pub fn request<T>(&self, message: T) -> anyhow::Result<tonic::Request<T>> {
        request_with(message, &self.key)
    }

    /// Sends a small mail over gRPC to an address. Returns its id.
    pub async fn grpc_send_to(&self, recipient: &str) -> anyhow::Result<String> {
        let request = self.request(SendMessageRequest {
            message: Some(outgoing(recipient)),
            ..SendMessageRequest::default()
        })?;
        let sent = self.messages().send_message(request).await?.into_inner();
        Ok(sent.message.unwrap_or_default().id)
    }

    /// Where its data and its log are.
    pub fn folder(&self) -> &Path {
        self.data.path()
    }

    /// Everything it has logged.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.data.path().join("test-log"))?)
    }

    /// Runs an operator's command that must succeed and print JSON.
    pub async fn operate(&self, args: &[&str]) -> anyhow::Result<Value> {
        let output = self.operator(&[args, &["--json"]].concat()).await?;
        ensure!(output.status.success(), "{args:?}: {output:?}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The newest mail in the local inbox to an address, as it came; waits for it.
    pub async fn caught(&self, recipient: &str) -> anyhow::Result<String> {
        let list = format!("/v1/sink/messages?recipient={recipient}");
        let id = wait::until("a caught mail", async || {
            let answer = self.get(&list).await?;
            Ok(answer.body["messages"][0]["id"].as_str().map(str::to_owned))
        });
        self.get_text(&format!("/v1/sink/messages/{}/raw", id.await?)).await
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.rest);
        wait::until("readyz", async || {
            let answer = self.http.get(&url).send().await;
            Ok(answer.is_ok_and(|answer| answer.status() == 200).then_some(()))
        })
        .await
    }
}

/// A small mail as REST takes it.
pub fn mail_to(recipient: &str) -> Value {
    json!({"from": "Shop <hi@shop.test>", "to": recipient, "subject": "Hello", "text": "It works."})
}

/// A small mail as gRPC takes it.
pub fn outgoing(recipient: &str) -> OutgoingMessage {
    OutgoingMessage {
        from: Some(EmailAddress {
            email: "hi@shop.test".to_owned(),
            display_name: "Shop".to_owned(),
        }),
        to: vec![Recipient { email: recipient.to_owned(), ..Recipient::default() }],
        subject: "Hello".to_owned(),
        text: "It works.".to_owned(),
        ..OutgoingMessage::default()
    }
}

/// A gRPC request with a key.
pub fn request_with<T>(message: T, key: &str) -> anyhow::Result<tonic::Request<T>> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer {key}").parse()?;
    request.metadata_mut().insert("authorization", value);
    request.set_timeout(wait::LIMIT);
    Ok(request)
}

/// The binary under test.
pub fn binary() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/debug/postern");
    PathBuf::from(Env::process().text("POSTERN_BIN", default))
}

fn connect(grpc: &str) -> anyhow::Result<Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{grpc}"))?;
    Ok(endpoint.connect_lazy())
}

async fn spawn(vars: &[(String, String)], data: &Path) -> anyhow::Result<(Child, Addresses)> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(data.join("test-log"))?;
    let binary = binary();
    // With the signal ignored, a write over the limit of `fill_disk` fails as on a full disk.
    let mut child = Command::new("env")
        .arg("--ignore-signal=XFSZ")
        .arg(&binary)
        .env_clear()
        .env("PATH", Env::process().text("PATH", "/usr/bin:/bin"))
        .env("POSTERN_METRICS_LISTEN", "127.0.0.1:0")
        .env("POSTERN_GRPC_LISTEN", "127.0.0.1:0")
        .env("POSTERN_REST_LISTEN", "127.0.0.1:0")
        .env("POSTERN_TRACKER_LISTEN", "127.0.0.1:0")
        .env("POSTERN_SMTP_LISTEN", "127.0.0.1:0")
        .env("POSTERN_SMTPS_LISTEN", "127.0.0.1:0")
        .env("POSTERN_SMTP_SINK_LISTEN", "127.0.0.1:0")
        .env("POSTERN_DATA", data)
        .envs(vars.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}; set POSTERN_BIN", binary.display()))?;
    let out: ChildStdout = child.stdout.take().context("stdout is piped")?;
    let mut lines = BufReader::new(out).lines();
    let read = tokio::time::timeout(wait::LIMIT, addresses(&mut lines)).await;
    let addresses = match read {
        Ok(Ok(addresses)) => addresses,
        other => {
            let log = std::fs::read_to_string(data.join("test-log")).unwrap_or_default();
            bail!("postern did not start: {:?}\n{log}", other.map(|_| ()));
        }
    };
    // Read on, so that a full pipe never stops the process under test.
    tokio::spawn(async move { while let Ok(Some(_line)) = lines.next_line().await {} });
    Ok((child, addresses))
}

/// Reads the welcome.
async fn addresses<R: AsyncRead + Unpin>(
    lines: &mut Lines<BufReader<R>>,
) -> anyhow::Result<Addresses> {
    let (mut rest, mut grpc, mut smtp) = (None, None, SmtpPorts::default());
    let mut tracker = None;
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["REST", url, ..] => rest = url.strip_suffix("/v1").map(str::to_owned),
            ["tracking", url, ..] => tracker = Some((*url).to_owned()),
            ["gRPC", addr] => grpc = Some((*addr).to_owned()),
            ["SMTP", addr, ..] => smtp.starttls = port(addr)?,
            ["SMTPS", addr] => smtp.tls = port(addr)?,
            ["sink", addr, ..] => smtp.sink = port(addr)?,
            ["API", "key", key] => {
                return Ok(Addresses {
                    smtp,
                    rest: rest.context("no REST line")?,
                    tracker: tracker.context("no tracking line")?,
                    grpc: grpc.context("no gRPC line")?,
                    key: (*key).to_owned(),
                });
            }
            _ => {}
        }
    }
    bail!("it ended without a welcome")
}

fn port(address: &str) -> anyhow::Result<u16> {
    let port = address.rsplit(':').next().unwrap_or_default();
    port.parse().with_context(|| format!("{address} has no port"))
}
