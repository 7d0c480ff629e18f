//! HTTP to where somebody else says: never into our own network.
//!
//! Names are resolved here and every address is looked at before a connection is made to it, each
//! time anew, so a name that changes its mind (DNS rebinding) gains nothing. Redirects are answers.
//! State: connections kept open and a DNS cache; a crash loses both and nothing else.

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use postern_proto::link::target::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use url::{Host, Url};

use crate::model::webhook::ErrorClass;
use crate::transport::dns::{Dns, DnsError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More of an answer is not read.
pub const ANSWER_OCTETS_MAX: usize = 64 << 10;
/// Idle connections of one host that are kept.
const IDLE_MAX: usize = 64;
const PROBLEM_CHARS_MAX: usize = 300;

/// What all HTTP clients of the core are made from: nobody is connected to for longer than a few
/// seconds, nothing goes through a proxy, and a redirect is an answer. Where the operator says, this is
/// all; where somebody else does, use [`Outgoing`].
pub fn builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
    builder.redirect(Policy::none()).no_proxy()
}

/// The body of an answer; none when it has more than `max` octets.
pub async fn body(
    response: &mut reqwest::Response,
    max: usize,
) -> Result<Option<BytesMut>, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// What went wrong at last, for people: the innermost cause, which names neither the url nor anything
/// that was sent.
pub fn cause(error: &reqwest::Error) -> String {
    let Some(mut inner) = error.source() else { return "the request failed".to_owned() };
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string().chars().filter(|c| !c.is_control()).take(PROBLEM_CHARS_MAX).collect()
}

/// Something that went wrong before there was an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failed {
    /// What kind.
    pub class: ErrorClass,
    /// For people.
    pub text: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, at most [`ANSWER_OCTETS_MAX`].
    pub body: Bytes,
}

/// A guarded HTTP client.
#[derive(Clone)]
pub struct Outgoing {
    http: reqwest::Client,
    allow_private: bool,
}

impl Outgoing {
    /// A client. `allow_private` lets it into private networks and speak plain HTTP: for
    /// installations whose receivers are their own.
    pub fn new(dns: Arc<dyn Dns>, allow_private: bool, user_agent: &str) -> Result<Self, Failed> {
        let http = builder()
            .dns_resolver(Arc::new(Guard { dns, allow_private }))
            .pool_max_idle_per_host(IDLE_MAX)
            .user_agent(user_agent)
            .build()
            .map_err(|error| explain(&error))?;
        Ok(Self { http, allow_private })
    }

    /// Whether a url may be asked at all. Where a name leads is only known when it is.
    pub fn check(&self, url: &Url) -> Result<(), Failed> {
        let blocked = |text: &str| Failed { class: ErrorClass::Blocked, text: text.to_owned() };
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private => {}
            "http" => return Err(blocked("http is not allowed: use https")),
            _ => return Err(blocked("is neither https nor http")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(blocked("a user name or password in the url is not allowed"));
        }
        let address = match url.host() {
            None => return Err(blocked("has no host")),
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        };
        if self.allow_private {
            return Ok(());
        }
        if address.is_some_and(|address| !is_public(address)) {
            return Err(blocked("the address is not one of the public internet"));
        }
        match url.port_or_known_default() {
            Some(80 | 443 | 1024..) => Ok(()),
            _ => Err(blocked("the port is neither 80, 443 nor above 1023")),
        }
    }

    /// POSTs a body and reads the answer, within a time limit for all of it.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, Failed> {
        self.exchange(self.http.post(url.clone()).headers(headers).body(body), url, limit).await
    }

    /// GETs, likewise.
    pub async fn get(&self, url: &Url, limit: Duration) -> Result<Answer, Failed> {
        self.exchange(self.http.get(url.clone()), url, limit).await
    }

    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
        limit: Duration,
    ) -> Result<Answer, Failed> {
        self.check(url)?;
        let exchange = async {
            let mut response = request.send().await.map_err(|error| explain(&error))?;
            let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
            let mut body = BytesMut::new();
            // A body that is too long or breaks off changes nothing about the status.
            while let Ok(Some(chunk)) = response.chunk().await {
                let room = ANSWER_OCTETS_MAX - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if body.len() == ANSWER_OCTETS_MAX {
                    break;
                }
            }
            Ok(Answer { status, headers, body: body.freeze() })
        };
        let late = || Failed {
            class: ErrorClass::Timeout,
            text: format!("no answer within {} s", limit.as_secs()),
        };
        tokio::time::timeout(limit, exchange).await.map_err(|_| late())?
    }
}

/// Resolves names to addresses that may be connected to.
struct Guard {
    dns: Arc<dyn Dns>,
    allow_private: bool,
}

/// The guard's no, as it travels through the client.
#[derive(Debug, thiserror::Error)]
enum Unresolved {
    #[error("{0}")]
    Dns(#[from] DnsError),
    #[error("the name leads to no address of the public internet")]
    Private,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (dns, allow_private) = (self.dns.clone(), self.allow_private);
        Box::pin(async move {
            let mut found = addresses(&*dns, name.as_str(), allow_private).await?;
            if !allow_private {
                found.retain(|address| is_public(*address));
            }
            if found.is_empty() {
                return Err(Unresolved::Private.into());
            }
            // The port is that of the url.
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

async fn addresses(
    dns: &dyn Dns,
    name: &str,
    allow_private: bool,
) -> Result<Vec<IpAddr>, Unresolved> {
    // Name servers need not know it (RFC 6761 §6.3).
    if allow_private && name.eq_ignore_ascii_case("localhost") {
        return Ok(vec![IpAddr::from([127, 0, 0, 1])]);
    }
    Ok(dns.addresses(name.trim_end_matches('.')).await?)
}

fn explain(error: &reqwest::Error) -> Failed {
    let mut class = None;
    let mut cause_of: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(inner) = cause_of {
        class = class.or_else(|| class_of(inner));
        cause_of = inner.source();
    }
    let fallback = match () {
        () if error.is_timeout() => ErrorClass::Timeout,
        () if error.is_connect() => ErrorClass::Tcp,
        () => ErrorClass::Protocol,
    };
    Failed { class: class.unwrap_or(fallback), text: cause(error) }
}

fn class_of(error: &(dyn StdError + 'static)) -> Option<ErrorClass> {
    if let Some(unresolved) = error.downcast_ref::<Unresolved>() {
        return Some(match unresolved {
            Unresolved::Dns(_) => ErrorClass::Dns,
            Unresolved::Private => ErrorClass::Blocked,
        });
    }
    if error.downcast_ref::<rustls::Error>().is_some() {
        return Some(ErrorClass::Tls);
    }
    let io = error.downcast_ref::<std::io::Error>()?;
    // What hides in an I/O error is not among its sources.
    if let Some(inner) = io.get_ref()
        && let Some(class) = class_of(inner)
    {
        return Some(class);
    }
    match io.kind() {
        std::io::ErrorKind::TimedOut => Some(ErrorClass::Timeout),
        std::io::ErrorKind::Other | std::io::ErrorKind::InvalidData => None,
        _ => Some(ErrorClass::Tcp),
    }
}

#[cfg(test)]
mod tests;
