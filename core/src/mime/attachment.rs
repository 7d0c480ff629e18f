//! The header fields of a file: media type, disposition, name (RFC 2183, RFC 2231), inline id.

use super::headers;
use crate::model::content::Attachment;

/// A longer media type, parameters included, is not believed.
const TYPE_BYTES_MAX: usize = 256;
/// A longer name is cut; file systems end at 255.
const NAME_BYTES_MAX: usize = 255;
/// The value of one RFC 2231 section, so that the line stays within 78 columns.
const SECTION_CHARS: usize = 54;

/// Writes Content-Type, Content-Disposition and, when there is one, Content-ID.
pub(super) fn headers(out: &mut Vec<u8>, file: &Attachment, inline: bool) {
    out.extend_from_slice(b"Content-Type: ");
    out.extend_from_slice(media_type(&file.content_type).as_bytes());
    out.extend_from_slice(b"\r\nContent-Disposition: ");
    out.extend_from_slice(if inline { b"inline" } else { b"attachment" });
    filename(out, &file.filename);
    out.extend_from_slice(b"\r\n");
    if !file.content_id.is_empty() {
        headers::message_id(out, "Content-ID", &file.content_id);
    }
}

/// The type was checked at acceptance. `message/*` and `multipart/*` may not be base64 (RFC 2046
/// §5.1, §5.2.1), which is what files are sent as, so they travel as plain bytes.
fn media_type(given: &str) -> &str {
    const BYTES: &str = "application/octet-stream";
    let composite =
        |kind: &str| given.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
    let printable = given.bytes().all(|b| matches!(b, b' '..=b'~'));
    let usable = printable && given.contains('/') && given.len() <= TYPE_BYTES_MAX;
    if !usable || composite("message/") || composite("multipart/") { BYTES } else { given }
}

fn filename(out: &mut Vec<u8>, name: &str) {
    let name = headers::clean(name);
    let end = (0..=name.len().min(NAME_BYTES_MAX)).rev().find(|at| name.is_char_boundary(*at));
    let name = &name[..end.unwrap_or_default()];
    if name.is_empty() {
        return;
    }
    let simple = |b: u8| matches!(b, b' '..=b'~') && !b"\"\\".contains(&b);
    if name.len() <= SECTION_CHARS && name.bytes().all(simple) {
        out.extend_from_slice(format!(";\r\n filename=\"{name}\"").as_bytes());
        return;
    }
    let sections = sections(name);
    if let [only] = sections.as_slice() {
        out.extend_from_slice(format!(";\r\n filename*=utf-8''{only}").as_bytes());
        return;
    }
    for (index, section) in sections.iter().enumerate() {
        let charset = if index == 0 { "utf-8''" } else { "" };
        out.extend_from_slice(format!(";\r\n filename*{index}*={charset}{section}").as_bytes());
    }
}

/// The percent-encoded name, cut where no encoded byte is torn apart.
fn sections(name: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for c in name.chars() {
        let mut utf8 = [0; 4];
        let mut encoded = String::with_capacity(12);
        for byte in c.encode_utf8(&mut utf8).bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`{}~|".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
        let fits = |section: &&mut String| section.len() + encoded.len() <= SECTION_CHARS;
        match sections.last_mut().filter(fits) {
            Some(section) => section.push_str(&encoded),
            None => sections.push(encoded),
        }
    }
    sections
}
