//! Micro-benchmarks of what is done to each mail on its way out, and to each refusal; see
//! `loadtest/instructions`. The keys in this folder are for this alone.
//!
//! Pure; keeps nothing.

#[path = "../../loadtest/harness.rs"]
mod harness;

use std::collections::BTreeMap;
use std::hint::black_box;

use postern_core::dkim::Signer;
use postern_core::mime::{self, Letter};
use postern_core::model::content::{Content, Mailbox, Tracking};
use postern_core::model::delivery::Phase;
use postern_core::model::domain::DkimAlgorithm;
use postern_core::track::{Job, Tracker};
use postern_core::transport::classify::classify;
use postern_proto::ids::RecipientId;
use postern_smtp_wire::reply::Enhanced;
use uuid::Uuid;

use crate::harness::Case;

const RSA: &[u8] = include_bytes!("rsa.der");
const ED25519: &[u8] = include_bytes!("ed25519.der");
const KEYS: &str = "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const RECIPIENT: u128 = 0x0192_d3a4_7b00_7000_8000_0000_0000_0001;
const NOW_S: u64 = 1_790_000_000;

fn main() {
    let text = "Dear reader, here is 4 KiB of plain text in lines of some length.\n".repeat(62);
    let paragraph = "<p>Dear reader, <a href=\"https://shop.example/a?with=a&amp;query=b\">look \
                     here</a>, or do not.</p>\n";
    let html = format!("<html><body>{}</body></html>", paragraph.repeat(40));
    let mail = compose(&html, &text);
    let sign = |name, algorithm, key| -> Case {
        let signer = Signer::new("example.com", "bench", algorithm, key).expect("a good key");
        let mail = mail.clone();
        (
            name,
            Box::new(move || {
                black_box(signer.sign(black_box(&mail), NOW_S).is_ok());
            }),
        )
    };
    let mut cases = vec![
        sign("dkim-sign-rsa-2048", DkimAlgorithm::Rsa, RSA),
        sign("dkim-sign-ed25519", DkimAlgorithm::Ed25519, ED25519),
    ];
    let (tracker, wanted, delivery) = tracking();
    let source = html.clone();
    cases.push((
        "track-rewrite-40-links",
        Box::new(move || {
            let mut job = Job::new(&tracker, "hi@example.com", &wanted, delivery);
            black_box(job.html(black_box(&source), true));
        }),
    ));
    cases.push((
        "mime-build",
        Box::new(move || {
            black_box(compose(black_box(&html), black_box(&text)));
        }),
    ));
    cases.push(("bounce-classify", Box::new(refusals)));
    harness::run(&cases);
}

fn compose(html: &str, text: &str) -> Vec<u8> {
    let mailbox = |email: &str, name: &str| Mailbox { email: email.into(), name: name.into() };
    let from = Some(mailbox("hi@example.com", "The Shop"));
    let content = Content { from, ..Content::default() };
    let to = mailbox("ann@example.net", "Ann Reader");
    mime::compose(&Letter {
        content: &content,
        to: &to,
        subject: "What is new",
        html,
        text,
        message_id: "0192d3a4@example.com",
        unsubscribe: None,
        date_ms: NOW_S as i64 * 1000,
        boundary_seed: 7,
    })
}

fn tracking() -> (Tracker, Tracking, RecipientId) {
    let tracker = Tracker {
        keys: KEYS.parse().expect("the keys are well made"),
        base: "https://t.example.com".to_owned(),
        by_sender: BTreeMap::new(),
        is_here_only: false,
    };
    let wanted =
        Tracking { opens: true, html_clicks: true, links_max: 1000, ..Tracking::default() };
    (tracker, wanted, RecipientId::from_uuid(Uuid::from_u128(RECIPIENT)))
}

fn refusals() {
    for (code, text) in [
        (550, "5.1.1 <ann@example.net>: Recipient address rejected: User unknown"),
        (452, "4.2.2 The email account that you tried to reach is over quota"),
        (554, "5.7.1 Service unavailable; client host blocked using a list"),
        (421, "4.7.0 Our system has detected an unusual rate of mail from you"),
        (550, "Requested action not taken: mailbox unavailable"),
    ] {
        let (enhanced, rest) = Enhanced::split_from(text).unzip();
        let text = rest.unwrap_or(text);
        black_box(classify(code, enhanced, black_box(text), Phase::Rcpt));
    }
}
