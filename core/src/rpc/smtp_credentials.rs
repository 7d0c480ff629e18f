//! The part of `CredentialService` that is about SMTP credentials and passwords.

use postern_proto::ids::SmtpCredentialId;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;

use crate::intake::draft::Faults;
use crate::model::directory::{ApiKey, CredentialField, SmtpCredential};
use crate::store::credentials;
use crate::store::smtp_credentials::{self, Named};
use crate::{credential, password, store};

use super::Context;
use super::act::By;
use super::credential_rules::{
    Asked, COMMON, Terms, check_alive, check_within, masked, names, overlap,
};

/// Characters of an imported user name.
const USERNAME_MAX: usize = 128;
/// What can be changed besides the terms that API keys have too.
const OWN: [(&str, CredentialField); 2] = [
    ("rate_limit", CredentialField::RateLimit),
    ("header_aliases", CredentialField::HeaderAliases),
];

/// Makes a credential. Returns it with its password.
pub async fn create(
    context: &Context,
    by: &By,
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
    let made = checked(context, &by.key, asked, username, password::hash_own(&secret), faults)?;
    let now_ms = made.create_ms;
    if request.validate_only {
        let (id, username) = (String::new(), String::new());
        return Ok((v1::SmtpCredential { id, username, ..shown(made, now_ms) }, String::new()));
    }
    Ok((keep(context, by, "smtp_credential.create", made).await?, secret))
}

/// Takes a credential over by its bcrypt hash.
pub async fn import(
    context: &Context,
    by: &By,
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
    let made = checked(context, &by.key, asked, username, hash, faults)?;
    if request.validate_only {
        let named = Named::Username(&made.username);
        if smtp_credentials::find(&*context.db, named).await?.is_some() {
            return Err(exists());
        }
        let now_ms = made.create_ms;
        return Ok(v1::SmtpCredential { id: String::new(), ..shown(made, now_ms) });
    }
    keep(context, by, "smtp_credential.import", made).await
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
    let now_ms = context.clock.now_ms();
    let smtp_credentials = list.into_iter().map(|one| shown(one, now_ms)).collect();
    Ok(v1::ListSmtpCredentialsResponse { smtp_credentials, next_page_token })
}

/// Gives a credential a new password. Returns it with that.
pub async fn rotate(
    context: &Context,
    by: &By,
    request: v1::RotateSmtpCredentialRequest,
) -> Result<(v1::SmtpCredential, String), Failure> {
    let overlap_ms = overlap(request.overlap)?;
    let found = find(context, &request.id).await?;
    check_alive("id", found.revoke_ms)?;
    check_within(&by.key, &found.as_key())?;
    let now_ms = context.clock.now_ms();
    if request.validate_only {
        return Ok((shown(found, now_ms), String::new()));
    }
    let secret = credential::smtp_password();
    let (hash, until_ms) = (password::hash_own(&secret), now_ms + overlap_ms);
    let id = found.id.to_string();
    let db = context.audited(by, "smtp_credential.rotate", &id, &found.username);
    if !smtp_credentials::rotate(&db, &found, &hash, until_ms).await? {
        check_alive("id", find(context, &request.id).await?.revoke_ms)?;
        let text = "its password was changed at the same moment; try again if that was not you";
        return Err(Failure::new(Reason::EtagMismatch, text));
    }
    context.directory.refresh().await?;
    tracing::info!(credential.id = %found.id, %by, "smtp credential rotated");
    Ok((shown(find(context, &request.id).await?, now_ms), secret))
}

/// Changes fields of a credential.
pub async fn update(
    context: &Context,
    by: &By,
    request: v1::UpdateSmtpCredentialRequest,
) -> Result<v1::SmtpCredential, Failure> {
    let asked = request.smtp_credential.unwrap_or_default();
    let fields = masked(request.update_mask, &[COMMON.as_slice(), &OWN].concat())?;
    let mut found = find(context, &asked.id).await?;
    check_alive("smtp_credential.id", found.revoke_ms)?;
    check_within(&by.key, &found.as_key())?;
    let now_ms = context.clock.now_ms();
    let (mut faults, mut terms) = (Faults::default(), Terms::from(&found));
    for (path, _) in &fields {
        Asked::from(&asked).check(path, &by.key, now_ms, &mut terms, &mut faults)?;
    }
    let detail = format!("{}: {}", found.username, names(&fields));
    let fields: Vec<_> = fields.into_iter().map(|(_, field)| field).collect();
    if fields.contains(&CredentialField::RateLimit) {
        check_rate_limit(asked.rate_limit, &mut faults);
        found.rate_limit = asked.rate_limit;
    }
    if fields.contains(&CredentialField::HeaderAliases) {
        check_aliases(&asked.header_aliases, &mut faults);
        found.header_aliases = asked.header_aliases;
    }
    faults.into_result()?;
    let changed = with(found, terms);
    if request.validate_only {
        return Ok(shown(changed, now_ms));
    }
    let db = context.audited(by, "smtp_credential.update", &changed.id.to_string(), &detail);
    if !credentials::update_smtp(&db, &changed, &fields).await? {
        check_alive("smtp_credential.id", find(context, &asked.id).await?.revoke_ms)?;
        return Err(missing());
    }
    context.directory.refresh().await?;
    tracing::info!(credential.id = %changed.id, %by, "smtp credential changed");
    Ok(shown(find(context, &asked.id).await?, now_ms))
}

/// Revokes the credential with this id or user name.
pub async fn revoke(
    context: &Context,
    by: &By,
    request: v1::RevokeSmtpCredentialRequest,
) -> Result<v1::SmtpCredential, Failure> {
    let found = find(context, &request.id).await?;
    let now_ms = context.clock.now_ms();
    if request.validate_only {
        return Ok(shown(found, now_ms));
    }
    let id = found.id.to_string();
    let db = context.audited(by, "smtp_credential.revoke", &id, &found.username);
    smtp_credentials::revoke(&db, found.id, now_ms).await?;
    context.directory.refresh().await?;
    tracing::info!(credential.id = %found.id, %by, "smtp credential revoked");
    Ok(shown(find(context, &request.id).await?, now_ms))
}

/// What a new credential is, for the audit log.
fn described(made: &SmtpCredential) -> String {
    format!("{}: {}", made.username, made.display_name)
}

/// The credential with this id or user name.
async fn find(context: &Context, name: &str) -> Result<SmtpCredential, Failure> {
    let named = name.parse().map_or(Named::Username(name), Named::Id);
    smtp_credentials::find(&*context.db, named).await?.ok_or_else(missing)
}

fn missing() -> Failure {
    Failure::new(Reason::SmtpCredentialNotFound, "there is no such SMTP credential")
}

async fn keep(
    context: &Context,
    by: &By,
    action: &str,
    made: SmtpCredential,
) -> Result<v1::SmtpCredential, Failure> {
    let db = context.audited(by, action, &made.id.to_string(), &described(&made));
    match smtp_credentials::create(&db, &made).await {
        Err(store::Error::Conflict(_)) => return Err(exists()),
        stored => stored?,
    }
    context.directory.refresh().await?;
    tracing::info!(credential.id = %made.id, %by, "smtp credential made");
    let now_ms = made.create_ms;
    Ok(shown(made, now_ms))
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
    if !super::auth::has_scope(caller, "messages:send") {
        let text = "may send, which your own key may not";
        faults.add(Reason::ScopeMissing, "smtp_credential", text);
    }
    let terms = Asked::from(&asked).terms(caller, now_ms, &mut faults)?;
    check_rate_limit(asked.rate_limit, &mut faults);
    check_aliases(&asked.header_aliases, &mut faults);
    faults.into_result()?;
    Ok(SmtpCredential {
        id: SmtpCredentialId::generate(),
        username,
        password_hash,
        display_name: terms.display_name,
        sender_domains: terms.sender_domains,
        rate_limit: asked.rate_limit,
        daily_limit: terms.daily_limit,
        header_aliases: asked.header_aliases,
        expire_ms: terms.expire_ms,
        test: asked.test || caller.test,
        create_ms: now_ms,
        revoke_ms: None,
        wishes: terms.wishes,
        ip_allow: terms.ip_allow,
        old_password: None,
        last_use: None,
    })
}

fn with(credential: SmtpCredential, terms: Terms) -> SmtpCredential {
    SmtpCredential {
        display_name: terms.display_name,
        sender_domains: terms.sender_domains,
        daily_limit: terms.daily_limit,
        ip_allow: terms.ip_allow,
        expire_ms: terms.expire_ms,
        wishes: terms.wishes,
        ..credential
    }
}

fn check_rate_limit(asked: i64, faults: &mut Faults) {
    if asked < 0 {
        let text = "is negative; 0 means no limit";
        faults.add(Reason::ValueOutOfRange, "smtp_credential.rate_limit", text);
    }
}

fn check_aliases(asked: &[i32], faults: &mut Faults) {
    for (n, number) in asked.iter().enumerate() {
        let known = v1::HeaderAlias::try_from(*number);
        if !known.is_ok_and(|alias| alias != v1::HeaderAlias::Unspecified) {
            let field = format!("smtp_credential.header_aliases[{n}]");
            faults.add(Reason::InvalidValue, field, "is not one of the values of its enum");
        }
    }
}

fn shown(credential: SmtpCredential, now_ms: i64) -> v1::SmtpCredential {
    let old = credential.old_password.filter(|old| now_ms < old.until_ms);
    let (last_use_time, last_use_address) = match credential.last_use {
        Some(last) => (Some(timestamp(last.at_ms)), last.address),
        None => (None, String::new()),
    };
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
        ip_allow: credential.ip_allow.iter().map(ToString::to_string).collect(),
        old_secret_expire_time: old.map(|old| timestamp(old.until_ms)),
        last_use_time,
        last_use_address,
    }
}
