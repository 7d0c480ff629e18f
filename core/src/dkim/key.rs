//! DKIM keys: made here, kept as PKCS#8 DER, published as TXT records.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256};
use mail_auth::dkim::generate::DkimKeyPair;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey};
use rsa::traits::PublicKeyParts;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::model::domain::DkimAlgorithm;

/// The size of new RSA keys, and the least that is accepted (RFC 8301 §3.2 allows 1024; receivers
/// no longer trust it, and larger keys do not fit every DNS server).
pub const RSA_BITS: usize = 2048;

/// Why a key or a message cannot be used. Holds no part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no PKCS#8 key of the algorithm.
    #[error("the private key cannot be read: {0}")]
    BadKey(String),
    /// Fewer bits than [`RSA_BITS`].
    #[error("the RSA key has {0} bits, at least {RSA_BITS} are needed")]
    WeakKey(usize),
    /// A domain or selector that is no DNS name in A-labels.
    #[error("'{0}' is not a domain name in ASCII")]
    BadName(String),
    /// A message without From cannot be signed (RFC 6376 §5.4).
    #[error("the message has no From field")]
    NoFrom,
    /// The cryptographic library failed.
    #[error("signing failed: {0}")]
    Library(String),
}

/// A new key.
#[derive(Clone, PartialEq, Eq)]
pub struct Generated {
    /// The private key as PKCS#8 DER.
    pub private_der: Vec<u8>,
    /// The value of the TXT record, see [`record_value`].
    pub record: String,
}

impl std::fmt::Debug for Generated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Generated(…)")
    }
}

/// Makes a key from the randomness of the system. RSA takes a good part of a second of computing:
/// call it where blocking is allowed.
pub fn generate(algorithm: DkimAlgorithm) -> Result<Generated, Error> {
    let private_der = match algorithm {
        DkimAlgorithm::Rsa => {
            let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, RSA_BITS)
                .map_err(|error| Error::Library(error.to_string()))?;
            let der = key.to_pkcs8_der().map_err(|error| Error::Library(error.to_string()))?;
            der.as_bytes().to_vec()
        }
        DkimAlgorithm::Ed25519 => {
            let pair = DkimKeyPair::generate_ed25519();
            pair.map_err(|error| Error::Library(error.to_string()))?.into_inner().0
        }
    };
    let record = record_value(algorithm, &private_der)?;
    Ok(Generated { private_der, record })
}

/// The owner name of the record, without trailing dot.
pub fn record_name(domain: &str, selector: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

/// The value of the TXT record: one string, which a zone file must cut into pieces of 255. RSA keys
/// are published as SubjectPublicKeyInfo, which every verifier reads.
pub fn record_value(algorithm: DkimAlgorithm, private_der: &[u8]) -> Result<String, Error> {
    let (name, public) = match algorithm {
        DkimAlgorithm::Rsa => {
            let spki = rsa_key(private_der)?.to_public_key().to_public_key_der();
            ("rsa", spki.map_err(|error| Error::BadKey(error.to_string()))?.into_vec())
        }
        DkimAlgorithm::Ed25519 => ("ed25519", ed25519_key(private_der)?.public_key()),
    };
    Ok(format!("v=DKIM1; k={name}; p={}", STANDARD.encode(public)))
}

/// The key in the form that signs.
pub(super) fn signing_key(
    algorithm: DkimAlgorithm,
    private_der: &[u8],
) -> Result<mail_auth::common::crypto::DkimKey, Error> {
    match algorithm {
        DkimAlgorithm::Rsa => {
            rsa_key(private_der)?;
            let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(private_der));
            let key = RsaKey::<Sha256>::from_key_der(der);
            Ok(key.map_err(|error| Error::BadKey(error.to_string()))?.into())
        }
        DkimAlgorithm::Ed25519 => Ok(ed25519_key(private_der)?.into()),
    }
}

fn rsa_key(private_der: &[u8]) -> Result<rsa::RsaPrivateKey, Error> {
    let key = rsa::RsaPrivateKey::from_pkcs8_der(private_der)
        .map_err(|error| Error::BadKey(error.to_string()))?;
    let bits = key.n().bits();
    if bits < RSA_BITS { Err(Error::WeakKey(bits)) } else { Ok(key) }
}

fn ed25519_key(private_der: &[u8]) -> Result<Ed25519Key, Error> {
    // Keys imported from elsewhere (openssl) hold no public half, hence "maybe unchecked".
    Ed25519Key::from_pkcs8_maybe_unchecked_der(private_der)
        .map_err(|error| Error::BadKey(error.to_string()))
}
