//! What changes rarely and is asked for with every message: keys, templates and suppressions; and the
//! mails of the local inbox.

use ipnet::IpNet;
use postern_proto::ids::{
    KeyId, MessageId, OperatorId, SinkId, SmtpCredentialId, SuppressionId, TemplateId,
};

use super::content::Wishes;

/// The two kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// An API key.
    ApiKey,
    /// An SMTP credential.
    Smtp,
}

/// What can be changed of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialField {
    /// The name for people.
    DisplayName,
    /// What an API key may do.
    Scopes,
    /// The domains it may send from.
    SenderDomains,
    /// Messages of an SMTP credential per window.
    RateLimit,
    /// Recipients per day.
    DailyLimit,
    /// Whose option headers an SMTP credential may use.
    HeaderAliases,
    /// Where it may be used from.
    IpAllow,
    /// When it stops working.
    ExpireTime,
    /// What its messages ask for when they do not say.
    Wishes,
}

/// When a credential was used, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at_ms: i64,
    /// The client's address; empty when it is not known.
    pub address: String,
}

/// An API key. The secret itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The id.
    pub id: KeyId,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// The name for people.
    pub display_name: String,
    /// What it may do; `*` for everything.
    pub scopes: Vec<String>,
    /// The domains it may send from; empty for any.
    pub sender_domains: Vec<String>,
    /// Recipients per day; 0 for no limit.
    pub daily_limit: i64,
    /// When it stops working.
    pub expire_ms: Option<i64>,
    /// Its mail goes to the local inbox only.
    pub test: bool,
    /// The first characters of the secret.
    pub hint: String,
    /// When it was made.
    pub create_ms: i64,
    /// When it was revoked.
    pub revoke_ms: Option<i64>,
    /// What its messages ask for when they do not say.
    pub wishes: Wishes,
    /// The networks it may be used from; empty for any.
    pub ip_allow: Vec<IpNet>,
    /// The key whose place it takes.
    pub replaces: Option<KeyId>,
    /// The key that takes its place.
    pub replaced_by: Option<KeyId>,
    /// When it was last used, as far as that is stored.
    pub last_use: Option<LastUse>,
    /// It stands for this operator, who is logged in, and is not stored.
    pub operator: Option<OperatorId>,
}

impl ApiKey {
    /// Who acts with this key, as an id.
    pub fn actor(&self) -> String {
        self.operator.map_or_else(|| self.id.to_string(), |operator| operator.to_string())
    }

    /// A key for these scopes that is bound to nothing, never expires and has no secret: what the
    /// system itself acts with, and what others are made from.
    pub fn unbound(id: KeyId, display_name: &str, scopes: &[&str]) -> Self {
        Self {
            id,
            hash: [0; 32],
            display_name: display_name.to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            sender_domains: Vec::new(),
            daily_limit: 0,
            expire_ms: None,
            test: false,
            hint: String::new(),
            create_ms: 0,
            revoke_ms: None,
            wishes: Wishes::default(),
            ip_allow: Vec::new(),
            replaces: None,
            replaced_by: None,
            last_use: None,
            operator: None,
        }
    }
}

/// A password that works on for a while after a rotation.
#[derive(Clone, PartialEq, Eq)]
pub struct OldPassword {
    /// What [`crate::password`] checks a password against.
    pub hash: String,
    /// Until when.
    pub until_ms: i64,
}

impl std::fmt::Debug for OldPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OldPassword(until {})", self.until_ms)
    }
}

/// An SMTP credential. The password itself is nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpCredential {
    /// The id.
    pub id: SmtpCredentialId,
    /// The user name.
    pub username: String,
    /// What [`crate::password`] checks a password against.
    pub password_hash: String,
    /// The name for people.
    pub display_name: String,
    /// The domains it may send from; empty for any.
    pub sender_domains: Vec<String>,
    /// Messages per window; 0 for no limit of its own.
    pub rate_limit: i64,
    /// Recipients per day; 0 for no limit.
    pub daily_limit: i64,
    /// Whose option headers it may use, as numbers of the contract.
    pub header_aliases: Vec<i32>,
    /// When it stops working.
    pub expire_ms: Option<i64>,
    /// Its mail goes to the local inbox only.
    pub test: bool,
    /// When it was made.
    pub create_ms: i64,
    /// When it was revoked.
    pub revoke_ms: Option<i64>,
    /// What its messages ask for when they do not say.
    pub wishes: Wishes,
    /// The networks it may be used from; empty for any.
    pub ip_allow: Vec<IpNet>,
    /// The password before the last rotation.
    pub old_password: Option<OldPassword>,
    /// When it was last used, as far as that is stored.
    pub last_use: Option<LastUse>,
}

impl std::fmt::Debug for SmtpCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SmtpCredential({}, …)", self.username)
    }
}

impl SmtpCredential {
    /// What a password may be checked against now: the present one first.
    pub fn password_hashes(&self, now_ms: i64) -> impl Iterator<Item = &String> {
        let old = self.old_password.iter().filter(move |old| now_ms < old.until_ms);
        std::iter::once(&self.password_hash).chain(old.map(|old| &old.hash))
    }

    /// What sends under this credential: a key that may only send.
    pub fn as_key(&self) -> ApiKey {
        let id = KeyId::from_uuid(self.id.uuid());
        ApiKey {
            sender_domains: self.sender_domains.clone(),
            daily_limit: self.daily_limit,
            expire_ms: self.expire_ms,
            test: self.test,
            hint: self.username.clone(),
            create_ms: self.create_ms,
            revoke_ms: self.revoke_ms,
            wishes: self.wishes,
            ip_allow: self.ip_allow.clone(),
            ..ApiKey::unbound(id, &self.display_name, &["messages:send"])
        }
    }
}

/// A variable that a template declares.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Variable {
    /// The name.
    pub name: String,
    /// Sending without a value is refused.
    pub required: bool,
    /// Used when nobody supplies a value.
    pub default: String,
}

/// A stored template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The id.
    pub id: TemplateId,
    /// The client's name for it.
    pub alias: String,
    /// The name for people.
    pub display_name: String,
    /// The subject in Liquid.
    pub subject: String,
    /// The html body in Liquid.
    pub html: String,
    /// The text body in Liquid.
    pub text: String,
    /// Declared variables.
    pub variables: Vec<Variable>,
    /// When it was made.
    pub create_ms: i64,
    /// When it last changed.
    pub update_ms: i64,
}

/// Why an address is suppressed. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SuppressionReason {
    /// The address does not exist.
    HardBounce = 1,
    /// The recipient complained.
    Complaint = 2,
    /// The recipient unsubscribed.
    Unsubscribe = 3,
    /// An operator added it.
    Manual = 4,
}

impl SuppressionReason {
    /// The reason with this number; unknown numbers are read as manual.
    pub fn from_number(number: i64) -> Self {
        match number {
            1 => Self::HardBounce,
            2 => Self::Complaint,
            3 => Self::Unsubscribe,
            _ => Self::Manual,
        }
    }

    /// The word shown to clients.
    pub fn name(self) -> &'static str {
        match self {
            Self::HardBounce => "hard_bounce",
            Self::Complaint => "complaint",
            Self::Unsubscribe => "unsubscribe",
            Self::Manual => "manual",
        }
    }
}

/// An address that gets no mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The id.
    pub id: SuppressionId,
    /// The address in lower case.
    pub email: String,
    /// Why.
    pub reason: SuppressionReason,
    /// Only for this campaign; empty for all mail.
    pub campaign_id: String,
    /// A note for people.
    pub note: String,
    /// Since when.
    pub create_ms: i64,
}

/// A mail that the local inbox caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkMail {
    /// The id.
    pub id: SinkId,
    /// When it was caught.
    pub create_ms: i64,
    /// The envelope sender.
    pub envelope_from: String,
    /// The envelope recipient.
    pub envelope_to: String,
    /// The Subject field, decoded.
    pub subject: String,
    /// The From field, decoded.
    pub from: String,
    /// The size in octets.
    pub size: i64,
    /// The message it came from.
    pub message_id: MessageId,
    /// The mail; empty in lists.
    pub raw: Vec<u8>,
}
