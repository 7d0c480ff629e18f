//! Links in plain text, as mail programs make them clickable.

use std::ops::Range;

/// Where the http and https urls of a text stand.
pub(super) fn links(text: &str) -> Vec<Range<usize>> {
    let mut links = Vec::new();
    let mut at = 0;
    while let Some(colon) = text[at..].find("://").map(|n| at + n) {
        let end = colon + 3;
        at = end;
        let Some(start) = scheme(&text[..colon]) else { continue };
        let length = text[end..].find(ends_url).unwrap_or(text.len() - end);
        let url = trimmed(&text[start..end + length]);
        if url.len() > end - start {
            at = start + url.len();
            // A token with an underscore behind it would be another token to who follows the link.
            if !text[at..].starts_with('_') {
                links.push(start..at);
            }
        }
    }
    links
}

/// Where the scheme before a colon begins, when it is http or https and a word of its own.
fn scheme(before: &str) -> Option<usize> {
    ["https", "http"].iter().find_map(|name| {
        let start = before.len().checked_sub(name.len())?;
        let fits = before.get(start..)?.eq_ignore_ascii_case(name);
        let alone = !before[..start].ends_with(|c: char| c.is_alphanumeric());
        (fits && alone).then_some(start)
    })
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "<>\"`".contains(c)
}

/// Without the punctuation of the sentence around it. A closing bracket stays when the url opens it.
fn trimmed(mut url: &str) -> &str {
    // Brackets that are closed more often than opened. Counted once, and only when one is in question:
    // a url may be as long as a mail.
    let mut open_ended = [None; 3];
    loop {
        let Some(last) = url.chars().next_back() else { return url };
        let pair = match last {
            ')' => Some((0, '(')),
            ']' => Some((1, '[')),
            '}' => Some((2, '{')),
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '»' | '”' | '’' => None,
            _ => return url,
        };
        if let Some((kind, opening)) = pair {
            let count = || {
                let (closed, opened) = (url.matches(last).count(), url.matches(opening).count());
                closed.saturating_sub(opened)
            };
            let surplus: &mut usize = open_ended[kind].get_or_insert_with(count);
            if *surplus == 0 {
                return url;
            }
            *surplus -= 1;
        }
        url = &url[..url.len() - last.len_utf8()];
    }
}
