//! Receivers that hang, reset, answer garbage, say try later for long, and take a mail without saying
//! so. Each for a while; in the end all mail has arrived, and what may be there twice is marked.

use postern_tests::wait;

use crate::gate::{Gate, Mode};
use crate::outcome::Trial;
use crate::system::System;

const SOME: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn bad_receivers_cost_time_and_no_mail() {
    let gate = Gate::open().await.unwrap();
    let url = gate.url();
    let vars = [
        ("POSTERN_RELAY_URL", url.as_str()),
        ("POSTERN_SMTP_TIMEOUT_GREETING", "1s"),
        ("POSTERN_SMTP_TIMEOUT_EHLO", "1s"),
    ];
    let system = System::embedded_through(&gate, &vars).await.unwrap();
    let trial = Trial::start(system).await.unwrap();
    for mode in [Mode::Hang, Mode::Reset, Mode::Garbage, Mode::TryLater, Mode::DropReply] {
        gate.set(mode);
        let before = deferred(&trial).await;
        let more = async || Ok((deferred(&trial).await >= before + 5).then_some(()));
        wait::until("deliveries are deferred", more).await.unwrap();
        trial.grow(SOME).await.unwrap();
        gate.set(Mode::Pass);
        trial.grow(SOME).await.unwrap();
    }
    let verdict = trial.end("receivers").await.unwrap();
    assert!(verdict.duplicates > 0, "what was taken without a reply arrived twice: {verdict:?}");
}

async fn deferred(trial: &Trial) -> usize {
    let feed = trial.system.feed().await.unwrap();
    feed.iter().filter(|event| event.kind == "message.deferred").count()
}
