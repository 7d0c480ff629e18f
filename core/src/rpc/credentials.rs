//! `CredentialService`: API keys here, SMTP credentials in [`super::smtp_credentials`].

use postern_proto::ids::KeyId;
use postern_proto::metadata::SCOPES;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::credential_service_server::CredentialService;
use tonic::{Request, Response, Status};

use crate::credential;
use crate::intake::address;
use crate::intake::draft::Faults;
use crate::model::directory::ApiKey;
use crate::store::directory;

use super::auth::has_scope;
use super::{Context, check_password, convert, limits, smtp_credentials};

/// Characters of a display name.
const NAME_MAX: usize = 128;
/// Domains a key may be bound to.
const DOMAINS_MAX: usize = 100;
/// How long a key works when its maker does not say.
const LIFE_MS: i64 = 90 * 86_400_000;

/// The service.
pub struct Credentials(pub Context);

#[tonic::async_trait]
impl CredentialService for Credentials {
    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
        let caller = self.0.gate.authorise(request.metadata(), "keys:write")?;
        let request = request.into_inner();
        let validate_only = request.validate_only;
        let (key, secret) = checked(&caller, request, self.0.clock.now_ms())?;
        if validate_only {
            let api_key = v1::ApiKey { id: String::new(), hint: String::new(), ..shown(key) };
            let (api_key, secret) = (Some(api_key), String::new());
            return Ok(Response::new(v1::CreateApiKeyResponse { api_key, secret }));
        }
        directory::create_key(&*self.0.db, &key).await.map_err(Failure::from)?;
        self.0.directory.refresh().await.map_err(Failure::from)?;
        tracing::info!(key.id = %key.id, by = %caller.id, "api key made");
        Ok(Response::new(v1::CreateApiKeyResponse { api_key: Some(shown(key)), secret }))
    }

    async fn list_api_keys(
        &self,
        request: Request<v1::ListApiKeysRequest>,
    ) -> Result<Response<v1::ListApiKeysResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "keys:read")?;
        let (pages, request) = (&self.0.pages, request.into_inner());
        let size = pages.size(request.page_size)?;
        let cursor = pages.cursor("page_token", b"keys", &request.page_token)?;
        let before = cursor.map(|cursor| parse_id(&cursor)).transpose()?;
        let list = directory::keys(&*self.0.db, before, size + 1).await;
        let mut list = list.map_err(Failure::from)?;
        let next_page_token = pages.cut(&mut list, size, b"keys", |last| last.id.to_string());
        let api_keys = list.into_iter().map(shown).collect();
        Ok(Response::new(v1::ListApiKeysResponse { api_keys, next_page_token }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<v1::RevokeApiKeyRequest>,
    ) -> Result<Response<v1::RevokeApiKeyResponse>, Status> {
        let caller = self.0.gate.authorise(request.metadata(), "keys:write")?;
        let v1::RevokeApiKeyRequest { id, validate_only } = request.into_inner();
        let id = parse_id(&id)?;
        if validate_only {
            let found = directory::find_key(&*self.0.db, id).await.map_err(Failure::from)?;
            let api_key = Some(shown(found.ok_or_else(missing)?));
            return Ok(Response::new(v1::RevokeApiKeyResponse { api_key }));
        }
        let revoked = directory::revoke_key(&*self.0.db, id, self.0.clock.now_ms()).await;
        let key = revoked.map_err(Failure::from)?.ok_or_else(missing)?;
        self.0.directory.refresh().await.map_err(Failure::from)?;
        tracing::info!(key.id = %key.id, by = %caller.id, "api key revoked");
        Ok(Response::new(v1::RevokeApiKeyResponse { api_key: Some(shown(key)) }))
    }

    async fn create_smtp_credential(
        &self,
        request: Request<v1::CreateSmtpCredentialRequest>,
    ) -> Result<Response<v1::CreateSmtpCredentialResponse>, Status> {
        let caller = self.0.gate.authorise(request.metadata(), "keys:write")?;
        let (made, secret) =
            smtp_credentials::create(&self.0, &caller, request.into_inner()).await?;
        let smtp_credential = Some(made);
        Ok(Response::new(v1::CreateSmtpCredentialResponse { smtp_credential, secret }))
    }

    async fn import_smtp_credential(
        &self,
        request: Request<v1::ImportSmtpCredentialRequest>,
    ) -> Result<Response<v1::ImportSmtpCredentialResponse>, Status> {
        let caller = self.0.gate.authorise(request.metadata(), "keys:write")?;
        let made = smtp_credentials::import(&self.0, &caller, request.into_inner()).await?;
        Ok(Response::new(v1::ImportSmtpCredentialResponse { smtp_credential: Some(made) }))
    }

    async fn list_smtp_credentials(
        &self,
        request: Request<v1::ListSmtpCredentialsRequest>,
    ) -> Result<Response<v1::ListSmtpCredentialsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "keys:read")?;
        Ok(Response::new(smtp_credentials::list(&self.0, request.into_inner()).await?))
    }

    async fn revoke_smtp_credential(
        &self,
        request: Request<v1::RevokeSmtpCredentialRequest>,
    ) -> Result<Response<v1::RevokeSmtpCredentialResponse>, Status> {
        let caller = self.0.gate.authorise(request.metadata(), "keys:write")?;
        let revoked = smtp_credentials::revoke(&self.0, &caller, request.into_inner()).await?;
        Ok(Response::new(v1::RevokeSmtpCredentialResponse { smtp_credential: Some(revoked) }))
    }

    async fn check_password(
        &self,
        request: Request<v1::CheckPasswordRequest>,
    ) -> Result<Response<v1::CheckPasswordResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        Ok(Response::new(check_password::check(&self.0, request.into_inner()).await?))
    }

    async fn get_own_api_key(
        &self,
        request: Request<v1::GetOwnApiKeyRequest>,
    ) -> Result<Response<v1::GetOwnApiKeyResponse>, Status> {
        let key = self.0.gate.authenticate(request.metadata())?;
        let api_key = Some(shown(ApiKey::clone(&key)));
        Ok(Response::new(v1::GetOwnApiKeyResponse { api_key }))
    }

    async fn get_limits(
        &self,
        request: Request<v1::GetLimitsRequest>,
    ) -> Result<Response<v1::GetLimitsResponse>, Status> {
        let key = self.0.gate.authenticate(request.metadata())?;
        Ok(Response::new(limits::of(&self.0, &key).await?))
    }
}

fn checked(
    caller: &ApiKey,
    request: v1::CreateApiKeyRequest,
    now_ms: i64,
) -> Result<(ApiKey, String), Failure> {
    let asked = request.api_key.unwrap_or_default();
    let mut faults = Faults::default();
    check_name_and_scopes(caller, &asked, &mut faults);
    let domains = &asked.sender_domains;
    let sender_domains = check_domains("api_key.sender_domains", caller, domains, &mut faults);
    if asked.daily_limit < 0 {
        faults.add(Reason::ValueOutOfRange, "api_key.daily_limit", "is negative; 0 means no limit");
    }
    let own_limit = caller.daily_limit;
    if own_limit > 0 && !(1..=own_limit).contains(&asked.daily_limit) {
        let text = format!("must be 1 to {own_limit}, the limit of your own key");
        faults.add(Reason::ValueOutOfRange, "api_key.daily_limit", text);
    }
    let asked_ms = convert::time("api_key.expire_time", asked.expire_time)?;
    if asked_ms.is_some() && request.never_expires {
        faults.add(Reason::InvalidValue, "never_expires", "contradicts api_key.expire_time");
    }
    check_expiry("api_key.expire_time", asked_ms, now_ms, &mut faults);
    let wishes = convert::wishes("api_key.", asked.tracking, asked.unsubscribe, &mut faults);
    faults.into_result()?;
    let secret = credential::generate(asked.test || caller.test);
    let expire_ms = asked_ms.or((!request.never_expires).then_some(now_ms + LIFE_MS));
    let key = ApiKey {
        id: KeyId::generate(),
        hash: super::auth::hash(&secret),
        display_name: asked.display_name,
        scopes: asked.scopes,
        sender_domains,
        daily_limit: asked.daily_limit,
        expire_ms,
        test: asked.test || caller.test,
        hint: credential::hint(&secret),
        create_ms: now_ms,
        revoke_ms: None,
        wishes,
    };
    Ok((key, secret))
}

/// Checks the name of a credential.
pub(super) fn check_name(field: &str, name: &str, faults: &mut Faults) {
    if name.is_empty() || name.chars().count() > NAME_MAX {
        faults.add(Reason::InvalidValue, field, "needs 1 to 128 characters");
    }
}

/// Checks when a credential stops working.
pub(super) fn check_expiry(field: &str, expire_ms: Option<i64>, now_ms: i64, faults: &mut Faults) {
    if expire_ms.is_some_and(|expire_ms| expire_ms <= now_ms) {
        faults.add(Reason::ValueOutOfRange, field, "is past");
    }
}

fn check_name_and_scopes(caller: &ApiKey, asked: &v1::ApiKey, faults: &mut Faults) {
    check_name("api_key.display_name", &asked.display_name, faults);
    if asked.scopes.is_empty() {
        let text = "is empty; name what the key may do, or * for everything";
        faults.add(Reason::MissingField, "api_key.scopes", text);
    }
    for (n, scope) in asked.scopes.iter().enumerate() {
        let field = format!("api_key.scopes[{n}]");
        if scope != "*" && !SCOPES.contains(&scope.as_str()) {
            let text = format!("is no scope; there are {}", SCOPES.join(", "));
            faults.add(Reason::InvalidValue, field, text);
        } else if !has_scope(caller, scope) {
            faults.add(Reason::ScopeMissing, field, "is a scope that your own key lacks");
        }
    }
}

/// Checks the domains a new credential may send from; they are never more than the caller's own.
pub(super) fn check_domains(
    field: &str,
    caller: &ApiKey,
    asked: &[String],
    faults: &mut Faults,
) -> Vec<String> {
    let mut sender_domains = Vec::new();
    for (n, domain) in asked.iter().take(DOMAINS_MAX).enumerate() {
        match address::parse_domain(domain) {
            Ok(domain) => sender_domains.push(domain),
            Err(text) => faults.add(Reason::InvalidValue, format!("{field}[{n}]"), text),
        }
    }
    if asked.len() > DOMAINS_MAX {
        faults.add(Reason::ValueOutOfRange, field, "names more than 100 domains");
    }
    // A key makes no key that may do more than itself.
    let own = &caller.sender_domains;
    if !own.is_empty() && sender_domains.is_empty() {
        sender_domains.clone_from(own);
    }
    if !own.is_empty() && sender_domains.iter().any(|domain| !own.contains(domain)) {
        let text = "names a domain that your own key may not send from";
        faults.add(Reason::SenderNotAllowed, field, text);
    }
    sender_domains
}

fn parse_id(text: &str) -> Result<KeyId, Failure> {
    text.parse().map_err(|_| missing())
}

fn missing() -> Failure {
    Failure::new(Reason::ApiKeyNotFound, "there is no such API key")
}

fn shown(key: ApiKey) -> v1::ApiKey {
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
    }
}
