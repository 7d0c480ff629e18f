//! The DKIM-Signature field: which fields are covered, and how it is written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_auth::common::crypto::{DkimKey, SigningKey};

use super::canon;
use super::key::{self, Error};
use crate::mime::inspect::Fields;
use crate::model::domain::DkimAlgorithm;

/// Covered as often as they occur and once more, so that nobody can add another one: these decide
/// what the recipient sees, whom an answer goes to, and what one click does.
const OVERSIGNED: [&str; 12] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
];

/// Covered when present; adding one to mail that has none is legitimate (lists, forwarders).
const SIGNED: [&str; 7] = [
    "Sender",
    "In-Reply-To",
    "References",
    "List-ID",
    "List-Help",
    "Feedback-ID",
    "Auto-Submitted",
];

/// Where the base64 of a signature is broken.
const SIGNATURE_COLUMNS: usize = 72;

/// A key of a sender domain, ready to sign. Building one parses the key, so keep it.
pub struct Signer {
    domain: String,
    selector: String,
    algorithm: DkimAlgorithm,
    key: DkimKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({}._domainkey.{})", self.selector, self.domain)
    }
}

impl Signer {
    /// Reads a PKCS#8 key. The domain is in A-labels. RSA keys below 2048 bits are refused.
    pub fn new(
        domain: &str,
        selector: &str,
        algorithm: DkimAlgorithm,
        private_der: &[u8],
    ) -> Result<Self, Error> {
        for name in [domain, selector] {
            let valid = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            if name.is_empty() || name.len() > 253 || !name.bytes().all(valid) {
                return Err(Error::BadName(name.chars().take(64).collect()));
            }
        }
        Ok(Self {
            domain: domain.to_ascii_lowercase(),
            selector: selector.to_owned(),
            algorithm,
            key: key::signing_key(algorithm, private_der)?,
        })
    }

    /// One DKIM-Signature field with its CRLF, to be put before the message.
    pub fn sign(&self, message: &[u8], now_secs: u64) -> Result<Vec<u8>, Error> {
        sign([self], message, now_secs)
    }

    fn field(&self, covered: &Covered, body_hash: &str, now_secs: u64) -> Result<Vec<u8>, Error> {
        let algorithm = match self.algorithm {
            DkimAlgorithm::Rsa => "rsa-sha256",
            DkimAlgorithm::Ed25519 => "ed25519-sha256",
        };
        let mut value = format!(
            " v=1; a={algorithm}; c=relaxed/relaxed;\r\n\td={};\r\n\ts={}; t={now_secs};\r\n\t{}\
             ;\r\n\tbh={body_hash};\r\n\tb=",
            self.domain, self.selector, covered.tag
        );
        let mut input = Vec::with_capacity(covered.canonical.len() + value.len() + 16);
        input.extend_from_slice(&covered.canonical);
        canon::field(&mut input, "DKIM-Signature", value.as_bytes());
        // The field being made is hashed without its last CRLF (RFC 6376 §3.7).
        input.truncate(input.len() - 2);
        let signature = self.key.sign(input.as_slice());
        let signature = STANDARD.encode(signature.map_err(|e| Error::Library(e.to_string()))?);
        for (index, chunk) in signature.as_bytes().chunks(SIGNATURE_COLUMNS).enumerate() {
            value.push_str(if index == 0 { "" } else { "\r\n\t " });
            value.push_str(std::str::from_utf8(chunk).expect("base64 is ASCII"));
        }
        Ok(format!("DKIM-Signature:{value}\r\n").into_bytes())
    }
}

/// One DKIM-Signature field for each key, to be put before the message, which must have CRLF line
/// ends. The body is hashed once however many keys there are. `now_secs` counts from 1970.
pub fn sign<'a>(
    signers: impl IntoIterator<Item = &'a Signer>,
    message: &[u8],
    now_secs: u64,
) -> Result<Vec<u8>, Error> {
    let fields = Fields::parse(message).map_err(|_| Error::NoFrom)?;
    if !fields.has("from") {
        return Err(Error::NoFrom);
    }
    let covered = Covered::of(&fields);
    let body_hash = STANDARD.encode(canon::body_hash(fields.body()));
    let mut out = Vec::with_capacity(1024);
    for signer in signers {
        out.extend(signer.field(&covered, &body_hash, now_secs)?);
    }
    Ok(out)
}

/// The covered fields: their canonical form and the folded `h=` tag.
struct Covered {
    canonical: Vec<u8>,
    tag: String,
}

impl Covered {
    fn of(fields: &Fields<'_>) -> Self {
        let mut covered = Covered { canonical: Vec::with_capacity(1024), tag: "h=".to_owned() };
        let mut column = 10;
        for (names, oversign) in [(&OVERSIGNED[..], true), (&SIGNED[..], false)] {
            for name in names {
                // Several fields of one name are taken from the bottom up (RFC 6376 §5.4.2).
                let same = fields.iter().rev().filter(|f| f.name.eq_ignore_ascii_case(name));
                let mut times = usize::from(oversign);
                for field in same {
                    canon::field(&mut covered.canonical, name, field.value());
                    times += 1;
                }
                for _ in 0..times {
                    covered.name(name, &mut column);
                }
            }
        }
        covered
    }

    fn name(&mut self, name: &str, column: &mut usize) {
        if self.tag.len() > "h=".len() {
            self.tag.push(':');
        }
        if *column + name.len() >= SIGNATURE_COLUMNS {
            self.tag.push_str("\r\n\t ");
            *column = 9;
        }
        self.tag.push_str(name);
        *column += name.len() + 1;
    }
}
