//! API keys: `pst_live_` or `pst_test_`, 32 random characters, 6 of checksum. The checksum lets a
//! secret scanner, and a person, tell a mistyped key from a wrong one without asking anybody.

/// Random characters of a key: 190 bits.
const RANDOM_CHARS: usize = 32;
const CHECK_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Makes a secret from the randomness of the system.
pub fn generate(test: bool) -> String {
    let mut secret = String::from(if test { "pst_test_" } else { "pst_live_" });
    secret.push_str(&random_text(RANDOM_CHARS));
    let check = checksum(&secret);
    secret + &check
}

/// Makes the user name of an SMTP credential: `smtp_` and 16 hexadecimal digits.
pub fn smtp_username() -> String {
    format!("smtp_{:016x}", rand::random::<u64>())
}

/// Makes the password of an SMTP credential: 32 letters and digits, 190 bits.
pub fn smtp_password() -> String {
    random_text(RANDOM_CHARS)
}

/// `length` characters of letters and digits from the randomness of the system.
pub fn random_text(length: usize) -> String {
    use rand::RngExt as _;
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(BASE62[rng.random_range(0..BASE62.len())])).collect()
}

/// A secret of 32 octets in hexadecimal digits, from the randomness of the system.
pub fn hex_secret() -> String {
    rand::random::<[u8; 32]>().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The first characters of a secret, to tell keys apart without giving one away.
pub fn hint(secret: &str) -> String {
    secret.chars().take(13).chain(['…']).collect()
}

/// The same for a secret of which only the SHA-256 is known.
pub fn hint_of_hash(hash: &[u8; 32]) -> String {
    let beginning: String = hash[..4].iter().map(|octet| format!("{octet:02x}")).collect();
    format!("sha256:{beginning}…")
}

/// The octets of a SHA-256 written as 64 hexadecimal digits.
pub fn sha256_from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|c| Some(c.to_digit(16)? as u8)).collect::<Option<_>>()?;
    let octets: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    octets.try_into().ok().filter(|_| digits.len() == 64)
}

/// Whether the checksum of a `pst_` key holds.
pub fn is_well_formed(secret: &str) -> bool {
    let Some((body, check)) = secret.split_at_checked(secret.len().saturating_sub(CHECK_CHARS))
    else {
        return false;
    };
    secret.starts_with("pst_") && checksum(body) == check
}

fn checksum(text: &str) -> String {
    let mut value = crc32(text.as_bytes());
    let mut digits = [b'0'; CHECK_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(value % 62) as usize];
        value /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

/// CRC-32 as in ISO 3309.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_well_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_hash_is_read_from_its_digits() {
        let text = "00ff".repeat(16);
        let hash = sha256_from_hex(&text).unwrap();
        assert_eq!(hash[..4], [0x00, 0xff, 0x00, 0xff]);
        assert_eq!(sha256_from_hex(&text.to_uppercase()), Some(hash));
        assert_eq!(hint_of_hash(&hash), "sha256:00ff00ff…");
        let long = format!("{text}0");
        for bad in ["", &text[1..], &text[2..], &long, &text.replacen('f', "g", 1), &"é".repeat(32)]
        {
            assert_eq!(sha256_from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_differ_and_typing_errors_show() {
        let (one, other) = (generate(false), generate(true));
        assert!(one.starts_with("pst_live_") && other.starts_with("pst_test_"));
        assert_eq!(one.len(), 9 + RANDOM_CHARS + CHECK_CHARS);
        assert!(is_well_formed(&one) && is_well_formed(&other));
        assert!(!is_well_formed(&one.replacen('_', "-", 1)));
        assert!(!is_well_formed("") && !is_well_formed("pst_"));
        let mistyped: String = one.chars().rev().collect();
        assert!(!is_well_formed(&mistyped));
    }
}
