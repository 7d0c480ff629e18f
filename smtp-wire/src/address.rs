//! Addresses: one rule for every door, so that what the SMTP gateway takes at RCPT the core takes
//! too. Checked once here, trusted afterwards. Pure; a crash has nothing to lose.

/// RFC 5321 section 4.5.3.1.3: a path has 256 octets with its angle brackets.
pub const ADDRESS_BYTES_MAX: usize = 254;
/// RFC 5321 section 4.5.3.1.1.
pub const LOCAL_BYTES_MAX: usize = 64;

/// Checks an address and returns it with its domain as A-labels in lower case. The local part is
/// kept: a dot-string (RFC 5321 section 4.1.2), with UTF-8 allowed (RFC 6531). The error says what
/// to do.
pub fn parse(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("is empty; write local@domain");
    }
    let (local, domain) = text.rsplit_once('@').ok_or("has no @; write local@domain")?;
    if local.is_empty() || local.len() > LOCAL_BYTES_MAX {
        return Err("needs 1 to 64 octets before the @");
    }
    if !local.split('.').all(|part| !part.is_empty() && part.chars().all(is_atom)) {
        return Err("has characters before the @ that are not allowed, or dots in the wrong place");
    }
    let domain = parse_domain(domain)?;
    if local.len() + 1 + domain.len() > ADDRESS_BYTES_MAX {
        return Err("is longer than 254 octets");
    }
    Ok(format!("{local}@{domain}"))
}

/// Checks a domain name and returns it as A-labels in lower case.
pub fn parse_domain(text: &str) -> Result<String, &'static str> {
    if text.starts_with('[') {
        return Err("has an address literal; write a domain name");
    }
    let ascii = idna::domain_to_ascii_strict(text).map_err(|_| "has no valid domain name")?;
    let labels: Vec<_> = ascii.split('.').collect();
    let label_fits = |label: &&str| !label.is_empty() && label.len() <= 63;
    if labels.len() < 2 || !labels.iter().all(label_fits) || ascii.len() > 253 {
        return Err("needs a full domain name such as example.com");
    }
    if labels.last().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit())) {
        return Err("has a domain that ends in a number");
    }
    Ok(ascii)
}

fn is_atom(c: char) -> bool {
    match c {
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^' | '_'
        | '`' | '{' | '|' | '}' | '~' => true,
        c if c.is_ascii() => c.is_ascii_alphanumeric(),
        // Line separators and other controls hide in Unicode too.
        c => !c.is_control() && !c.is_whitespace() && !('\u{2028}'..='\u{202e}').contains(&c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_are_normalised() {
        for (text, expected) in [
            ("Ann.Lee+x@Example.COM", "Ann.Lee+x@example.com"),
            ("user@münchen.example", "user@xn--mnchen-3ya.example"),
            ("почта@пример.рф", "почта@xn--e1afmkfd.xn--p1ai"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn bad_addresses_are_refused() {
        for text in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "a b@example.com",
            "ann@localhost",
            ".a@example.com",
            "a..b@example.com",
            "a@example..com",
            "a@[127.0.0.1]",
            "a@-x.example",
            "a@127.0.0.1",
            "a\r\nBcc: x@example.com",
            "a@example.com\r\nBcc: x",
            "a\0@example.com",
            "<a@b.example>",
            "a@b.example,c@d.example",
            "\"a b\"@example.com",
            "a\u{2028}@example.com",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse(&format!("{}@example.com", "a".repeat(65))).is_err());
    }
}
