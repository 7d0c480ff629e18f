//! Debian's `pebble`: an authority that speaks ACME, for one test, with a name server that leads every name
//! it is asked for to this machine.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;
use postern_kit::tls::{self, CertFiles};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::dns::Zone;
use crate::wait;

/// A running authority.
#[derive(Debug)]
pub struct Authority {
    /// Its directory.
    pub url: String,
    /// The root with which its own server is checked.
    pub ca: PathBuf,
    /// Where it looks for HTTP-01 and TLS-ALPN-01, instead of 80 and 443.
    pub ports: [u16; 2],
    folder: TempDir,
    listen: String,
    zone: Zone,
    child: Child,
}

impl Authority {
    /// Starts one for these names, whose certificates live for so many seconds.
    pub async fn start(names: &[&str], life_seconds: u32) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let zone = Zone::start().await?;
        let here = |name: &&str| ((*name).to_owned(), json!({"A": ["127.0.0.1"]}));
        zone.publish(&serde_json::Value::Object(names.iter().map(here).collect()))?;
        let [listen, manage, http, tls] = free_ports()?;
        let own =
            tls::self_signed(folder.path(), &["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let CertFiles { cert, key } = own;
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{manage}"),
            "certificate": cert, "privateKey": key, "httpPort": http, "tlsPort": tls,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
            "certificateValidityPeriod": life_seconds,
        }});
        std::fs::write(folder.path().join("config.json"), config.to_string())?;
        let listen = format!("127.0.0.1:{listen}");
        let child = child(&folder, &zone)?;
        let url =
            format!("https://localhost:{}/dir", listen.rsplit(':').next().unwrap_or_default());
        let authority = Self { url, ca: cert, ports: [http, tls], folder, listen, zone, child };
        authority.listens().await?;
        Ok(authority)
    }

    async fn listens(&self) -> anyhow::Result<()> {
        let open = async || Ok(tokio::net::TcpStream::connect(&self.listen).await.ok().map(drop));
        wait::until("pebble listens", open).await
    }

    /// It is gone.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot stop pebble")
    }

    /// It is there again, and remembers nobody.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = child(&self.folder, &self.zone)?;
        self.listens().await
    }
}

fn child(folder: &TempDir, zone: &Zone) -> anyhow::Result<Child> {
    let mut command = Command::new("pebble");
    command.arg("-config").arg(folder.path().join("config.json"));
    command.args(["-dnsserver", &zone.server(), "-strict=false"]);
    // By itself it waits before it looks, and finds fault with good requests now and then.
    command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().context("install pebble")
}

/// Four ports that nobody had a moment ago.
fn free_ports() -> anyhow::Result<[u16; 4]> {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0");
    let held = [bind()?, bind()?, bind()?, bind()?];
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
