//! `CheckPassword`: logins at gateways whose protocol has user names and passwords.
//!
//! bcrypt runs on threads for such work, a few at a time; who does not get a turn is told to come
//! back, which is no verdict about the password.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use tokio::sync::Semaphore;

use crate::directory::Snapshot;
use crate::model::directory::{ApiKey, SmtpCredential};
use crate::password;

use super::Context;
use super::auth::{has_scope, hash};
use super::session::{self, Kind, Session, fingerprint};

/// How long a login waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Checks passwords, a few at a time.
#[derive(Debug, Clone)]
pub struct Checker(Arc<Semaphore>);

impl Default for Checker {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self(Arc::new(Semaphore::new(processors)))
    }
}

impl Checker {
    /// Which of what is stored the password fits; nothing stored stands for an unknown name.
    async fn verify(
        &self,
        stored: Vec<String>,
        password: String,
        failure_cost: u32,
    ) -> Result<Option<String>, Failure> {
        self.work(move || {
            let fits = password::verify(&stored, &password, failure_cost);
            fits.and_then(|n| stored.into_iter().nth(n))
        })
        .await
    }

    /// Does slow work with a password when its turn comes.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let busy = || {
            let text = "too many logins at once; try again";
            Failure::new(Reason::Overloaded, text).retry_after(Duration::from_secs(1))
        };
        let turn = tokio::time::timeout(TURN, self.0.clone().acquire_owned());
        let turn = turn.await.map_err(|_| busy())?.map_err(|_| busy())?;
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            tracing::debug!("password checked");
            work()
        });
        work.await.map_err(|error| {
            tracing::error!(%error, "a password check panicked");
            Failure::new(Reason::Internal, "something went wrong on our side")
        })
    }
}

/// Checks a login.
pub async fn check(
    context: &Context,
    client: Option<IpAddr>,
    request: v1::CheckPasswordRequest,
) -> Result<v1::CheckPasswordResponse, Failure> {
    let v1::CheckPasswordRequest { username, password } = request;
    let snapshot = context.directory.now();
    let now_ms = context.clock.now_ms();
    if let Some(found) = by_api_key(&snapshot, &username, &password) {
        context.gate.admit(Kind::ApiKey, &found, client)?;
        if !has_scope(&found, "messages:send") {
            let text = "the API key lacks the scope messages:send";
            return Err(Failure::new(Reason::ScopeMissing, text).with("scope", "messages:send"));
        }
        let session = seal(context, Kind::ApiKey, found.id.uuid(), &found.hash, now_ms);
        return Ok(v1::CheckPasswordResponse {
            session,
            credential_id: found.id.to_string(),
            sender_domains: found.sender_domains.clone(),
            rate_limit: 0,
            header_aliases: Vec::new(),
            ip_allow: found.ip_allow.iter().map(IpNet::to_string).collect(),
        });
    }
    let found = snapshot.smtp_credential(&username);
    let stored = found.iter().flat_map(|found| found.password_hashes(now_ms).cloned());
    let stored: Vec<_> = stored.collect();
    // Our own passwords need no turn, so that nobody's guessing keeps their users out.
    let fits = match stored.iter().find(|stored| password::is_own(stored, &password)) {
        Some(own) => Some(own.clone()),
        None => context.checker.verify(stored, password, snapshot.failure_cost()).await?,
    };
    let (found, fits) = found.zip(fits).ok_or_else(|| {
        let text = "the user name or the password is not valid";
        Failure::new(Reason::InvalidKey, text)
    })?;
    context.gate.admit(Kind::Smtp, &found.as_key(), client)?;
    Ok(answer(context, &found, &fits, now_ms))
}

/// The API key that was given as the password. A user name that exists stands for itself.
fn by_api_key(snapshot: &Snapshot, username: &str, password: &str) -> Option<Arc<ApiKey>> {
    match snapshot.smtp_credential(username) {
        Some(_) => None,
        None => snapshot.key(&hash(password)),
    }
}

fn answer(
    context: &Context,
    found: &SmtpCredential,
    stored: &str,
    now_ms: i64,
) -> v1::CheckPasswordResponse {
    v1::CheckPasswordResponse {
        session: seal(context, Kind::Smtp, found.id.uuid(), stored.as_bytes(), now_ms),
        credential_id: found.id.to_string(),
        sender_domains: found.sender_domains.clone(),
        rate_limit: found.rate_limit,
        header_aliases: found.header_aliases.clone(),
        ip_allow: found.ip_allow.iter().map(IpNet::to_string).collect(),
    }
}

fn seal(context: &Context, kind: Kind, id: uuid::Uuid, stored: &[u8], now_ms: i64) -> String {
    let fingerprint = fingerprint(stored);
    let session = Session { kind, id, fingerprint, expire_ms: now_ms + session::LIFE_MS };
    context.gate.sessions.seal(&session)
}
