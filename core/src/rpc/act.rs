//! Who does something administrative, for the audit log.
//!
//! No state; entry and change are one transaction, see [`crate::store::audit`].

use std::sync::Arc;

use postern_proto::ids::AuditId;
use postern_proto::metadata;
use postern_proto::status::Failure;
use tonic::metadata::MetadataMap;

use crate::model::directory::ApiKey;
use crate::model::operator::AuditEntry;
use crate::store::audit::{self, Audited};

use super::Context;

/// Characters of a target and of a detail; what is longer is cut.
const TEXT_MAX: usize = 1024;

/// Somebody who may do what they ask for.
#[derive(Debug, Clone)]
pub struct By {
    /// The caller's key, or what stands for it.
    pub key: Arc<ApiKey>,
    actor: String,
    actor_name: String,
    client_ip: String,
    request_id: String,
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.actor)
    }
}

impl Context {
    /// The caller, if it has the scope.
    pub fn admit(&self, metadata: &MetadataMap, scope: &'static str) -> Result<By, Failure> {
        let key = self.gate.authorise(metadata, scope)?;
        let (actor, name) = (key.actor(), key.display_name.clone());
        Ok(self.by(metadata, key, actor, name))
    }

    /// Somebody whose right to act was seen otherwise.
    pub fn by(
        &self,
        metadata: &MetadataMap,
        key: Arc<ApiKey>,
        actor: String,
        actor_name: String,
    ) -> By {
        let client = self.gate.client(metadata).ok().flatten();
        let request_id = metadata.get(metadata::REQUEST_ID).and_then(|id| id.to_str().ok());
        By {
            key,
            actor,
            actor_name,
            client_ip: client.map(|client| client.to_string()).unwrap_or_default(),
            request_id: request_id.unwrap_or_default().to_owned(),
        }
    }

    /// The database, on behalf of somebody: the first change through it stands in the audit log.
    pub fn audited(&self, by: &By, action: &str, target: &str, detail: &str) -> Audited<'_> {
        Audited::new(&*self.db, self.entry(by, action, target, detail))
    }

    /// Writes an entry about what is not one change of the database. Written before it is done, so that
    /// nothing is done without an entry; what then fails stands there all the same.
    pub async fn note(
        &self,
        by: &By,
        action: &str,
        target: &str,
        detail: &str,
    ) -> Result<(), Failure> {
        Ok(audit::write(&*self.db, self.entry(by, action, target, detail)).await?)
    }

    fn entry(&self, by: &By, action: &str, target: &str, detail: &str) -> AuditEntry {
        let cut = |text: &str| text.chars().take(TEXT_MAX).collect();
        AuditEntry {
            id: AuditId::generate(),
            create_ms: self.clock.now_ms(),
            actor: by.actor.clone(),
            actor_name: by.actor_name.clone(),
            action: action.to_owned(),
            target: cut(target),
            detail: cut(detail),
            client_ip: by.client_ip.clone(),
            request_id: by.request_id.clone(),
        }
    }
}
