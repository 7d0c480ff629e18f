//! Where in an html document the links stand, and where it ends. The document is read, never
//! written: changes are made by byte range, so what is not changed stays as it is to the octet.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use lol_html::html_content::Element;
use lol_html::{HtmlRewriter, MemorySettings, Settings, doc_comments, doc_text, element};

/// What the reader may hold besides the document.
const MEMORY_BYTES_MAX: usize = 8 << 20;

/// Elements in which a tag is text.
const SHOWN_AS_TEXT: [&str; 9] =
    ["textarea", "title", "xmp", "plaintext", "script", "style", "iframe", "noembed", "noframes"];

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkAt {
    /// The value of the attribute, without quotes.
    pub(super) value: Range<usize>,
    /// The value with its entities decoded and without blanks around it.
    pub(super) url: String,
    /// It asks to be left alone.
    pub(super) opted_out: bool,
}

/// What is known about a document.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The http and https links of `a` and `area` elements, in order.
    pub(super) links: Vec<LinkAt>,
    /// The attributes by which links asked to be left alone: they are not for the recipient.
    pub(super) opt_outs: Vec<Range<usize>>,
    /// Before the last `</body>`, or else the last `</html>`, unless more of the document follows; or
    /// else the end: what comes behind can not change what was there. None where the document ends
    /// within a tag, or within an element that shows tags as text.
    pub(super) tail_at: Option<usize>,
}

/// Reads a document. None when it takes more memory than it may.
pub(super) fn scan(source: &str) -> Option<Scan> {
    let scan = RefCell::new(Scan::default());
    // Tags, text and comments: an end tag that lies in one of them is none.
    let covered = RefCell::new(Vec::new());
    let as_text = RefCell::new(None);
    let ends = end_tags(source);
    let read_to = Cell::new(0);
    let shown_to = Cell::new(0);
    let cover = |range: Range<usize>| {
        read_to.set(range.end);
        if !ends.is_empty() {
            covered.borrow_mut().push(range);
        }
    };
    let on_element = |element: &mut Element<'_, '_>| {
        let tag = element.source_location().bytes();
        cover(tag.clone());
        shown_to.set(tag.end);
        let name = element.tag_name();
        if matches!(name.as_str(), "a" | "area") {
            scan.borrow_mut().add(source, element);
        } else if SHOWN_AS_TEXT.contains(&name.as_str()) {
            as_text.replace(Some((name, tag.end)));
        }
        Ok(())
    };
    let settings = Settings::new()
        .append_element_content_handler(element!("*", on_element))
        .append_document_content_handler(doc_text!(|text| {
            let range = text.source_location().bytes();
            if !text.as_str().trim_matches(is_blank).is_empty() {
                shown_to.set(range.end);
            }
            cover(range);
            Ok(())
        }))
        .append_document_content_handler(doc_comments!(|comment| {
            cover(comment.source_location().bytes());
            Ok(())
        }))
        .with_strict(false)
        .with_adjust_charset_on_meta_tag(false)
        .with_memory_settings(
            MemorySettings::new().with_max_allowed_memory_usage(MEMORY_BYTES_MAX),
        );
    let mut reader = HtmlRewriter::new(settings, |_: &[u8]| {});
    reader.write(source.as_bytes()).ok()?;
    reader.end().ok()?;
    let (mut scan, covered) = (scan.into_inner(), covered.into_inner());
    let open = as_text.into_inner().is_some_and(|(name, end)| !is_closed(&source[end..], &name));
    let open = open || is_inside_a_tag(&source[read_to.get()..]);
    let tail = || tail(&ends, &covered).filter(|at| *at >= shown_to.get());
    scan.tail_at = (!open).then(|| tail().unwrap_or(source.len()));
    Some(scan)
}

impl Scan {
    fn add(&mut self, source: &str, element: &Element<'_, '_>) {
        let mut opted_out = false;
        for attribute in element.attributes() {
            let name = attribute.name();
            if !is_opt_out(&name, &attribute.value()) {
                continue;
            }
            opted_out = true;
            let Some(at) = attribute.name_source_location() else { continue };
            let value = attribute.value_source_location().map(|value| value.bytes());
            self.opt_outs.push(attribute_range(source, at.bytes(), value));
        }
        // The first attribute of a name counts.
        let href = element.attributes().iter().find(|attribute| attribute.name() == "href");
        let Some(range) = href.and_then(|href| href.value_source_location()) else { return };
        let value = range.bytes();
        let Some(text) = source.get(value.clone()) else { return };
        let url = super::decode_entities(text).trim_matches(is_blank).to_owned();
        let scheme = url.split(':').next().unwrap_or_default();
        if ["http", "https"].iter().any(|name| scheme.eq_ignore_ascii_case(name)) {
            self.links.push(LinkAt { value, url, opted_out });
        }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

/// Our attribute, and those that other senders' templates carry.
fn is_opt_out(name: &str, value: &str) -> bool {
    let value = value.trim();
    match name {
        "data-postern-track" | "clicktracking" => value.eq_ignore_ascii_case("off"),
        "data-postern-notrack" | "ses:no-track" => true,
        "data-track" => value.eq_ignore_ascii_case("false"),
        "data-msys-clicktrack" => value == "0",
        _ => false,
    }
}

/// A whole attribute: one blank before it, name, value and quotes.
fn attribute_range(source: &str, name: Range<usize>, value: Option<Range<usize>>) -> Range<usize> {
    let bytes = source.as_bytes();
    let before = name.start.checked_sub(1).and_then(|at| bytes.get(at));
    let blank = before.is_some_and(|b| b.is_ascii_whitespace());
    let start = name.start - usize::from(blank);
    let Some(value) = value else { return start..name.end };
    let quote = value.start.checked_sub(1).and_then(|at| bytes.get(at));
    let quoted = quote.is_some_and(|b| matches!(b, b'"' | b'\'')) && bytes.get(value.end) == quote;
    start..value.end + usize::from(quoted)
}

/// What looks like the end tag of body or html: its place, and whether it is that of body.
fn end_tags(source: &str) -> Vec<(usize, bool)> {
    let bytes = source.as_bytes();
    let tag = |(at, _): (usize, &str)| {
        let name = bytes.get(at + 2..at + 6)?;
        let ended = bytes.get(at + 6).is_none_or(|b| b.is_ascii_whitespace() || b"/>".contains(b));
        let body = name.eq_ignore_ascii_case(b"body");
        (ended && (body || name.eq_ignore_ascii_case(b"html"))).then_some((at, body))
    };
    source.match_indices("</").filter_map(tag).collect()
}

/// Whether an element that was opened is closed in what follows. Nothing closes plaintext.
fn is_closed(rest: &str, name: &str) -> bool {
    let closes = |(at, _): (usize, &str)| {
        rest.get(at + 2..at + 2 + name.len()).is_some_and(|end| end.eq_ignore_ascii_case(name))
    };
    name != "plaintext" && rest.match_indices("</").any(closes)
}

/// Whether a document ends before its last tag does. `rest` is what is behind the last start tag,
/// text and comment: end tags and declarations, or a tag that was not finished.
fn is_inside_a_tag(mut rest: &str) -> bool {
    while !rest.is_empty() {
        let whole = rest.starts_with("</") || rest.starts_with("<!") || rest.starts_with("<?");
        match rest.find('>').filter(|_| whole) {
            Some(end) => rest = &rest[end + 1..],
            None => return true,
        }
    }
    false
}

/// The last end tag of body, or else of html.
fn tail(ends: &[(usize, bool)], covered: &[Range<usize>]) -> Option<usize> {
    // The ranges are in the order of the document and do not overlap.
    let is_real = |at: usize| {
        let behind = covered.partition_point(|range| range.end <= at);
        covered.get(behind).is_none_or(|range| range.start > at)
    };
    let last = |of_body: bool| {
        ends.iter().rev().find(|(at, body)| *body == of_body && is_real(*at)).map(|(at, _)| *at)
    };
    last(true).or_else(|| last(false))
}

/// Replacements in a text.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Replaces a range, which must not overlap another one.
    pub(super) fn replace(&mut self, range: Range<usize>, with: String) {
        if !range.is_empty() || !with.is_empty() {
            self.0.push((range, with));
        }
    }

    /// The text with the replacements; none when there are none.
    pub(super) fn apply(mut self, source: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by_key(|(range, _)| range.start);
        let more: usize = self.0.iter().map(|(_, with)| with.len()).sum();
        let (mut out, mut at) = (String::with_capacity(source.len() + more), 0);
        for (range, with) in &self.0 {
            out.push_str(source.get(at..range.start)?);
            out.push_str(with);
            at = range.end;
        }
        out.push_str(source.get(at..)?);
        Some(out)
    }
}
