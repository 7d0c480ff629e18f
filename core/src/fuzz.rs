//! What holds of every input, whatever anybody sends: mail, replies, what Postal says, ids. The corpora
//! are in `fuzz/`. Pure.

use postern_fuzz::{check, choice, text};
use postern_smtp_wire::reply::Enhanced;

use crate::credential::sha256_from_hex;
use crate::dkim::{self, Signer};
use crate::mime::inspect::{Fields, HEADER_FIELDS_MAX, MIME_PARTS_MAX};
use crate::mime::{self, Missing, inspect, prepare};
use crate::model::delivery::{Category, Phase};
use crate::model::domain::DkimAlgorithm;
use crate::password::bcrypt_cost;
use crate::postal::event::{self, Content};
use crate::postal::keys;
use crate::store::any_id::AnyId;
use crate::transport::classify::classify;
use crate::transport::patterns::{self, PATTERN_CHARS_MAX, PATTERNS_MAX};

const MISSING: Missing<'static> =
    Missing { message_id: "new@example.org", date_ms: 1_795_000_000_000 };

fn is_clean(mail: &[u8]) -> bool {
    let crlf = mail.windows(2).filter(|two| two == b"\r\n").count();
    let ends = mail.iter().filter(|b| matches!(b, b'\r' | b'\n')).count();
    ends == 2 * crlf && mail.ends_with(b"\r\n")
}

/// A mail that is taken can be prepared, goes out clean and without hidden recipients, and is then as
/// it would be prepared again.
#[test]
fn fuzz_mail() {
    check!("mail", |input| {
        let inspected = inspect(input);
        let prepared = prepare(input, MISSING);
        if let Ok(seen) = inspected {
            assert!(prepared.is_ok());
            assert!((1..=MIME_PARTS_MAX).contains(&seen.parts));
            assert!((1..=HEADER_FIELDS_MAX).contains(&seen.fields.len()));
            assert!(seen.fields.iter().all(|(_, value)| !value.contains(['\r', '\n'])));
            let again = inspect(&mime::normalise(input).unwrap()).unwrap();
            assert_eq!(again, seen);
        }
        let Ok(mail) = prepared else { return };
        assert!(is_clean(&mail));
        let fields = Fields::parse(&mail).unwrap();
        assert!(fields.has("date") && fields.has("message-id") && !fields.has("bcc"));
        assert!(!fields.iter().any(|field| mime::raw::is_private(field.name)));
        assert_eq!(prepare(&mail, MISSING).unwrap(), mail);
        let _any = mime::needs_smtputf8("a@example.org", "b@example.net", &mail);
    });
}

/// A signature is one field with short lines, the same every time, whatever it covers.
#[test]
fn fuzz_dkim() {
    let made = dkim::generate(DkimAlgorithm::Ed25519).unwrap();
    let key = Signer::new("example.org", "s1", DkimAlgorithm::Ed25519, &made.private_der).unwrap();
    check!("dkim", move |input| {
        let Ok(message) = mime::normalise(input) else { return };
        let Ok(field) = key.sign(&message, 1_795_000_000) else {
            assert!(!Fields::parse(&message).is_ok_and(|fields| fields.has("from")));
            return;
        };
        assert!(is_clean(&field));
        let fields = Fields::parse(&field).unwrap();
        assert_eq!(fields.iter().map(|field| field.name).collect::<Vec<_>>(), ["DKIM-Signature"]);
        for line in text(&field).lines() {
            assert!(line.len() <= 78, "{line}");
        }
        assert_eq!(key.sign(&message, 1_795_000_000).unwrap(), field);
        // Blank lines at the end are not covered (RFC 6376 section 3.4.4).
        let end = message.windows(4).position(|four| four == b"\r\n\r\n");
        if end.is_some_and(|end| end + 4 < message.len()) {
            let more = [&message, b"\r\n\r\n".as_slice()].concat();
            assert_eq!(key.sign(&more, 1_795_000_000).unwrap(), field);
        }
    });
}

/// Whether a refusal is permanent is the code's to say; the rest does not change with the letters' case.
#[test]
fn fuzz_classify() {
    check!("classify", |input| {
        let (first, rest) = choice(input);
        let reply = text(rest);
        let code = 200 + u16::from(first) * 2;
        let (enhanced, words) = match Enhanced::split_from(&reply) {
            Some((enhanced, words)) => (Some(enhanced), words),
            None => (None, &*reply),
        };
        for phase in [Phase::Rcpt, Phase::Data] {
            let verdict = classify(code, enhanced, words, phase);
            assert_eq!(verdict.permanent, code / 100 == 5);
            if code / 100 < 4 {
                assert_eq!(verdict.category, Category::Protocol);
            }
            let shouted = words.to_ascii_uppercase();
            assert_eq!(classify(code, enhanced, &shouted, phase), verdict);
            let spaced = format!("  {words}\n");
            assert_eq!(classify(code, enhanced, &spaced, phase), verdict);
        }
    });
}

/// An event has an id, says the same every time, and nothing in it is long or unprintable.
#[test]
fn fuzz_postal_event() {
    check!("postal_event", |input| {
        let Ok(read) = event::parse(input) else { return };
        assert_eq!(event::parse(input).as_ref(), Ok(&read));
        assert!((1..=128).contains(&read.uuid.len()));
        let fits = |text: &str, max| text.len() <= max && !text.chars().any(char::is_control);
        match &read.content {
            Content::Mail(subject, news) => {
                assert!(!subject.ticket.token.is_empty());
                let said = news.reply.as_ref().map_or("", |reply| &reply.text);
                assert!(said.len() <= 4096, "{}", said.len());
            }
            Content::Hit(_, hit) => {
                let told = &hit.engagement;
                assert!(fits(&told.url, 2048) && fits(&told.client_ip, 64));
                assert!(fits(&told.user_agent, 512) && hit.create_ms >= 0);
            }
            Content::Warning(warning) => assert!(fits(warning, 6 * 2100)),
            Content::Other(name) => assert!(fits(name, 128)),
            Content::Incoming => {}
        }
    });
}

/// A key that is taken has a sound size and an id, and is the same in every form.
#[test]
fn fuzz_postal_keys() {
    use rsa::pkcs1::LineEnding;
    use rsa::pkcs8::EncodePublicKey as _;
    use rsa::traits::PublicKeyParts as _;

    check!("postal_keys", |input| {
        let read = [keys::parse(&text(input)), keys::parse_jwks(input)];
        for key in read.into_iter().flatten().flatten() {
            assert!((1024..=4096).contains(&key.public.n().bits()));
            assert!(sha256_from_hex(&key.id).is_some());
            let pem = key.public.to_public_key_pem(LineEnding::LF).unwrap();
            assert_eq!(keys::parse(&pem), Ok(vec![key]));
        }
    });
}

/// A file of phrases is bounded, and each one that is kept finds itself.
#[test]
fn fuzz_bounce_patterns() {
    check!("bounce_patterns", |input| {
        let Ok(import) = patterns::parse(&text(input)) else { return };
        assert!(import.patterns.len() <= import.findings.len());
        assert!(import.findings.len() <= PATTERNS_MAX);
        for finding in &import.findings {
            assert!(finding.pattern.chars().count() <= PATTERN_CHARS_MAX);
        }
        let known = patterns::Patterns::new(import.patterns.clone());
        for (category, phrase) in &import.patterns {
            let code = if *category == Category::Other { 450 } else { 550 };
            let text = phrase.clone();
            let reply = crate::model::delivery::Reply { code, text, ..Default::default() };
            assert_ne!(known.refine(&reply, Category::Protocol), Category::Protocol, "{phrase}");
        }
    });
}

/// An id is found in its own form, in brackets too, and a Message-ID is one that can be looked for.
#[test]
fn fuzz_any_id() {
    check!("any_id", |input| {
        let id = text(input);
        let read = AnyId::parse(&id);
        assert_eq!(AnyId::parse(&format!(" <{}> ", id.trim())), read);
        match read {
            Some(AnyId::MessageIdHeader(id)) => {
                assert!(id.contains('@') && id.chars().count() <= 600);
            }
            Some(AnyId::Message(id)) => assert!(text(input).contains(&id.to_string())),
            _ => {}
        }
    });
}

/// A hash from outside is read in one way.
#[test]
fn fuzz_hash() {
    check!("hash", |input| {
        let hash = text(input);
        if let Some(octets) = sha256_from_hex(&hash) {
            let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(hex, hash.to_ascii_lowercase());
        }
        if let Some(cost) = bcrypt_cost(&hash) {
            assert!(hash.contains(&format!("{cost:02}")) && hash.is_ascii());
        }
    });
}
