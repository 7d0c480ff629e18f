//! Whole messages that their senders composed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{Message, MessageParser};

use super::*;
use crate::mime;

const HTML: &str = "<body><a href=\"https://a.example/\">Ж ü</a></body>\r\n";

fn sent(wanted: &Tracking, raw: &[u8]) -> Vec<u8> {
    let tracker = tracker();
    let message = mime::normalise(raw).unwrap();
    super::super::message(Job::new(&tracker, SENDER, wanted, delivery()), &message)
}

fn parsed(mail: &[u8]) -> Message<'_> {
    MessageParser::default().parse(mail).unwrap()
}

/// A message of one part with this charset and transfer encoding.
fn single(kind: &str, charset: &str, transfer: &str, octets: &[u8]) -> Vec<u8> {
    let body = match transfer {
        "base64" => STANDARD.encode(octets).into_bytes(),
        "quoted-printable" => {
            let mut out = Vec::new();
            mime::encode::quoted_printable(&mut out, octets);
            out
        }
        _ => octets.to_vec(),
    };
    let header = format!(
        "From: a@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: {kind}; charset={charset}\r\n\
         Content-Transfer-Encoding: {transfer}\r\nX-Last: y\r\n\r\n"
    );
    [header.into_bytes(), body, b"\r\n".to_vec()].concat()
}

#[test]
fn every_transfer_encoding_and_charset_survives() {
    for transfer in ["7bit", "8bit", "binary", "quoted-printable", "base64", "BASE64"] {
        for (charset, source) in [
            ("utf-8", HTML),
            ("windows-1251", "<a href='https://a.example/'>Жёлтый</a>"),
            ("koi8-r", "<a href='https://a.example/'>Привет</a>"),
            ("us-ascii", "<a href='https://a.example/'>x</a>"),
            ("iso-8859-1", "<a href='https://a.example/'>ü</a>"),
            ("\"Shift_JIS\"", "<a href='https://a.example/'>日本</a>"),
            ("iso-2022-jp", "<a href='https://a.example/'>日本</a>"),
            ("gb18030", "<a href='https://a.example/'>中文</a>"),
        ] {
            let label = charset.trim_matches('"');
            let (octets, _, _) =
                encoding_rs::Encoding::for_label(label.as_bytes()).unwrap().encode(source);
            if transfer == "7bit" && !octets.is_ascii() {
                continue;
            }
            let mail = sent(
                &everything(),
                &single("text/html", charset, &transfer.to_lowercase(), &octets),
            );
            let html = parsed(&mail).body_html(0).unwrap().into_owned();
            assert_eq!(targets(&html), ["https://a.example/"], "{charset} {transfer}");
            let (before, behind) = source.split_once("https://a.example/").unwrap();
            assert!(html.starts_with(before), "{charset} {transfer}: {html}");
            let word = behind.split(['>', '<']).nth(1).unwrap();
            assert!(html.contains(word), "{charset} {transfer}: {html}");
            assert!(mail.ends_with(b"\r\n"));
            assert!(mail.split(|b| *b == b'\n').all(|line| line.len() <= 998));
        }
    }
}

#[test]
fn a_character_the_charset_lacks_becomes_an_entity() {
    let wanted = Tracking { footer: true, ..Tracking::default() };
    // Cyrillic that came as entities makes no Russian footer; this is what makes one.
    let (octets, ..) = encoding_rs::WINDOWS_1252.encode("<p>ü</p>");
    let mail = sent(&wanted, &single("text/html", "iso-8859-1", "8bit", &octets));
    assert!(parsed(&mail).body_html(0).unwrap().contains("Unsubscribe"));
}

#[test]
fn what_cannot_be_decoded_is_left_alone() {
    for raw in [
        single("text/html", "utf-8", "8bit", b"<a href='https://a.example/'>\xff</a>"),
        single("text/html", "us-ascii", "8bit", b"<a href='https://a.example/'>\xfc</a>"),
        single("text/html", "x-unknown", "8bit", b"<a href='https://a.example/'>x</a>"),
        single("text/html", "utf-16", "8bit", b"<a href='https://a.example/'>x</a>"),
        single("text/html", "utf-8", "x-uuencode", b"<a href='https://a.example/'>x</a>"),
        b"Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\n<a href='https://a.example/'>\r\n".to_vec(),
        b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!\r\n".to_vec(),
        b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ\r\n".to_vec(),
    ] {
        assert_eq!(sent(&everything(), &raw), raw, "{}", String::from_utf8_lossy(&raw));
    }
}

/// A multipart message with this part among others.
fn among(part: &str) -> String {
    format!(
        "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"outer\"\r\n\r\n\
         preamble\r\n--outer\r\n{part}\r\n--outer--\r\nepilogue\r\n"
    )
}

#[test]
fn parts_that_are_not_the_body_are_never_touched() {
    let link = "<a href=\"https://a.example/\">x</a>";
    let inner = format!("Content-Type: text/html\r\n\r\n{link}");
    for part in [
        format!("Content-Type: text/x-amp-html\r\n\r\n<!doctype html><html ⚡4email>{link}"),
        format!("Content-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n{link}"),
        format!("Content-Type: text/html; name=\"a.html\"\r\n\r\n{link}"),
        format!("Content-Type: text/html\r\nContent-Disposition: inline; filename=a.html\r\n\r\n{link}"),
        format!("Content-Type: text/calendar\r\n\r\n{link}"),
        format!("Content-Type: application/octet-stream\r\n\r\n{link}"),
        format!("Content-Type: message/rfc822\r\n\r\nSubject: y\r\n{inner}"),
        format!("Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\n{link}"),
        format!("Content-Type: multipart/signed; boundary=s; micalg=sha-256;\r\n protocol=\"application/pkcs7-signature\"\r\n\r\n--s\r\n{inner}\r\n--s\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n--s--"),
        format!("Content-Type: multipart/encrypted; boundary=s\r\n\r\n--s\r\n{inner}\r\n--s--"),
        format!("Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\nContent-Type: multipart/mixed; boundary=t\r\n\r\n--t\r\n{inner}\r\n--t--\r\n--s--"),
        "Content-Type: text/plain\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\nhttps://a.example/".to_owned(),
    ] {
        let raw = among(&part);
        assert_eq!(String::from_utf8(sent(&everything(), raw.as_bytes())).unwrap(), raw);
    }
}

#[test]
fn bodies_are_changed_where_they_stand_and_the_rest_stays() {
    let raw = among(
        "Content-Type: multipart/alternative; boundary=alt\r\n\r\n--alt\r\nContent-Type: text/plain\r\n\r\nsee https://p.example/\r\n\
         --alt\r\nContent-Type: text/html; charset=utf-8\r\nX-A: b\r\n\r\n<p>-- alt</p>\r\n\
         <a href=\"https://a.example/\">Ж</a>\r\n--alt--\r\n--outer\r\nContent-Type: image/png\r\n\
         Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=",
    );
    let mail = sent(&everything(), raw.as_bytes());
    let message = parsed(&mail);
    assert_eq!(targets(&message.body_text(0).unwrap()), ["https://p.example/"]);
    let html = message.body_html(0).unwrap();
    let kinds: Vec<_> = opened(&html).into_iter().map(|link| link.kind).collect();
    let click = Kind::Click { index: 1, target: "https://a.example/".to_owned() };
    assert_eq!(kinds, [click, Kind::Open], "the numbers go on over the parts");
    assert!(html.starts_with("<p>-- alt</p>\r\n<a href="));
    let text = String::from_utf8(mail.clone()).unwrap();
    let behind = "\r\n--alt--\r\n--outer\r\nContent-Type: image/png\r\n\
                  Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--outer--\r\nepilogue\r\n";
    assert!(text.ends_with(behind), "{text}");
    assert!(text.contains("X-A: b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>"));
    assert!(text.contains("plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nsee "));
    assert_eq!(links_in_message(raw.as_bytes()), ["https://p.example/", "https://a.example/"]);
}

#[test]
fn a_decoded_line_never_becomes_a_boundary() {
    let raw = among(
        "Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         =2D-outer\r\n=2D-outer--\r\n<a href=3D\"https://a.example/\">x</a>",
    );
    let mail = sent(&everything(), raw.as_bytes());
    assert_eq!(parsed(&mail).parts.len(), parsed(raw.as_bytes()).parts.len());
    assert!(parsed(&mail).body_html(0).unwrap().starts_with("--outer\r\n--outer--\r\n<a"));
}

#[test]
fn only_the_last_html_body_gets_the_pixel() {
    let part = "Content-Type: text/html\r\n\r\n<p>x</p>";
    let raw = among(&format!("{part}\r\n--outer\r\n{part}"));
    let mail = String::from_utf8(sent(&everything(), raw.as_bytes())).unwrap();
    assert_eq!(mail.matches("width=3D\"1\"").count(), 1);
    assert!(mail.find("width=3D").unwrap() > mail.rfind("Content-Type: text/html").unwrap());
}

#[test]
fn our_unsubscribe_fields_replace_those_of_the_message() {
    let raw = b"From: a@example.org\r\nList-Unsubscribe: <mailto:x@example.org>,\r\n <https://x.example/>\r\n\
        list-unsubscribe-post: List-Unsubscribe=One-Click\r\nSubject: x\r\n\r\nbody\r\n";
    let fields = |wanted: &Tracking| {
        let mail = String::from_utf8(sent(wanted, raw)).unwrap();
        assert!(mail.starts_with("From: a@example.org\r\n") && mail.ends_with("\r\n\r\nbody\r\n"));
        let of = |name: &str| mail.to_lowercase().matches(name).count();
        let kinds: Vec<_> = opened(&mail).into_iter().map(|link| link.kind).collect();
        (kinds, of("list-unsubscribe: "), of("list-unsubscribe-post: "))
    };
    let one_click = Tracking { one_click: true, ..Tracking::default() };
    assert_eq!(fields(&one_click), (vec![Kind::Unsubscribe], 1, 1));
    let header = Tracking { unsubscribe_header: true, ..Tracking::default() };
    assert_eq!(fields(&header), (vec![Kind::Unsubscribe], 1, 0));
    assert_eq!(fields(&Tracking { opens: true, ..Tracking::default() }), (Vec::new(), 1, 1));
}

/// Whatever the mail is: its parts stay, it stays mail, and where nothing is wanted nothing changes.
#[test]
fn fuzz_tracking() {
    postern_fuzz::check!("tracking", |input| {
        let missing = mime::Missing { message_id: "new@example.org", date_ms: 1_795_000_000_000 };
        if mime::inspect(input).is_err() {
            return;
        }
        let raw = mime::prepare(input, missing).unwrap();
        let before = mime::inspect(&raw).unwrap();
        let unsubscribe =
            Tracking { one_click: true, footer: true, honeypot: true, ..everything() };
        for wanted in [everything(), unsubscribe] {
            let mail = sent(&wanted, &raw);
            assert!(mail.ends_with(b"\r\n"));
            assert_eq!(mime::normalise(&mail).unwrap(), mail.as_slice());
            let after = mime::inspect(&mail).unwrap();
            assert_eq!((after.parts, after.subject), (before.parts, before.subject.clone()));
            let leaves = [mime::leaves::text_leaves(&raw), mime::leaves::text_leaves(&mail)];
            assert_eq!(leaves[0].len(), leaves[1].len());
            for (before, after) in leaves[0].iter().zip(&leaves[1]) {
                assert_eq!((before.html, &before.charset), (after.html, &after.charset));
            }
        }
        assert_eq!(sent(&Tracking::default(), &raw), raw);
    });
}
