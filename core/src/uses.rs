//! When credentials were last used: noted in memory with every call, written now and then.
//!
//! A crash loses what was noted since it was last written, which is half a minute at most.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::model::directory::CredentialKind;
use crate::store::credentials::{Use, note_uses};
use crate::store::{Database, Error};

/// The last use of each credential that is not written yet.
#[derive(Debug, Default)]
pub struct Uses(Mutex<HashMap<(CredentialKind, Uuid), Use>>);

impl Uses {
    /// Notes a use.
    pub fn note(&self, kind: CredentialKind, id: Uuid, at_ms: i64, address: Option<IpAddr>) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.insert((kind, id), Use { kind, id, at_ms, address });
    }

    /// Writes what was noted. What cannot be written is kept for the next time.
    pub async fn flush(&self, db: &dyn Database) -> Result<(), Error> {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if noted.is_empty() {
            return Ok(());
        }
        let uses: Vec<_> = noted.into_values().collect();
        let written = note_uses(db, &uses).await;
        if written.is_err() {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for one in uses {
                kept.entry((one.kind, one.id)).or_insert(one);
            }
        }
        written
    }
}
