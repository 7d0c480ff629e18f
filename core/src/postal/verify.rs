//! Whether a webhook was signed by a key that is trusted here. Pure.
//!
//! The signature covers the octets of the body and nothing else, so a body must never be written anew
//! before it is verified.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::sha2::Sha256;
use sha1::Sha1;
use sha1::digest::Digest as _;

use super::keys::Key;

/// The header fields that Postal signs with; empty where one is missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signatures<'a> {
    /// `X-Postal-Signature-256`.
    pub sha256: &'a str,
    /// `X-Postal-Signature`.
    pub sha1: &'a str,
    /// `X-Postal-Signature-KID`.
    pub key_id: &'a str,
}

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no key to verify with.
    #[error("no key is configured")]
    NoKey,
    /// It carries no signature that would do.
    #[error("it carries no SHA-256 signature")]
    Unsigned,
    /// The signature is not base64.
    #[error("its signature is not base64")]
    Malformed,
    /// It was signed with a key that is not ours.
    #[error("its key id is unknown")]
    UnknownKey,
    /// The signature does not fit the body.
    #[error("its signature does not fit")]
    Wrong,
}

/// Verifies a body. SHA-1 is looked at only when it is allowed and there is nothing better.
pub fn verify(
    keys: &[Key],
    body: &[u8],
    signatures: Signatures<'_>,
    allow_sha1: bool,
) -> Result<(), Refusal> {
    if keys.is_empty() {
        return Err(Refusal::NoKey);
    }
    let (text, scheme, digest) = match (signatures.sha256, signatures.sha1) {
        ("", sha1) if allow_sha1 && !sha1.is_empty() => {
            (sha1, Pkcs1v15Sign::new::<Sha1>(), Sha1::digest(body).to_vec())
        }
        ("", _) => return Err(Refusal::Unsigned),
        (sha256, _) => (sha256, Pkcs1v15Sign::new::<Sha256>(), Sha256::digest(body).to_vec()),
    };
    // Some proxies of the old system wrote the algorithm before it.
    let text = text.trim();
    let text = text.strip_prefix("sha256=").unwrap_or(text);
    let signature = STANDARD.decode(text).map_err(|_| Refusal::Malformed)?;
    let named = signatures.key_id.trim();
    let mut candidates =
        keys.iter().filter(|key| named.is_empty() || key.id.eq_ignore_ascii_case(named)).peekable();
    if candidates.peek().is_none() {
        return Err(Refusal::UnknownKey);
    }
    let fits = |key: &Key| key.public.verify(scheme.clone(), &digest, &signature).is_ok();
    if candidates.any(fits) { Ok(()) } else { Err(Refusal::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{parse_jwks, tests::JWKS};
    use super::*;

    /// Made with an independent implementation; see `tests/e2e/postal_verify.rs` for more of them.
    const BODY: &str = r#"{"event":"MessageSent","timestamp":1700000000.123456,"payload":{"message":{"id":12345,"token":"aB3dE5gH7jK9mN1p","direction":"outgoing","message_id":"5d2f6a1e-0000-4000-8000-000000000001@rp.postal.example.com","to":"rcpt@example.net","from":"sender@example.com","subject":"Fish \u0026 Chips \u003cnow\u003e","timestamp":1699999999.5,"spam_status":"NotChecked","tag":null},"status":"Sent","details":"Message for rcpt@example.net accepted by 192.0.2.1:25 (mx.example.net)","output":"250 2.0.0 OK","sent_with_ssl":true,"timestamp":1700000000.1,"time":0.22},"uuid":"0b7e2c1a-1111-4222-8333-444455556666"}"#;
    const KEY_ID: &str = "57160337112b63111255a19b3976149b9e9b9712f0c92d5a6de5cbc0519cbd5f";
    const SHA1: &str = "qTj//yZY4/tuMMWSZMGHZ9KXCOBLn/LTRoaiVHIncdhlPKFvIs95YVipfiSaqkN8I84MXtlXQBXJA/NZtDfr8AxcKDVULkK/0gqiPgrRvac9vx9iBQGWjxT0wtssipeEhFfnbIGyORpPVpXZMhhmKZhWxvzFGdrfxEyuCnBDZNA=";
    const SHA256: &str = "K1gZHfNUr7ApRGKWbQm5t36lUz116t9lHoStFDIve9gfzhQwV7lxfayQbZUqhq80PrLGPZ9dos38TaiOt/wlCZZLHaUqwGSDHVnctzg2O0q3MFRSuZniIg9bN0So6ow3z1ODSu+EuqYMdHCTggH5Q/NtMBIOW8VqSlnNJLRbfnQ=";

    fn verified(body: &str, signatures: Signatures<'_>, allow_sha1: bool) -> Result<(), Refusal> {
        verify(&parse_jwks(JWKS.as_bytes()).unwrap(), body.as_bytes(), signatures, allow_sha1)
    }

    #[test]
    fn the_vector_of_an_independent_implementation_is_believed() {
        let prefixed = format!("sha256={SHA256}");
        for (sha256, key_id) in [(SHA256, KEY_ID), (SHA256, ""), (prefixed.as_str(), "")] {
            let signatures = Signatures { sha256, key_id, sha1: SHA1 };
            assert_eq!(verified(BODY, signatures, false), Ok(()));
        }
    }

    #[test]
    fn sha1_counts_only_where_it_is_allowed_and_alone() {
        let alone = Signatures { sha1: SHA1, ..Signatures::default() };
        assert_eq!(verified(BODY, alone, true), Ok(()));
        assert_eq!(verified(BODY, alone, false), Err(Refusal::Unsigned));
        let wrong = Signatures { sha256: "AAAA", sha1: SHA1, key_id: "" };
        assert_eq!(verified(BODY, wrong, true), Err(Refusal::Wrong));
    }

    /// Lines of fields, then the body: nothing but the signed body is believed.
    #[test]
    fn fuzz_postal_signature() {
        postern_fuzz::check!("postal_signature", |input| {
            let text = postern_fuzz::text(input);
            let mut lines = text.splitn(4, '\n');
            let [sha256, sha1, key_id, body] = [(); 4].map(|()| lines.next().unwrap_or_default());
            for allow_sha1 in [true, false] {
                let signatures = Signatures { sha256, sha1, key_id };
                let believed = verified(body, signatures, allow_sha1).is_ok();
                assert!(!believed || body == BODY);
                assert!(!believed || allow_sha1 || !sha256.is_empty());
            }
        });
    }

    #[test]
    fn whatever_does_not_fit_is_refused() {
        let good = Signatures { sha256: SHA256, sha1: SHA1, key_id: KEY_ID };
        // The same JSON, written by another hand.
        let rewritten = BODY.replace("\\u0026", "&");
        for body in [rewritten.as_str(), &BODY.replace("12345", "12346"), ""] {
            assert_eq!(verified(body, good, true), Err(Refusal::Wrong));
        }
        let other = Signatures { key_id: "00", ..good };
        assert_eq!(verified(BODY, other, true), Err(Refusal::UnknownKey));
        let bad = Signatures { sha256: "not base64!", ..good };
        assert_eq!(verified(BODY, bad, true), Err(Refusal::Malformed));
        assert_eq!(verified(BODY, Signatures::default(), true), Err(Refusal::Unsigned));
        assert_eq!(verify(&[], BODY.as_bytes(), good, true), Err(Refusal::NoKey));
    }
}
