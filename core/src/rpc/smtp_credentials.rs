//! The part of `CredentialService` that is about SMTP credentials and passwords.

use postern_proto::ids::SmtpCredentialId;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;

use crate::intake::draft::Faults;
use crate::model::directory::{ApiKey, SmtpCredential};
use crate::store::smtp_credentials::{self, Named};
use crate::{credential, password, store};

use super::credentials::{check_domains, check_expiry, check_name};
use super::{Context, convert};

/// Characters of an imported user name.
const USERNAME_MAX: usize = 128;

/// Makes a credential. Returns it with its password.
pub async fn create(
    context: &Context,
    caller: &ApiKey,
    request: v1::CreateSmtpCredentialRequest,
) -> Result<(v1::SmtpCredential, String), Failure> {
    let asked = request.smtp_credential.unwrap_or_default();
    let mut faults = Faults::default();
    if !asked.username.is_empty() {
        let text = "is made by the server; leave it empty";
        faults.add(Reason::InvalidValue, "smtp_credential.username", text);
    }
    let secret = credential::smtp_password();
    let username = credential::smtp_username();
    let made = checked(context, caller, asked, username, password::hash_own(&secret), faults)?;
    if request.validate_only {
        let (id, username) = (String::new(), String::new());
        return Ok((v1::SmtpCredential { id, username, ..shown(made) }, String::new()));
    }
    Ok((keep(context, caller, made).await?, secret))
}

/// Takes a credential over by its bcrypt hash.
pub async fn import(
    context: &Context,
    caller: &ApiKey,
    request: v1::ImportSmtpCredentialRequest,
) -> Result<v1::SmtpCredential, Failure> {
    let asked = request.smtp_credential.unwrap_or_default();
    let hash = request.bcrypt_hash;
    let mut faults = Faults::default();
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
    let username = asked.username.clone();
    if username.is_empty() || username.len() > USERNAME_MAX || !username.chars().all(fits) {
        let text = "needs 1 to 128 letters, digits, _ - . @";
        faults.add(Reason::InvalidValue, "smtp_credential.username", text);
    }
    if password::bcrypt_cost(&hash).is_none() {
        let (low, high) = (password::COSTS.start(), password::COSTS.end());
        let text = format!("is no bcrypt hash of cost {low} to {high}, such as $2b$12$…");
        faults.add(Reason::InvalidValue, "bcrypt_hash", text);
    }
    let made = checked(context, caller, asked, username, hash, faults)?;
    if request.validate_only {
        let named = Named::Username(&made.username);
        if smtp_credentials::find(&*context.db, named).await?.is_some() {
            return Err(exists());
        }
        return Ok(v1::SmtpCredential { id: String::new(), ..shown(made) });
    }
    keep(context, caller, made).await
}

/// Lists credentials.
pub async fn list(
    context: &Context,
    request: v1::ListSmtpCredentialsRequest,
) -> Result<v1::ListSmtpCredentialsResponse, Failure> {
    let pages = &context.pages;
    let size = pages.size(request.page_size)?;
    let cursor = pages.cursor("page_token", b"smtp", &request.page_token)?;
    let before = cursor.and_then(|cursor| cursor.parse().ok());
    let mut list = smtp_credentials::list(&*context.db, before, size + 1).await?;
    let next_page_token = pages.cut(&mut list, size, b"smtp", |last| last.id.to_string());
    let smtp_credentials = list.into_iter().map(shown).collect();
    Ok(v1::ListSmtpCredentialsResponse { smtp_credentials, next_page_token })
}

/// Revokes the credential with this id or user name.
pub async fn revoke(
    context: &Context,
    caller: &ApiKey,
    request: v1::RevokeSmtpCredentialRequest,
) -> Result<v1::SmtpCredential, Failure> {
    let missing =
        || Failure::new(Reason::SmtpCredentialNotFound, "there is no such SMTP credential");
    let name = request.id.as_str();
    let named = name.parse().map_or(Named::Username(name), Named::Id);
    let found = smtp_credentials::find(&*context.db, named).await?.ok_or_else(missing)?;
    if request.validate_only {
        return Ok(shown(found));
    }
    smtp_credentials::revoke(&*context.db, found.id, context.clock.now_ms()).await?;
    context.directory.refresh().await?;
    tracing::info!(credential.id = %found.id, by = %caller.id, "smtp credential revoked");
    let now = smtp_credentials::find(&*context.db, Named::Id(found.id)).await?;
    Ok(shown(now.ok_or_else(missing)?))
}

async fn keep(
    context: &Context,
    caller: &ApiKey,
    made: SmtpCredential,
) -> Result<v1::SmtpCredential, Failure> {
    match smtp_credentials::create(&*context.db, &made).await {
        Err(store::Error::Conflict(_)) => return Err(exists()),
        stored => stored?,
    }
    context.directory.refresh().await?;
    tracing::info!(credential.id = %made.id, by = %caller.id, "smtp credential made");
    Ok(shown(made))
}

fn exists() -> Failure {
    let text = "an SMTP credential with this user name exists; revoked ones count too";
    Failure::field(Reason::SmtpCredentialExists, "smtp_credential.username", text)
}

fn checked(
    context: &Context,
    caller: &ApiKey,
    asked: v1::SmtpCredential,
    username: String,
    password_hash: String,
    mut faults: Faults,
) -> Result<SmtpCredential, Failure> {
    let now_ms = context.clock.now_ms();
    check_name("smtp_credential.display_name", &asked.display_name, &mut faults);
    if !super::auth::has_scope(caller, "messages:send") {
        let text = "may send, which your own key may not";
        faults.add(Reason::ScopeMissing, "smtp_credential", text);
    }
    let domains = "smtp_credential.sender_domains";
    let sender_domains = check_domains(domains, caller, &asked.sender_domains, &mut faults);
    for (field, value) in [("rate_limit", asked.rate_limit), ("daily_limit", asked.daily_limit)] {
        if value < 0 {
            let text = "is negative; 0 means no limit";
            faults.add(Reason::ValueOutOfRange, format!("smtp_credential.{field}"), text);
        }
    }
    let own_limit = caller.daily_limit;
    if own_limit > 0 && !(1..=own_limit).contains(&asked.daily_limit) {
        let text = format!("must be 1 to {own_limit}, the limit of your own key");
        faults.add(Reason::ValueOutOfRange, "smtp_credential.daily_limit", text);
    }
    for (n, number) in asked.header_aliases.iter().enumerate() {
        let known = v1::HeaderAlias::try_from(*number);
        if !known.is_ok_and(|alias| alias != v1::HeaderAlias::Unspecified) {
            let field = format!("smtp_credential.header_aliases[{n}]");
            faults.add(Reason::InvalidValue, field, "is not one of the values of its enum");
        }
    }
    let expire_ms = convert::time("smtp_credential.expire_time", asked.expire_time)?;
    check_expiry("smtp_credential.expire_time", expire_ms, now_ms, &mut faults);
    let wishes =
        convert::wishes("smtp_credential.", asked.tracking, asked.unsubscribe, &mut faults);
    faults.into_result()?;
    Ok(SmtpCredential {
        id: SmtpCredentialId::generate(),
        username,
        password_hash,
        display_name: asked.display_name,
        sender_domains,
        rate_limit: asked.rate_limit,
        daily_limit: asked.daily_limit,
        header_aliases: asked.header_aliases,
        expire_ms,
        test: asked.test || caller.test,
        create_ms: now_ms,
        revoke_ms: None,
        wishes,
    })
}

fn shown(credential: SmtpCredential) -> v1::SmtpCredential {
    v1::SmtpCredential {
        id: credential.id.to_string(),
        username: credential.username,
        display_name: credential.display_name,
        sender_domains: credential.sender_domains,
        rate_limit: credential.rate_limit,
        daily_limit: credential.daily_limit,
        header_aliases: credential.header_aliases,
        expire_time: credential.expire_ms.map(timestamp),
        test: credential.test,
        create_time: Some(timestamp(credential.create_ms)),
        revoke_time: credential.revoke_ms.map(timestamp),
        tracking: credential.wishes.tracking,
        unsubscribe: credential.wishes.unsubscribe,
    }
}
