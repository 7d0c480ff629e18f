//! Who calls, and what they may do.
//!
//! Only the SHA-256 of a key is known here. Looking that up reveals nothing through its timing: who
//! can choose the secret cannot choose its hash. The gateway token is compared in constant time.

use std::sync::Arc;

use postern_kit::clock::Clock;
use postern_kit::core_client::GatewayToken;
use postern_proto::ids::KeyId;
use postern_proto::metadata;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::metadata::MetadataMap;

use crate::directory::Directory;
use crate::model::directory::ApiKey;

/// SHA-256 of a secret.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Checks credentials.
pub struct Gate {
    /// The keys.
    pub directory: Arc<Directory>,
    /// The token of the gateways.
    pub gateway_token: GatewayToken,
    /// A gateway may use the inbox without a caller's key. For development on one machine.
    pub inbox_open: bool,
    /// The time.
    pub clock: Clock,
}

impl Gate {
    /// The caller's key, if it has the scope.
    pub fn authorise(
        &self,
        metadata: &MetadataMap,
        scope: &'static str,
    ) -> Result<Arc<ApiKey>, Failure> {
        let from_gateway = self.is_gateway(metadata)?;
        let Some(secret) = bearer(metadata)? else {
            if from_gateway && self.inbox_open && scope.starts_with("sink:") {
                return Ok(Arc::new(inbox_key()));
            }
            return Err(no_credential());
        };
        let key = self.known(secret)?;
        if !has_scope(&key, scope) {
            let text = format!("the API key lacks the scope {scope}");
            return Err(Failure::new(Reason::ScopeMissing, text).with("scope", scope));
        }
        Ok(key)
    }

    /// The caller's key, whatever it may do.
    pub fn authenticate(&self, metadata: &MetadataMap) -> Result<Arc<ApiKey>, Failure> {
        self.is_gateway(metadata)?;
        self.known(bearer(metadata)?.ok_or_else(no_credential)?)
    }

    fn known(&self, secret: &str) -> Result<Arc<ApiKey>, Failure> {
        let key = self.directory.now().key(&hash(secret));
        let key =
            key.ok_or_else(|| Failure::new(Reason::InvalidKey, "the API key is not valid"))?;
        if key.revoke_ms.is_some() {
            return Err(Failure::new(Reason::KeyRevoked, "the API key was revoked; use another"));
        }
        if key.expire_ms.is_some_and(|expire_ms| expire_ms <= self.clock.now_ms()) {
            return Err(Failure::new(
                Reason::KeyExpired,
                "the API key has expired; make a new one",
            ));
        }
        Ok(key)
    }

    fn is_gateway(&self, metadata: &MetadataMap) -> Result<bool, Failure> {
        let Some(token) = metadata.get(metadata::GATEWAY_TOKEN) else {
            return Ok(false);
        };
        let expected = self.gateway_token.reveal().as_bytes();
        if bool::from(token.as_encoded_bytes().ct_eq(expected)) {
            return Ok(true);
        }
        Err(Failure::new(Reason::InvalidKey, "the gateway token is not valid"))
    }
}

/// Whether a key has a scope.
pub fn has_scope(key: &ApiKey, scope: &str) -> bool {
    key.scopes.iter().any(|own| own == scope || own == "*")
}

fn no_credential() -> Failure {
    let text = "no credential was given; send authorization: Bearer <API key>";
    Failure::new(Reason::MissingCredentials, text)
}

fn bearer(metadata: &MetadataMap) -> Result<Option<&str>, Failure> {
    let Some(value) = metadata.get(metadata::AUTHORIZATION) else {
        return Ok(None);
    };
    let malformed =
        || Failure::new(Reason::InvalidKey, "the credential is malformed; send Bearer <API key>");
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, secret) = text.split_once(' ').ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") || secret.trim().is_empty() {
        return Err(malformed());
    }
    Ok(Some(secret.trim()))
}

/// Stands for the inbox page of a development installation.
fn inbox_key() -> ApiKey {
    ApiKey {
        id: KeyId::from_uuid(uuid::Uuid::nil()),
        hash: [0; 32],
        display_name: "local inbox".to_owned(),
        scopes: vec!["sink:read".to_owned(), "sink:write".to_owned()],
        sender_domains: Vec::new(),
        daily_limit: 0,
        expire_ms: None,
        test: true,
        hint: String::new(),
        create_ms: 0,
        revoke_ms: None,
    }
}
