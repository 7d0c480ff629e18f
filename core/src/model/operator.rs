//! People who run the installation, and what they and others did. Plain data; a crash has nothing to
//! lose.

use postern_proto::ids::{AuditId, OperatorId};
use postern_proto::metadata::SCOPES;

/// What an operator may do. The numbers are stored, and those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Sees everything but contents and changes nothing.
    Viewer = 1,
    /// May do everything.
    Admin = 2,
}

impl Role {
    /// The role with this number; unknown numbers get the least.
    pub fn from_number(number: i64) -> Self {
        if number == Self::Admin as i64 { Self::Admin } else { Self::Viewer }
    }

    /// The scopes that the role stands for.
    pub fn scopes(self) -> Vec<String> {
        match self {
            Self::Admin => vec!["*".to_owned()],
            Self::Viewer => {
                SCOPES.iter().filter(|one| one.ends_with(":read")).map(|&one| one.into()).collect()
            }
        }
    }
}

/// A person who may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Operator {
    /// The id.
    pub id: OperatorId,
    /// The user name.
    pub username: String,
    /// The PHC string of the password.
    pub password_hash: String,
    /// What the person may do.
    pub role: Role,
    /// The secret of the authenticator app; empty for none.
    pub totp_secret: Vec<u8>,
    /// One that is not confirmed yet.
    pub totp_pending: Vec<u8>,
    /// When the operator was added.
    pub create_ms: i64,
    /// The last login.
    pub login_ms: Option<i64>,
}

impl Operator {
    /// One who has never logged in and has no authenticator app.
    pub fn new(username: String, password_hash: String, role: Role, create_ms: i64) -> Self {
        Self {
            id: OperatorId::generate(),
            username,
            password_hash,
            role,
            totp_secret: Vec::new(),
            totp_pending: Vec::new(),
            create_ms,
            login_ms: None,
        }
    }
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Operator({}, …)", self.username)
    }
}

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub struct OperatorSession {
    /// SHA-256 of the session's text.
    pub hash: [u8; 32],
    /// Whose it is.
    pub operator: std::sync::Arc<Operator>,
    /// Until when.
    pub expire_ms: i64,
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The id.
    pub id: AuditId,
    /// When.
    pub create_ms: i64,
    /// Who, as an id.
    pub actor: String,
    /// What the actor was called.
    pub actor_name: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// What changed, for people.
    pub detail: String,
    /// The client's address; empty where it is not known.
    pub client_ip: String,
    /// The request.
    pub request_id: String,
}
