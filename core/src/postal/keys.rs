//! The public keys that Postal signs with, in the forms in which people have them: PEM, the DNS record
//! that Postal prints, a JSON web key. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rsa::pkcs1::{DecodeRsaPublicKey as _, EncodeRsaPublicKey as _};
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPublicKey};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The sizes of keys that are taken, in bits. Postal's installer makes 1024; fewer are worth nothing.
const BITS: std::ops::RangeInclusive<usize> = 1024..=4096;

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key itself.
    pub public: RsaPublicKey,
    /// What Postal calls it: the SHA-256 of its PKCS#1 form in hex, in lower case.
    pub id: String,
}

/// A text that holds no usable key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Nothing in it looks like a key.
    #[error("holds no key; it needs a PEM public key, or a DNS record with p=")]
    None,
    /// A private key is nobody's but Postal's.
    #[error("holds a private key; give the public one: openssl rsa -in signing.key -pubout")]
    Private,
    /// It cannot be read.
    #[error("holds a key that cannot be read as an RSA public key")]
    Unreadable,
    /// It is too short or too long.
    #[error("holds a key of {0} bits; 1024 to 4096 are taken")]
    Size(usize),
}

/// Reads all keys of a text: PEM blocks (`PUBLIC KEY`, `RSA PUBLIC KEY`) or the DNS record of the
/// default DKIM key, whose private half Postal signs with.
pub fn parse(text: &str) -> Result<Vec<Key>, BadKey> {
    if !text.contains("-----BEGIN ") {
        return Ok(vec![record(text)?]);
    }
    let blocks = text.split("-----BEGIN ").skip(1);
    blocks.map(|block| pem(&format!("-----BEGIN {block}"))).collect()
}

fn pem(block: &str) -> Result<Key, BadKey> {
    let label = block.trim_start_matches("-----BEGIN ").split("-----").next().unwrap_or_default();
    // What stands behind the block is a comment.
    let end = format!("-----END {label}-----");
    let end = block.find(&end).map(|at| at + end.len()).ok_or(BadKey::Unreadable)?;
    let block = &block[..end];
    let public = match label {
        "PUBLIC KEY" => RsaPublicKey::from_public_key_pem(block).ok(),
        "RSA PUBLIC KEY" => RsaPublicKey::from_pkcs1_pem(block).ok(),
        label if label.ends_with("PRIVATE KEY") => return Err(BadKey::Private),
        _ => None,
    };
    Key::new(public.ok_or(BadKey::Unreadable)?)
}

fn record(text: &str) -> Result<Key, BadKey> {
    // Copied from a zone file it may be in quoted pieces.
    let text: String = text.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    let value = text.split(';').find_map(|tag| tag.strip_prefix("p=")).ok_or(BadKey::None)?;
    let der = STANDARD.decode(value).map_err(|_| BadKey::Unreadable)?;
    Key::new(RsaPublicKey::from_public_key_der(&der).map_err(|_| BadKey::Unreadable)?)
}

/// A JSON web key (RFC 7517), as far as RSA needs it.
#[derive(Debug, Deserialize)]
struct WebKey {
    kty: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

#[derive(Deserialize)]
struct WebKeys {
    keys: Vec<WebKey>,
}

/// Reads a set of JSON web keys. Those that are no usable RSA keys are left out.
pub fn parse_jwks(json: &[u8]) -> Result<Vec<Key>, BadKey> {
    let set: WebKeys = serde_json::from_slice(json).map_err(|_| BadKey::Unreadable)?;
    let number = |text: &str| {
        let octets = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        octets.map(|octets| BigUint::from_bytes_be(&octets)).map_err(|_| BadKey::Unreadable)
    };
    let key = |key: &WebKey| {
        let public = RsaPublicKey::new(number(&key.n)?, number(&key.e)?);
        Key::new(public.map_err(|_| BadKey::Unreadable)?)
    };
    let rsa = set.keys.iter().filter(|key| key.kty == "RSA");
    let keys: Vec<Key> = rsa.filter_map(|one| key(one).ok()).collect();
    if keys.is_empty() { Err(BadKey::None) } else { Ok(keys) }
}

impl Key {
    fn new(public: RsaPublicKey) -> Result<Self, BadKey> {
        let bits = public.n().bits();
        if !BITS.contains(&bits) {
            return Err(BadKey::Size(bits));
        }
        let der = public.to_pkcs1_der().map_err(|_| BadKey::Unreadable)?;
        let digest = Sha256::digest(der.as_bytes());
        let id = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        Ok(Self { public, id })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rsa::pkcs1::LineEnding;
    use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};

    use super::*;

    /// The key of the vector in `verify`.
    pub(crate) const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256"},{"kty":"RSA","e":"AQAB","use":"sig","alg":"RS256",
        "n":"sv-xUAG_d0Ucl9RWmMjt4zfG5Zo0GmwfcJmZjuG7Schdde-N-T04NVJF9iGIo1vMYLaWEiALdorP1s-7O4Qitqv7qPm2B_yb3w8S3R4o59aAcobQo7C-yre8PHa5e1KytFUOuiIThDunVtabvNrkLLI5r9-eBCnEixsGCfR9yKs"}]}"#;

    #[test]
    fn every_form_of_a_key_has_the_id_that_postal_gives_it() {
        let key = parse_jwks(JWKS.as_bytes()).unwrap().remove(0);
        let id = "57160337112b63111255a19b3976149b9e9b9712f0c92d5a6de5cbc0519cbd5f";
        assert_eq!(key.id, id);
        let spki = key.public.to_public_key_pem(LineEnding::LF).unwrap();
        let pkcs1 = key.public.to_pkcs1_pem(LineEnding::CRLF).unwrap();
        let two = format!("# old\n{spki}# new\n{pkcs1}");
        assert_eq!(parse(&two).unwrap(), [key.clone(), key.clone()]);
        let der = STANDARD.encode(key.public.to_public_key_der().unwrap());
        let (left, right) = der.split_at(100);
        let record = format!("\"v=DKIM1; t=s; h=sha256; p={left}\" \"{right};\"");
        assert_eq!(parse(&record).unwrap(), [key]);
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        assert_eq!(parse("placeholder"), Err(BadKey::None));
        assert_eq!(parse("v=DKIM1; p=***"), Err(BadKey::Unreadable));
        let broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";
        assert_eq!(parse(broken), Err(BadKey::Unreadable));
        assert_eq!(parse("-----BEGIN PUBLIC KEY-----\nAAAA"), Err(BadKey::Unreadable));
        let short = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 512).unwrap();
        let private = short.to_pkcs8_pem(LineEnding::LF).unwrap();
        assert_eq!(parse(&private), Err(BadKey::Private));
        let public = short.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
        assert_eq!(parse(&public), Err(BadKey::Size(512)));
        assert_eq!(parse_jwks(br#"{"keys":[]}"#), Err(BadKey::None));
    }
}
