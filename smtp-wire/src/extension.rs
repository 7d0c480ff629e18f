//! What a server offers in its answer to EHLO (RFC 5321 §4.1.1.1).

use crate::reply::Reply;

/// The extensions this system makes use of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870): offered at all.
    pub size: bool,
    /// The largest message in bytes; `None` when no limit was named.
    pub size_max: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// AUTH PLAIN (RFC 4616).
    pub auth_plain: bool,
    /// AUTH LOGIN.
    pub auth_login: bool,
}

impl Extensions {
    /// Reads the answer to EHLO. The first line is the greeting; unknown keywords are passed over.
    pub fn parse(reply: &Reply) -> Self {
        let mut offered = Self::default();
        for line in reply.lines().skip(1) {
            // `AUTH=PLAIN` is an old form some servers still send.
            let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => offered.pipelining = true,
                "SIZE" => {
                    offered.size = true;
                    // A limit of zero means no limit (RFC 1870 §4).
                    let limit = words.next().and_then(|word| word.parse().ok());
                    offered.size_max = limit.filter(|limit| *limit > 0);
                }
                "8BITMIME" => offered.eight_bit_mime = true,
                "SMTPUTF8" => offered.smtputf8 = true,
                "STARTTLS" => offered.starttls = true,
                "ENHANCEDSTATUSCODES" => offered.enhanced_status_codes = true,
                "CHUNKING" => offered.chunking = true,
                "DSN" => offered.dsn = true,
                "AUTH" => words.for_each(|word| match word.to_ascii_uppercase().as_str() {
                    "PLAIN" => offered.auth_plain = true,
                    "LOGIN" => offered.auth_login = true,
                    _ => {}
                }),
                _ => {}
            }
        }
        offered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Extensions {
        Extensions::parse(&Reply { code: 250, enhanced: None, text: text.to_owned() })
    }

    #[test]
    fn keywords_are_read_in_any_case() {
        let text = "PIPELINING is my name\npipelining\nSIZE 0\n8BitMime\nAUTH=LOGIN plain\nX-Y";
        let offered = parse(text);
        assert!(offered.pipelining && offered.size && offered.eight_bit_mime);
        assert!(offered.auth_login && offered.auth_plain && !offered.starttls);
        assert_eq!(offered.size_max, None);
        let offered = parse("PIPELINING\nSIZE 1000");
        assert_eq!((offered.pipelining, offered.size_max), (false, Some(1000)));
    }
}
