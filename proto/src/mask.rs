//! Addresses where they are shown and not to be read, as the old system showed them. Pure.

/// `user@x.io` as `u***r@x.io`, `ab@x.io` as `a***@x.io`.
pub fn address(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return "***".to_owned();
    };
    let first: String = local.chars().take(1).collect();
    let last: String = match local.chars().count() {
        0..=2 => String::new(),
        _ => local.chars().last().into_iter().collect(),
    };
    format!("{first}***{last}@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_local_part_stay() {
        for (plain, masked) in [
            ("user@x.io", "u***r@x.io"),
            ("ab@x.io", "a***@x.io"),
            ("@x.io", "***@x.io"),
            ("почта@пример.рф", "п***а@пример.рф"),
            ("nobody", "***"),
        ] {
            assert_eq!(address(plain), masked);
        }
    }
}
