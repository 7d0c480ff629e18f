//! Sender domains: their DKIM keys, and what the DNS was found to say about them.

use postern_proto::ids::DomainId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The algorithm of a DKIM key. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DkimAlgorithm {
    /// RSA-2048 with SHA-256.
    Rsa = 1,
    /// Ed25519.
    Ed25519 = 2,
}

impl DkimAlgorithm {
    /// The last character of the selectors of such keys.
    pub fn suffix(self) -> char {
        match self {
            Self::Rsa => 'r',
            Self::Ed25519 => 'e',
        }
    }
}

/// Where a DKIM key is in its life. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyState {
    /// To be published; does not sign yet.
    Pending = 1,
    /// Signs every message. One pair of a domain is always in this state.
    Active = 2,
    /// Signs no longer; published until its time is over.
    Retired = 3,
}

impl KeyState {
    /// The state with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Retired].into_iter().find(|one| *one as i64 == number)
    }
}

/// A DKIM key of a sender domain.
#[derive(Clone, PartialEq, Eq)]
pub struct DkimKey {
    /// The selector: that of the pair and [`DkimAlgorithm::suffix`].
    pub selector: String,
    /// The algorithm.
    pub algorithm: DkimAlgorithm,
    /// The private key as PKCS#8 DER. Needed in clear to sign; never leaves the core.
    pub private_der: Vec<u8>,
    /// The value of the TXT record to publish.
    pub record: String,
    /// When it was made.
    pub create_ms: i64,
    /// Where it is in its life.
    pub state: KeyState,
    /// How long the keys before it stay published once it is activated.
    pub overlap_ms: i64,
    /// When it is removed; only a retired key has a time.
    pub remove_ms: Option<i64>,
}

impl DkimKey {
    /// The selector of the pair that it is half of.
    pub fn pair(&self) -> &str {
        self.selector.strip_suffix(self.algorithm.suffix()).unwrap_or(&self.selector)
    }
}

impl std::fmt::Debug for DkimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DkimKey({}, {:?}, …)", self.selector, self.state)
    }
}

/// A sender domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The id.
    pub id: DomainId,
    /// The name as A-labels in lower case.
    pub name: String,
    /// Its keys by selector; every message is signed with each that is active.
    pub keys: Vec<DkimKey>,
    /// When it was added.
    pub create_ms: i64,
    /// Differs after every change of the domain or its keys, so that a change can be made only to
    /// what was seen.
    pub change_id: Uuid,
    /// What the last check found.
    pub checks: Vec<Check>,
    /// When it was last checked.
    pub check_ms: Option<i64>,
}

impl Domain {
    /// The keys in this state.
    pub fn keys_in(&self, state: KeyState) -> impl Iterator<Item = &DkimKey> {
        self.keys.iter().filter(move |key| key.state == state)
    }
}

/// What a record or a check is about. The words are stored and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Who may send for the domain (RFC 7208).
    Spf,
    /// A key that signatures are verified with (RFC 6376).
    Dkim,
    /// What receivers do with mail that is neither (RFC 7489).
    Dmarc,
    /// Bounces come back.
    ReturnPath,
    /// Who takes mail for the domain.
    Mx,
    /// Where tracking links lead.
    Tracking,
    /// The name of a sending address, which must lead back to it (RFC 1912 §2.1).
    Ptr,
    /// TLS is demanded of those who send to the domain (RFC 8461).
    MtaSts,
    /// Where failures of that are reported (RFC 8460).
    TlsRpt,
}

impl Purpose {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spf => "spf",
            Self::Dkim => "dkim",
            Self::Dmarc => "dmarc",
            Self::ReturnPath => "return_path",
            Self::Mx => "mx",
            Self::Tracking => "tracking",
            Self::Ptr => "ptr",
            Self::MtaSts => "mta_sts",
            Self::TlsRpt => "tls_rpt",
        }
    }
}

/// How much a record is needed. The numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Without it mail is refused or lands in spam, or links do not work.
    Required = 1,
    /// Mail arrives without it, but something is lost.
    Recommended = 2,
    /// Good to have.
    Optional = 3,
}

/// What a check found. The numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should be.
    Ok = 1,
    /// There is no such record.
    Missing = 2,
    /// There is one, and it does harm or not what it is for.
    Wrong = 3,
    /// It works, and could be better.
    Warning = 4,
    /// The DNS did not answer.
    Unknown = 5,
}

/// One thing that was looked up, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is about.
    pub purpose: Purpose,
    /// The selector, for DKIM; empty otherwise.
    pub selector: String,
    /// The name that was asked for.
    pub name: String,
    /// How much it is needed.
    pub need: Need,
    /// What was found.
    pub status: CheckStatus,
    /// What should be there.
    pub expected: String,
    /// What is there, of bounded length.
    pub found: String,
    /// What to do next, in a sentence; empty for nothing.
    pub hint: String,
    /// When the DNS gave this answer.
    pub check_ms: i64,
    /// Why it gave none at the last check; the other fields are older then.
    pub error: String,
}
