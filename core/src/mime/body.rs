//! The tree of parts, only as deep as the content needs:
//! mixed(alternative(text, related(html, images…)), files…).
//!
//! Boundaries begin with `=_`, which neither quoted-printable nor base64 can produce; plain text
//! with such a line is encoded. So no content can end a part early.

use super::{Letter, attachment, encode};
use crate::model::content::Attachment;

enum Part<'a> {
    Text { subtype: &'static str, text: &'a str },
    File { file: &'a Attachment, inline: bool },
    Multi { subtype: &'static str, parts: Vec<Part<'a>> },
}

/// Writes Content-Type, the blank line and the body. The mail ends with CRLF.
pub(super) fn write(out: &mut Vec<u8>, letter: &Letter<'_>) {
    let mut boundaries = Boundaries { seed: letter.boundary_seed, used: 0 };
    tree(letter).write(out, &mut boundaries);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
}

fn tree<'a>(letter: &Letter<'a>) -> Part<'a> {
    // Without html nothing can refer to an inline image: it is then a file like any other.
    let is_inline = |file: &&Attachment| !file.content_id.is_empty() && !letter.html.is_empty();
    let (inline, files): (Vec<_>, Vec<_>) = letter.content.attachments.iter().partition(is_inline);
    let text = Part::Text { subtype: "plain", text: letter.text };
    let html = Part::Text { subtype: "html", text: letter.html };
    let html = multi("related", html, inline, true);
    let body = match (letter.text.is_empty(), letter.html.is_empty()) {
        (false, false) => Part::Multi { subtype: "alternative", parts: vec![text, html] },
        (true, false) => html,
        (_, true) => text,
    };
    multi("mixed", body, files, false)
}

fn multi<'a>(
    subtype: &'static str,
    first: Part<'a>,
    files: Vec<&'a Attachment>,
    inline: bool,
) -> Part<'a> {
    if files.is_empty() {
        return first;
    }
    let files = files.into_iter().map(|file| Part::File { file, inline });
    Part::Multi { subtype, parts: std::iter::once(first).chain(files).collect() }
}

impl Part<'_> {
    /// The depth is at most three, so recursion is bounded.
    fn write(&self, out: &mut Vec<u8>, boundaries: &mut Boundaries) {
        match self {
            Part::Text { subtype, text } => {
                let header = format!("Content-Type: text/{subtype}; charset=utf-8\r\n");
                out.extend_from_slice(header.as_bytes());
                encode::text(out, text);
            }
            Part::File { file, inline } => {
                attachment::headers(out, file, *inline);
                encode::data(out, &file.data);
            }
            Part::Multi { subtype, parts } => {
                let boundary = boundaries.next();
                // RFC 2387 asks for the type of the root part.
                let root = if *subtype == "related" { " type=\"text/html\";" } else { "" };
                let header = format!(
                    "Content-Type: multipart/{subtype};{root}\r\n boundary=\"{boundary}\"\r\n"
                );
                out.extend_from_slice(header.as_bytes());
                for part in parts {
                    out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
                    part.write(out, boundaries);
                }
                out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
            }
        }
    }
}

struct Boundaries {
    seed: u128,
    used: u32,
}

impl Boundaries {
    fn next(&mut self) -> String {
        self.used += 1;
        format!("=_{:032x}_{}", self.seed, self.used)
    }
}
