//! Mails, read back by a parser that is not ours.

use bytes::Bytes;
use mail_parser::{HeaderName, MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;
use crate::model::content::{Attachment, HeaderField};

const DATE_MS: i64 = 1_795_428_000_000;
const MISSING: Missing<'static> = Missing { message_id: "new@example.org", date_ms: DATE_MS };
const NESTING_BOMB: usize = 10_000;

fn mailbox(name: &str, email: &str) -> Mailbox {
    Mailbox { email: email.to_owned(), name: name.to_owned() }
}

fn file(name: &str, content_type: &str, content_id: &str) -> Attachment {
    Attachment {
        filename: name.to_owned(),
        content_type: content_type.to_owned(),
        data: Bytes::from_static(b"\x00\xff binary\r\n.\r\n"),
        content_id: content_id.to_owned(),
    }
}

fn content() -> Content {
    Content { from: Some(mailbox("A", "a@example.org")), ..Content::default() }
}

fn build(content: &Content, subject: &str, html: &str, text: &str) -> String {
    let to = mailbox("Bob", "bob@example.net");
    let mail = compose(&Letter {
        content,
        to: &to,
        subject,
        html,
        text,
        message_id: "id.1@example.org",
        unsubscribe: None,
        date_ms: DATE_MS,
        boundary_seed: 7,
    });
    assert_clean(&mail);
    String::from_utf8(mail).unwrap()
}

/// What holds for every composed mail.
fn assert_clean(mail: &[u8]) {
    let lines: Vec<&[u8]> = mail.split(|b| *b == b'\n').collect();
    assert_eq!(lines.last(), Some(&&b""[..]), "ends with a line end");
    for line in &lines[..lines.len() - 1] {
        assert!(line.ends_with(b"\r"), "bare LF");
        assert!(line.len() <= LINE_BYTES_MAX + 1);
        assert!(!line[..line.len() - 1].iter().any(|b| matches!(b, b'\r' | 0)));
    }
    assert!(mail.is_ascii());
}

#[test]
fn a_plain_mail_to_the_byte() {
    assert_eq!(
        build(&content(), "Hello", "", "Hi\nBob"),
        "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nFrom: A <a@example.org>\r\n\
         To: Bob <bob@example.net>\r\nSubject: Hello\r\nMessage-ID: <id.1@example.org>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\nHi\r\nBob\r\n"
    );
}

/// A mail with both bodies, an image within the html, a file, and a forwarded mail.
const ALL_TYPES: &str = "multipart/mixed multipart/alternative text/plain multipart/related \
    text/html image/png application/pdf application/octet-stream";

/// The media types of all parts, from the outside in.
fn types(parsed: &mail_parser::Message<'_>) -> Vec<String> {
    let kinds = parsed.parts.iter().map(|part| part.content_type().unwrap());
    kinds.map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap())).collect()
}

#[test]
fn all_parts_survive_and_hidden_recipients_do_not_show() {
    let html = "<p>Grüße <img src=\"cid:logo@x\"></p>";
    let mut content = content();
    content.shared = true;
    content.to = vec![mailbox("Ünï, \"q\"", "x@example.net"), mailbox("Doe, J", "y@example.net")];
    content.cc = vec![mailbox("", "c@example.net")];
    content.reply_to = vec![mailbox("R", "r@example.org")];
    content.headers = [("X-Tag", "a"), ("Bcc", "h@x.y"), ("X-Postern-Y", "z"), ("X-Tag", "ü")]
        .map(|(name, value)| HeaderField { name: name.into(), value: value.into() })
        .to_vec();
    content.attachments = vec![
        file("ü €.pdf", "application/pdf", ""),
        file("logo.png", "image/png", "logo@x"),
        file("fwd.eml", "message/rfc822", ""),
    ];
    let mail = build(&content, "Grüße ☃", html, "Grüße\n");
    let parsed = MessageParser::default().parse(mail.as_bytes()).unwrap();
    assert_eq!(parsed.subject(), Some("Grüße ☃"));
    assert_eq!(parsed.to().unwrap().first().unwrap().name(), Some("Ünï, \"q\""));
    assert_eq!(parsed.to().unwrap().last().unwrap().name(), Some("Doe, J"));
    assert_eq!(parsed.cc().unwrap().first().unwrap().address(), Some("c@example.net"));
    assert_eq!(parsed.reply_to().unwrap().first().unwrap().address(), Some("r@example.org"));
    assert_eq!(parsed.header_values("X-Tag").count(), 2);
    assert!(!mail.to_ascii_lowercase().contains("bcc") && !mail.contains("X-Postern"));
    assert_eq!(parsed.body_text(0).unwrap(), "Grüße\r\n");
    assert_eq!(parsed.body_html(0).unwrap(), html);
    assert_eq!(types(&parsed).join(" "), ALL_TYPES);
    assert_eq!(parsed.parts[5].content_id(), Some("logo@x"));
    assert_eq!(parsed.parts[6].attachment_name(), Some("ü €.pdf"));
    for part in &parsed.parts[5..] {
        let (PartType::Binary(data) | PartType::InlineBinary(data)) = &part.body else {
            panic!("not binary: {part:?}");
        };
        assert_eq!(data.as_ref(), b"\x00\xff binary\r\n.\r\n");
    }
    assert_eq!(mail, build(&content, "Grüße ☃", html, "Grüße\n"), "deterministic");
}

#[test]
fn long_and_odd_file_names_are_cut_between_characters() {
    let mut content = content();
    let long = "Отчёт о продажах за третий квартал 2026 года, итог.xlsx";
    for name in [long, "a\"b\\c.txt", "x'%*.t"] {
        content.attachments = vec![file(name, "text/csv; charset=utf-8", "")];
        let mail = build(&content, "s", "", "t");
        let parsed = MessageParser::default().parse(mail.as_bytes()).unwrap();
        assert_eq!(parsed.attachment(0).unwrap().attachment_name(), Some(name));
        assert!(mail.lines().all(|line| line.len() <= 78), "{mail}");
    }
}

#[test]
fn a_shared_mail_to_hidden_recipients_has_a_to_field() {
    let content = Content { shared: true, ..content() };
    assert!(build(&content, "s", "", "t").contains("\r\nTo: undisclosed-recipients:;\r\n"));
}

#[test]
fn text_that_looks_like_structure_is_encoded() {
    let boundary = "--=_00000000000000000000000000000007_1\n";
    let mail = build(&content(), "=?utf-8?Q?x?=", "<p>h</p>", boundary);
    let parsed = MessageParser::default().parse(mail.as_bytes()).unwrap();
    assert_eq!(parsed.subject(), Some("=?utf-8?Q?x?="));
    assert_eq!(parsed.body_html(0).unwrap(), "<p>h</p>");
    assert!(parsed.body_text(0).unwrap().starts_with("--=_000"));
    let mail = build(&content(), "s", "", "From here\n.\n..x \n=");
    assert!(mail.ends_with("\r\n\r\n=46rom here\r\n=2E\r\n=2E.x=20\r\n=3D\r\n"), "{mail}");
}

#[test]
fn raw_keeps_everything_but_what_must_change() {
    let raw = b"From: a@example.org\nBcc : h@x.y,\n\tg@x.y\nX-Postern-Tag: t\nReceived: x\n  y\n\
        Subject:  \xfc\n\nline\rnext\r\n.\n";
    assert_eq!(
        prepare(raw, MISSING).unwrap(),
        b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <new@example.org>\r\n\
          From: a@example.org\r\nReceived: x\r\n  y\r\nSubject:  \xfc\r\n\r\nline\r\nnext\r\n.\r\n"
    );
    let whole = b"Date: x\r\nmessage-id: <1@a>\r\nFrom: a@b.c\r\n\r\nb\r\n";
    assert_eq!(prepare(whole, MISSING).unwrap(), whole);
    let headless = prepare(b"DATE: x\r\nMessage-ID: y", MISSING).unwrap();
    assert_eq!(headless, b"DATE: x\r\nMessage-ID: y\r\n\r\n");
    assert_eq!(prepare(b"a\0", MISSING), Err(RawError::Nul));
    assert_eq!(prepare(b"", MISSING), Err(RawError::NoHeader));
    assert_eq!(prepare(b"\r\nbody", MISSING), Err(RawError::NoHeader));
    assert_eq!(prepare(b"A: b\nfrom me\n\n", MISSING), Err(RawError::BadHeaderLine { line: 2 }));
    let huge = format!("A: {}\n\n", "x".repeat(inspect::HEADER_BYTES_MAX));
    assert_eq!(prepare(huge.as_bytes(), MISSING), Err(RawError::HeaderTooLarge));
}

#[test]
fn inspection_decodes_what_intake_needs() {
    let raw = b"From: =?utf-8?Q?J=C3=B6?= <jo@example.org>\nSubject: =?utf-8?B?w7w=?=\n\
        Message-ID: <m@x>\nX-Postern-Campaign: c\n 1\n\nbody";
    let seen = inspect(raw).unwrap();
    assert_eq!(seen.from, [mailbox("Jö", "jo@example.org")]);
    assert_eq!((seen.subject.as_str(), seen.message_id.as_deref()), ("ü", Some("m@x")));
    assert_eq!(seen.field("x-postern-campaign"), Some("c 1"));
    assert_eq!(inspect(b"From: a@b.c\nFROM: d@e.f\n\n"), Err(RawError::Repeated("From")));
    assert!(inspect(b"Subject: x\n\n").unwrap().from.is_empty());
}

#[test]
fn nesting_and_part_count_are_bounded() {
    let mut bomb = String::from("From: a@b.c\n");
    for depth in 0..NESTING_BOMB {
        bomb += &format!("Content-Type: multipart/mixed;\n boundary=\"b{depth}\"\n\n--b{depth}\n");
    }
    assert_eq!(inspect(bomb.as_bytes()), Err(RawError::TooDeep));
    let cyclic = "Content-Type: message/rfc822\n\n".repeat(NESTING_BOMB);
    assert_eq!(inspect(cyclic.as_bytes()), Err(RawError::TooDeep));
    let many = "--b\n\nx\n".repeat(inspect::MIME_PARTS_MAX + 1);
    let many = format!("Content-Type: multipart/mixed; boundary=b\n\n{many}");
    assert_eq!(inspect(many.as_bytes()), Err(RawError::TooManyParts));
    let fine = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n\ny\n--b--\n--b\n";
    assert_eq!(inspect(fine.as_bytes()).unwrap().parts, 3);
}

#[test]
fn only_addresses_decide_about_smtputf8() {
    let utf8 = |from: &str, head: &str| {
        needs_smtputf8(from, "b@x.y", format!("{head}\r\n\r\n").as_bytes())
    };
    assert!(utf8("ü@x.y", "From: a@x.y"));
    assert!(utf8("", "From: \"ü\" <дом@x.y>"));
    assert!(!utf8("a@x.y", "From: \"ü@дом\" <a@x.y>\r\nSubject: ü@ü"));
    assert!(is_7bit(b"abc") && !is_7bit(b"\xfc"));
}

fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\nBcc: evil@example.com\r\n".to_owned()),
        Just("\r\n\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\0\u{85}\u{2028}".to_owned()),
        Just("=?utf-8?Q?=0D=0ABcc:_x?=".to_owned()),
        Just("--=_00000000000000000000000000000007_1--".to_owned()),
        Just("\"\\,;:<>@()".to_owned()),
        "[ \t]{0,100}",
        "[a-zA-Z0-9.=]{0,200}",
        ".{0,40}",
        Just("x".repeat(1200)),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_value_adds_a_field(
        subject in nasty(), name in nasty(), value in nasty(), id in nasty(), cid in nasty(),
        filename in nasty(), media in nasty(), text in nasty(), html in nasty(),
    ) {
        let mut content = content();
        content.from = Some(mailbox(&name, "a@example.org"));
        content.reply_to = vec![mailbox(&value, "r@example.org\r\nBcc: x@y.z")];
        content.headers = vec![
            HeaderField { name: "X-A".to_owned(), value: value.clone() },
            HeaderField { name: format!("X-B{value}"), value: "dropped unless a name".to_owned() },
        ];
        content.attachments = vec![Attachment {
            filename, content_type: media, data: Bytes::from(html.clone()), content_id: cid,
        }];
        let to = mailbox(&subject, "bob@example.net");
        let mail = compose(&Letter {
            content: &content, to: &to, subject: &subject, html: &html, text: &text,
            message_id: &id, unsubscribe: None, date_ms: DATE_MS, boundary_seed: 7,
        });
        assert_clean(&mail);
        let parsed = MessageParser::default().parse(&mail).unwrap();
        let extra = usize::from(is_field_name(&format!("X-B{value}")));
        prop_assert_eq!(parsed.headers().len(), 9 + extra);
        prop_assert_eq!(parsed.headers().iter().filter(|h| h.name == HeaderName::Bcc).count(), 0);
        prop_assert!(inspect(&mail).is_ok());
        let wanted = headers::clean(&subject).into_owned();
        // White space is folded freely, and mail-parser trims it in places.
        let squeeze = |s: &str| s.split_whitespace().collect::<String>();
        if !wanted.contains("=?") {
            prop_assert_eq!(squeeze(parsed.subject().unwrap_or_default()), squeeze(&wanted));
        }
    }
}
