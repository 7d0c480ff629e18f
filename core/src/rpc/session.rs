//! Sessions of gateways: what a gateway shows instead of a password it has already had checked.
//!
//! A session is signed with a key that every core of the installation derives from the gateway token,
//! so any core believes it without asking anybody, and no gateway has to keep a password. It names a
//! credential and the password it was checked against: revoking the credential ends it at once, and so does the
//! end of the password, which may be that of the overlap after a rotation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use uuid::Uuid;

pub use crate::model::directory::CredentialKind as Kind;

/// How long a session is good for; a connection does not last longer.
pub const LIFE_MS: i64 = 24 * 3_600_000;
const MAC_BYTES: usize = 32;
const BODY_BYTES: usize = 1 + 16 + 8 + 8;

/// Whom a session stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What kind of credential.
    pub kind: Kind,
    /// Which one.
    pub id: Uuid,
    /// The beginning of the SHA-256 of the stored hash it was checked against.
    pub fingerprint: [u8; 8],
    /// Until when.
    pub expire_ms: i64,
}

/// Makes and reads sessions.
pub struct Sessions {
    key: [u8; 64],
}

impl Sessions {
    /// Sessions under a secret of the installation.
    pub fn new(secret: &str) -> Self {
        Self { key: Sha512::digest(format!("gateway sessions {secret}").as_bytes()).into() }
    }

    /// The session as text.
    pub fn seal(&self, session: &Session) -> String {
        let mut bytes = Vec::with_capacity(BODY_BYTES + MAC_BYTES);
        bytes.push(match session.kind {
            Kind::Smtp => 1,
            Kind::ApiKey => 2,
        });
        bytes.extend_from_slice(session.id.as_bytes());
        bytes.extend_from_slice(&session.fingerprint);
        bytes.extend_from_slice(&session.expire_ms.to_be_bytes());
        let mac = self.mac(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The session in a text that we sealed and that has not expired.
    pub fn open(&self, text: &str, now_ms: i64) -> Option<Session> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (body, mac) = bytes.split_at_checked(BODY_BYTES)?;
        self.mac(body).verify_slice(mac).ok()?;
        let kind = match body[0] {
            1 => Kind::Smtp,
            2 => Kind::ApiKey,
            _ => return None,
        };
        let id = Uuid::from_slice(&body[1..17]).ok()?;
        let fingerprint = body[17..25].try_into().ok()?;
        let expire_ms = i64::from_be_bytes(body[25..33].try_into().ok()?);
        (now_ms < expire_ms).then_some(Session { kind, id, fingerprint, expire_ms })
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(body);
        mac
    }
}

/// What of a stored hash a session remembers.
pub fn fingerprint(stored: &[u8]) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(stored).into();
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However a session came to be sealed, it is the only spelling of what it says.
    #[test]
    fn fuzz_session() {
        postern_fuzz::check!("session", |input| {
            let sessions = Sessions::new("secret");
            let text = postern_fuzz::text(input);
            let sealed = [input, &sessions.mac(input).finalize().into_bytes()].concat();
            for text in [&*text, &URL_SAFE_NO_PAD.encode(sealed)] {
                if let Some(session) = sessions.open(text, 0) {
                    assert!(session.expire_ms > 0);
                    assert_eq!(sessions.seal(&session), text);
                }
            }
        });
    }

    #[test]
    fn only_our_own_sessions_open_and_only_in_time() {
        let sessions = Sessions::new("secret");
        let id = Uuid::now_v7();
        let fingerprint = fingerprint(b"hash");
        let session = Session { kind: Kind::Smtp, id, fingerprint, expire_ms: 1000 };
        let text = sessions.seal(&session);
        assert_eq!(sessions.open(&text, 999), Some(session));
        assert_eq!(sessions.open(&text, 1000), None);
        assert_eq!(Sessions::new("other").open(&text, 0), None);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(sessions.open(&URL_SAFE_NO_PAD.encode(changed), 0), None, "bit {bit}");
        }
        for bad in ["", "x", "!!", &text[..text.len() - 2]] {
            assert_eq!(sessions.open(bad, 0), None);
        }
    }
}
