//! The addresses of MAIL and RCPT (RFC 5321 §4.1.2), read leniently where campaign managers are
//! sloppy and never so that two readers could disagree about who is meant.
//!
//! A source route is dropped (RFC 5321 appendix C), a quoted local part that needs no quotes loses
//! them. What comes out keeps the one rule of [`crate::address`].

use std::borrow::Cow;

use crate::address;

/// An envelope sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// A usable address, with its domain as A-labels.
    Mailbox(String),
    /// `<>`: nobody is told about failures.
    Null,
    /// Nothing usable, such as the login of a campaign manager that sends its login as its address.
    /// The From field of the message has to say who sends.
    Unusable,
}

/// Why an argument names no mailbox, in words for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Brackets that do not match, or more than one address.
    #[error("write one address in angle brackets")]
    Brackets,
    /// An address that cannot be used.
    #[error("the address {0}")]
    Address(&'static str),
}

/// The argument of MAIL FROM behind its colon: who sends, and the parameters.
///
/// Besides `<local@domain>` it takes a display name before the brackets, doubled brackets and an
/// address without brackets.
pub fn reverse_path(argument: &str) -> Result<(ReversePath, &str), PathError> {
    let argument = argument.trim_start();
    let Some((inner, rest)) = bracketed(argument)? else {
        return Ok(bare(argument));
    };
    let inner = inner.trim();
    if inner.is_empty() {
        return Ok((ReversePath::Null, rest));
    }
    let path = match mailbox(inner) {
        Ok(address) => ReversePath::Mailbox(address),
        Err(problem) if inner.contains('@') => return Err(PathError::Address(problem)),
        Err(_) => ReversePath::Unusable,
    };
    Ok((path, rest))
}

/// The argument of RCPT TO behind its colon: who receives, and the parameters.
pub fn forward_path(argument: &str) -> Result<(String, &str), PathError> {
    let argument = argument.trim_start();
    let (inner, rest) = match argument.starts_with('<') {
        true => bracketed(argument)?.ok_or(PathError::Brackets)?,
        false => argument.split_once(' ').unwrap_or((argument, "")),
    };
    let address = mailbox(inner.trim()).map_err(PathError::Address)?;
    Ok((address, rest))
}

/// What stands between the brackets and behind them; none when there is no bracket.
fn bracketed(argument: &str) -> Result<Option<(&str, &str)>, PathError> {
    let Some(open) = outside_quotes(argument, '<') else {
        return Ok(None);
    };
    let inner = &argument[open + 1..];
    // `<<a@b>>`, as some programs write.
    let (inner, doubled) = inner.strip_prefix('<').map_or((inner, false), |inner| (inner, true));
    let close = outside_quotes(inner, '>').ok_or(PathError::Brackets)?;
    let (path, rest) = (&inner[..close], &inner[close + 1..]);
    let rest = if doubled { rest.strip_prefix('>').ok_or(PathError::Brackets)? } else { rest };
    if path.contains('<') || !(rest.is_empty() || rest.starts_with(' ')) {
        return Err(PathError::Brackets);
    }
    Ok(Some((path, rest)))
}

/// Where the character stands first outside a quoted string.
fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == wanted && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// A sender without brackets: the first word that is an address, and what follows it.
fn bare(argument: &str) -> (ReversePath, &str) {
    let mut at = 0;
    for word in argument.split(' ') {
        let end = at + word.len();
        if let Ok(address) = mailbox(word) {
            return (ReversePath::Mailbox(address), &argument[end..]);
        }
        at = (end + 1).min(argument.len());
    }
    // Parameters may follow whatever that was.
    let rest = argument.find(' ').map_or("", |space| &argument[space..]);
    (ReversePath::Unusable, rest)
}

/// A mailbox, without its source route and needless quotes.
fn mailbox(text: &str) -> Result<String, &'static str> {
    let text = match text.strip_prefix('@') {
        Some(route) => route.split_once(':').ok_or("has a route without an address")?.1,
        None => text,
    };
    address::parse(&unquoted(text))
}

/// `"ann"@example.com` is `ann@example.com` (RFC 5321 §4.1.2).
fn unquoted(text: &str) -> Cow<'_, str> {
    let plain = text.strip_prefix('"').and_then(|rest| rest.split_once("\"@"));
    match plain {
        Some((local, domain)) if !local.contains(['"', '\\', '@']) => {
            Cow::Owned(format!("{local}@{domain}"))
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(argument: &str) -> Result<(ReversePath, &str), PathError> {
        reverse_path(argument)
    }

    #[test]
    fn what_campaign_managers_write_is_understood() {
        let ann = ReversePath::Mailbox("ann@a.example".to_owned());
        for (argument, rest) in [
            ("<ann@a.example>", ""),
            (" <ann@A.Example> SIZE=1", " SIZE=1"),
            ("Kate <ann@a.example> BODY=8BITMIME", " BODY=8BITMIME"),
            ("\"Kate <x@y.example>\" <ann@a.example>", ""),
            ("ann@a.example", ""),
            ("ann@a.example SIZE=1 SMTPUTF8", " SIZE=1 SMTPUTF8"),
            ("Kate ann@a.example SIZE=1", " SIZE=1"),
            ("<<ann@a.example>> SIZE=1", " SIZE=1"),
            ("<@hop.example,@two.example:ann@a.example>", ""),
            ("<\"ann\"@a.example>", ""),
        ] {
            assert_eq!(from(argument), Ok((ann.clone(), rest)), "{argument:?}");
        }
        assert_eq!(from("<>"), Ok((ReversePath::Null, "")));
        assert_eq!(from("<smtp_ab12>"), Ok((ReversePath::Unusable, "")));
        assert_eq!(from("smtp_ab12 SIZE=5"), Ok((ReversePath::Unusable, " SIZE=5")));
        assert_eq!(from(""), Ok((ReversePath::Unusable, "")));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for argument in [
            "<a@b.example><c@d.example>",
            "<a@b.example>c@d.example",
            "<a@b.example",
            "<<a@b.example>",
            "<a<b@c.example>",
            "<a b@c.example>",
            "<a@b.example c@d.example>",
            "<\"a\\\"b\"@c.example>",
            "<@route.example>",
            "<a@[127.0.0.1]>",
        ] {
            assert!(from(argument).is_err(), "{argument:?}: {:?}", from(argument));
        }
        assert!(forward_path("<>").is_err());
        assert!(forward_path("<postmaster>").is_err());
        assert!(forward_path("Kate <ann@a.example>").is_err());
        let ann = "ann@a.example".to_owned();
        assert_eq!(forward_path("<ann@a.example> NOTIFY=NEVER"), Ok((ann, " NOTIFY=NEVER")));
    }
}
