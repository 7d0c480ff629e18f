//! Commands of a client. Nothing is printed that could be read as two commands, or as other
//! addresses than were meant.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits::{
    AUTH_LINE_BYTES_MAX, COMMAND_LINE_BYTES_MAX, DOMAIN_BYTES_MAX, LOCAL_PART_BYTES_MAX,
};

/// A command of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO with our name.
    Ehlo(&'a str),
    /// HELO with our name, for servers that know no EHLO.
    Helo(&'a str),
    /// STARTTLS.
    StartTls,
    /// AUTH PLAIN with the initial response.
    AuthPlain {
        /// The user name.
        user: &'a str,
        /// The password.
        password: &'a str,
    },
    /// AUTH LOGIN; the answers follow as [`Command::AuthAnswer`].
    AuthLogin,
    /// A line of an AUTH exchange.
    AuthAnswer(&'a str),
    /// MAIL FROM.
    Mail {
        /// The envelope sender; empty for the null reverse-path.
        from: &'a str,
        /// The parameters.
        parameters: MailParameters,
    },
    /// RCPT TO.
    Rcpt {
        /// The envelope recipient.
        to: &'a str,
        /// The transaction was begun with SMTPUTF8.
        smtputf8: bool,
    },
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
}

/// Parameters of MAIL FROM; print only what the server offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// SIZE in bytes (RFC 1870).
    pub size: Option<u64>,
    /// BODY=8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531); addresses may then hold UTF-8.
    pub smtputf8: bool,
}

/// Why a command cannot be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A control character, CR, LF or NUL among them, or a blank where none may be.
    #[error("a command holds a character that may not stand there")]
    BadCharacter,
    /// Not `local@domain`, or too long.
    #[error("an address cannot be written in SMTP")]
    BadAddress,
    /// UTF-8 without SMTPUTF8.
    #[error("an address is not ASCII and SMTPUTF8 is not in use")]
    NotAscii,
    /// Above [`COMMAND_LINE_BYTES_MAX`] or [`AUTH_LINE_BYTES_MAX`].
    #[error("a command line is too long")]
    TooLong,
}

impl Command<'_> {
    /// Appends the command and its CRLF; appends nothing on an error.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), CommandError> {
        let start = out.len();
        let result = self.write_line(out).and_then(|line_max| {
            if out.len() - start > line_max {
                return Err(CommandError::TooLong);
            }
            let clean = !out[start..].iter().any(|b| b.is_ascii_control());
            if clean { Ok(()) } else { Err(CommandError::BadCharacter) }
        });
        match result {
            Ok(()) => out.extend_from_slice(b"\r\n"),
            Err(_) => out.truncate(start),
        }
        result
    }

    /// Appends the command without CRLF; returns the longest it may be.
    fn write_line(&self, out: &mut Vec<u8>) -> Result<usize, CommandError> {
        match self {
            Self::Ehlo(name) => host(out, "EHLO ", name)?,
            Self::Helo(name) => host(out, "HELO ", name)?,
            Self::StartTls => out.extend_from_slice(b"STARTTLS"),
            Self::AuthPlain { user, password } => {
                if user.contains('\0') || password.contains('\0') {
                    return Err(CommandError::BadCharacter);
                }
                out.extend_from_slice(b"AUTH PLAIN ");
                out.extend_from_slice(STANDARD.encode(format!("\0{user}\0{password}")).as_bytes());
                return Ok(AUTH_LINE_BYTES_MAX);
            }
            Self::AuthLogin => out.extend_from_slice(b"AUTH LOGIN"),
            Self::AuthAnswer(text) => {
                out.extend_from_slice(STANDARD.encode(text).as_bytes());
                return Ok(AUTH_LINE_BYTES_MAX);
            }
            Self::Mail { from, parameters } => mail(out, from, *parameters)?,
            Self::Rcpt { to, smtputf8 } => {
                out.extend_from_slice(b"RCPT TO:<");
                address(out, to, *smtputf8)?;
                out.push(b'>');
            }
            Self::Data => out.extend_from_slice(b"DATA"),
            Self::Rset => out.extend_from_slice(b"RSET"),
            Self::Quit => out.extend_from_slice(b"QUIT"),
        }
        Ok(COMMAND_LINE_BYTES_MAX)
    }
}

fn mail(out: &mut Vec<u8>, from: &str, parameters: MailParameters) -> Result<(), CommandError> {
    out.extend_from_slice(b"MAIL FROM:<");
    if !from.is_empty() {
        address(out, from, parameters.smtputf8)?;
    }
    out.push(b'>');
    if let Some(size) = parameters.size {
        out.extend_from_slice(format!(" SIZE={size}").as_bytes());
    }
    if parameters.eight_bit_mime {
        out.extend_from_slice(b" BODY=8BITMIME");
    }
    if parameters.smtputf8 {
        out.extend_from_slice(b" SMTPUTF8");
    }
    Ok(())
}

fn host(out: &mut Vec<u8>, verb: &str, name: &str) -> Result<(), CommandError> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CommandError::BadCharacter);
    }
    out.extend_from_slice(verb.as_bytes());
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

/// Appends a mailbox (RFC 5321 §4.1.2): a dot-string or a quoted string, `@`, a domain.
fn address(out: &mut Vec<u8>, address: &str, smtputf8: bool) -> Result<(), CommandError> {
    if address.chars().any(char::is_control) {
        return Err(CommandError::BadCharacter);
    }
    if !address.is_ascii() && !smtputf8 {
        return Err(CommandError::NotAscii);
    }
    let (local, domain) = address.rsplit_once('@').ok_or(CommandError::BadAddress)?;
    let domain_char = |b: u8| b.is_ascii_alphanumeric() || b"-.[]:_".contains(&b) || b >= 0x80;
    let fits = (1..=LOCAL_PART_BYTES_MAX).contains(&local.len())
        && (1..=DOMAIN_BYTES_MAX).contains(&domain.len());
    if !fits || !domain.bytes().all(domain_char) || !(is_dot_string(local) || is_quoted(local)) {
        return Err(CommandError::BadAddress);
    }
    out.extend_from_slice(address.as_bytes());
    Ok(())
}

/// Atoms and dots. Dots at odd places are not ours to judge: such mailboxes exist.
fn is_dot_string(local: &str) -> bool {
    const SPECIALS: &[u8] = b"!#$%&'*+-/=?^_`{|}~.";
    local.bytes().all(|b| b.is_ascii_alphanumeric() || SPECIALS.contains(&b) || b >= 0x80)
}

fn is_quoted(local: &str) -> bool {
    let inner = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else { return false };
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return false,
            _ => {}
        }
    }
    !escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(command: Command<'_>) -> Result<String, CommandError> {
        let mut out = Vec::new();
        command.write(&mut out).map(|()| String::from_utf8(out).unwrap())
    }

    fn rcpt(to: &str) -> Result<String, CommandError> {
        print(Command::Rcpt { to, smtputf8: false })
    }

    #[test]
    fn commands_to_the_byte() {
        let parameters = MailParameters { size: Some(5), eight_bit_mime: true, smtputf8: true };
        let mail = print(Command::Mail { from: "ü@x.y", parameters }).unwrap();
        assert_eq!(mail, "MAIL FROM:<ü@x.y> SIZE=5 BODY=8BITMIME SMTPUTF8\r\n");
        let null = Command::Mail { from: "", parameters: MailParameters::default() };
        assert_eq!(print(null).unwrap(), "MAIL FROM:<>\r\n");
        assert_eq!(rcpt("\"a \\\"b\"@x.y").unwrap(), "RCPT TO:<\"a \\\"b\"@x.y>\r\n");
        assert_eq!(print(Command::Ehlo("[127.0.0.1]")).unwrap(), "EHLO [127.0.0.1]\r\n");
        let plain = Command::AuthPlain { user: "u", password: "p" };
        assert_eq!(print(plain).unwrap(), "AUTH PLAIN AHUAcA==\r\n");
    }

    #[test]
    fn injections_are_refused() {
        for to in ["a@b\r\nDATA", "a\0@b", "a@b>\u{7f}"] {
            assert_eq!(rcpt(to), Err(CommandError::BadCharacter), "{to:?}");
        }
        let bad =
            ["", "a", "a b@c", "a@b> SIZE=1", "<a>@b", "\"a\"b\"@c", "\"@c", "\"a\\\"@c", "@b"];
        for to in bad {
            assert_eq!(rcpt(to), Err(CommandError::BadAddress), "{to:?}");
        }
        assert_eq!(rcpt(&format!("{}@b", "a".repeat(65))), Err(CommandError::BadAddress));
        assert_eq!(rcpt("ü@x.y"), Err(CommandError::NotAscii));
        assert_eq!(print(Command::Ehlo("a b")), Err(CommandError::BadCharacter));
        let plain = Command::AuthPlain { user: "u\0x", password: "p" };
        assert_eq!(print(plain), Err(CommandError::BadCharacter));
    }

    proptest! {
        #[test]
        fn a_command_is_one_line(from in ".*", utf8 in any::<bool>()) {
            let parameters = MailParameters { smtputf8: utf8, ..MailParameters::default() };
            if let Ok(line) = print(Command::Mail { from: &from, parameters }) {
                prop_assert!(line.ends_with("\r\n"));
                prop_assert!(!line[..line.len() - 2].contains(['\r', '\n', '\0']));
            }
        }
    }
}
