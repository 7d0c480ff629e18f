//! Who calls, and what they may do.
//!
//! Only the SHA-256 of a key is known here. Looking that up reveals nothing through its timing: who
//! can choose the secret cannot choose its hash. The gateway token is compared in constant time. A
//! gateway that had a password checked shows the session it got for it; see [`super::session`].

use std::net::IpAddr;
use std::sync::Arc;

use postern_kit::clock::Clock;
use postern_kit::core_client::GatewayToken;
use postern_kit::net;
use postern_proto::ids::KeyId;
use postern_proto::metadata;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::metadata::MetadataMap;

use crate::directory::Directory;
use crate::model::directory::ApiKey;
use crate::model::operator::{Operator, OperatorSession};
use crate::uses::Uses;

use super::session::{Kind, Session, Sessions, fingerprint};

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
    /// What gateways show instead of passwords.
    pub sessions: Sessions,
    /// A gateway may use the inbox without a caller's key. For development on one machine.
    pub inbox_open: bool,
    /// When credentials were used.
    pub uses: Arc<Uses>,
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
        let found = match presented(metadata)? {
            Some(Presented::Bearer(secret)) => self.by_secret(secret),
            Some(Presented::Session(text)) if from_gateway => self.by_session(text),
            Some(Presented::Operator(text)) if from_gateway => {
                let session = self.by_operator(text).ok_or_else(nobody)?;
                let key = operator_key(&session.operator);
                return if has_scope(&key, scope) { Ok(Arc::new(key)) } else { Err(lacks(scope)) };
            }
            Some(Presented::Session(_) | Presented::Operator(_)) => None,
            None if from_gateway && self.inbox_open && needs_no_key(metadata, scope) => {
                return Ok(Arc::new(inbox_key()));
            }
            None => return Err(no_credential()),
        };
        let (kind, key) = found.ok_or_else(unknown_key)?;
        self.admit(kind, &key, address(metadata, from_gateway))?;
        if !has_scope(&key, scope) {
            return Err(lacks(scope));
        }
        Ok(key)
    }

    /// Passes gateways, and callers whose key works from where they are; what they may do is asked
    /// later.
    pub fn known(&self, metadata: &MetadataMap) -> Result<(), Failure> {
        if self.is_gateway(metadata)? {
            return Ok(());
        }
        let found = match presented(metadata)? {
            Some(Presented::Bearer(secret)) => self.by_secret(secret),
            Some(Presented::Session(_) | Presented::Operator(_)) => None,
            None => return Err(no_credential()),
        };
        let (_, key) = found.ok_or_else(unknown_key)?;
        usable(&key, self.clock.now_ms())?;
        welcome(&key, address(metadata, false))
    }

    /// The caller's key, whatever it may do.
    pub fn authenticate(&self, metadata: &MetadataMap) -> Result<Arc<ApiKey>, Failure> {
        let client = self.client(metadata)?;
        let Some(Presented::Bearer(secret)) = presented(metadata)? else {
            return Err(no_credential());
        };
        let (kind, key) = self.by_secret(secret).ok_or_else(unknown_key)?;
        self.admit(kind, &key, client)?;
        Ok(key)
    }

    /// Passes a credential that still works and may be used from this address, and notes that it was.
    pub fn admit(&self, kind: Kind, key: &ApiKey, client: Option<IpAddr>) -> Result<(), Failure> {
        let now_ms = self.clock.now_ms();
        usable(key, now_ms)?;
        welcome(key, client)?;
        self.uses.note(kind, key.id.uuid(), now_ms, client);
        Ok(())
    }

    /// The client's address: as a gateway says, or of whoever calls directly; none when a gateway
    /// does not say.
    pub fn client(&self, metadata: &MetadataMap) -> Result<Option<IpAddr>, Failure> {
        self.is_gateway(metadata).map(|from_gateway| address(metadata, from_gateway))
    }

    fn by_secret(&self, secret: &str) -> Option<(Kind, Arc<ApiKey>)> {
        self.directory.now().key(&hash(secret)).map(|key| (Kind::ApiKey, key))
    }

    /// Passes a gateway that asks for itself, or a caller that has the scope.
    pub fn authorise_gateway_or(
        &self,
        metadata: &MetadataMap,
        scope: &'static str,
    ) -> Result<(), Failure> {
        if self.is_gateway(metadata)? && metadata.get(metadata::AUTHORIZATION).is_none() {
            return Ok(());
        }
        self.authorise(metadata, scope).map(|_| ())
    }

    /// Passes gateways only.
    pub fn authorise_gateway(&self, metadata: &MetadataMap) -> Result<(), Failure> {
        if self.is_gateway(metadata)? {
            return Ok(());
        }
        Err(Failure::new(Reason::MissingCredentials, "this method is for gateways only"))
    }

    /// The operator who is logged in, as a gateway says.
    pub fn operator(&self, metadata: &MetadataMap) -> Result<OperatorSession, Failure> {
        self.authorise_gateway(metadata)?;
        let session = match presented(metadata)? {
            Some(Presented::Operator(text)) => self.by_operator(text),
            _ => None,
        };
        session.ok_or_else(nobody)
    }

    fn by_operator(&self, text: &str) -> Option<OperatorSession> {
        let session = self.directory.now().operator_session(&hash(text))?;
        (self.clock.now_ms() < session.expire_ms).then_some(session)
    }

    /// The credential that a session stands for, while it is the one that was checked.
    fn by_session(&self, text: &str) -> Option<(Kind, Arc<ApiKey>)> {
        let now_ms = self.clock.now_ms();
        let Session { kind, id, fingerprint: checked, .. } = self.sessions.open(text, now_ms)?;
        let snapshot = self.directory.now();
        let fits = |stored: &[u8]| bool::from(fingerprint(stored).ct_eq(&checked));
        match kind {
            Kind::Smtp => {
                let found = snapshot.smtp_credential_by_id(id)?;
                let fits = found.password_hashes(now_ms).any(|stored| fits(stored.as_bytes()));
                fits.then(|| (kind, Arc::new(found.as_key())))
            }
            Kind::ApiKey => {
                let found = snapshot.key_by_id(id)?;
                fits(&found.hash).then_some((kind, found))
            }
        }
    }

    /// The key of a caller that calls without a gateway, whether it may do what it asks for or not.
    pub fn direct_caller(&self, metadata: &MetadataMap) -> Option<Arc<ApiKey>> {
        match presented(metadata) {
            Ok(Some(Presented::Bearer(secret))) if !self.is_gateway(metadata).ok()? => {
                self.by_secret(secret).map(|(_, key)| key)
            }
            _ => None,
        }
    }

    /// Whether a gateway speaks, as its token proves.
    pub fn is_gateway(&self, metadata: &MetadataMap) -> Result<bool, Failure> {
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

fn nobody() -> Failure {
    Failure::new(Reason::InvalidKey, "nobody is logged in; log in again")
}

fn lacks(scope: &str) -> Failure {
    let text = format!("the API key lacks the scope {scope}");
    Failure::new(Reason::ScopeMissing, text).with("scope", scope)
}

/// Whether a key has a scope.
pub fn has_scope(key: &ApiKey, scope: &str) -> bool {
    key.scopes.iter().any(|own| own == scope || own == "*")
}

/// Whether a key still works.
pub fn usable(key: &ApiKey, now_ms: i64) -> Result<(), Failure> {
    if key.revoke_ms.is_some() {
        return Err(Failure::new(Reason::KeyRevoked, "the API key was revoked; use another"));
    }
    if key.expire_ms.is_some_and(|expire_ms| expire_ms <= now_ms) {
        return Err(Failure::new(Reason::KeyExpired, "the API key has expired; make a new one"));
    }
    Ok(())
}

fn address(metadata: &MetadataMap, from_gateway: bool) -> Option<IpAddr> {
    let entry = if from_gateway { metadata::CLIENT_IP } else { metadata::PEER_IP };
    let address: IpAddr = metadata.get(entry)?.to_str().ok()?.parse().ok()?;
    Some(address.to_canonical())
}

/// Whether a key may be used from this address.
fn welcome(key: &ApiKey, client: Option<IpAddr>) -> Result<(), Failure> {
    if key.ip_allow.is_empty() {
        return Ok(());
    }
    let refused = |seen: String| {
        let text = format!("this credential may not be used from {seen}; see its ip_allow");
        Failure::new(Reason::AddressNotAllowed, text).with("address", seen)
    };
    match client {
        Some(client) if net::is_in(&key.ip_allow, client) => Ok(()),
        Some(client) => Err(refused(client.to_string())),
        None => Err(refused("an unknown address".to_owned())),
    }
}

/// What the open inbox of a development installation lets through: looking at it, and handing mail
/// to it through the door of the plain sink.
fn needs_no_key(metadata: &MetadataMap, scope: &str) -> bool {
    let door = metadata.get(metadata::DOOR).map(|door| door.as_encoded_bytes());
    scope.starts_with("sink:") || (scope == "messages:send" && door == Some(b"sink"))
}

fn no_credential() -> Failure {
    let text = "no credential was given; send authorization: Bearer <API key>";
    Failure::new(Reason::MissingCredentials, text)
}

fn unknown_key() -> Failure {
    Failure::new(Reason::InvalidKey, "the API key is not valid")
}

/// What a caller shows.
enum Presented<'a> {
    Bearer(&'a str),
    Session(&'a str),
    Operator(&'a str),
}

fn presented(metadata: &MetadataMap) -> Result<Option<Presented<'_>>, Failure> {
    let Some(value) = metadata.get(metadata::AUTHORIZATION) else {
        return Ok(None);
    };
    let malformed =
        || Failure::new(Reason::InvalidKey, "the credential is malformed; send Bearer <API key>");
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, secret) = text.split_once(' ').ok_or_else(malformed)?;
    match secret.trim() {
        "" => Err(malformed()),
        secret if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(Presented::Bearer(secret))),
        secret if scheme.eq_ignore_ascii_case("session") => Ok(Some(Presented::Session(secret))),
        secret if scheme.eq_ignore_ascii_case("operator") => Ok(Some(Presented::Operator(secret))),
        _ => Err(malformed()),
    }
}

/// The id of the key that stands for the open inbox.
pub const INBOX_KEY: KeyId = KeyId::from_uuid(uuid::Uuid::nil());

/// Stands for the inbox page and the plain sink of a development installation.
pub(super) fn inbox_key() -> ApiKey {
    let scopes = ["sink:read", "sink:write", "messages:send"];
    ApiKey { test: true, ..ApiKey::unbound(INBOX_KEY, "local inbox", &scopes) }
}

/// Stands for an operator who is logged in.
pub(super) fn operator_key(operator: &Operator) -> ApiKey {
    ApiKey {
        scopes: operator.role.scopes(),
        create_ms: operator.create_ms,
        operator: Some(operator.id),
        ..ApiKey::unbound(KeyId::from_uuid(operator.id.uuid()), &operator.username, &[])
    }
}
