//! From an address to a server that has answered EHLO: TCP, greeting, STARTTLS, AUTH.
//!
//! Every failure here is about the server and not about the mail, so the next server may be tried.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use postern_proto::settings::{
    Definition, SMTP_TIMEOUT_CONNECT, SMTP_TIMEOUT_EHLO, SMTP_TIMEOUT_GREETING,
};
use postern_smtp_wire::command::Command;
use postern_smtp_wire::extension::Extensions;
use postern_smtp_wire::reply::Reply;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout};

use super::config::{Login, TlsPolicy};
use super::judge::{Peer, better};
use super::session::Session;
use super::wire::{Broken, Wire};
use crate::in_force::InForce;
use crate::model::delivery::{Category, Outcome, Phase};

/// The most addresses of one host that are tried.
pub(super) const ADDRESSES_MAX: usize = 8;

/// A server and how it is to be talked to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: TlsPolicy,
    pub(super) login: Option<Login>,
    /// `None`: ask the system when a connection is opened.
    pub(super) addresses: Option<Vec<IpAddr>>,
}

impl Target {
    /// Targets with one key share their connections.
    pub(super) fn key(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Opens connections.
pub(super) struct Connector {
    pub(super) helo_name: String,
    /// How long to wait for the other side. Each time covers one whole reply, however slowly it trickles.
    pub(super) settings: InForce,
    /// Used where no certificate is asked for.
    pub(super) unverified: Arc<ClientConfig>,
    /// Used where one is.
    pub(super) verified: Arc<ClientConfig>,
}

/// Why one attempt at a server did not lead to a session.
enum Failed {
    Final(Outcome),
    /// The server offers TLS and cannot do it: once more without.
    Handshake(Outcome),
}

impl Connector {
    /// Tries the addresses of a target in turn, and begins no further try after `until`.
    pub(super) async fn open(&self, target: &Target, until: Instant) -> Result<Session, Outcome> {
        let mut failure = None;
        for address in self.addresses(target).await?.into_iter().take(ADDRESSES_MAX) {
            match self.open_at(target, address).await {
                Ok(session) => return Ok(session),
                Err(outcome) => failure = Some(better(failure, outcome)),
            }
            if Instant::now() >= until {
                break;
            }
        }
        let peer = Peer { host: target.host.clone(), tls: "" };
        let none = || peer.defer(Category::DnsFailure, "4.4.3", "no address", Phase::Dns);
        Err(failure.unwrap_or_else(none))
    }

    fn limit(&self, timeout: &Definition) -> Duration {
        self.settings.now().time(timeout)
    }

    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, Outcome> {
        if let Some(addresses) = &target.addresses {
            return Ok(addresses.iter().map(|ip| SocketAddr::new(*ip, target.port)).collect());
        }
        if let Ok(ip) = target.host.parse() {
            return Ok(vec![SocketAddr::new(ip, target.port)]);
        }
        let lookup = tokio::net::lookup_host((target.host.as_str(), target.port));
        let found = timeout(self.limit(&SMTP_TIMEOUT_CONNECT), lookup).await;
        match found.map_err(|_| "timed out".to_owned()) {
            Ok(Ok(found)) => Ok(found.collect()),
            Ok(Err(error)) => Err(lookup_failed(target, &error.to_string())),
            Err(error) => Err(lookup_failed(target, &error)),
        }
    }

    async fn open_at(&self, target: &Target, address: SocketAddr) -> Result<Session, Outcome> {
        let policy = target.tls;
        match self.attempt(target, address, policy).await {
            Ok(session) => Ok(session),
            Err(Failed::Handshake(_)) if policy == TlsPolicy::Opportunistic => {
                let plain = self.attempt(target, address, TlsPolicy::Off).await;
                plain.map_err(|failed| match failed {
                    Failed::Final(outcome) | Failed::Handshake(outcome) => outcome,
                })
            }
            Err(Failed::Final(outcome) | Failed::Handshake(outcome)) => Err(outcome),
        }
    }

    async fn attempt(
        &self,
        target: &Target,
        address: SocketAddr,
        policy: TlsPolicy,
    ) -> Result<Session, Failed> {
        let mut peer = Peer { host: format!("{} [{}]", target.host, address.ip()), tls: "" };
        let tcp = match timeout(self.limit(&SMTP_TIMEOUT_CONNECT), TcpStream::connect(address))
            .await
        {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => return Err(fail(&peer, &Broken::Io(error.kind()), Phase::Connect)),
            Err(_) => return Err(fail(&peer, &Broken::Timeout, Phase::Connect)),
        };
        // Commands are written in groups already; waiting to join them only adds delay.
        let _ = tcp.set_nodelay(true);
        let mut wire = Wire::new(tcp);
        if policy == TlsPolicy::Implicit {
            wire = self.encrypt(wire, target, &mut peer, policy).await?;
        }
        let limit = self.limit(&SMTP_TIMEOUT_GREETING);
        let greeting = wire.reply(limit).await;
        let greeting = greeting.map_err(|broken| fail(&peer, &broken, Phase::Connect))?;
        if greeting.code != 220 {
            return Err(turned_away(&peer, &greeting, Phase::Connect));
        }
        let mut offered = self.ehlo(&mut wire, &peer).await?;
        if matches!(policy, TlsPolicy::Opportunistic | TlsPolicy::Required) {
            (wire, offered) = self.start_tls(wire, offered, target, &mut peer, policy).await?;
        }
        if let Some(login) = &target.login {
            let secret = !peer.tls.is_empty() || address.ip().is_loopback();
            self.log_in(&mut wire, &offered, &peer, login, secret).await?;
        }
        let (settings, now) = (self.settings.clone(), Instant::now());
        let (opened, used) = (now, now);
        let (mails, dirty, usable) = (0, false, true);
        Ok(Session { wire, offered, peer, settings, opened, used, mails, dirty, usable })
    }

    /// EHLO, or HELO where EHLO is not known (RFC 5321 §3.2).
    async fn ehlo(&self, wire: &mut Wire, peer: &Peer) -> Result<Extensions, Failed> {
        let limit = self.limit(&SMTP_TIMEOUT_EHLO);
        let reply = ask(wire, peer, Command::Ehlo(&self.helo_name), limit, Phase::Ehlo).await?;
        if reply.is_success() {
            return Ok(Extensions::parse(&reply));
        }
        if reply.code / 100 != 5 {
            return Err(turned_away(peer, &reply, Phase::Ehlo));
        }
        let reply = ask(wire, peer, Command::Helo(&self.helo_name), limit, Phase::Ehlo).await?;
        if !reply.is_success() {
            return Err(turned_away(peer, &reply, Phase::Ehlo));
        }
        Ok(Extensions::default())
    }

    async fn start_tls(
        &self,
        mut wire: Wire,
        offered: Extensions,
        target: &Target,
        peer: &mut Peer,
        policy: TlsPolicy,
    ) -> Result<(Wire, Extensions), Failed> {
        let required = policy == TlsPolicy::Required;
        if !offered.starttls {
            let text = "TLS is required and the server does not offer it";
            let missing = || peer.defer(Category::Tls, "4.7.10", text, Phase::StartTls);
            return if required { Err(Failed::Final(missing())) } else { Ok((wire, offered)) };
        }
        let limit = self.limit(&SMTP_TIMEOUT_EHLO);
        let reply = ask(&mut wire, peer, Command::StartTls, limit, Phase::StartTls).await?;
        // Bytes behind the reply were not protected by TLS; somebody may have put them there to be
        // taken for replies inside it (CVE-2011-0411 and its kin).
        if wire.has_unread() {
            let text = "the server sent more than its reply to STARTTLS";
            let outcome = peer.defer(Category::Protocol, "4.5.0", text, Phase::StartTls);
            return Err(Failed::Final(outcome));
        }
        if reply.code != 220 {
            return if required || reply.code == 421 {
                Err(turned_away(peer, &reply, Phase::StartTls))
            } else {
                Ok((wire, offered))
            };
        }
        wire = self.encrypt(wire, target, peer, policy).await?;
        // What was offered in clear is forgotten (RFC 3207 §4.2).
        let offered = self.ehlo(&mut wire, peer).await?;
        Ok((wire, offered))
    }

    async fn encrypt(
        &self,
        wire: Wire,
        target: &Target,
        peer: &mut Peer,
        policy: TlsPolicy,
    ) -> Result<Wire, Failed> {
        let name = ServerName::try_from(target.host.trim_end_matches('.').to_owned());
        let failed = |broken| Failed::Handshake(peer.broken(&broken, Phase::StartTls, false));
        let name = name.map_err(|error| failed(Broken::Tls(error.to_string())))?;
        let opportunistic = policy == TlsPolicy::Opportunistic;
        let config = if opportunistic { &self.unverified } else { &self.verified };
        let wire = wire.encrypt(config.clone(), name, self.limit(&SMTP_TIMEOUT_GREETING)).await;
        let wire = wire.map_err(failed)?;
        peer.tls = wire.tls_version();
        Ok(wire)
    }

    /// AUTH PLAIN or LOGIN (RFC 4954). A wrong password is for the operator to mend, so the mail
    /// waits.
    async fn log_in(
        &self,
        wire: &mut Wire,
        offered: &Extensions,
        peer: &Peer,
        login: &Login,
        secret: bool,
    ) -> Result<(), Failed> {
        let refuse = |text: &str| {
            Failed::Final(peer.defer(Category::AuthFailed, "4.7.8", text, Phase::Auth))
        };
        if !secret {
            return Err(refuse("the password is not sent without TLS"));
        }
        let limit = self.limit(&SMTP_TIMEOUT_EHLO);
        let (user, password) = (login.user.as_str(), login.password.as_str());
        let mut reply;
        if offered.auth_plain {
            let command = Command::AuthPlain { user, password };
            reply = ask(wire, peer, command, limit, Phase::Auth).await?;
        } else if offered.auth_login {
            reply = ask(wire, peer, Command::AuthLogin, limit, Phase::Auth).await?;
            for answer in [user, password] {
                if reply.code != 334 {
                    break;
                }
                reply = ask(wire, peer, Command::AuthAnswer(answer), limit, Phase::Auth).await?;
            }
        } else {
            return Err(refuse("the server offers neither AUTH PLAIN nor AUTH LOGIN"));
        }
        if reply.code == 235 {
            return Ok(());
        }
        let record = peer.record(&reply, Phase::Auth);
        let category = Category::AuthFailed;
        Err(Failed::Final(Outcome::Deferred { reply: record, category, may_duplicate: false }))
    }
}

async fn ask(
    wire: &mut Wire,
    peer: &Peer,
    command: Command<'_>,
    limit: Duration,
    phase: Phase,
) -> Result<Reply, Failed> {
    wire.say(command, limit).await.map_err(|broken| fail(peer, &broken, phase))?;
    wire.reply(limit).await.map_err(|broken| fail(peer, &broken, phase))
}

fn fail(peer: &Peer, broken: &Broken, phase: Phase) -> Failed {
    Failed::Final(peer.broken(broken, phase, false))
}

/// The server does not want to talk. Only 521 and 556 mean that it never will (RFC 7504); other
/// refusals at this point are usually about our address and pass.
fn turned_away(peer: &Peer, reply: &Reply, phase: Phase) -> Failed {
    Failed::Final(match peer.refused(reply, phase) {
        Outcome::Refused { reply: record, category } if !matches!(reply.code, 521 | 556) => {
            Outcome::Deferred { reply: record, category, may_duplicate: false }
        }
        other => other,
    })
}

fn lookup_failed(target: &Target, why: &str) -> Outcome {
    let peer = Peer { host: target.host.clone(), tls: "" };
    peer.defer(Category::DnsFailure, "4.4.3", &format!("no address: {why}"), Phase::Dns)
}
