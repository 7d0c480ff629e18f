//! One mailbox written as text: `ann@example.com` or `Ann Example <ann@example.com>`.
//!
//! Only the shape is read here; whether the address itself is valid is the core's business.

/// The text is not one mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write name@example.com or Name <name@example.com>")]
pub(crate) struct BadMailbox;

/// Splits a mailbox into display name and address.
pub(crate) fn parse(text: &str) -> Result<(String, String), BadMailbox> {
    let text = text.trim();
    let (name, email) = match text.strip_suffix('>') {
        Some(rest) => {
            let (name, email) = rest.rsplit_once('<').ok_or(BadMailbox)?;
            (unquote(name.trim())?, email.trim())
        }
        None => (String::new(), text),
    };
    // A quoted local part may hold a comma or an angle bracket; nothing else may.
    let quoted = email.starts_with('"');
    if email.is_empty() || (!quoted && email.contains(['<', '>', ',', ';', '"'])) {
        return Err(BadMailbox);
    }
    Ok((name, email.to_owned()))
}

fn unquote(name: &str) -> Result<String, BadMailbox> {
    let Some(rest) = name.strip_prefix('"') else {
        return Ok(name.to_owned());
    };
    let mut out = String::with_capacity(rest.len());
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => out.push(letters.next().ok_or(BadMailbox)?),
            '"' if letters.as_str().is_empty() => return Ok(out),
            '"' => return Err(BadMailbox),
            other => out.push(other),
        }
    }
    Err(BadMailbox)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        let parsed = |text: &str| parse(text).map(|(name, email)| format!("{name}|{email}"));
        assert_eq!(parsed("ann@example.com").unwrap(), "|ann@example.com");
        assert_eq!(parsed(" <ann@example.com> ").unwrap(), "|ann@example.com");
        assert_eq!(parsed("Ann E. <ann@example.com>").unwrap(), "Ann E.|ann@example.com");
        assert_eq!(parsed(r#""E, \"A\"" <a@b.c>"#).unwrap(), r#"E, "A"|a@b.c"#);
        for bad in ["", "<>", "a@b.c>", "a@b.c, d@e.f", "Ann <a@b.c", r#""Ann <a@b.c>"#] {
            assert_eq!(parse(bad), Err(BadMailbox), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_name_survives(name in r#"[^\p{C}]{1,30}"#) {
            let quoted = name.replace('\\', r"\\").replace('"', r#"\""#);
            let (parsed, email) = parse(&format!("\"{quoted}\" <a@b.c>")).unwrap();
            prop_assert_eq!((parsed, email.as_str()), (name, "a@b.c"));
        }
    }

    /// A mailbox holds one address, and is the same when it is written again.
    #[test]
    fn fuzz_mailbox() {
        postern_fuzz::check!("mailbox", |input| {
            let Ok((name, email)) = parse(&postern_fuzz::text(input)) else { return };
            let quoted = email.starts_with('"');
            assert!(quoted || !email.contains([',', ';', '<', '>']));
            let written = name.replace('\\', r"\\").replace('"', r#"\""#);
            // In quotes it may hold anything, and is not ours to check.
            if !quoted {
                assert_eq!(parse(&format!("\"{written}\" <{email}>")), Ok((name, email)));
            }
        });
    }
}
