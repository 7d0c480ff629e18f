//! `CredentialService`; what it does is in [`super::api_keys`] and [`super::smtp_credentials`].

use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::credential_service_server::CredentialService;
use tonic::{Request, Response, Status};

use crate::model::directory::ApiKey;
use crate::store::directory;

use super::api_keys::{self, parse_id, shown};
use super::{Context, check_password, limits, smtp_credentials};

/// The service.
pub struct Credentials(pub Context);

#[tonic::async_trait]
impl CredentialService for Credentials {
    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
        let by = self.0.admit(request.metadata(), "keys:write")?;
        let (key, secret) = api_keys::create(&self.0, &by, request.into_inner()).await?;
        Ok(Response::new(v1::CreateApiKeyResponse { api_key: Some(key), secret }))
    }

    async fn import_api_key(
        &self,
        request: Request<v1::ImportApiKeyRequest>,
    ) -> Result<Response<v1::ImportApiKeyResponse>, Status> {
        let by = self.0.admit(request.metadata(), "keys:write")?;
        let key = api_keys::import(&self.0, &by, request.into_inner()).await?;
        Ok(Response::new(v1::ImportApiKeyResponse { api_key: Some(key) }))
    }

    async fn rotate_api_key(
        &self,
        request: Request<v1::RotateApiKeyRequest>,
    ) -> Result<Response<v1::RotateApiKeyResponse>, Status> {
        let by = self.0.admit(request.metadata(), "keys:write")?;
        let (key, secret) = api_keys::rotate(&self.0, &by, request.into_inner()).await?;
        Ok(Response::new(v1::RotateApiKeyResponse { api_key: Some(key), secret }))
    }

    async fn update_api_key(
        &self,
        request: Request<v1::UpdateApiKeyRequest>,
    ) -> Result<Response<v1::UpdateApiKeyResponse>, Status> {
        let by = self.0.admit(request.metadata(), "keys:write")?;
        let key = api_keys::update(&self.0, &by, request.into_inner()).await?;
        Ok(Response::new(v1::UpdateApiKeyResponse { api_key: Some(key) }))
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
        let by = self.0.admit(request.metadata(), "keys:write")?;
        let key = api_keys::revoke(&self.0, &by, request.into_inner()).await?;
        Ok(Response::new(v1::RevokeApiKeyResponse { api_key: Some(key) }))
    }

    async fn create_smtp_credential(
        &self,
        request: Request<v1::CreateSmtpCredentialRequest>,
    ) -> Result<Response<v1::CreateSmtpCredentialResponse>, Status> {
        let by = self.0.admit(request.metadata(), "keys:write")?;
        let (made, secret) = smtp_credentials::create(&self.0, &by, request.into_inner()).await?;
        let smtp_credential = Some(made);
        Ok(Response::new(v1::CreateSmtpCredentialResponse { smtp_credential, secret }))
    }

    async fn import_smtp_credential(
        &self,
        request: Request<v1::ImportSmtpCredentialRequest>,
    ) -> Result<Response<v1::ImportSmtpCredentialResponse>, Status> {
        let by = self.0.admit(request.metadata(), "keys:write")?;
        let made = smtp_credentials::import(&self.0, &by, request.into_inner()).await?;
        Ok(Response::new(v1::ImportSmtpCredentialResponse { smtp_credential: Some(made) }))
    }

    async fn rotate_smtp_credential(
        &self,
        request: Request<v1::RotateSmtpCredentialRequest>,
    ) -> Result<Response<v1::RotateSmtpCredentialResponse>, Status> {
        let by = self.0.admit(request.metadata(), "keys:write")?;
        let (made, secret) = smtp_credentials::rotate(&self.0, &by, request.into_inner()).await?;
        let smtp_credential = Some(made);
        Ok(Response::new(v1::RotateSmtpCredentialResponse { smtp_credential, secret }))
    }

    async fn update_smtp_credential(
        &self,
        request: Request<v1::UpdateSmtpCredentialRequest>,
    ) -> Result<Response<v1::UpdateSmtpCredentialResponse>, Status> {
        let by = self.0.admit(request.metadata(), "keys:write")?;
        let changed = smtp_credentials::update(&self.0, &by, request.into_inner()).await?;
        Ok(Response::new(v1::UpdateSmtpCredentialResponse { smtp_credential: Some(changed) }))
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
        let by = self.0.admit(request.metadata(), "keys:write")?;
        let revoked = smtp_credentials::revoke(&self.0, &by, request.into_inner()).await?;
        Ok(Response::new(v1::RevokeSmtpCredentialResponse { smtp_credential: Some(revoked) }))
    }

    async fn check_password(
        &self,
        request: Request<v1::CheckPasswordRequest>,
    ) -> Result<Response<v1::CheckPasswordResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        let client = self.0.gate.client(request.metadata())?;
        Ok(Response::new(check_password::check(&self.0, client, request.into_inner()).await?))
    }

    async fn get_own_api_key(
        &self,
        request: Request<v1::GetOwnApiKeyRequest>,
    ) -> Result<Response<v1::GetOwnApiKeyResponse>, Status> {
        let key = self.0.gate.authenticate(request.metadata())?;
        // What is in memory about its use is old.
        let api_key = Some(shown(ApiKey { last_use: None, ..ApiKey::clone(&key) }));
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
