//! What a reader sees stays what it was, and what is not to be touched stays as it is to the octet.

mod bodies;
mod messages;

use postern_proto::ids::RecipientId;
use postern_proto::link::{Keys, Kind, Link};

use super::*;

const BASE: &str = "https://t.example.org";
const OWN_BASE: &str = "https://t.own.example";
const SENDER: &str = "hi@shop.example";

fn tracker() -> Tracker {
    let keys: Keys = format!("1:{}", "ab".repeat(32)).parse().unwrap();
    Tracker {
        keys,
        base: BASE.to_owned(),
        is_here_only: false,
        by_sender: [("own.example".to_owned(), OWN_BASE.to_owned())].into(),
    }
}

fn delivery() -> RecipientId {
    RecipientId::from_uuid(uuid::Uuid::from_u128(7))
}

fn everything() -> Tracking {
    Tracking {
        opens: true,
        html_clicks: true,
        text_clicks: true,
        links_max: 1000,
        ..Tracking::default()
    }
}

fn clicks() -> Tracking {
    Tracking { opens: false, ..everything() }
}

/// The html body as it goes out.
fn html(wanted: &Tracking, source: &str) -> String {
    let tracker = tracker();
    let mut job = Job::new(&tracker, SENDER, wanted, delivery());
    job.html(source, true).unwrap_or_else(|| source.to_owned())
}

/// The links of ours in a text, opened.
fn opened(text: &str) -> Vec<Link> {
    let end = |c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c));
    let token = |rest: &str| rest[..rest.find(end).unwrap_or(rest.len())].to_owned();
    let pieces = text.split(BASE).skip(1).map(|rest| token(&rest[3..]));
    pieces.map(|token| tracker().keys.open(&token).expect("a link of ours opens")).collect()
}

/// Where the clicks in a text lead, in order, with the indexes checked.
fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for link in opened(text) {
        assert_eq!(link.delivery, delivery());
        if let Kind::Click { index, target } = link.kind {
            assert_eq!(usize::from(index), targets.len(), "links are numbered in order");
            targets.push(target);
        }
    }
    targets
}
