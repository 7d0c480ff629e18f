//! Values that Rails encrypted (Active Record Encryption): AES-256-GCM with keys derived by PBKDF2 from
//! passwords of the configuration. Pure functions.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_kit::env::{Env, EnvError};
use serde::Deserialize;
use std::io::Read as _;
use std::num::NonZeroU32;

/// The three values of the old system's configuration.
pub(crate) const PRIMARY: &str = "ENCRYPTION_PRIMARY_KEY";
const DETERMINISTIC: &str = "ENCRYPTION_DETERMINISTIC_KEY";
const SALT: &str = "ENCRYPTION_KEY_DERIVATION_SALT";
/// What Rails derives keys with.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(65_535);
/// No value of the old system is longer; a small one may claim to unpack to anything.
const OCTETS_MAX: u64 = 1 << 20;

/// A value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CipherError {
    /// It is not written as Rails writes it.
    #[error("is not encrypted as Rails does it")]
    Form,
    /// None of the keys fits.
    #[error("was encrypted with other keys than {PRIMARY} and {DETERMINISTIC} with {SALT}")]
    Key,
    /// There are no keys.
    #[error("is encrypted; set {PRIMARY}, {DETERMINISTIC} and {SALT} as the old system had them")]
    NoKey,
    /// No secret or address is that long.
    #[error("is longer than {OCTETS_MAX} octets")]
    Long,
    /// It is no text.
    #[error("holds no text")]
    Text,
}

/// Reads encrypted values.
pub(crate) struct Cipher {
    keys: Vec<LessSafeKey>,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cipher({} keys)", self.keys.len())
    }
}

/// An encrypted value as it lies in a column.
#[derive(Deserialize)]
struct Envelope {
    p: String,
    h: Headers,
}

#[derive(Deserialize)]
struct Headers {
    iv: String,
    at: String,
    /// It was packed before it was encrypted.
    #[serde(default)]
    c: bool,
}

impl Cipher {
    /// Reads the configuration; all three or none.
    pub(crate) fn from_env(env: &Env) -> Result<Self, EnvError> {
        let read = |name: &str| env.get(name).map(str::to_owned);
        let [primary, deterministic, salt] = [read(PRIMARY), read(DETERMINISTIC), read(SALT)];
        let given = [&primary, &deterministic, &salt].iter().filter(|one| one.is_some()).count();
        if given == 0 {
            return Ok(Self { keys: Vec::new() });
        }
        if given < 3 {
            let missing = [(PRIMARY, &primary), (DETERMINISTIC, &deterministic), (SALT, &salt)];
            let name = missing.iter().find(|(_, value)| value.is_none()).map_or(SALT, |one| one.0);
            return Err(EnvError::new(name, "is not set; all three are needed, or none"));
        }
        let salt = salt.unwrap_or_default();
        // SHA-256 since Rails 7.1, SHA-1 before: the values tell which.
        let ways = [pbkdf2::PBKDF2_HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA1];
        let passwords = [deterministic.unwrap_or_default(), primary.unwrap_or_default()];
        let mut keys = Vec::new();
        for way in ways {
            for password in &passwords {
                let mut key = [0; 32];
                pbkdf2::derive(way, ROUNDS, salt.as_bytes(), password.as_bytes(), &mut key);
                let key = UnboundKey::new(&AES_256_GCM, &key);
                let key = key.map_err(|_| EnvError::new(PRIMARY, "gives no key"))?;
                keys.push(LessSafeKey::new(key));
            }
        }
        Ok(Self { keys })
    }

    /// The text of a value; a value that is not encrypted is its own text.
    pub(crate) fn read(&self, value: &str) -> Result<String, CipherError> {
        if !value.starts_with('{') {
            return Ok(value.to_owned());
        }
        let envelope: Envelope = serde_json::from_str(value).map_err(|_| CipherError::Form)?;
        let octets = |text: &str| STANDARD.decode(text).map_err(|_| CipherError::Form);
        let (text, iv, tag) =
            (octets(&envelope.p)?, octets(&envelope.h.iv)?, octets(&envelope.h.at)?);
        let iv: [u8; NONCE_LEN] = iv.try_into().map_err(|_| CipherError::Form)?;
        if self.keys.is_empty() {
            return Err(CipherError::NoKey);
        }
        let sealed = [text, tag].concat();
        let opened = self.keys.iter().find_map(|key| {
            let mut sealed = sealed.clone();
            let nonce = Nonce::assume_unique_for_key(iv);
            key.open_in_place(nonce, Aad::empty(), &mut sealed).ok().map(|text| text.to_vec())
        });
        let mut opened = opened.ok_or(CipherError::Key)?;
        if envelope.h.c {
            let mut unpacked = Vec::new();
            let packed = flate2::read::ZlibDecoder::new(opened.as_slice());
            let limit = OCTETS_MAX + 1;
            packed.take(limit).read_to_end(&mut unpacked).map_err(|_| CipherError::Form)?;
            if unpacked.len() as u64 > OCTETS_MAX {
                return Err(CipherError::Long);
            }
            opened = unpacked;
        }
        String::from_utf8(opened).map_err(|_| CipherError::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_values_or_none() {
        let env = Env::from([(PRIMARY, "p"), (SALT, "s")]);
        assert_eq!(Cipher::from_env(&env).unwrap_err().name, DETERMINISTIC);
        let none = Cipher::from_env(&Env::default()).unwrap();
        assert_eq!(none.read("ann@shop.test").as_deref(), Ok("ann@shop.test"));
        let sealed =
            r#"{"p":"AAAA","h":{"iv":"AAAAAAAAAAAAAAAA","at":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#;
        assert_eq!(none.read(sealed), Err(CipherError::NoKey));
        let env = env.with(DETERMINISTIC, "d");
        assert_eq!(Cipher::from_env(&env).unwrap().read(sealed), Err(CipherError::Key));
        assert_eq!(none.read("{\"p\":1}"), Err(CipherError::Form));
    }

    /// What opens with our keys was encrypted with them; what is not encrypted is its own text.
    #[test]
    fn fuzz_old_cipher() {
        let env = Env::from([
            (PRIMARY, "an-old-primary-key-of-32-letters"),
            (DETERMINISTIC, "a-deterministic-key-of-32-letter"),
            (SALT, "a-salt-of-the-old-system-32-long"),
        ]);
        let cipher = Cipher::from_env(&env).unwrap();
        postern_fuzz::check!("old_cipher", move |input| {
            let value = postern_fuzz::text(input);
            let read = cipher.read(&value);
            if !value.starts_with('{') {
                assert_eq!(read.as_deref(), Ok(&*value));
            } else if let Ok(text) = read {
                assert!(["ann@shop.test", "cyd@shop.test"].contains(&text.as_str()), "{text}");
            }
        });
    }

    /// Keys by `ActiveSupport::KeyGenerator` of Rails 6.1 (SHA-1) and by `OpenSSL::PKCS5` (SHA-256),
    /// values by Ruby's OpenSSL, packed by its Zlib.
    #[test]
    fn what_ruby_encrypted_is_read() {
        let env = Env::from([
            (PRIMARY, "an-old-primary-key-of-32-letters"),
            (DETERMINISTIC, "a-deterministic-key-of-32-letter"),
            (SALT, "a-salt-of-the-old-system-32-long"),
        ]);
        let cipher = Cipher::from_env(&env).unwrap();
        let sha1 = r#"{"p":"haxOlmBSdB2rPCII2Q==","h":{"iv":"wRm8tmvWTR+I1u7W","at":"xr4cgWRKYlKOeNy2rfOoHQ=="}}"#;
        assert_eq!(cipher.read(sha1).as_deref(), Ok("ann@shop.test"));
        let packed = r#"{"p":"l44PoqWyfwECTcA+RVL8IwNZwuZq","h":{"c":true,"iv":"mf+11C6FmGFJ01UX","at":"SnEuHk5MSmuXGYguawJRNA=="}}"#;
        assert_eq!(cipher.read(packed).as_deref(), Ok("cyd@shop.test"));
        let forged = sha1.replace("haxO", "haxP");
        assert_eq!(cipher.read(&forged), Err(CipherError::Key));
    }
}
