//! Passwords and codes of operators: Argon2id, and TOTP as in RFC 6238 (SHA-1, 6 digits, 30 s).
//! Pure; a crash has nothing to lose.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use totp_rs::{Builder, Secret, Totp, TotpError};

use crate::credential;

/// The fewest characters of a password that a person chooses.
pub const PASSWORD_MIN: usize = 12;
/// And the most.
pub const PASSWORD_MAX: usize = 256;
/// Characters of a password that is made here: 119 bits.
const MADE_PASSWORD: usize = 20;
/// What a code's secret has (RFC 4226 wants at least 128 bits and recommends 160).
pub const TOTP_SECRET_OCTETS: usize = 20;

/// A password that is nobody's, checked where a user name is unknown so that it costs as much.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$gZiV/M1gPc22ElAH/Jh1Hw$\
    CWOrkoo7oJBQ/iyh7uJ0LO2aLEfrHwTWllSAxT0zRno";

/// The password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct HashError(argon2::password_hash::Error);

/// A password that nobody had to think of.
pub fn made_password() -> String {
    credential::random_text(MADE_PASSWORD)
}

/// The stored form of a password, under a salt of its own. Takes about 20 ms and 19 MiB.
pub fn hash(password: &str) -> Result<String, HashError> {
    let hash = Argon2::default().hash_password(password.as_bytes()).map_err(HashError)?;
    Ok(hash.to_string())
}

/// Whether this is the password that is stored; none stands for an unknown user name.
pub fn verify(stored: Option<&str>, password: &str) -> bool {
    if password.len() > 4 * PASSWORD_MAX {
        return false;
    }
    let right =
        Argon2::default().verify_password(password.as_bytes(), stored.unwrap_or(NOBODY)).is_ok();
    right && stored.is_some()
}

/// A secret for an authenticator app, as text and as an address for a QR code.
pub struct Invitation {
    /// In base32.
    pub secret: String,
    /// `otpauth://…`.
    pub url: String,
}

/// What an operator puts into the app.
pub fn invitation(secret: &[u8], username: &str) -> Result<Invitation, TotpError> {
    let totp = totp(secret, username)?;
    Ok(Invitation { secret: totp.secret().to_base32(), url: totp.to_url()? })
}

/// The period whose code this is; one before or after the present is taken too.
pub fn step_of(secret: &[u8], code: &str, now_ms: i64) -> Option<i64> {
    let seconds = u64::try_from(now_ms / 1000).ok()?;
    let step = totp(secret, "operator").ok()?.check(code.trim(), seconds)?;
    i64::try_from(step).ok()
}

fn totp(secret: &[u8], username: &str) -> Result<Totp, TotpError> {
    Builder::new()
        .with_secret(Secret::new(secret.into()))
        // A colon would separate issuer and account.
        .with_account_name(username.replace(':', "_"))
        .with_issuer(Some("Postern"))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_somebody_is_right() {
        let stored = hash("correct horse battery").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify(Some(&stored), "correct horse battery"));
        assert!(!verify(Some(&stored), "correct horse batterz"));
        assert!(!verify(Some("no hash"), "x"));
        assert!(!verify(Some(&stored), &"x".repeat(4 * PASSWORD_MAX + 1)));
    }

    #[test]
    fn a_name_that_is_unknown_costs_what_a_wrong_password_costs() {
        use argon2::password_hash::phc::PasswordHash;
        let ours = hash("something or other").unwrap();
        let (ours, nobody) =
            (PasswordHash::new(&ours).unwrap(), PasswordHash::new(NOBODY).unwrap());
        assert_eq!(ours.algorithm, nobody.algorithm);
        assert_eq!(ours.params, nobody.params);
        assert!(!verify(None, "nobody"));
    }

    /// The vectors of RFC 6238, appendix B, cut to six digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        for (seconds, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")]
        {
            let step = seconds / 30;
            assert_eq!(step_of(secret, code, seconds * 1000), Some(step));
            assert_eq!(step_of(secret, code, (seconds + 30) * 1000), Some(step));
            assert_eq!(step_of(secret, code, (seconds + 90) * 1000), None);
        }
        for bad in ["", "000000", "28708", "2870822", "28708x", "２８７０８２"] {
            assert_eq!(step_of(secret, bad, 59_000), None, "{bad}");
        }
        let invitation = invitation(secret, "ann@x.io").unwrap();
        assert_eq!(invitation.secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(invitation.url.starts_with("otpauth://totp/Postern:ann"), "{}", invitation.url);
    }
}
