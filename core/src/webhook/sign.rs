//! Signatures: Standard Webhooks 1.0.0, and those of the old system. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a Standard Webhooks secret begins with.
pub const PREFIX: &str = "whsec_";
/// Octets of a secret we make.
const OCTETS: usize = 32;
/// What Standard Webhooks allows.
const OCTETS_MIN: usize = 24;
const OCTETS_MAX: usize = 64;

/// A new secret.
pub fn generate() -> String {
    let octets: [u8; OCTETS] = rand::random();
    format!("{PREFIX}{}", STANDARD.encode(octets))
}

/// The key that a secret of the standard stands for: the octets behind the prefix, never the text.
pub fn key(secret: &str) -> Option<Vec<u8>> {
    let octets = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    (OCTETS_MIN..=OCTETS_MAX).contains(&octets.len()).then_some(octets)
}

/// The value of `webhook-signature`: one signature for each secret that counts. A secret of the old
/// system is a key as it is.
pub fn standard(secrets: &[&str], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let sign = |secret: &&str| {
        let key = key(secret).unwrap_or_else(|| secret.as_bytes().to_vec());
        format!("v1,{}", STANDARD.encode(hmac(&key, &signed)))
    };
    secrets.iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// `X-Webhook-Signature` of the old system: over the url, so it says who posts and nothing of what.
pub fn legacy_url(secret: &str, url: &str) -> String {
    hex(&hmac(secret.as_bytes(), url))
}

/// `X-Signature` of its first versions: over time and body.
pub fn legacy_body(secret: &str, timestamp: i64, body: &str) -> String {
    format!("sha256={}", hex(&hmac(secret.as_bytes(), &format!("{timestamp}.{body}"))))
}

fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key);
    let mut mac = mac.expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_comes_out() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = r#"{"test": 2432232314}"#;
        let signature = standard(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_signs_and_a_secret_of_the_wrong_form_is_none() {
        let (new, old) = (generate(), generate());
        let both = standard(&[&new, &old], "evt_1", 7, "{}");
        let each = [standard(&[&new], "evt_1", 7, "{}"), standard(&[&old], "evt_1", 7, "{}")];
        assert_eq!(both, each.join(" "));
        assert_eq!(key(&new).unwrap().len(), 32);
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "whsec_no base64", &new[PREFIX.len()..]] {
            assert_eq!(key(bad), None, "{bad}");
        }
        assert_ne!(new, old);
    }
}
