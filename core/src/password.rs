//! Passwords of SMTP credentials: our own, which are random and need no slow hash, and bcrypt hashes
//! taken over from the old system. Pure; a crash has nothing to lose.
//!
//! Every failure costs the same work, whoever was named: the bcrypt rounds that the costliest
//! credential needs. So the time of an answer does not tell whether a user name exists.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What begins the stored form of our own passwords.
const OWN: &str = "sha256$";
/// bcrypt costs that may be imported; a higher one would be an attack on ourselves.
pub const COSTS: std::ops::RangeInclusive<u32> = 4..=15;
/// The cost of a failure while no credential needs more; what Rails stores by default.
pub const FAILURE_COST: u32 = 10;
/// A longer password is none of ours and is not looked at.
pub const BYTES_MAX: usize = 512;

/// The stored form of one of our own passwords, which must be random.
pub fn hash_own(password: &str) -> String {
    let hex: String = digest(password).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{OWN}{hex}")
}

/// The cost of a bcrypt hash; none when it is no bcrypt hash of an allowed cost.
pub fn bcrypt_cost(hash: &str) -> Option<u32> {
    let parts: bcrypt::HashParts = hash.parse().ok()?;
    Some(parts.get_cost()).filter(|cost| COSTS.contains(cost))
}

/// Which of what is stored a password fits: nothing is when the name is unknown, two are within the
/// overlap of a rotation, of which one at most is a bcrypt hash, because rotation makes passwords of
/// our own. `failure_cost` is the highest cost of any credential.
pub fn verify(stored: &[String], password: &str, failure_cost: u32) -> Option<usize> {
    let fits = |hash: &String| match bcrypt_cost(hash) {
        Some(_) => bcrypt::verify(password, hash).unwrap_or(false),
        None => verify_own(hash, password),
    };
    // A password that is too long is not looked at.
    let stored = if password.len() <= BYTES_MAX { stored } else { &[] };
    let found = stored.iter().position(fits);
    if found.is_none() {
        spend(stored.iter().find_map(|hash| bcrypt_cost(hash)), failure_cost);
    }
    found
}

/// Whether this is one of our own passwords, which costs next to nothing to find out.
pub fn is_own(stored: &str, password: &str) -> bool {
    stored.starts_with(OWN) && verify_own(stored, password)
}

fn verify_own(stored: &str, password: &str) -> bool {
    bool::from(hash_own(password).as_bytes().ct_eq(stored.as_bytes()))
}

/// Does the work that is missing to `full` after a hash of cost `done`.
fn spend(done: Option<u32>, full: u32) {
    let salt = [0x5a; 16];
    for cost in missing(done, full) {
        std::hint::black_box(bcrypt::bcrypt(cost, salt, b"nobody"));
    }
}

/// The costs whose rounds make up the difference: 2^done + 2^done + 2^(done+1) + … = 2^full.
fn missing(done: Option<u32>, full: u32) -> std::ops::Range<u32> {
    match done {
        None => full..full + 1,
        Some(done) => done..full,
    }
}

fn digest(password: &str) -> [u8; 32] {
    Sha256::digest(password.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(cost: u32) -> String {
        bcrypt::hash("s3cret-Passw0rd", cost).unwrap()
    }

    #[test]
    fn both_kinds_verify() {
        let own = hash_own("randomrandom");
        let verify = |stored: &str, password: &str, cost| {
            verify(&[stored.to_owned()], password, cost).is_some()
        };
        assert!(verify(&own, "randomrandom", 4));
        assert!(!verify(&own, "randomrandoM", 4));
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let hash = imported(4).replacen("$2b$", prefix, 1);
            assert_eq!(bcrypt_cost(&hash), Some(4));
            assert!(verify(&hash, "s3cret-Passw0rd", 5), "{prefix}");
            assert!(!verify(&hash, "s3cret-passw0rd", 5), "{prefix}");
        }
        assert!(!verify(&own, &"x".repeat(BYTES_MAX + 1), 4));
        assert_eq!(super::verify(&[], "anything", 4), None);
    }

    #[test]
    fn either_password_of_a_rotation_verifies() {
        let stored = [hash_own("randomrandom"), imported(4)];
        assert_eq!(verify(&stored, "randomrandom", 5), Some(0));
        assert_eq!(verify(&stored, "s3cret-Passw0rd", 5), Some(1));
        assert_eq!(verify(&stored, "another", 5), None);
    }

    #[test]
    fn every_failure_does_the_same_work() {
        for done in [None, Some(4), Some(9), Some(12)] {
            let own: u64 = done.map_or(0, |cost| 1 << cost);
            let rounds: u64 = own + missing(done, 12).map(|cost| 1 << cost).sum::<u64>();
            assert_eq!(rounds, 1 << 12, "{done:?}");
        }
    }

    #[test]
    fn a_hash_known_from_elsewhere_verifies() {
        // The test vector of the OpenBSD implementation.
        let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert_eq!(verify(&[hash.to_owned()], "U*U", 5), Some(0));
    }

    #[test]
    fn what_is_no_usable_hash_is_refused() {
        for bad in [
            "",
            "$2b$",
            "sha256$00",
            "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        ] {
            assert_eq!(bcrypt_cost(bad), None, "{bad}");
        }
    }
}
