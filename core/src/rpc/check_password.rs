//! `CheckPassword`: logins at gateways whose protocol has user names and passwords.
//!
//! bcrypt runs on threads for such work, a few at a time; who does not get a turn is told to come
//! back, which is no verdict about the password.

use std::sync::Arc;
use std::time::Duration;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use tokio::sync::Semaphore;

use crate::directory::Snapshot;
use crate::model::directory::{ApiKey, SmtpCredential};
use crate::password;

use super::Context;
use super::auth::{has_scope, hash, usable};
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
    /// Whether the password fits what is stored; none stands for an unknown name.
    async fn verify(
        &self,
        stored: Option<String>,
        password: String,
        failure_cost: u32,
    ) -> Result<bool, Failure> {
        let busy = || {
            let text = "too many logins at once; try again";
            Failure::new(Reason::Overloaded, text).retry_after(Duration::from_secs(1))
        };
        let turn = tokio::time::timeout(TURN, self.0.clone().acquire_owned());
        let turn = turn.await.map_err(|_| busy())?.map_err(|_| busy())?;
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            tracing::debug!("password checked");
            password::verify(stored.as_deref(), &password, failure_cost)
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
    request: v1::CheckPasswordRequest,
) -> Result<v1::CheckPasswordResponse, Failure> {
    let v1::CheckPasswordRequest { username, password } = request;
    let snapshot = context.directory.now();
    let now_ms = context.clock.now_ms();
    if let Some(found) = by_api_key(&snapshot, &username, &password) {
        usable(&found, now_ms)?;
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
        });
    }
    let found = snapshot.smtp_credential(&username);
    let stored = found.as_ref().map(|found| found.password_hash.clone());
    // Our own passwords need no turn, so that nobody's guessing keeps their users out.
    let right = stored.as_ref().is_some_and(|stored| password::is_own(stored, &password))
        || context.checker.verify(stored, password, snapshot.failure_cost()).await?;
    let found = found.filter(|_| right).ok_or_else(|| {
        let text = "the user name or the password is not valid";
        Failure::new(Reason::InvalidKey, text)
    })?;
    usable(&found.as_key(), now_ms)?;
    Ok(answer(context, &found, now_ms))
}

/// The API key that was given as the password. A user name that exists stands for itself.
fn by_api_key(snapshot: &Snapshot, username: &str, password: &str) -> Option<Arc<ApiKey>> {
    match snapshot.smtp_credential(username) {
        Some(_) => None,
        None => snapshot.key(&hash(password)),
    }
}

fn answer(context: &Context, found: &SmtpCredential, now_ms: i64) -> v1::CheckPasswordResponse {
    let stored = found.password_hash.as_bytes();
    v1::CheckPasswordResponse {
        session: seal(context, Kind::Smtp, found.id.uuid(), stored, now_ms),
        credential_id: found.id.to_string(),
        sender_domains: found.sender_domains.clone(),
        rate_limit: found.rate_limit,
        header_aliases: found.header_aliases.clone(),
    }
}

fn seal(context: &Context, kind: Kind, id: uuid::Uuid, stored: &[u8], now_ms: i64) -> String {
    let fingerprint = fingerprint(stored);
    let session = Session { kind, id, fingerprint, expire_ms: now_ms + session::LIFE_MS };
    context.gate.sessions.seal(&session)
}
