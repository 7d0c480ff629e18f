//! The part of `CredentialService` that is about API keys.

use postern_proto::ids::KeyId;
use postern_proto::metadata::SCOPES;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;

use crate::intake::draft::Faults;
use crate::model::directory::{ApiKey, CredentialField};
use crate::store::{credentials, directory};
use crate::{credential, store};

use super::Context;
use super::act::By;
use super::auth::{has_scope, hash};
use super::credential_rules::{
    Asked, COMMON, Terms, check_alive, check_within, masked, names, overlap,
};

/// How long a key works when its maker does not say.
const LIFE_MS: i64 = 90 * 86_400_000;

/// Makes a key. Returns it with its secret.
pub(super) async fn create(
    context: &Context,
    by: &By,
    request: v1::CreateApiKeyRequest,
) -> Result<(v1::ApiKey, String), Failure> {
    let asked = request.api_key.unwrap_or_default();
    let now_ms = context.clock.now_ms();
    let mut key = checked(&by.key, asked, request.never_expires, now_ms, Faults::default())?;
    if request.validate_only {
        return Ok((v1::ApiKey { id: String::new(), ..shown(key) }, String::new()));
    }
    let secret = credential::generate(key.test);
    (key.hash, key.hint) = (hash(&secret), credential::hint(&secret));
    let db = context.audited(by, "api_key.create", &key.id.to_string(), &described(&key));
    directory::create_key(&db, &key).await?;
    context.directory.refresh().await?;
    tracing::info!(key.id = %key.id, %by, "api key made");
    Ok((shown(key), secret))
}

/// Takes a key over by the SHA-256 of its secret.
pub(super) async fn import(
    context: &Context,
    by: &By,
    request: v1::ImportApiKeyRequest,
) -> Result<v1::ApiKey, Failure> {
    let asked = request.api_key.unwrap_or_default();
    let mut faults = Faults::default();
    let hash = credential::sha256_from_hex(&request.sha256).unwrap_or_else(|| {
        let text = "is no SHA-256; it has 64 hexadecimal digits";
        faults.add(Reason::InvalidValue, "sha256", text);
        [0; 32]
    });
    let now_ms = context.clock.now_ms();
    let mut key = checked(&by.key, asked, request.never_expires, now_ms, faults)?;
    (key.hash, key.hint) = (hash, credential::hint_of_hash(&hash));
    if request.validate_only {
        if directory::key_by_hash(&*context.db, &hash).await?.is_some() {
            return Err(exists());
        }
        return Ok(v1::ApiKey { id: String::new(), ..shown(key) });
    }
    let db = context.audited(by, "api_key.import", &key.id.to_string(), &described(&key));
    match directory::create_key(&db, &key).await {
        Err(store::Error::Conflict(_)) => return Err(exists()),
        stored => stored?,
    }
    context.directory.refresh().await?;
    tracing::info!(key.id = %key.id, %by, "api key imported");
    Ok(shown(key))
}

/// Makes a key that takes the place of another. Returns it with its secret.
pub(super) async fn rotate(
    context: &Context,
    by: &By,
    request: v1::RotateApiKeyRequest,
) -> Result<(v1::ApiKey, String), Failure> {
    let overlap_ms = overlap(request.overlap)?;
    let old = find(context, &request.id).await?;
    check_alive("id", old.revoke_ms)?;
    check_not_replaced(&old)?;
    check_within(&by.key, &old)?;
    let now_ms = context.clock.now_ms();
    let secret = credential::generate(old.test);
    let new = ApiKey {
        id: KeyId::generate(),
        hash: hash(&secret),
        hint: credential::hint(&secret),
        create_ms: now_ms,
        expire_ms: old.expire_ms.map(|expire_ms| now_ms + (expire_ms - old.create_ms)),
        replaces: Some(old.id),
        last_use: None,
        ..old.clone()
    };
    if request.validate_only {
        let (id, hint) = (String::new(), String::new());
        return Ok((v1::ApiKey { id, hint, ..shown(new) }, String::new()));
    }
    let detail = format!("{} takes its place", new.id);
    let db = context.audited(by, "api_key.rotate", &old.id.to_string(), &detail);
    if !directory::rotate_key(&db, &new, now_ms + overlap_ms).await? {
        // Somebody else was quicker, and what was checked above now says so.
        let now = find(context, &request.id).await?;
        check_alive("id", now.revoke_ms)?;
        check_not_replaced(&now)?;
        return Err(missing());
    }
    context.directory.refresh().await?;
    tracing::info!(key.id = %new.id, replaces = %old.id, %by, "api key rotated");
    Ok((shown(new), secret))
}

/// Changes fields of a key.
pub(super) async fn update(
    context: &Context,
    by: &By,
    request: v1::UpdateApiKeyRequest,
) -> Result<v1::ApiKey, Failure> {
    let asked = request.api_key.unwrap_or_default();
    let paths = [COMMON.as_slice(), &[("scopes", CredentialField::Scopes)]].concat();
    let fields = masked(request.update_mask, &paths)?;
    let mut key = find(context, &asked.id).await?;
    check_alive("api_key.id", key.revoke_ms)?;
    check_within(&by.key, &key)?;
    let (mut faults, mut terms) = (Faults::default(), Terms::from(&key));
    for (path, _) in &fields {
        let asked = Asked::from(&asked);
        asked.check(path, &by.key, context.clock.now_ms(), &mut terms, &mut faults)?;
    }
    let detail = names(&fields);
    let fields: Vec<_> = fields.into_iter().map(|(_, field)| field).collect();
    if fields.contains(&CredentialField::Scopes) {
        check_scopes(&by.key, &asked.scopes, &mut faults);
        key.scopes = asked.scopes;
    }
    faults.into_result()?;
    let key = with(key, terms);
    if request.validate_only {
        return Ok(shown(key));
    }
    let db = context.audited(by, "api_key.update", &key.id.to_string(), &detail);
    if !credentials::update_key(&db, &key, &fields).await? {
        check_alive("api_key.id", find(context, &asked.id).await?.revoke_ms)?;
        return Err(missing());
    }
    context.directory.refresh().await?;
    tracing::info!(key.id = %key.id, %by, "api key changed");
    Ok(shown(find(context, &asked.id).await?))
}

/// Revokes a key.
pub(super) async fn revoke(
    context: &Context,
    by: &By,
    request: v1::RevokeApiKeyRequest,
) -> Result<v1::ApiKey, Failure> {
    if request.validate_only {
        return Ok(shown(find(context, &request.id).await?));
    }
    let (id, now_ms) = (parse_id(&request.id)?, context.clock.now_ms());
    let db = context.audited(by, "api_key.revoke", &id.to_string(), "");
    let key = directory::revoke_key(&db, id, now_ms).await?.ok_or_else(missing)?;
    context.directory.refresh().await?;
    tracing::info!(key.id = %key.id, %by, "api key revoked");
    Ok(shown(key))
}

/// What a new key is, for the audit log.
fn described(key: &ApiKey) -> String {
    format!("{}: {}", key.display_name, key.scopes.join(", "))
}

/// A key without its secret.
fn checked(
    caller: &ApiKey,
    asked: v1::ApiKey,
    never_expires: bool,
    now_ms: i64,
    mut faults: Faults,
) -> Result<ApiKey, Failure> {
    let terms = Asked::from(&asked).terms(caller, now_ms, &mut faults)?;
    check_scopes(caller, &asked.scopes, &mut faults);
    if terms.expire_ms.is_some() && never_expires {
        faults.add(Reason::InvalidValue, "never_expires", "contradicts api_key.expire_time");
    }
    faults.into_result()?;
    let expire_ms = terms.expire_ms.or((!never_expires).then_some(now_ms + LIFE_MS));
    Ok(ApiKey {
        scopes: asked.scopes,
        sender_domains: terms.sender_domains,
        daily_limit: terms.daily_limit,
        expire_ms,
        test: asked.test || caller.test,
        create_ms: now_ms,
        wishes: terms.wishes,
        ip_allow: terms.ip_allow,
        ..ApiKey::unbound(KeyId::generate(), &terms.display_name, &[])
    })
}

fn with(key: ApiKey, terms: Terms) -> ApiKey {
    ApiKey {
        display_name: terms.display_name,
        sender_domains: terms.sender_domains,
        daily_limit: terms.daily_limit,
        ip_allow: terms.ip_allow,
        expire_ms: terms.expire_ms,
        wishes: terms.wishes,
        ..key
    }
}

fn check_scopes(caller: &ApiKey, scopes: &[String], faults: &mut Faults) {
    if scopes.is_empty() {
        let text = "is empty; name what the key may do, or * for everything";
        faults.add(Reason::MissingField, "api_key.scopes", text);
    }
    for (n, scope) in scopes.iter().enumerate() {
        let field = format!("api_key.scopes[{n}]");
        if scope != "*" && !SCOPES.contains(&scope.as_str()) {
            let text = format!("is no scope; there are {}", SCOPES.join(", "));
            faults.add(Reason::InvalidValue, field, text);
        } else if !has_scope(caller, scope) {
            faults.add(Reason::ScopeMissing, field, "is a scope that your own key lacks");
        }
    }
}

fn check_not_replaced(key: &ApiKey) -> Result<(), Failure> {
    let Some(successor) = key.replaced_by else { return Ok(()) };
    let text = format!("was rotated before; {successor} takes its place, rotate that one");
    Err(Failure::field(Reason::InvalidValue, "id", text))
}

async fn find(context: &Context, id: &str) -> Result<ApiKey, Failure> {
    directory::find_key(&*context.db, parse_id(id)?).await?.ok_or_else(missing)
}

pub(super) fn parse_id(text: &str) -> Result<KeyId, Failure> {
    text.parse().map_err(|_| missing())
}

fn missing() -> Failure {
    Failure::new(Reason::ApiKeyNotFound, "there is no such API key")
}

fn exists() -> Failure {
    let text = "an API key with this hash exists; revoked ones count too";
    Failure::field(Reason::ApiKeyExists, "sha256", text)
}

/// A key on the wire.
pub(super) fn shown(key: ApiKey) -> v1::ApiKey {
    let (last_use_time, last_use_address) = match key.last_use {
        Some(last) => (Some(timestamp(last.at_ms)), last.address),
        None => (None, String::new()),
    };
    let id = |id: Option<KeyId>| id.map(|id| id.to_string()).unwrap_or_default();
    v1::ApiKey {
        id: key.id.to_string(),
        display_name: key.display_name,
        scopes: key.scopes,
        sender_domains: key.sender_domains,
        daily_limit: key.daily_limit,
        expire_time: key.expire_ms.map(timestamp),
        test: key.test,
        hint: key.hint,
        create_time: Some(timestamp(key.create_ms)),
        revoke_time: key.revoke_ms.map(timestamp),
        tracking: key.wishes.tracking,
        unsubscribe: key.wishes.unsubscribe,
        ip_allow: key.ip_allow.iter().map(ToString::to_string).collect(),
        replaces: id(key.replaces),
        replaced_by: id(key.replaced_by),
        last_use_time,
        last_use_address,
    }
}
