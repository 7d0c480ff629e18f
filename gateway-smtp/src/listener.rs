//! Accepts connections: finds out who the client is, gives it a seat, and starts its session.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use postern_kit::net::{customer, is_in};
use postern_proto::settings::{
    SMTP_COMMAND_TIME_MAX, SMTP_CONNECTIONS_MAX, SMTP_CONNECTIONS_PER_ADDRESS_MAX,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Door;
use crate::connection::{self, Io};
use crate::reply::Reply;
use crate::seats::{Full, Seat};
use crate::session::{Identity, Rules, Session};
use crate::{Shared, proxy};

/// How long accepting rests after it failed.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// Accepts until `stop`. A connection that cannot be served ends; the listener goes on.
pub(crate) async fn accept(
    shared: Arc<Shared>,
    door: Door,
    listener: TcpListener,
    connections: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (shared, stop) = (shared.clone(), stop.clone());
                connections.spawn(async move { admit(shared, door, stream, peer, stop).await });
            }
            Err(error) => {
                // Out of descriptors, or the client left early: neither is a reason to stop.
                tracing::warn!(%error, "cannot accept a connection");
                // The reason is still there the next moment; ask again when it may have gone.
                let pause = tokio::time::sleep(ACCEPT_PAUSE);
                if stop.run_until_cancelled(pause).await.is_none() {
                    return;
                }
            }
        }
    }
}

async fn admit(
    shared: Arc<Shared>,
    door: Door,
    mut stream: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    let mut client = peer.ip().to_canonical();
    let mut is_balancer = false;
    if is_in(&shared.config.proxy_networks, client) {
        match proxy::read(&mut stream).await {
            Ok(Some(address)) => client = address.ip().to_canonical(),
            // It speaks for itself, or does not say for whom: what its own address may do counts for
            // nothing then.
            Ok(None) => is_balancer = true,
            Err(error) => {
                tracing::info!(proxy.ip = %client, %error, "connection refused");
                return;
            }
        }
    }
    // Replies are small and waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set nodelay");
    }
    let Some(seat) = seat(&shared, door, client, &mut stream).await else { return };
    let Some(io) = encrypted(&shared, door, client, stream).await else { return };
    let session =
        Session::new(rules(&shared, door, (!is_balancer).then_some(client)), shared.live.now());
    connection::run(&shared, session, io, client, &stop).await;
    drop(seat);
}

async fn seat(shared: &Shared, door: Door, client: IpAddr, stream: &mut TcpStream) -> Option<Seat> {
    let settings = shared.live.now();
    let total_max = settings.count(&SMTP_CONNECTIONS_MAX);
    let customer_max = settings.count(&SMTP_CONNECTIONS_PER_ADDRESS_MAX);
    match shared.seats.take(customer(client), total_max, customer_max) {
        Ok(seat) => Some(seat),
        Err(full) => {
            let (limit, text) = match full {
                Full::Total => ("connections", "too many connections; try again in a moment"),
                Full::Customer => (
                    "connections_per_address",
                    "too many connections from your address; close some or try later",
                ),
            };
            shared.metrics.limited(limit);
            tracing::info!(client.ip = %client, ?full, "connection refused");
            if door != Door::ImplicitTls {
                let mut out = Vec::new();
                Reply::new(421, "4.7.0", text).write(&mut out);
                shared.metrics.replied(&out);
                let _gone = stream.write_all(&out).await;
            }
            None
        }
    }
}

async fn encrypted(shared: &Shared, door: Door, client: IpAddr, stream: TcpStream) -> Option<Io> {
    if door != Door::ImplicitTls {
        return Some(Io::Plain(stream));
    }
    let Some(tls) = &shared.tls else {
        tracing::error!("a listener with implicit TLS needs POSTERN_SMTP_TLS_CERT");
        return None;
    };
    let limit = shared.live.now().time(&SMTP_COMMAND_TIME_MAX);
    match tokio::time::timeout(limit, tls.acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Io::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(client.ip = %client, %error, "TLS failed");
            None
        }
        Err(_) => None,
    }
}

/// What the client may do before it has said anything; none is a client whose address is not known.
fn rules(shared: &Shared, door: Door, client: Option<IpAddr>) -> Rules {
    let config = &shared.config;
    let trusted = client.is_some_and(|client| is_in(&config.trusted_networks, client));
    let known = match (door, &config.trusted_key) {
        (Door::Sink, _) => Some(anonymous("", "sink")),
        (_, Some(key)) if trusted => Some(anonymous(&key.0, "trusted network")),
        _ => None,
    };
    let encrypted = door == Door::ImplicitTls;
    let plain_auth = config.plain_auth && client.is_some_and(|client| client.is_loopback());
    Rules {
        hostname: config.hostname.as_str().into(),
        starttls: door == Door::StartTls && shared.tls.is_some(),
        auth: encrypted || (plain_auth && door == Door::StartTls),
        known,
        normalize_line_ends: config.normalize_line_ends || door == Door::Sink,
    }
}

fn anonymous(authorization: &str, id: &str) -> Identity {
    Identity {
        authorization: authorization.into(),
        id: id.into(),
        sender_domains: [].into(),
        rate_limit: 0,
        header_aliases: [].into(),
        ip_allow: [].into(),
        login_sender: None,
    }
}
