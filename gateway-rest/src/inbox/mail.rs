//! Takes a caught mail apart for showing. The mail is bounded by the core's size limit; what is
//! shown of it is bounded here.
//!
//! Pure; a crash has nothing to lose.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{Message, MessageParser, MimeHeaders as _};

/// More text than this is only offered for download.
const SHOWN_BYTES_MAX: usize = 2 << 20;
const HEADERS_MAX: usize = 200;
const ATTACHMENTS_MAX: usize = 200;
const INLINE_IMAGES_MAX: usize = 50;

/// What the page shows.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(super) to: String,
    pub(crate) text: Option<String>,
    pub(crate) html: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) attachments: Vec<Attachment>,
    pub(crate) source: String,
}

/// A file in the mail.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) size: String,
}

/// Takes a mail apart.
pub(crate) fn read(raw: &[u8]) -> Mail {
    let source = String::from_utf8_lossy(&raw[..raw.len().min(SHOWN_BYTES_MAX)]).into_owned();
    let Some(message) = MessageParser::new().parse(raw) else {
        return Mail { source, ..Mail::default() };
    };
    let headers = message.headers_raw().take(HEADERS_MAX);
    let to = message.to().into_iter().flat_map(|to| to.iter());
    let to: Vec<_> = to.filter_map(|to| to.address()).take(10).collect();
    Mail {
        to: to.join(", "),
        text: has_own(&message, "plain").then(|| message.body_text(0).map(shorten)).flatten(),
        html: has_own(&message, "html").then(|| html(&message)).flatten(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
        attachments: attachments(&message),
        source,
    }
}

/// The html of a mail with its inline images put in, for the frame.
pub(crate) fn html_of(raw: &[u8]) -> Option<String> {
    let message = MessageParser::new().parse(raw)?;
    html(&message)
}

/// One file of a mail: its name and bytes.
pub(super) fn attachment(raw: &[u8], index: usize) -> Option<(String, Vec<u8>)> {
    let message = MessageParser::new().parse(raw)?;
    let part = message.attachment(u32::try_from(index).ok()?)?;
    let name = part.attachment_name().map_or_else(|| unnamed(index), safe_name);
    Some((name, part.contents().to_vec()))
}

/// The parser converts one body into the other; only what the mail has is shown.
fn has_own(message: &Message<'_>, subtype: &str) -> bool {
    let bodies = message.text_bodies().chain(message.html_bodies());
    bodies.into_iter().any(|part| match part.content_type() {
        Some(kind) => {
            let own = kind.subtype().unwrap_or("plain");
            kind.ctype().eq_ignore_ascii_case("text") && own.eq_ignore_ascii_case(subtype)
        }
        None => subtype == "plain",
    })
}

fn html(message: &Message<'_>) -> Option<String> {
    let mut html = shorten(message.body_html(0)?);
    for part in message.attachments().take(INLINE_IMAGES_MAX) {
        let (Some(id), Some(kind)) = (part.content_id(), part.content_type()) else {
            continue;
        };
        let subtype = kind.subtype().unwrap_or_default().to_ascii_lowercase();
        // Only pictures that cannot carry scripts.
        let picture = kind.ctype().eq_ignore_ascii_case("image")
            && matches!(subtype.as_str(), "png" | "jpeg" | "jpg" | "gif" | "webp");
        let id = id.trim_matches(['<', '>']);
        if picture && !id.is_empty() && html.contains(&format!("cid:{id}")) {
            let data = format!("data:image/{subtype};base64,{}", STANDARD.encode(part.contents()));
            html = html.replace(&format!("cid:{id}"), &data);
        }
        if html.len() > 8 * SHOWN_BYTES_MAX {
            break;
        }
    }
    Some(html)
}

fn shorten(text: std::borrow::Cow<'_, str>) -> String {
    let mut text = text.into_owned();
    let mut end = text.len().min(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

fn attachments(message: &Message<'_>) -> Vec<Attachment> {
    let parts = message.attachments().take(ATTACHMENTS_MAX).enumerate();
    let files = parts.map(|(index, part)| {
        let kind = part.content_type().map_or_else(String::new, |kind| {
            format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("*"))
        });
        let name = part.attachment_name().map_or_else(|| unnamed(index), safe_name);
        Attachment { index, name, kind, size: size(part.contents().len() as i64) }
    });
    files.collect()
}

fn unnamed(index: usize) -> String {
    format!("attachment-{}", index + 1)
}

/// A file name that can stand in a header and in a folder.
fn safe_name(name: &str) -> String {
    let fits = |c: char| {
        if c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ') { c } else { '_' }
    };
    let name: String = name.chars().map(fits).take(120).collect();
    name.trim_start_matches(['.', ' ']).to_owned()
}

/// A size for people.
pub(super) fn size(bytes: i64) -> String {
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} kB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "From: a@x.io\r\nTo: b@x.io\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/related; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/html\r\n\r\n<img src=\"cid:pic\">\r\n\
        --b\r\nContent-Type: image/png\r\nContent-ID: <pic>\r\n\
        Content-Disposition: inline; filename=\"../p.png\"\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n";

    #[test]
    fn inline_images_are_put_in_and_names_are_made_safe() {
        let mail = read(MAIL.as_bytes());
        assert_eq!(mail.html.unwrap().trim(), "<img src=\"data:image/png;base64,AAAA\">");
        assert_eq!(mail.text, None);
        assert_eq!(mail.attachments[0].name, "_p.png");
        assert_eq!(attachment(MAIL.as_bytes(), 0).unwrap().1, [0, 0, 0]);
        assert!(attachment(MAIL.as_bytes(), 9).is_none());
    }

    /// What is shown of a mail is bounded, and each file that is offered is there under a safe name.
    #[test]
    fn fuzz_inbox() {
        postern_fuzz::check!("inbox", |input| {
            let mail = read(input);
            let shown = [mail.text.as_deref(), Some(mail.source.as_str())];
            for text in shown.into_iter().flatten() {
                assert!(text.len() <= 3 * SHOWN_BYTES_MAX);
            }
            assert!(mail.headers.len() <= HEADERS_MAX && mail.attachments.len() <= ATTACHMENTS_MAX);
            for file in &mail.attachments {
                let (name, _) = attachment(input, file.index).expect("what is offered is there");
                assert_eq!(name, file.name);
                assert!(!name.contains(['/', '\\', '"', '\0', '\r', '\n', '\u{202e}']), "{name}");
                assert!(!name.starts_with('.') && name.chars().count() <= 120);
            }
            if mail.html.is_some() {
                assert_eq!(html_of(input), mail.html);
            }
        });
    }
}
