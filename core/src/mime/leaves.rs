//! Finds the text bodies of a message somebody else composed, by byte ranges, so that one of them
//! can be replaced while every other byte stays.
//!
//! What is signed, encrypted, attached, or part of an embedded message is not among them, and
//! neither is anything whose header could be read in two ways.

use std::ops::Range;

use mail_parser::MimeHeaders as _;

use super::inspect::Fields;

/// How a body is encoded for transfer (RFC 2045 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// 7bit, 8bit or binary.
    Plain,
    /// quoted-printable.
    QuotedPrintable,
    /// base64.
    Base64,
}

/// A text body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its header fields, without the blank line.
    pub header: Range<usize>,
    /// Its body, without the line end that belongs to the boundary behind it.
    pub body: Range<usize>,
    /// text/html; text/plain otherwise.
    pub html: bool,
    /// The charset parameter; empty when there is none.
    pub charset: String,
    /// The transfer encoding.
    pub transfer: Transfer,
}

/// The text bodies of a message with CRLF line ends, in order.
pub fn text_leaves(message: &[u8]) -> Vec<Leaf> {
    let mut walk =
        Walk { message, stack: Vec::new(), header: Some(0), open: None, leaves: Vec::new() };
    let mut at = 0;
    while at < message.len() {
        let rest = &message[at..];
        let end = at + rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |n| n + 1);
        walk.line(at, end);
        at = end;
    }
    walk.close(message.len());
    walk.leaves
}

struct Container {
    boundary: Vec<u8>,
    /// Nothing in it may be changed.
    sealed: bool,
}

struct Walk<'m> {
    message: &'m [u8],
    stack: Vec<Container>,
    /// Where the current header began; none within bodies.
    header: Option<usize>,
    open: Option<Leaf>,
    leaves: Vec<Leaf>,
}

impl Walk<'_> {
    fn line(&mut self, at: usize, end: usize) {
        let line = self.message[at..end].trim_ascii_end();
        if line.starts_with(b"--")
            && let Some((depth, closes)) = self.boundary(&line[2..])
        {
            // The line end before a boundary is part of the boundary.
            self.close(at.saturating_sub(2));
            self.stack.truncate(if closes { depth } else { depth + 1 });
            self.header = (!closes).then_some(end);
        } else if let Some(from) = self.header
            && self.message[at..end] == *b"\r\n"
        {
            self.header = None;
            self.begin(from..at, end);
        }
    }

    /// Which open container a boundary line is of, and whether it closes it.
    fn boundary(&self, mark: &[u8]) -> Option<(usize, bool)> {
        let depth = self.stack.iter().rposition(|open| {
            mark == open.boundary || mark.strip_suffix(b"--") == Some(&open.boundary)
        })?;
        Some((depth, mark.len() > self.stack[depth].boundary.len()))
    }

    fn close(&mut self, end: usize) {
        if let Some(mut leaf) = self.open.take() {
            leaf.body.end = end.max(leaf.body.start);
            self.leaves.push(leaf);
        }
    }

    fn begin(&mut self, header: Range<usize>, body_at: usize) {
        let sealed = self.stack.last().is_some_and(|container| container.sealed);
        match kind(&self.message[header.clone()]) {
            Kind::Multipart { boundary, sealed: own } => {
                self.stack.push(Container { boundary, sealed: sealed || own });
            }
            Kind::Text { html, charset, transfer } if !sealed => {
                self.open = Some(Leaf { header, body: body_at..body_at, html, charset, transfer });
            }
            Kind::Text { .. } | Kind::Other => {}
        }
    }
}

enum Kind {
    Multipart { boundary: Vec<u8>, sealed: bool },
    Text { html: bool, charset: String, transfer: Transfer },
    Other,
}

fn kind(header: &[u8]) -> Kind {
    const TEXT: Kind =
        Kind::Text { html: false, charset: String::new(), transfer: Transfer::Plain };
    if header.is_empty() {
        return TEXT;
    }
    let Ok(fields) = Fields::parse(header) else { return Kind::Other };
    let times = |name| fields.iter().filter(|f| f.name.eq_ignore_ascii_case(name)).count();
    if times("content-type") > 1 || times("content-transfer-encoding") > 1 {
        return Kind::Other;
    }
    let Some(parsed) = mail_parser::MessageParser::default().parse_headers(header) else {
        return Kind::Other;
    };
    let content_type = parsed.content_type();
    if content_type.is_none() && times("content-type") > 0 {
        return Kind::Other;
    }
    let media = |kind: &mail_parser::ContentType<'_>| {
        format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()).to_ascii_lowercase()
    };
    let media = content_type.map_or_else(|| "text/plain".to_owned(), media);
    let attribute = |name| content_type.and_then(|kind| kind.attribute(name));
    if let Some(subtype) = media.strip_prefix("multipart/") {
        let sealed = ["signed", "encrypted", "report"].contains(&subtype);
        return match attribute("boundary") {
            Some(boundary) if !boundary.is_empty() => {
                let boundary = boundary.trim_end().as_bytes().to_vec();
                Kind::Multipart { boundary, sealed }
            }
            _ => Kind::Other,
        };
    }
    let named = attribute("name").is_some();
    let attached = parsed.content_disposition().is_some_and(|disposition| {
        !disposition.ctype().eq_ignore_ascii_case("inline")
            || disposition.attribute("filename").is_some()
    });
    let encoding = parsed.content_transfer_encoding().unwrap_or("7bit").to_ascii_lowercase();
    let transfer = match encoding.as_str() {
        "7bit" | "8bit" | "binary" => Transfer::Plain,
        "quoted-printable" => Transfer::QuotedPrintable,
        "base64" => Transfer::Base64,
        _ => return Kind::Other,
    };
    let charset = attribute("charset").unwrap_or_default().to_owned();
    match media.as_str() {
        "text/html" | "text/plain" if !named && !attached => {
            Kind::Text { html: media == "text/html", charset, transfer }
        }
        _ => Kind::Other,
    }
}
