//! Tracking in a message that its sender composed: body parts are decoded, changed and encoded
//! again, and everything else stays as it is to the octet. A part that does not survive decoding and
//! encoding unchanged is left alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{Encoding, UTF_8};

use crate::mime::inspect::Fields;
use crate::mime::leaves::{Leaf, Transfer, text_leaves};
use crate::mime::{self, encode};

use super::{Job, links_in};

const TRANSFER_FIELD: &str = "Content-Transfer-Encoding";

/// The message, which has CRLF line ends, with what is wanted.
pub fn message(mut job: Job<'_>, message: &[u8]) -> Vec<u8> {
    let leaves = text_leaves(message);
    let last_html = leaves.iter().rposition(|leaf| leaf.html);
    let mut out = Vec::with_capacity(message.len() + message.len() / 2);
    let mut at = 0;
    for (n, leaf) in leaves.iter().enumerate() {
        let Some(changed) = part(&mut job, message, leaf, last_html == Some(n)) else { continue };
        out.extend_from_slice(&message[at..leaf.header.start]);
        header(&mut out, &message[leaf.header.clone()], leaf.transfer);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&changed);
        at = leaf.body.end;
    }
    out.extend_from_slice(&message[at..]);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    match job.unsubscribe() {
        Some(unsubscribe) => mime::with_unsubscribe(&out, &unsubscribe).unwrap_or(out),
        None => out,
    }
}

/// Every link of the text bodies of a message.
pub fn links_in_message(raw: &[u8]) -> Vec<String> {
    let Ok(message) = mime::normalise(raw) else { return Vec::new() };
    let leaves = text_leaves(&message);
    let decoded = leaves.iter().filter_map(|leaf| {
        let (text, _) = decode(leaf, &message[leaf.body.clone()])?;
        Some(if leaf.html { links_in(&text, "") } else { links_in("", &text) })
    });
    decoded.flatten().collect()
}

/// The changed and encoded body of a part; none when it stays as it is.
fn part(job: &mut Job<'_>, message: &[u8], leaf: &Leaf, last_html: bool) -> Option<Vec<u8>> {
    let (text, charset) = decode(leaf, &message[leaf.body.clone()])?;
    let changed = if leaf.html { job.html(&text, last_html)? } else { job.text(&text)? };
    // Characters that the charset lacks become entities, which only html can show.
    let (octets, _, unmappable) = charset.encode(&changed);
    if unmappable && !leaf.html {
        return None;
    }
    let mut out = Vec::with_capacity(octets.len() * 3 / 2);
    match leaf.transfer {
        Transfer::Base64 => {
            encode::base64_lines(&mut out, &octets);
            // The last line end is the boundary's, or is added to the whole message.
            out.truncate(out.len().saturating_sub(2));
        }
        Transfer::Plain | Transfer::QuotedPrintable => encode::quoted_printable(&mut out, &octets),
    }
    Some(out)
}

/// The text of a part and its charset, if both can be told and nothing is lost by going back.
fn decode(leaf: &Leaf, body: &[u8]) -> Option<(String, &'static Encoding)> {
    let octets = match leaf.transfer {
        Transfer::Plain => body.to_vec(),
        Transfer::QuotedPrintable => mime::encode::from_quoted_printable(body)?,
        Transfer::Base64 => {
            let letters: Vec<u8> =
                body.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            STANDARD.decode(letters).ok()?
        }
    };
    let undeclared = leaf.charset.is_empty() || leaf.charset.eq_ignore_ascii_case("us-ascii");
    let charset =
        if undeclared { UTF_8 } else { Encoding::for_label(leaf.charset.trim().as_bytes())? };
    let text = charset.decode_without_bom_handling_and_without_replacement(&octets)?;
    let (again, used, unmappable) = charset.encode(&text);
    let same = used == charset && !unmappable && *again == *octets;
    same.then(|| (text.into_owned(), charset))
}

/// The header of a changed part: its fields, with the transfer encoding that is used now.
fn header(out: &mut Vec<u8>, header: &[u8], before: Transfer) {
    let fields = match before {
        Transfer::Base64 | Transfer::QuotedPrintable => None,
        Transfer::Plain => Some(Fields::parse(header)),
    };
    match fields {
        None => out.extend_from_slice(header),
        Some(Ok(fields)) => {
            let others = fields.iter().filter(|f| !f.name.eq_ignore_ascii_case(TRANSFER_FIELD));
            others.for_each(|field| out.extend_from_slice(field.bytes));
            out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n");
        }
        // A part without a header.
        Some(Err(_)) => out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n"),
    }
}
