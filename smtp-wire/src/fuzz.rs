//! What holds of every input, whatever anybody sends. The corpora are in `fuzz/`. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_fuzz::{check, cut, text};

use crate::address;
use crate::command::Command;
use crate::data::{END, Unstuffer, stuff};
use crate::extension::Extensions;
use crate::limits::{REPLY_BYTES_MAX, REPLY_LINES_MAX};
use crate::line::{Framed, LineError, frame};
use crate::parameters::{MailParameters, RcptParameters};
use crate::path::{ReversePath, forward_path, reverse_path};
use crate::reply::{Enhanced, Reply, ReplyReader};
use crate::request::{self, Mechanism, Request};

/// A line is clean, bounded, and the same however much of what follows it has come already.
#[test]
fn fuzz_line() {
    const MAX: usize = 60;
    check!("line", |input| {
        let ([head, _], whole) = cut(input);
        match frame(whole, MAX) {
            Framed::Line(line, taken) => {
                assert!(line.len() <= MAX && taken == line.len() + 2);
                assert!(!line.contains(['\r', '\n', '\0', '\x7f']));
                assert_eq!(&whole[..taken - 2], line.as_bytes());
            }
            Framed::Bad(LineError::TooLong(_), taken) => {
                assert!(taken > MAX && taken <= whole.len())
            }
            Framed::Bad(LineError::BareLineEnd, taken) => {
                // What is thrown away holds at most one line end that is none of a bare CR.
                let inner = &whole[..taken - 1];
                assert!(!inner.contains(&b'\n') && inner.len() < whole.len());
            }
            Framed::Bad(_, taken) => assert!(whole[..taken].ends_with(b"\r\n")),
            Framed::Partial => {
                assert!(whole.len() <= MAX + 1 && !whole.contains(&b'\n'));
            }
        }
        if let line @ Framed::Line(..) = frame(head, MAX) {
            assert_eq!(frame(whole, MAX), line);
        }
    });
}

/// What is taken from a client can be said to the next server, and is understood there as the same.
#[test]
fn fuzz_request() {
    check!("request", |input| {
        let line = text(input);
        let read = request::parse(&line);
        assert!(request::parse(&format!("{line} \t")) == read, "blanks at the end count");
        let said = match &read {
            Ok(Request::Rcpt(to, _)) => Command::Rcpt { to, smtputf8: true },
            Ok(Request::Mail(ReversePath::Mailbox(from), parameters)) => Command::Mail {
                from,
                parameters: crate::command::MailParameters {
                    size: parameters.size,
                    eight_bit_mime: parameters.eight_bit_mime,
                    smtputf8: true,
                },
            },
            Ok(Request::Ehlo(name)) => Command::Ehlo(name),
            Ok(Request::Bdat(size, _)) => {
                assert!(*size < 10_000_000_000_000_000_000);
                return;
            }
            _ => return,
        };
        let mut out = Vec::new();
        said.write(&mut out).unwrap();
        let again = String::from_utf8(out).unwrap();
        match (read.unwrap(), request::parse(again.trim_end_matches("\r\n")).unwrap()) {
            (Request::Rcpt(to, _), Request::Rcpt(again, _)) => assert_eq!(to, again),
            (Request::Mail(from, _), Request::Mail(again, _)) => assert_eq!(from, again),
            (Request::Ehlo(name), Request::Ehlo(again)) => assert_eq!(name, again),
            _ => panic!("another command: {again:?}"),
        }
    });
}

/// A login holds no NUL, and is the same when it is written again.
#[test]
fn fuzz_sasl() {
    check!("sasl", |input| {
        let response = text(input);
        let answer = request::answer(&response);
        let Some((user, password)) = request::plain(&response) else { return };
        assert!(!user.is_empty() && !password.is_empty());
        assert!(!user.contains('\0') && !password.contains('\0'));
        assert_eq!(answer.map(|answer| answer.matches('\0').count()), Some(2));
        let again = STANDARD.encode(format!("\0{user}\0{password}"));
        assert_eq!(request::plain(&again), Some((user.clone(), password.clone())));
        let mut out = Vec::new();
        if (Command::AuthPlain { user: &user, password: &password }).write(&mut out).is_ok() {
            let line = String::from_utf8(out).unwrap();
            let Ok(Request::Auth(Mechanism::Plain, Some(response))) = request::parse(line.trim())
            else {
                panic!("{line:?} is no AUTH");
            };
            assert_eq!(request::plain(response), Some((user, password)));
        }
    });
}

/// What is taken is an address, and what follows it is set apart by a blank.
#[test]
fn fuzz_path() {
    check!("path", |input| {
        let argument = text(input);
        if let Ok((path, rest)) = reverse_path(&argument) {
            assert!(rest.is_empty() || rest.starts_with(' '), "{path:?} {rest:?}");
            if let ReversePath::Mailbox(address) = path {
                assert_eq!(address::parse(&address), Ok(address.clone()));
                assert_eq!(
                    reverse_path(&format!("<{address}>")),
                    Ok((ReversePath::Mailbox(address), ""))
                );
            }
        }
        if let Ok((address, rest)) = forward_path(&argument) {
            assert_eq!(address::parse(&address), Ok(address.clone()));
            assert!(argument.ends_with(rest));
        }
    });
}

/// An address that is accepted is safe in a header and in a command, and is its own normal form.
#[test]
fn fuzz_address() {
    check!("address", |input| {
        let Ok(address) = address::parse(&text(input)) else { return };
        assert!(address.len() <= address::ADDRESS_BYTES_MAX);
        assert!(!address.chars().any(|c| c.is_control() || c.is_whitespace()));
        assert!(!address.contains(['<', '>', ',', '"', '(', ')', ';', ':', '\\']));
        let domain = address.rsplit_once('@').unwrap().1;
        assert!(domain.is_ascii() && domain == domain.to_ascii_lowercase());
        assert_eq!(address::parse(&address), Ok(address));
    });
}

/// No parameter carries a control character, and none is longer than it may be.
#[test]
fn fuzz_parameters() {
    check!("parameters", |input| {
        let words = text(input);
        let fits = |value: &Option<String>| {
            let value = value.as_deref().unwrap_or_default();
            value.len() <= 500 && value.bytes().all(|b| (0x20..0x7f).contains(&b))
        };
        if let Ok(parameters) = MailParameters::parse(&words) {
            assert!(fits(&parameters.envelope_id));
        }
        if let Ok(parameters) = RcptParameters::parse(&words) {
            assert!(fits(&parameters.notify) && fits(&parameters.original_recipient));
        }
        if let Err(error) = MailParameters::parse(&words) {
            assert!(error.to_string().len() < 300, "{error}");
        }
    });
}

/// The replies in these pieces, and whether something else came.
fn replies(pieces: &[&[u8]]) -> (Vec<Reply>, bool) {
    let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        loop {
            match reader.feed(&mut input) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(_) => return (replies, true),
            }
        }
        assert!(input.is_empty());
    }
    (replies, false)
}

/// The pieces do not matter, and what comes out is bounded and clean.
#[test]
fn fuzz_reply() {
    check!("reply", |input| {
        let (pieces, whole) = cut(input);
        let read = replies(&[whole]);
        assert_eq!(replies(&pieces), read);
        for reply in &read.0 {
            assert!((200..600).contains(&reply.code));
            assert!(reply.lines().count() <= REPLY_LINES_MAX);
            // A byte that is no UTF-8 is replaced by three.
            assert!(reply.text.len() <= 3 * REPLY_BYTES_MAX);
            assert!(!reply.text.chars().any(|c| c.is_control() && c != '\n'));
            if let Some(code) = reply.enhanced {
                assert_eq!(Enhanced::split_from(&code.to_string()), Some((code, "")));
            }
            let offered = Extensions::parse(reply);
            assert!(offered.size || offered.size_max.is_none());
        }
    });
}

/// What data is, told in another way than [`Unstuffer`] does: the lines up to a lone dot.
fn data(wire: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let len = wire[at..].windows(2).position(|two| two == b"\r\n")?;
        let line = &wire[at..at + len];
        at += len + 2;
        if line == b"." {
            return Some((content, at));
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        content.extend_from_slice(b"\r\n");
    }
}

/// Data ends where a second reader sees its end, holds what that one sees, whatever the pieces; and
/// what was stuffed comes back.
#[test]
fn fuzz_data() {
    check!("data", |input| {
        let (pieces, whole) = cut(input);
        let (mut unstuffer, mut content) = (Unstuffer::default(), Vec::new());
        let taken = match unstuffer.feed(pieces[0], &mut content) {
            Some(taken) => Some(taken),
            None => {
                let taken = unstuffer.feed(pieces[1], &mut content);
                taken.map(|taken| pieces[0].len() + taken)
            }
        };
        let expected = data(whole);
        assert_eq!(taken, expected.as_ref().map(|(_, taken)| *taken));
        if let Some((expected, _)) = expected {
            let crlf = expected.windows(2).filter(|two| two == b"\r\n").count();
            let ends = expected.iter().filter(|b| matches!(b, b'\r' | b'\n')).count();
            assert_eq!(unstuffer.has_bare_line_end(), ends != 2 * crlf);
            assert_eq!(content, expected);
        }

        let wire = [stuff(whole).as_ref(), END].concat();
        let crlf = wire.windows(2).filter(|two| two == b"\r\n").count();
        assert_eq!(wire.iter().filter(|b| matches!(b, b'\r' | b'\n')).count(), 2 * crlf);
        let (back, taken) = data(&wire).unwrap();
        assert_eq!(taken, wire.len());
        // Once clean, content comes back as it went.
        assert_eq!(data(&[stuff(&back).as_ref(), END].concat()).unwrap().0, back);
        if matches!(stuff(whole), std::borrow::Cow::Borrowed(_)) {
            assert_eq!(back, whole);
        }
    });
}
