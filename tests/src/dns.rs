//! A name server on loopback that knows the test domains; see `py/dns_server.py`.

use crate::peer::Peer;

/// Starts it; the value for `POSTERN_DNS_SERVERS` is `127.0.0.1:<port>`.
pub async fn start() -> anyhow::Result<Peer> {
    Peer::start("dns_server.py", 0, &[]).await
}
