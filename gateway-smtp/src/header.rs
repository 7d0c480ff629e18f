//! The header of a message as it came: split into fields, none of them changed. Pure.

/// A field with its folding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    /// The whole field, CRLF included.
    bytes: &'a [u8],
}

impl Field<'_> {
    /// The value on one line.
    pub(crate) fn value(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes[self.name.len()..]);
        let value = text.trim_start().trim_start_matches(':').replace(['\r', '\n'], "");
        value.trim().to_owned()
    }
}

/// A message, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    pub(crate) fields: Vec<Field<'a>>,
    /// From the blank line on.
    rest: &'a [u8],
}

impl<'a> Header<'a> {
    /// Splits a message; none when its header is not made of fields, which the core will refuse with
    /// the number of the line.
    pub(crate) fn split(message: &'a [u8]) -> Option<Self> {
        let mut fields: Vec<Field<'a>> = Vec::with_capacity(24);
        let mut at = 0;
        while at < message.len() {
            let len = memchr::memchr(b'\n', &message[at..]).map_or(message.len() - at, |n| n + 1);
            let line = &message[at..at + len];
            if matches!(line, b"\r\n" | b"\n") {
                break;
            }
            at += len;
            if matches!(line[0], b' ' | b'\t') {
                let field = fields.last_mut()?;
                field.bytes = &message[at - len - field.bytes.len()..at];
            } else {
                let colon = memchr::memchr(b':', line)?;
                let name = std::str::from_utf8(&line[..colon]).ok()?.trim_end();
                fields.push(Field { name, bytes: line });
            }
        }
        Some(Self { fields, rest: &message[at..] })
    }

    /// The message without the fields for which `drop` says so; none when all of it stays.
    pub(crate) fn without(&self, drop: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
        if !self.fields.iter().any(|field| drop(field.name)) {
            return None;
        }
        let size = self.rest.len() + self.fields.iter().map(|f| f.bytes.len()).sum::<usize>();
        let mut out = Vec::with_capacity(size);
        for field in self.fields.iter().filter(|field| !drop(field.name)) {
            out.extend_from_slice(field.bytes);
        }
        out.extend_from_slice(self.rest);
        Some(out)
    }
}

/// Fields that tell recipients about the sender's machinery, or that only a relay may write. They
/// are dropped from what is submitted; our own `X-Postern-*` and `Bcc` go in the core.
///
/// `List-Unsubscribe` and `List-Unsubscribe-Post` stay: receivers demand them of bulk mail.
pub(crate) fn is_internal(name: &str) -> bool {
    const NAMES: [&str; 23] = [
        "received",
        "x-id-mail",
        "x-campaign-id",
        "x-campaign",
        "x-mailing-id",
        "x-affiliate-id",
        "x-affiliate",
        "x-recipient-id",
        "return-path",
        "authentication-results",
        "dkim-signature",
        "domainkey-signature",
        "x-mailer",
        "x-mimeole",
        "x-msmail-priority",
        "x-priority",
        "x-originating-ip",
        "x-auto-response-suppress",
        "feedback-id",
        "delivered-to",
        "x-envelope-from",
        "x-envelope-to",
        "x-authenticated-sender",
    ];
    const PREFIXES: [&str; 6] = ["x-ams-", "x-original-", "arc-", "x-spam-", "x-php-", "received-"];
    let begins = |prefix: &&str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)) || PREFIXES.iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &[u8] = b"Received: from here\r\n by there\r\nSubject: a\r\n b\r\n\
        X-ID-mail : [7]\r\n\r\nX-ID-mail: body\r\n";

    #[test]
    fn fields_go_with_their_folding_and_the_rest_stays_to_the_byte() {
        let header = Header::split(MAIL).unwrap();
        let names: Vec<_> = header.fields.iter().map(|field| field.name).collect();
        assert_eq!(names, ["Received", "Subject", "X-ID-mail"]);
        assert_eq!(header.fields[1].value(), "a b");
        assert_eq!(header.fields[2].value(), "[7]");
        let left = header.without(is_internal).unwrap();
        assert_eq!(left, b"Subject: a\r\n b\r\n\r\nX-ID-mail: body\r\n");
        assert_eq!(Header::split(&left).unwrap().without(is_internal), None);
    }

    #[test]
    fn what_is_no_header_is_left_to_the_core() {
        assert_eq!(Header::split(b"no colon\r\n\r\n"), None);
        assert_eq!(Header::split(b" folded\r\nSubject: x\r\n\r\n"), None);
        assert!(Header::split(b"\r\nbody").unwrap().fields.is_empty());
        assert!(is_internal("ARC-Seal") && is_internal("X-AMS-Id"));
        for kept in ["Subject", "List-Unsubscribe", "Message-ID", "X-Custom", "Résumé"] {
            assert!(!is_internal(kept), "{kept}");
        }
    }

    /// No octet is lost or changed, and what is dropped is gone at once.
    #[test]
    fn fuzz_header() {
        postern_fuzz::check!("header", |input| {
            let Some(header) = Header::split(input) else { return };
            let fields: Vec<u8> = header.fields.iter().flat_map(|f| f.bytes.to_vec()).collect();
            assert_eq!([fields.as_slice(), header.rest].concat(), input);
            for field in &header.fields {
                assert!(!field.value().contains(['\r', '\n']));
            }
            let Some(left) = header.without(is_internal) else { return };
            assert!(left.len() < input.len() && left.ends_with(header.rest));
            let left = Header::split(&left).expect("fewer fields are fields");
            assert!(!left.fields.iter().any(|field| is_internal(field.name)));
            assert_eq!(left.rest, header.rest);
        });
    }
}
