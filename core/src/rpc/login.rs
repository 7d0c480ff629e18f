//! How operators log in, and what they may change of their own account.
//!
//! A session is a random text of which only the SHA-256 is stored. Every guess is counted before
//! anything is looked at, by address and by user name, so that guesses at once count as well; the
//! work for an unknown name is that for a wrong password. A crash ends no session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postern_kit::limits::{Limiter, Quota, Verdict};
use postern_kit::net::customer;
use postern_proto::reason::Reason;
use postern_proto::settings::{self, Settings};
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use tonic::Request;
use tonic::metadata::MetadataMap;

use crate::credential;
use crate::model::operator::{Operator, OperatorSession};
use crate::operator as secrets;
use crate::store::operators;

use super::Context;
use super::act::By;
use super::auth::{self, operator_key};
use super::operators::shown;

/// Characters of a session: 256 bits and more.
const SESSION_CHARS: usize = 43;
/// Characters of a user name that are counted; nobody's is longer.
const NAME_MAX: usize = 64;

/// Counts logins.
#[derive(Debug, Clone)]
pub struct Logins(Arc<Limiter>);

impl Logins {
    /// Counts with this.
    pub fn new(limiter: Arc<Limiter>) -> Self {
        Self(limiter)
    }

    /// Takes one guess.
    async fn take(
        &self,
        settings: &Settings,
        client: Option<IpAddr>,
        username: &str,
    ) -> Result<(), Failure> {
        let window = settings.time(&settings::DASHBOARD_LOGIN_WINDOW);
        // Of an IPv6 address all that one customer has: otherwise each guess had one of its own.
        let address = client.map(customer).map(|ip| ip.to_string());
        let username: String = username.chars().take(NAME_MAX).collect();
        let per_address = settings.count(&settings::DASHBOARD_LOGINS_PER_ADDRESS) as u64;
        let per_user = settings.count(&settings::DASHBOARD_LOGINS_PER_USER) as u64;
        for (name, limit) in [
            (
                format!("dashboard login from {}", address.as_deref().unwrap_or("nowhere")),
                per_address,
            ),
            (format!("dashboard login as {username}"), per_user),
        ] {
            let verdict = self.0.take(&name, Quota { limit, window }).await;
            if let Verdict::Refused { retry_after } = verdict {
                return Err(too_many(retry_after));
            }
        }
        Ok(())
    }
}

fn too_many(retry_after: Duration) -> Failure {
    let text = "too many logins; wait before the next";
    Failure::new(Reason::TooManyFailures, text).retry_after(retry_after)
}

/// Checks name, password and code, and begins a session.
pub(super) async fn log_in(
    context: &Context,
    request: Request<v1::LogInRequest>,
) -> Result<v1::LogInResponse, Failure> {
    context.gate.authorise_gateway(request.metadata())?;
    let snapshot = context.directory.now();
    let settings = snapshot.settings();
    let (metadata, _, asked) = request.into_parts();
    let client = context.gate.client(&metadata)?;
    context.logins.take(settings, client, &asked.username).await?;
    let found = operators::find(&*context.db, &asked.username, None).await?;
    let right = verify(context, found.as_ref(), asked.password).await?;
    let Some(operator) = found.filter(|_| right) else {
        tracing::warn!("a login to the dashboard failed");
        return Err(wrong("the user name or the password is not right"));
    };
    if !operator.totp_secret.is_empty() {
        if asked.totp_code.is_empty() {
            let totp_required = true;
            return Ok(v1::LogInResponse { totp_required, ..v1::LogInResponse::default() });
        }
        use_code(context, &operator, &operator.totp_secret, &asked.totp_code).await?;
    }
    let now_ms = context.clock.now_ms();
    let session = credential::random_text(SESSION_CHARS);
    let life = settings.time(&settings::DASHBOARD_SESSION_TIME);
    let expire_ms = now_ms + i64::try_from(life.as_millis()).unwrap_or(i64::MAX / 2);
    let by = of(context, &metadata, &operator);
    let db = context.audited(&by, "operator.log_in", &operator.id.to_string(), "");
    let hash = auth::hash(&session);
    operators::begin_session(&db, hash, operator.id, expire_ms, now_ms).await?;
    context.directory.refresh().await?;
    Ok(v1::LogInResponse {
        session,
        expire_time: Some(timestamp(expire_ms)),
        totp_required: false,
        operator: Some(shown(&operator)),
    })
}

/// Ends the caller's session.
pub(super) async fn log_out(context: &Context, metadata: &MetadataMap) -> Result<(), Failure> {
    let session = context.gate.operator(metadata)?;
    let by = of(context, metadata, &session.operator);
    let db = context.audited(&by, "operator.log_out", &session.operator.id.to_string(), "");
    operators::end_session(&db, session.hash).await?;
    Ok(context.directory.refresh().await?)
}

/// Changes the caller's password.
pub(super) async fn change_password(
    context: &Context,
    request: Request<v1::ChangeOwnPasswordRequest>,
) -> Result<(), Failure> {
    let (metadata, _, asked) = request.into_parts();
    let session = context.gate.operator(&metadata)?;
    let length = asked.new_password.chars().count();
    if !(secrets::PASSWORD_MIN..=secrets::PASSWORD_MAX).contains(&length) {
        let text = "needs 12 to 256 characters";
        return Err(Failure::field(Reason::ValueOutOfRange, "new_password", text));
    }
    if asked.new_password == asked.old_password {
        let text = "is the password as it is; choose another";
        return Err(Failure::field(Reason::InvalidValue, "new_password", text));
    }
    again(context, &metadata, &session, "old_password", asked.old_password).await?;
    let hash = hash(context, asked.new_password).await?;
    let (id, by) = (session.operator.id, of(context, &metadata, &session.operator));
    let db = context.audited(&by, "operator.change_password", &id.to_string(), "");
    operators::set_password(&db, id, &hash, session.hash).await?;
    Ok(context.directory.refresh().await?)
}

/// Makes a secret for the caller's authenticator app.
pub(super) async fn start_totp(
    context: &Context,
    request: Request<v1::StartTotpRequest>,
) -> Result<v1::StartTotpResponse, Failure> {
    let (metadata, _, asked) = request.into_parts();
    let session = context.gate.operator(&metadata)?;
    again(context, &metadata, &session, "password", asked.password).await?;
    let operator = &session.operator;
    let secret: [u8; secrets::TOTP_SECRET_OCTETS] = rand::random();
    let invitation = secrets::invitation(&secret, &operator.username).map_err(|error| {
        tracing::error!(%error, "no secret for an authenticator app");
        Failure::new(Reason::Internal, "the secret could not be made")
    })?;
    operators::set_totp(&*context.db, operator.id, &operator.totp_secret, &secret).await?;
    context.directory.refresh().await?;
    Ok(v1::StartTotpResponse { secret: invitation.secret, url: invitation.url })
}

/// Takes the caller's new secret into use.
pub(super) async fn confirm_totp(
    context: &Context,
    request: Request<v1::ConfirmTotpRequest>,
) -> Result<(), Failure> {
    let (metadata, _, asked) = request.into_parts();
    let session = context.gate.operator(&metadata)?;
    let operator = &session.operator;
    if operator.totp_pending.is_empty() {
        let text = "there is no secret to confirm; begin with StartTotp";
        return Err(Failure::field(Reason::InvalidValue, "code", text));
    }
    let snapshot = context.directory.now();
    let client = context.gate.client(&metadata)?;
    context.logins.take(snapshot.settings(), client, &operator.username).await?;
    use_code(context, operator, &operator.totp_pending, &asked.code).await?;
    let by = of(context, &metadata, operator);
    let db = context.audited(&by, "operator.confirm_totp", &operator.id.to_string(), "");
    operators::set_totp(&db, operator.id, &operator.totp_pending, &[]).await?;
    Ok(context.directory.refresh().await?)
}

/// Asks the caller for no code any more.
pub(super) async fn stop_totp(
    context: &Context,
    request: Request<v1::StopTotpRequest>,
) -> Result<(), Failure> {
    let (metadata, _, asked) = request.into_parts();
    let session = context.gate.operator(&metadata)?;
    again(context, &metadata, &session, "password", asked.password).await?;
    let (id, by) = (session.operator.id, of(context, &metadata, &session.operator));
    let db = context.audited(&by, "operator.stop_totp", &id.to_string(), "");
    operators::set_totp(&db, id, &[], &[]).await?;
    Ok(context.directory.refresh().await?)
}

/// An operator, as one who acts.
fn of(context: &Context, metadata: &MetadataMap, operator: &Operator) -> By {
    let key = Arc::new(operator_key(operator));
    context.by(metadata, key, operator.id.to_string(), operator.username.clone())
}

/// Asks for the password once more.
async fn again(
    context: &Context,
    metadata: &MetadataMap,
    session: &OperatorSession,
    field: &str,
    password: String,
) -> Result<(), Failure> {
    let snapshot = context.directory.now();
    let client = context.gate.client(metadata)?;
    context.logins.take(snapshot.settings(), client, &session.operator.username).await?;
    // Not that of the session's snapshot: it may just have been changed.
    let id = session.operator.id;
    let found = operators::find(&*context.db, "", Some(id)).await?;
    if verify(context, found.as_ref(), password).await? {
        return Ok(());
    }
    Err(Failure::field(Reason::InvalidValue, field, "is not the password"))
}

/// Uses the code of a period, which works once.
async fn use_code(
    context: &Context,
    operator: &Operator,
    secret: &[u8],
    code: &str,
) -> Result<(), Failure> {
    let step = secrets::step_of(secret, code, context.clock.now_ms());
    if let Some(step) = step
        && operators::use_totp_step(&*context.db, operator.id, step).await?
    {
        return Ok(());
    }
    Err(wrong("the code is not right, or was used before; wait for the next one"))
}

fn wrong(text: &str) -> Failure {
    Failure::new(Reason::InvalidKey, text)
}

async fn verify(
    context: &Context,
    operator: Option<&Operator>,
    password: String,
) -> Result<bool, Failure> {
    let stored = operator.map(|operator| operator.password_hash.clone());
    context.checker.work(move || secrets::verify(stored.as_deref(), &password)).await
}

/// The stored form of a password.
pub(super) async fn hash(context: &Context, password: String) -> Result<String, Failure> {
    let hashed = context.checker.work(move || secrets::hash(&password)).await?;
    hashed.map_err(|error| {
        tracing::error!(%error, "no hash");
        Failure::new(Reason::Internal, "the password could not be hashed")
    })
}
