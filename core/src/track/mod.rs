//! TRACK: puts pixel, tracked links and unsubscribe links into a mail, for one recipient.
//!
//! Pure and deterministic: the same mail, wishes and keys make the same bytes at every attempt, so a
//! crash has nothing to lose here. What was wished for is decided once, at acceptance, and stored
//! with the content ([`wishes`]); mail that wants nothing never gets here.

pub mod wishes;
mod html;
mod text;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use postern_proto::ids::RecipientId;
use postern_proto::link::target::is_safe_target;
use postern_proto::link::{
    CLICK_PATH, HONEYPOT_INDEX, Keys, Kind, Link, OPEN_PATH, UNSUBSCRIBE_PATH,
};

use crate::mime;
use crate::model::content::{Tracking, domain_of};

pub use raw::{links_in_message, message};
pub use wishes::Defaults;

/// What links are signed with, and where they lead.
#[derive(Debug, Clone)]
pub struct Tracker {
    /// The keys.
    pub keys: Keys,
    /// The url of the tracking edge, without a slash at its end: `https://t.example.com`.
    pub base: String,
    /// The same for sender domains (A-labels in lower case) that have a name of their own for it.
    pub by_sender: BTreeMap<String, String>,
    /// Nobody said where recipients reach the edge: the url is for those on this machine.
    pub is_here_only: bool,
}

impl Tracker {
    /// Whether recipients can follow its links, of mail that stays on this machine or not.
    pub fn reaches_recipients(&self, stays_local: bool) -> bool {
        stays_local || !self.is_here_only
    }

    /// The url that links in mail from this address lead to.
    fn base(&self, sender: &str) -> &str {
        if self.by_sender.is_empty() {
            return &self.base;
        }
        self.by_sender.get(&domain_of(sender)).unwrap_or(&self.base)
    }

    /// Whether a url leads to the edge, under whichever name.
    fn is_own(&self, url: &str) -> bool {
        // A path that merely begins alike is somebody else's.
        let leads =
            |base: &String| url.strip_prefix(&**base).is_some_and(|rest| rest.starts_with('/'));
        leads(&self.base) || self.by_sender.values().any(leads)
    }
}

/// What is to be done to the mail of one recipient.
#[derive(Debug)]
pub struct Job<'a> {
    tracker: &'a Tracker,
    base: &'a str,
    wanted: &'a Tracking,
    delivery: RecipientId,
    /// How many links were rewritten so far, over all parts of the mail.
    rewritten: u16,
}

impl<'a> Job<'a> {
    /// Begins with the mail of a recipient; `sender` is the address it comes from.
    pub fn new(
        tracker: &'a Tracker,
        sender: &str,
        wanted: &'a Tracking,
        delivery: RecipientId,
    ) -> Self {
        Self { tracker, base: tracker.base(sender), wanted, delivery, rewritten: 0 }
    }

    /// The html body with what is wanted; none when nothing changes. `last` says that it is the last
    /// html body of the mail, which gets pixel and footer.
    pub fn html(&mut self, source: &str, last: bool) -> Option<String> {
        let clicks = self.wanted.html_clicks;
        let tail = if last { self.tail(source) } else { String::new() };
        if source.is_empty() || (!clicks && tail.is_empty()) {
            return None;
        }
        let scan = html::scan(source)?;
        let mut edits = html::Edits::default();
        if clicks {
            for link in scan.links.iter().filter(|link| !link.opted_out) {
                if let Some(url) = self.click(&link.url) {
                    edits.replace(link.value.clone(), url);
                }
            }
        }
        for attribute in scan.opt_outs {
            edits.replace(attribute, String::new());
        }
        if let Some(at) = scan.tail_at {
            edits.replace(at..at, tail);
        }
        edits.apply(source)
    }

    /// The text body with what is wanted; none when nothing changes.
    pub fn text(&mut self, source: &str) -> Option<String> {
        if !self.wanted.text_clicks || source.contains("-----BEGIN PGP ") {
            return None;
        }
        let mut edits = html::Edits::default();
        for range in text::links(source) {
            if let Some(url) = self.click(&source[range.clone()]) {
                edits.replace(range, url);
            }
        }
        edits.apply(source)
    }

    /// The unsubscribe fields the mail is to have.
    pub fn unsubscribe(&self) -> Option<mime::Unsubscribe> {
        let wanted = self.wanted.unsubscribe_header || self.wanted.one_click;
        wanted.then(|| mime::Unsubscribe {
            url: self.url(UNSUBSCRIBE_PATH, Kind::Unsubscribe, ""),
            one_click: self.wanted.one_click,
        })
    }

    /// The tracked link for a url that is to be tracked.
    fn click(&mut self, url: &str) -> Option<String> {
        let full = u32::from(self.rewritten) >= self.wanted.links_max;
        if full || self.rewritten == HONEYPOT_INDEX || !self.is_tracked(url) {
            return None;
        }
        let kind = Kind::Click { index: self.rewritten, target: url.to_owned() };
        self.rewritten += 1;
        Some(self.url(CLICK_PATH, kind, ""))
    }

    fn is_tracked(&self, url: &str) -> bool {
        let kept = self.wanted.keep_campaign_links && is_campaign_link(url);
        !self.tracker.is_own(url) && !kept && !unsubscribes(url) && is_safe_target(url)
    }

    /// What goes before the end of the last html body.
    fn tail(&self, source: &str) -> String {
        let mut tail = String::new();
        if self.wanted.footer {
            let url = self.url(UNSUBSCRIBE_PATH, Kind::Unsubscribe, "");
            let words = if is_russian(source) {
                "Отписаться от рассылки"
            } else {
                "Unsubscribe"
            };
            tail.push_str(&format!(
                "<div style=\"margin:24px 0;text-align:center;font:12px sans-serif;color:#777\">\
                 <a href=\"{url}\" style=\"color:#777\">{words}</a></div>"
            ));
        }
        if self.wanted.honeypot {
            let kind = Kind::Click { index: HONEYPOT_INDEX, target: String::new() };
            let url = self.url(CLICK_PATH, kind, "");
            tail.push_str(&format!(
                "<a href=\"{url}\" style=\"display:none\" tabindex=\"-1\" aria-hidden=\"true\"></a>"
            ));
        }
        if self.wanted.opens {
            let url = self.url(OPEN_PATH, Kind::Open, ".gif");
            // Some readers do not load what is hidden, so it is only small.
            tail.push_str(&format!(
                "<img src=\"{url}\" width=\"1\" height=\"1\" alt=\"\" \
                 style=\"border:0;width:1px;height:1px\">"
            ));
        }
        tail
    }

    fn url(&self, path: &str, kind: Kind, end: &str) -> String {
        let token = self.tracker.keys.sign(&Link { delivery: self.delivery, kind });
        format!("{}{path}{token}{end}", self.base)
    }
}

/// Whether path or query say that the link unsubscribes: a detour could break it, and scanners that
/// follow detours would unsubscribe people.
fn unsubscribes(url: &str) -> bool {
    let behind_host = url.splitn(4, '/').nth(3).or_else(|| url.split_once('?').map(|(_, q)| q));
    behind_host.is_some_and(|rest| rest.to_ascii_lowercase().contains("unsubscribe"))
}

/// Whether a campaign manager follows this link itself.
fn is_campaign_link(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.to_ascii_lowercase().ends_with("/amsweb.php")
}

fn is_russian(text: &str) -> bool {
    text.chars().any(|c| ('\u{400}'..='\u{4ff}').contains(&c))
}

/// Every link of an html and a text body, entities decoded, whether it would be tracked or not.
pub fn links_in(html: &str, text: &str) -> Vec<String> {
    let scanned = html::scan(html).map(|scan| scan.links).unwrap_or_default();
    let of_html = scanned.into_iter().map(|link| link.url);
    let of_text = text::links(text).into_iter().map(|range| text[range].to_owned());
    of_html.chain(of_text).collect()
}

/// A url as it stands in an attribute, with its entities decoded once.
pub fn decode_entities(url: &str) -> String {
    htmlize::unescape_attribute(url).into_owned()
}
