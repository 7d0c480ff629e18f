//! Commands as a server reads them (RFC 5321 §4.1, 3030, 3207, 4954). Input is one clean line of
//! [`crate::line`]. What is refused says what to write instead.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::limits::DOMAIN_BYTES_MAX;
use crate::parameters::{MailParameters, ParameterError, RcptParameters};
use crate::path::{self, PathError, ReversePath};

/// Base64 as clients really send it: padding may be missing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How a client wants to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// User name and password, each on its own line.
    Login,
}

/// A command.
#[derive(Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// EHLO with the client's name.
    Ehlo(&'a str),
    /// HELO with the client's name.
    Helo(&'a str),
    /// STARTTLS.
    StartTls,
    /// AUTH, perhaps with an initial response, still encoded.
    Auth(Mechanism, Option<&'a str>),
    /// MAIL FROM.
    Mail(ReversePath, MailParameters),
    /// RCPT TO.
    Rcpt(String, RcptParameters),
    /// DATA.
    Data,
    /// BDAT with the size of the chunk, and whether it is the last one.
    Bdat(u64, bool),
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
}

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such command.
    #[error("unknown command")]
    Unknown,
    /// A command with an argument that does not fit; the text says what would.
    #[error("{0}")]
    Syntax(&'static str),
    /// A mechanism that is not offered.
    #[error("unknown mechanism; use PLAIN or LOGIN")]
    Mechanism,
    /// The sender of MAIL.
    #[error("{0}")]
    Sender(PathError),
    /// The recipient of RCPT.
    #[error("{0}")]
    Recipient(PathError),
    /// A parameter of MAIL or RCPT.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// UTF-8 where only US-ASCII may stand.
    #[error("the command is not US-ASCII")]
    NotAscii,
}

/// Reads one line.
pub fn parse(line: &str) -> Result<Request<'_>, RequestError> {
    let line = line.trim_end_matches([' ', '\t']);
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim_start_matches(' ');
    let mut name = [0; 8];
    let name = upper(verb, &mut name).ok_or(RequestError::Unknown)?;
    if !argument.is_ascii() && !matches!(name, "MAIL" | "RCPT" | "VRFY" | "EXPN") {
        return Err(RequestError::NotAscii);
    }
    match name {
        "EHLO" => host(argument).map(Request::Ehlo),
        "HELO" => host(argument).map(Request::Helo),
        "STARTTLS" => alone(argument, Request::StartTls),
        "AUTH" => auth(argument),
        "MAIL" => mail(argument),
        "RCPT" => rcpt(argument),
        "DATA" => alone(argument, Request::Data),
        "BDAT" => bdat(argument),
        "RSET" => alone(argument, Request::Rset),
        "NOOP" => Ok(Request::Noop),
        "VRFY" => Ok(Request::Vrfy),
        "EXPN" => Ok(Request::Expn),
        "HELP" => Ok(Request::Help),
        "QUIT" => alone(argument, Request::Quit),
        _ => Err(RequestError::Unknown),
    }
}

/// The user name and the password in the response of AUTH PLAIN (RFC 4616): an authorisation
/// identity, which is not used, NUL, the user, NUL, the password.
pub fn plain(response: &str) -> Option<(String, String)> {
    let text = answer(response)?;
    let mut parts = text.split('\0');
    let (_identity, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let complete = parts.next().is_none() && !user.is_empty() && !password.is_empty();
    complete.then(|| (user.to_owned(), password.to_owned()))
}

/// A response of AUTH, decoded; `=` stands for an empty one (RFC 4954 §4).
pub fn answer(response: &str) -> Option<String> {
    if response == "=" {
        return Some(String::new());
    }
    String::from_utf8(LENIENT.decode(response.trim()).ok()?).ok()
}

fn upper<'b>(verb: &str, buffer: &'b mut [u8; 8]) -> Option<&'b str> {
    let name = buffer.get_mut(..verb.len())?;
    name.copy_from_slice(verb.as_bytes());
    name.make_ascii_uppercase();
    std::str::from_utf8(name).ok()
}

fn alone<'a>(argument: &str, request: Request<'a>) -> Result<Request<'a>, RequestError> {
    if argument.is_empty() {
        return Ok(request);
    }
    Err(RequestError::Syntax("the command takes no argument"))
}

fn host(argument: &str) -> Result<&str, RequestError> {
    // Real clients give names that are none; only what could not be logged is refused.
    let fits = argument.bytes().all(|b| b.is_ascii_graphic());
    if argument.is_empty() || argument.len() > DOMAIN_BYTES_MAX || !fits {
        return Err(RequestError::Syntax("write your host name behind the command"));
    }
    Ok(argument)
}

fn auth(argument: &str) -> Result<Request<'_>, RequestError> {
    let (name, initial) = match argument.split_once(' ') {
        Some((name, initial)) => (name, Some(initial.trim())),
        None => (argument, None),
    };
    match name.to_ascii_uppercase().as_str() {
        "PLAIN" => Ok(Request::Auth(Mechanism::Plain, initial)),
        "LOGIN" => Ok(Request::Auth(Mechanism::Login, initial)),
        _ => Err(RequestError::Mechanism),
    }
}

fn mail(argument: &str) -> Result<Request<'_>, RequestError> {
    let syntax = RequestError::Syntax("write MAIL FROM:<address>");
    let argument = behind(argument, "FROM:").ok_or(syntax)?;
    let (path, rest) = path::reverse_path(argument).map_err(RequestError::Sender)?;
    Ok(Request::Mail(path, MailParameters::parse(rest)?))
}

fn rcpt(argument: &str) -> Result<Request<'_>, RequestError> {
    let syntax = RequestError::Syntax("write RCPT TO:<address>");
    let argument = behind(argument, "TO:").ok_or(syntax)?;
    let (path, rest) = path::forward_path(argument).map_err(RequestError::Recipient)?;
    Ok(Request::Rcpt(path, RcptParameters::parse(rest)?))
}

fn behind<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (start, rest) = argument.split_at_checked(keyword.len())?;
    start.eq_ignore_ascii_case(keyword).then_some(rest)
}

fn bdat(argument: &str) -> Result<Request<'_>, RequestError> {
    let syntax = RequestError::Syntax("write BDAT size, or BDAT size LAST");
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let size = words.next().filter(|text| text.len() <= 19);
    let size = size.filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let size = size.and_then(|text| text.parse().ok()).ok_or(syntax.clone())?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(syntax),
    };
    if words.next().is_some() {
        return Err(syntax);
    }
    Ok(Request::Bdat(size, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_are_read_in_any_case() {
        assert!(parse("ehlo [127.0.0.1]") == Ok(Request::Ehlo("[127.0.0.1]")));
        assert!(parse("QUIT ") == Ok(Request::Quit));
        assert!(parse("Noop anything") == Ok(Request::Noop));
        assert!(parse("bdat 12 last") == Ok(Request::Bdat(12, true)));
        assert!(parse("BDAT 0") == Ok(Request::Bdat(0, false)));
        let plain = Request::Auth(Mechanism::Plain, Some("AGEAYg=="));
        assert!(parse("AUTH plain AGEAYg==") == Ok(plain));
        let ann = ReversePath::Mailbox("ann@a.example".to_owned());
        let parameters = MailParameters { size: Some(9), ..MailParameters::default() };
        assert!(parse("mail from: <ann@a.example> size=9") == Ok(Request::Mail(ann, parameters)));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for line in [
            "",
            " ",
            "XYZZY",
            "MAILFROM:<a@b.example>",
            "MAIL TO:<a@b.example>",
            "RCPT FROM:<a@b.example>",
            "DATA now",
            "RSET x",
            "EHLO",
            "EHLO a b",
            "EHLO é",
            "AUTH",
            "AUTH CRAM-MD5",
            "BDAT",
            "BDAT x",
            "BDAT -1",
            "BDAT 99999999999999999999",
            "BDAT 1 FIRST",
            "BDAT 1 LAST LAST",
            "STARTTLS now",
            "VERYLONGVERB",
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn logins_are_decoded() {
        assert_eq!(plain("AGFubgBwdw=="), Some(("ann".to_owned(), "pw".to_owned())));
        assert_eq!(plain("AGFubgBwdw"), Some(("ann".to_owned(), "pw".to_owned())));
        assert_eq!(plain("eABhbm4AcHc="), Some(("ann".to_owned(), "pw".to_owned())));
        for bad in ["", "=", "AAAA", "YW5u", "AGFubgBwdwB4", "*", "AGFubgA="] {
            assert_eq!(plain(bad), None, "{bad:?}");
        }
        assert_eq!(answer("YW5u").as_deref(), Some("ann"));
        assert_eq!(answer("=").as_deref(), Some(""));
    }

    proptest! {
        /// Where a second parser (smtp-proto) takes a plain address, both mean the same one.
        #[test]
        fn a_second_parser_agrees(
            local in "[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,8}(\\.[a-z0-9]{1,4}){0,2}",
            domain in "[a-z0-9]{1,8}(-[a-z0-9]{1,3})?\\.(example|test)",
            route in prop::option::of("@[a-z]{1,5}\\.test:"),
            size in prop::option::of(0u32..),
            spaces in " {0,2}",
        ) {
            let route = route.unwrap_or_default();
            let mut line = format!("MAIL FROM:{spaces}<{route}{local}@{domain}>");
            if let Some(size) = size {
                line += &format!(" SIZE={size}");
            }
            let theirs = format!("{line}\r\n");
            let theirs = smtp_proto::Request::parse(&mut theirs.as_bytes().iter());
            let Ok(smtp_proto::Request::Mail { from }) = theirs else { return Ok(()) };
            match parse(&line) {
                Ok(Request::Mail(ReversePath::Mailbox(ours), parameters)) => {
                    let theirs_address = from.address.rsplit(':').next().unwrap_or_default();
                    prop_assert_eq!(ours, theirs_address);
                    let theirs_size = size.map(|_| from.size as u64);
                    prop_assert_eq!(parameters.size, theirs_size);
                }
                Ok(_) => prop_assert!(false, "another command: {}", line),
                Err(error) => prop_assert!(false, "{}: {}", line, error),
            }
        }

        /// Whatever line both take, they take it for the same command.
        #[test]
        fn a_second_parser_sees_the_same_command(
            line in "(?i)(EHLO x|HELO x|NOOP|RSET|QUIT|DATA|STARTTLS|BDAT [0-9]{1,4}( LAST)?)[ a-z]{0,3}",
        ) {
            use smtp_proto::Request as Theirs;
            let bytes = format!("{line}\r\n");
            let theirs = smtp_proto::Request::parse(&mut bytes.as_bytes().iter());
            let (Ok(ours), Ok(theirs)) = (parse(&line), theirs) else { return Ok(()) };
            let same = match (&ours, &theirs) {
                (Request::Ehlo(_), Theirs::Ehlo { .. }) => true,
                (Request::Helo(_), Theirs::Helo { .. }) => true,
                (Request::Noop, Theirs::Noop { .. }) => true,
                (Request::Rset, Theirs::Rset) | (Request::Quit, Theirs::Quit) => true,
                (Request::Data, Theirs::Data) | (Request::StartTls, Theirs::StartTls) => true,
                (Request::Bdat(size, last), Theirs::Bdat { chunk_size, is_last }) => {
                    *size == *chunk_size as u64 && last == is_last
                }
                _ => false,
            };
            prop_assert!(same, "{}", line);
        }
    }
}
